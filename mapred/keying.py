"""What a keyed reduce goes by: its columns, what they are combined to, and files by partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
    partitions: int
    aggregates: tuple[Aggregation, ...] = ()
    descending: tuple[bool, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Shuffle:
        aggregates = tuple(Aggregation(**each) for each in values["aggregates"])
        known = {**values, "by": tuple(values["by"]), "aggregates": aggregates}
        return cls(**{**known, "descending": tuple(values["descending"])})


@dataclass(frozen=True)
class Parts:
    """How a file of partition-ordered rows is divided: part *p* is the bytes from `offsets[p]`
    to `offsets[p + 1]`.

    `schema` is that of the `taken` rows as the function returned them; `heavy` the most
    frequent keys; `sample` keys at even distances. All three are Arrow, base64-encoded.
    `checksums[p]` is the CRC-32 of all bytes before `offsets[p]`, from which that of a part
    continues. A file of an earlier version has none.
    """

    offsets: tuple[int, ...]
    schema: str
    taken: int = 0
    heavy: str | None = None
    sample: str | None = None
    checksums: tuple[int, ...] = ()
