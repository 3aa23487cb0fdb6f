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

from mapred.arrow.buffers import from_arrow, large_strings, to_arrow
from mapred.arrow.encoding import decode_schema, decode_table, encode_schema, encode_table
from mapred.errors import FunctionError
from mapred.model.records import Output
from mapred.model.shuffle import Parts, Shuffle
from mapred.process.lazy import pa
from mapred.shuffle.schemas import Misfit, clash_error, fit_to_schema, unify_schemas
from mapred.shuffle.sorting import ranks

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

_SCHEMAS, _TASKS, _ROWS, _ENDS = (
    f"mapred.{name}".encode() for name in ("schemas", "tasks", "rows", "ends")
)


@dataclass(frozen=True)
class Segment:
    """A range of one map task's file; `schema` is that of its rows, first of map task `task`.

    `before` is the CRC-32 of all that lies before it in the file, and `after` that with the
    range; both are -1 for a file of an earlier version.
    """

    path: str
    offset: int
    length: int
    schema: pa.Schema
    task: int
    before: int = -1
    after: int = -1


@dataclass(frozen=True)
class Outline:
    """What all partitions share: the schema of rows (None: there are none) and their number.

    `schemas` are those of single map tasks, and `tasks` the first task with each. `ends` are the keys at which one partition of sorted rows ends and the next begins.
    """

    schema: pa.Schema | None
    schemas: tuple[pa.Schema, ...]
    tasks: tuple[int, ...]
    rows: int
    ends: pa.Table | None = None

    def between(self, index: int) -> tuple[pa.Table | None, pa.Table | None]:
        """Return the first key of sorted partition `index`, and that of the next."""
        if self.ends is None:
            return None, None
        low = self.ends.slice(index - 1, 1) if index else None
        return low, self.ends.slice(index, 1) if index < self.ends.num_rows else None


def read_outline(schema: pa.Schema) -> Outline:
    """Return what the schema of a manifest says in its metadata."""
    metadata = schema.metadata or {}
    schemas = tuple(decode_schema(text) for text in json.loads(metadata[_SCHEMAS]))
    whole, *single = schemas or (None,)
    ends = decode_table(metadata[_ENDS].decode()) if _ENDS in metadata else None
    tasks = tuple(json.loads(metadata[_TASKS]))
    return Outline(whole, tuple(single), tasks, int(metadata[_ROWS]), ends)


def misfit(error: Misfit, column: str, task: int, outline: Outline) -> FunctionError:
    """Return what to say of values of one task's `column` that the type of all tasks cannot hold."""
    types = [schema.field(column).type for schema in outline.schemas]
    assert outline.schema is not None
    whole = outline.schema.field(column).type
    mine = types[outline.tasks.index(task)], f"map task {task}"
    if whole in types:
        other = whole, f"map task {outline.tasks[types.index(whole)]}"
    else:
        other = whole, "all tasks together"
    return clash_error(column, mine, other, error.value)


def manifest(
    sent: Sequence[Output], tasks: Sequence[int], shuffle: Shuffle
) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """Return the schema and the parts of the manifest over the outputs of map `tasks`, in order.

    Tables without rows do not decide the schema, where any has rows.
    """
    mapped = [(output, output.parts) for output in sent if output.parts is not None]
    first = _first_tasks(sent, tasks)
    texts, numbered = list(first), list(first.values())
    schemas = [decode_schema(text) for text in texts]
    places = [f"map task {task}" for task in numbered]
    whole = [unify_schemas(schemas, shuffle.by, places)] if schemas else []
    rows = sum(output.rows for output, _ in mapped)
    metadata = {
        _SCHEMAS: json.dumps([*map(encode_schema, whole), *texts]).encode(),
        _TASKS: json.dumps(numbered).encode(),
        _ROWS: str(rows).encode(),
    }
    stored = [
        (output, parts) for output, parts in mapped if output.path is not None and output.rows
    ]
    paths = large_strings([output.path or "" for output, _ in stored])
    numbers = np.array([texts.index(parts.schema) for _, parts in stored], np.int32)
    outline = Outline(whole[0] if whole else None, tuple(schemas), tuple(numbered), rows)
    ends, where, files = _ranges([parts for _, parts in stored], numbers, outline, shuffle)
    if ends is not None:
        metadata[_ENDS] = encode_table(ends).encode()
    schema = pa.schema(_fields(), metadata)

    def part(number: int) -> pa.Table:
        if where is None:
            return pa.Table.from_batches([], schema)
        starts, stops, before, after = where[:, :, number]
        there = np.flatnonzero(starts < stops)
        values = (starts, stops - starts, before, after, numbers[files])
        columns = [to_arrow(column[there]) for column in values]
        return pa.Table.from_arrays([paths.take(to_arrow(files[there])), *columns], schema=schema)

    return schema, map(part, range(shuffle.partitions))


