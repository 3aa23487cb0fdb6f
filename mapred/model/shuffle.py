"""What a keyed reduce goes by: its columns, what they are combined to, and files by partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from mapred.model.fields import Count, Tasks
from mapred.model.frozen import dataclass

# What users write for the columns of a `Shuffle`.
By = str | Sequence[str]
SortBy = str | Sequence[str | tuple[str, str]]
_Function = str | tuple[str, Mapping[str, Any]]
_Named = tuple[str, str] | tuple[str, str, Mapping[str, Any]]
Aggregate = Mapping[str, _Function | _Named | Sequence[_Function]]


@dataclass(frozen=True)
class Aggregation:
    """A column `name` of a keyed reduce's answer: `function` of the values of `column`."""

    name: str
    column: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shuffle:
    """How a keyed reduce goes: rows to one of `partitions` by the columns `by`.

    With `aggregates` these are the answer; without them a function gets the rows. With
    `descending`, a flag for each column of `by`, rows are sorted by them instead.
    """

    by: tuple[str, ...]
    partitions: Tasks
    aggregates: tuple[Aggregation, ...] = ()
    descending: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Parts:
    """How a file of partition-ordered rows is divided: part *p* is the bytes from `offsets[p]`
    to `offsets[p + 1]`.

    `schema` is that of the `taken` rows as the function returned them; `heavy` the most
    frequent keys; `sample` keys at even distances. All three are Arrow, base64-encoded.
    `checksums[p]` is the CRC-32 of all bytes before `offsets[p]`, from which that of a part
    continues. A file of an earlier version has none.
    """

    offsets: tuple[Count, ...]
    schema: str
    taken: Count = 0
    heavy: str | None = None
    sample: str | None = None
    checksums: tuple[Count, ...] = ()
