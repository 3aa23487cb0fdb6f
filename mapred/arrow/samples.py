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
    """Where one sample is read: about a megabyte of `path`, `size` bytes long, from `offset` on."""

    path: str
    size: int
    offset: int = 0


@dataclass(frozen=True)
class Sample:
    """What the sampled files say: names and types, which later files are held against.

    `seen` counts the values by which each column's type was inferred; it is None where files
    declare their types.
    """

    schema: pa.Schema
    seen: Mapping[str, int] | None = None