def _fields() -> list[tuple[str, pa.DataType]]:
    """Return the columns of a manifest, one row for each range of a map task's file."""
    numbers = [(name, pa.int64()) for name in ("offset", "length", "before", "after")]
    return [("path", pa.large_string()), *numbers, ("schema", pa.int32())]


def _first_tasks(sent: Sequence[Output], tasks: Sequence[int]) -> dict[str, int]:
    """Return the first task with each schema that decides, in order of tasks."""
    decides = any(output.parts is not None and output.parts.taken for output in sent)
    first = {
        output.parts.schema: task
        for output, task in reversed(list(zip(sent, tasks, strict=True)))
        if output.parts is not None and (output.parts.taken or not decides)
    }
    return dict(sorted(first.items(), key=lambda pair: pair[1]))


def _ranges(
    parts: Sequence[Parts], numbers: npt.NDArray[np.int32], outline: Outline, shuffle: Shuffle
) -> tuple[pa.Table | None, Any, Any]:
    """Return what `_sorted_ranges` gives; of rows that are not sorted without keys, and a run a
    file."""
    if not parts:
        return None, None, np.arange(0)
    if shuffle.descending:
        return _sorted_ranges(parts, numbers, outline, shuffle)
    offsets = np.array([part.offsets for part in parts], np.int64)
    sums = np.array([_sums(part) for part in parts], np.int64)
    where = np.stack((offsets[:, :-1], offsets[:, 1:], sums[:, :-1], sums[:, 1:]))
    return None, where, np.arange(len(parts))


def _sums(parts: Parts) -> Sequence[int]:
    """Return the checksums at the ends of parts; -1 in a commit of an earlier version, which has
    none."""
    return parts.checksums or [-1] * len(parts.offsets)


def _sorted_ranges(
    parts: Sequence[Parts], numbers: npt.NDArray[np.int32], outline: Outline, shuffle: Shuffle
) -> tuple[pa.Table, Any, Any]:
    """Return the keys that divide sorted rows evenly, and where each run has the rows between them.

    Every run (sorted rows of one task, in parts of equal size) has sent the first key of each
    part. A part is read for a partition if it may have rows of it. Gives the keys, an
    array of (start or stop, run, partition) and the file of every run.
    """
    tables = [decode_table(part.sample or "") for part in parts]
    runs = np.concatenate([from_arrow(table["run"]) for table in tables])
    files = np.repeat(np.arange(len(parts)), [table.num_rows for table in tables])
    by = list(shuffle.by)
    assert outline.schema is not None
    types = pa.schema([outline.schema.field(name) for name in by])
    fits = []
    for table, number in zip(tables, numbers.tolist(), strict=True):
        named = table.drop_columns(["run"]).rename_columns(by)
        try:
            fits.append(fit_to_schema(named, types))
        except Misfit as error:
            raise misfit(error, error.column, outline.tasks[number], outline) from error
    keys = pa.concat_tables(fits)
    order, rank = ranks(keys, by, shuffle.descending)
    places = np.arange(1, shuffle.partitions) * len(order) // shuffle.partitions
    ends = keys.take(to_arrow(order[places]))
    limits = rank[order[places]]
    first = np.flatnonzero(np.append(True, (np.diff(files) != 0) | (np.diff(runs) != 0)))
    return ends, _cut(parts, first, rank, limits), files[first]


def _cut(parts: Sequence[Parts], first: Ints, rank: Ints, limits: Ints) -> Ints:
    """Where each run has the rows between the limits; a run begins at each of `first`."""
    offsets = np.concatenate([part.offsets[:-1] for part in parts])
    stops = np.concatenate([part.offsets[1:] for part in parts])
    before = np.concatenate([_sums(part)[:-1] for part in parts])
    after = np.concatenate([_sums(part)[1:] for part in parts])
    where = np.zeros((4, len(first), len(limits) + 1), np.int64)
    for run, (start, stop) in enumerate(itertools.pairwise([*first.tolist(), len(rank)])):
        mine = rank[start:stop]
        low = np.append(0, np.searchsorted(mine[1:], limits, "left"))
        high = np.append(np.searchsorted(mine, limits, "right"), len(mine))
        full = low < high
        where[0, run, full] = offsets[start:stop][low[full]]
        where[1, run, full] = stops[start:stop][high[full] - 1]
        where[2, run, full] = before[start:stop][low[full]]
        where[3, run, full] = after[start:stop][high[full] - 1]
    return where


def segments(part: pa.Table, outline: Outline) -> list[Segment]:
    """Return the ranges that one part of a manifest names, in the order of the map tasks."""
    names = ("path", "offset", "length", "schema", "before", "after")
    columns = (
        part.column(name).to_pylist() if name in part.column_names else [-1] * part.num_rows
        for name in names
    )
    return [
        Segment(path, offset, length, outline.schemas[number], outline.tasks[number], *sums)
        for path, offset, length, number, *sums in zip(*columns, strict=True)
    ]
