"""The map side and the reduce side of a shuffle, without a store between them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from mapred.model.shuffle import Shuffle
from mapred.shuffle import map_side, reduce_side


def shuffled(
    tables: list[Any], shuffle: Shuffle, function: Any = None, limit: int = 1 << 30
) -> list[pa.Table]:
    """The answers of all partitions, through the map and the reduce side but no store."""
    sent = []
    for table in tables:
        rows = map_side.MapOutputBuffer(shuffle, limit)
        rows.add(table)
        schema, parts = rows.parts()
        sent.append((schema, list(parts)))
    answers = []
    for number in range(shuffle.partitions):
        segments = [parts[number] for _, parts in sent]
        size = sum(segment.nbytes for segment in segments)
        answers += reduce_side.reduce_partition(
            shuffle, function, tables[0].schema, segments, size, limit
        )
    return answers
