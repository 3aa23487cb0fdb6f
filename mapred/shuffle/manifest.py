"""The manifest before a shuffle: where the rows of every partition lie in the maps' files.

It is itself a file of partition-ordered batches, so that a reduce task reads what concerns
its own partition alone, by one ranged request.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mapred.model import Output
from mapred.shuffle.arrays import strings, to_arrow
from mapred.shuffle.collecting import decoded, encoded
from mapred.shuffle.keys import unified

if TYPE_CHECKING:
    import pyarrow as pa

_SCHEMAS, _ROWS = b"mapred.schemas", b"mapred.rows"


@dataclass(frozen=True)
class Segment:
    """A range of one map task's file; `schema` is that of its rows."""

    path: str
    offset: int
    length: int
    schema: pa.Schema


@dataclass(frozen=True)
class Outline:
    """What all partitions share: the schema of rows (None: there are none) and their number."""

    schema: pa.Schema | None
    schemas: tuple[pa.Schema, ...]
    rows: int


def outline(schema: pa.Schema) -> Outline:
    """What the schema of a manifest says in its metadata."""
    metadata = schema.metadata or {}
    schemas = tuple(decoded(text) for text in json.loads(metadata[_SCHEMAS]))
    whole, *each = schemas or (None,)
    return Outline(whole, tuple(each), int(metadata[_ROWS]))


def manifest(
    sent: Sequence[Output], partitions: int, by: Sequence[str]
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema and the parts of the manifest over the outputs of all map tasks, in order."""
    import pyarrow as pa

    known = [(output, output.parts) for output in sent if output.parts is not None]
    texts = list(dict.fromkeys(parts.schema for _, parts in known))
    schemas = [decoded(text) for text in texts]
    whole = [encoded(unified(schemas, by))] if schemas else []
    rows = sum(output.rows for output, _ in known)
    fields = [("path", pa.large_string()), ("offset", pa.int64()), ("length", pa.int64())]
    schema = pa.schema(
        [*fields, ("schema", pa.int32())],
        {_SCHEMAS: json.dumps(whole + texts).encode(), _ROWS: str(rows).encode()},
    )
    stored = [(output, parts) for output, parts in known if output.path is not None]
    paths = strings([output.path or "" for output, _ in stored])
    numbers = np.array([texts.index(parts.schema) for _, parts in stored], np.int32)
    offsets = np.array([parts.offsets for _, parts in stored], np.int64)
    offsets = offsets.reshape(len(stored), partitions + 1)

    def part(number: int) -> pa.Table:
        starts, lengths = offsets[:, number], np.diff(offsets[:, number : number + 2])[:, 0]
        there = np.flatnonzero(lengths)
        columns = [to_arrow(each[there]) for each in (starts, lengths, numbers)]
        return pa.Table.from_arrays([paths.take(to_arrow(there)), *columns], schema=schema)

    return schema, map(part, range(partitions))


def segments(part: pa.Table, known: Outline) -> list[Segment]:
    """The ranges that one part of a manifest names, in the order of the map tasks."""
    columns = (part.column(name).to_pylist() for name in ("path", "offset", "length", "schema"))
    return [
        Segment(path, offset, length, known.schemas[number])
        for path, offset, length, number in zip(*columns, strict=True)
    ]
