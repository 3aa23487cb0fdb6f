"""The map side: what a function returns, combined, by partition, on disk beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mapred.arrow.buffers import take_sorted, to_arrow
from mapred.arrow.encoding import encode_table
from mapred.model.shuffle import Shuffle
from mapred.process.lazy import pa
from mapred.shuffle.aggregates import lift, lift_and_merge, merge_to_send, number_states
from mapred.shuffle.dense import is_dense
from mapred.shuffle.groups import grouped_by
from mapred.shuffle.hashing import Hashes
from mapred.shuffle.keys import check_keys, hash_keys, one_zero_one_nan, tables
from mapred.shuffle.part_files import (
    MemoryParts,
    Parts,
    concat_with_schema,
    order_by_partition,
    spill,
)
from mapred.shuffle.schemas import Misfit, unify_schemas
from mapred.shuffle.skew import HeavyKeyCounter
from mapred.shuffle.sorting import order_rows

# Rows are combined and put in order in pieces of so many bytes.
_PIECE = 96 * 2**20
_FEW = 1 << 12
_SMALL = 1 << 16
# Sorted rows are cut so finely that a partition reads few rows that are not its own.
_PER_PARTITION, _LEAST, _MOST_PARTS = 8, 64, 4096


class MapOutputBuffer:
    """The rows of one map task by partition; at most about `limit` bytes of them in memory.

    `schema` is that of the rows as they came, None while there are none; `rows` counts them.
    """

    def __init__(self, shuffle: Shuffle, limit: int) -> None:
        self.shuffle, self.limit = shuffle, limit
        self.schema: pa.Schema | None = None
        self.rows = 0
        self.spilled = 0
        self.heavy = HeavyKeyCounter(shuffle.by)
        self._waiting: list[pa.Table] = []
        self._parts: list[Parts] = []
        self._firsts: list[pa.Table] = []

    def add(self, value: Any) -> None:
        """Take what the function returned."""
        for table in tables(value):
            if not table.num_rows and (self.rows or not table.num_columns):
                continue
            check_keys(table.schema, self.shuffle.by)
            # A table without rows decides no type.
            schemas = [self.schema, table.schema] if self.rows else [table.schema]
            self.schema = unify_schemas(schemas, self.shuffle.by)
            self.rows += table.num_rows
            for piece in _slice_by_bytes(table, min(_PIECE, self.limit)):
                self._waiting.append(piece)
                if sum(table.nbytes for table in self._waiting) >= min(_PIECE, self.limit):
                    self._order()

    def _order(self) -> None:
        """Combine what waits, and put it in the order of its partitions."""
        if not self._waiting or self.schema is None:
            return
        table = concat_with_schema(self._waiting, self.schema)
        keyed = one_zero_one_nan(table, self.shuffle.by)
        self._waiting = []
        self.heavy.note(keyed)
        if self.shuffle.descending:
            held, firsts = sort_run(table, self.shuffle, len(self._parts))
            self._firsts.append(firsts)
        else:
            held = partition_table(keyed, self.shuffle)
        self._parts.append(held)
        size = sum(parts.nbytes for parts in self._parts)
        if size > self.limit:
            self.spilled += size
            self._parts = [
                spill(parts) if isinstance(parts, MemoryParts) else parts for parts in self._parts
            ]

    @property
    def nbytes(self) -> int:
        """About how many bytes `parts` will give."""
        return self.spilled + sum(parts.nbytes for parts in self._parts)

    def parts(self) -> tuple[pa.Schema, Iterator[pa.Table]]:
        """Return the rows of every partition, those that `add` took last come last."""
        self._order()
        assert self.schema is not None
        schema = sent_schema(self.schema, self.shuffle)
        if self.shuffle.descending:
            return schema, (run.part(n) for run in self._parts for n in range(run.count))
        return schema, (self._part(number, schema) for number in range(self.shuffle.partitions))

    def sample(self) -> str | None:
        """Return the first key of every part of sorted rows and the run it belongs to, for a
        commit."""
        return (
            encode_table(concat_with_schema(self._firsts, self._firsts[0].schema))
            if self._firsts
            else None
        )

    def _part(self, number: int, schema: pa.Schema) -> pa.Table:
        pieces = [parts.part(number) for parts in self._parts]
        try:
            whole = concat_with_schema([part for part in pieces if part.num_rows], schema)
        except Misfit as error:
            raise error.of(rows_column(error.column, self.shuffle)) from error
        if len(pieces) > 1 and self.shuffle.aggregates:
            return merge_to_send(whole, self.shuffle.aggregates) if whole.num_rows else whole
        return whole


def sort_run(table: pa.Table, shuffle: Shuffle, run: int) -> tuple[MemoryParts, pa.Table]:
    """Rows in order, in small parts, and the first key of each part."""
    by = list(shuffle.by)
    number = min(_MOST_PARTS, _PER_PARTITION * shuffle.partitions, -(-table.num_rows // _LEAST))
    bounds = np.linspace(0, table.num_rows, number + 1).astype(np.int64)
    table = table.combine_chunks()
    order = order_rows(table, by, shuffle.descending)
    table = table.take(to_arrow(order))
    firsts = table.select(by).take(to_arrow(bounds[:-1]))
    names = [f"k{i}" for i in range(len(by))]
    firsts = firsts.rename_columns(names).append_column("run", to_arrow(np.full(len(firsts), run)))
    return MemoryParts(table, bounds), firsts


def sent_schema(schema: pa.Schema, shuffle: Shuffle) -> pa.Schema:
    """Return the schema of what is sent for rows of `schema`: the rows, or their states."""
    if not shuffle.aggregates:
        return schema
    empty = pa.Table.from_batches([], schema)
    return lift(empty, shuffle.by, shuffle.aggregates).schema


def rows_column(name: str, shuffle: Shuffle) -> str:
    """Return the column of rows that column `name` of what is sent is made of."""
    if not shuffle.aggregates:
        return name
    if name.startswith("k"):
        return shuffle.by[int(name[1:])]
    before = [(place, column) for (column, _), place in number_states(shuffle.aggregates).items()]
    return max(pair for pair in before if pair[0] <= int(name[1:]))[1]


def partition_table(table: pa.Table, shuffle: Shuffle) -> MemoryParts:
    """Rows by partition; with aggregates their states, combined where that makes them fewer."""
    if not shuffle.aggregates:
        return order_by_partition(table, hash_keys(table, shuffle.by), shuffle.partitions)
    keys = [f"k{i}" for i in range(len(shuffle.by))]
    numbered = len(keys) == 1 and pa.types.is_integer(table.column(shuffle.by[0]).type)
    lifted = lift(table, shuffle.by, shuffle.aggregates) if numbered else None
    if lifted is not None and is_dense(lifted):
        states = merge_to_send(lifted, shuffle.aggregates)
        return order_by_partition(states, hash_keys(states, keys), shuffle.partitions)
    if table.num_rows <= _SMALL or _has_few_groups(table, shuffle.by):
        states = lift_and_merge(table, shuffle.by, shuffle.aggregates)
        return order_by_partition(states, hash_keys(states, keys), shuffle.partitions)
    states = lift(table, shuffle.by, shuffle.aggregates) if lifted is None else lifted
    hashes = hash_keys(states, keys)
    held = order_by_partition(states, hashes, shuffle.partitions)
    if not _has_repeats(hashes):
        return held
    # Small hash tables stay in a cache: one for each partition is faster than one for all.
    parts = map(held.part, range(shuffle.partitions))
    merged = [merge_to_send(part, shuffle.aggregates) for part in parts]
    bounds = np.concatenate([[0], np.cumsum([part.num_rows for part in merged])])
    return MemoryParts(concat_with_schema(merged, states.schema), bounds)


def _slice_by_bytes(table: pa.Table, size: int) -> Iterator[pa.Table]:
    """Slices of at most about `size` bytes; a table without rows is one."""
    rows = max(1, int(table.num_rows * size / max(table.nbytes, 1)))
    for start in range(0, max(table.num_rows, 1), rows):
        yield table.slice(start, rows)


def _has_few_groups(table: pa.Table, by: Sequence[str]) -> bool:
    """Whether at most half of a few thousand rows, taken evenly, have a key of their own."""
    step = table.num_rows // _FEW
    few = take_sorted(table.select(by), np.arange(_FEW) * step)
    distinct: int = grouped_by(few, list(by), []).num_rows
    return distinct <= _FEW // 2


def _has_repeats(hashes: Hashes) -> bool:
    """Whether rows are at least twice as many as keys, judged by one key in 64."""
    some = hashes[hashes & np.uint64(63) == 0]
    return len(np.unique(some)) * 2 <= len(some)
