"""The reduce side: the rows of one partition, in memory or on disk, to its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.model.shuffle import Shuffle
from mapred.shuffle.aggregates import merge
from mapred.shuffle.answers import finish
from mapred.shuffle.hashing import partition_numbers
from mapred.shuffle.keys import hash_keys, tables
from mapred.shuffle.map_side import sent_schema
from mapred.shuffle.part_files import SpilledParts, concat_with_schema, order_by_partition, spill
from mapred.shuffle.sorting import cut

if TYPE_CHECKING:
    import pyarrow as pa

_MOST = 256
_LEVELS = 8


def reduce_partition(
    shuffle: Shuffle,
    function: Callable[[Any], Any] | None,
    schema: pa.Schema,
    segments: Iterable[pa.Table],
    size: int,
    limit: int,
    ends: tuple[pa.Table | None, pa.Table | None] = (None, None),
) -> Iterator[pa.Table]:
    """Yield the answers for one partition: `function` of its rows, their aggregates, or the rows
    from one of the `ends` to the other, sorted.

    `segments` are the parts of each map task, in order, about `size` bytes in all, and
    `schema` that of rows. Where they are more than `limit` bytes, rows are divided on the
    local disk by further bits of their keys' hashes until few enough are together.
    """
    sent = sent_schema(schema, shuffle)
    if shuffle.descending:
        low, high = ends
        yield cut(
            concat_with_schema(list(segments), sent), shuffle.by, shuffle.descending, low, high
        )
        return
    by = [f"k{i}" for i in range(len(shuffle.by))] if shuffle.aggregates else list(shuffle.by)
    for table in _split_by_keys(segments, sent, by, size, limit, 1):
        if shuffle.aggregates:
            merged = merge(table, shuffle.aggregates)
            yield finish(merged, schema, shuffle.by, shuffle.aggregates)
        elif function is not None:
            value = function(table)
            if value is not None:
                yield from tables(value)


def _split_by_keys(
    segments: Iterable[pa.Table],
    schema: pa.Schema,
    by: list[str],
    size: int,
    limit: int,
    level: int,
) -> Iterator[pa.Table]:
    """Tables of at most about `limit` bytes that share no key, or of one key each."""
    if size <= limit or level > _LEVELS:
        yield concat_with_schema(list(segments), schema)
        return
    number = min(_MOST, -(-2 * size // limit))
    spilled: list[SpilledParts] = []
    low = np.full(number, np.iinfo(np.uint64).max)
    high = np.zeros(number, np.uint64)
    for table in _rebatch(segments, schema, limit // 4):
        hashes = hash_keys(table, by)
        numbers = partition_numbers(hashes, number, level)
        np.minimum.at(low, numbers, hashes)
        np.maximum.at(high, numbers, hashes)
        spilled.append(spill(order_by_partition(table, hashes, number, level)))
    for bucket in range(number):
        inner = sum(file.offsets[bucket + 1] - file.offsets[bucket] for file in spilled)
        if inner:
            # Rows of one key are handed over together, however many they are.
            bound = inner if low[bucket] == high[bucket] else limit
            parts = (file.part(bucket) for file in spilled)
            yield from _split_by_keys(parts, schema, by, inner, bound, level + 1)


def _rebatch(segments: Iterable[pa.Table], schema: pa.Schema, size: int) -> Iterator[pa.Table]:
    """Yield the rows of some tables as tables of at least about `size` bytes and not much more."""
    waiting: list[pa.Table] = []
    held = 0
    for segment in segments:
        rows = max(1, int(segment.num_rows * size / max(segment.nbytes, 1)))
        for start in range(0, segment.num_rows, rows):
            waiting.append(segment.slice(start, rows))
            held += waiting[-1].nbytes
            if held >= size:
                yield concat_with_schema(waiting, schema)
                waiting, held = [], 0
    if waiting:
        yield concat_with_schema(waiting, schema)
