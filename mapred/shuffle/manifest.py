"""The manifest before a shuffle: where the rows of every partition lie in the maps' files.

It is itself a file of partition-ordered batches, so that a reduce task reads what concerns
its own partition alone, by one ranged request.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrays import from_arrow, large_strings, to_arrow
from mapred.model import Output, Parts, Shuffle
from mapred.shuffle.keys import fitted, unified
from mapred.shuffle.ordering import ranks
from mapred.shuffle.texts import decoded, decoded_table, encoded, encoded_table

if TYPE_CHECKING:
    import pyarrow as pa

_SCHEMAS, _ROWS, _ENDS = b"mapred.schemas", b"mapred.rows", b"mapred.ends"


@dataclass(frozen=True)
class Segment:
    """A range of one map task's file; `schema` is that of its rows."""

    path: str
    offset: int
    length: int
    schema: pa.Schema


@dataclass(frozen=True)
class Outline:
    """What all partitions share: the schema of rows (None: there are none) and their number.

    `ends` are the keys at which one partition of sorted rows ends and the next begins.
    """

    schema: pa.Schema | None
    schemas: tuple[pa.Schema, ...]
    rows: int
    ends: pa.Table | None = None

    def between(self, index: int) -> tuple[pa.Table | None, pa.Table | None]:
        """The first key of sorted partition `index`, and that of the next."""
        if self.ends is None:
            return None, None
        low = self.ends.slice(index - 1, 1) if index else None
        return low, self.ends.slice(index, 1) if index < self.ends.num_rows else None


def outline(schema: pa.Schema) -> Outline:
    """What the schema of a manifest says in its metadata."""
    metadata = schema.metadata or {}
    schemas = tuple(decoded(text) for text in json.loads(metadata[_SCHEMAS]))
    whole, *each = schemas or (None,)
    ends = decoded_table(metadata[_ENDS].decode()) if _ENDS in metadata else None
    return Outline(whole, tuple(each), int(metadata[_ROWS]), ends)


def manifest(sent: Sequence[Output], shuffle: Shuffle) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """The schema and the parts of the manifest over the outputs of all map tasks, in order."""
    import pyarrow as pa

    known = [(output, output.parts) for output in sent if output.parts is not None]
    texts = list(dict.fromkeys(parts.schema for _, parts in known))
    schemas = [decoded(text) for text in texts]
    whole = [unified(schemas, shuffle.by)] if schemas else []
    rows = sum(output.rows for output, _ in known)
    fields = [("path", pa.large_string()), ("offset", pa.int64()), ("length", pa.int64())]
    listed = [*map(encoded, whole), *texts]
    metadata = {_SCHEMAS: json.dumps(listed).encode(), _ROWS: str(rows).encode()}
    stored = [(output, parts) for output, parts in known if output.path is not None and output.rows]
    paths = large_strings([output.path or "" for output, _ in stored])
    numbers = np.array([texts.index(parts.schema) for _, parts in stored], np.int32)
    if shuffle.descending and stored:
        ends, where, files = _sorted_ranges([parts for _, parts in stored], whole[0], shuffle)
        metadata[_ENDS] = encoded_table(ends).encode()
    else:
        files = np.arange(len(stored))
        offsets = np.array([parts.offsets for _, parts in stored], np.int64)
        where = np.stack([offsets[:, :-1], offsets[:, 1:]]) if stored else None
    schema = pa.schema([*fields, ("schema", pa.int32())], metadata)

    def part(number: int) -> pa.Table:
        if where is None:
            return pa.Table.from_batches([], schema)
        starts, stops = where[:, :, number]
        there = np.flatnonzero(starts < stops)
        columns = [to_arrow(each[there]) for each in (starts, stops - starts, numbers[files])]
        return pa.Table.from_arrays([paths.take(to_arrow(files[there])), *columns], schema=schema)

    return schema, map(part, range(shuffle.partitions))


def _sorted_ranges(
    parts: Sequence[Parts], schema: pa.Schema, shuffle: Shuffle
) -> tuple[pa.Table, Any, Any]:
    """The keys that divide sorted rows evenly, and where each run has the rows between them.

    Every run (sorted rows of one task, in parts of equal size) has sent the first key of each
    part. A part is read for a partition wherever it may have rows of it. Gives the keys, an
    array of (start or stop, run, partition) and the file of every run.
    """
    import pyarrow as pa

    tables = [decoded_table(each.sample or "") for each in parts]
    runs = np.concatenate([from_arrow(table["run"]) for table in tables])
    files = np.repeat(np.arange(len(parts)), [table.num_rows for table in tables])
    offsets = np.concatenate([each.offsets[:-1] for each in parts])
    stops = np.concatenate([each.offsets[1:] for each in parts])
    names = [f"k{i}" for i in range(len(shuffle.by))]
    types = pa.schema(
        [(name, schema.field(key).type) for name, key in zip(names, shuffle.by, strict=True)]
    )
    keys = pa.concat_tables([fitted(table.select(names), types) for table in tables])
    order, rank = ranks(keys, names, shuffle.descending)
    places = np.arange(1, shuffle.partitions) * len(order) // shuffle.partitions
    ends = keys.take(to_arrow(order[places])).rename_columns(list(shuffle.by))
    limits = rank[order[places]]
    first = np.flatnonzero(np.append(True, (np.diff(files) != 0) | (np.diff(runs) != 0)))
    where = np.zeros((2, len(first), shuffle.partitions), np.int64)
    for run, (start, stop) in enumerate(itertools.pairwise([*first.tolist(), len(rank)])):
        mine = rank[start:stop]
        low = np.append(0, np.searchsorted(mine[1:], limits, "left"))
        high = np.append(np.searchsorted(mine, limits, "right"), len(mine))
        full = low < high
        where[0, run, full] = offsets[start:stop][low[full]]
        where[1, run, full] = stops[start:stop][high[full] - 1]
    return ends, where, files[first]


def segments(part: pa.Table, known: Outline) -> list[Segment]:
    """The ranges that one part of a manifest names, in the order of the map tasks."""
    columns = (part.column(name).to_pylist() for name in ("path", "offset", "length", "schema"))
    return [
        Segment(path, offset, length, known.schemas[number])
        for path, offset, length, number in zip(*columns, strict=True)
    ]
