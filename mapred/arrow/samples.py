"""What a client learns of a dataset before a run: where samples are read, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

# As many samples as a dataset needs to be judged by: first, middle, last and largest file.
ENOUGH = 4


@dataclass(frozen=True)
class Place:
    """Where a sample is read: from `offset` of the file `path`, which has `size` bytes."""

    path: str
    size: int
    offset: int = 0


@dataclass(frozen=True)
class Sample:
    """The columns of the sampled files, which later files are compared with.

    `seen` counts the values by which each column's type was inferred; it is None where files
    declare their types.
    """

    schema: pa.Schema
    seen: Mapping[str, int] | None = None
