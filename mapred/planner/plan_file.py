"""The files of a plan in a run's folder, of one row per range.

A worker reads them before anything else, so nothing here may load pandas, which
`pyarrow.dataset`, `pyarrow.compute` and `to_numpy` would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mapred.arrow.buffers import from_arrow
from mapred.errors import PlanError
from mapred.model import layout
from mapred.planner.ranges import Plan, plan_schema, rows
from mapred.process.lazy import pa
from mapred.process.private import parquet_files


def plan_files(plan: Plan) -> Iterator[tuple[str, pa.Table]]:
    """Yield the plan as files of a run's folder: path and rows, `layout.PLAN_SHARDS` shards each."""
    for number, shard in enumerate(range(0, plan.shards, layout.PLAN_SHARDS)):
        stop = min(shard + layout.PLAN_SHARDS, plan.shards)
        yield layout.plan_file(number), rows(plan, shard, stop)


def write_plan(table: pa.Table) -> pa.Buffer:
    """Return the bytes of a plan file: Parquet, in row groups small enough to read one shard."""
    sink = pa.BufferOutputStream()
    writer = parquet_files.ParquetWriter(
        sink,
        table.schema,
        version="2.6",
        writer_engine_version="V2",
        data_page_version="1.0",
        compression="zstd",
        compression_level=1,
        use_dictionary=["offset", "count"],
        column_encoding={
            "shard": "DELTA_BINARY_PACKED",
            "path": "DELTA_BYTE_ARRAY",
            "length": "DELTA_BINARY_PACKED",
            "size": "DELTA_BINARY_PACKED",
            "etag": "DELTA_BYTE_ARRAY",
            "first": "DELTA_BINARY_PACKED",
        },
        write_statistics=["shard"],
    )
    writer.write_table(table, row_group_size=2**12)
    writer.close()
    return sink.getvalue()


def read_plan(data: bytes | pa.Buffer | Any, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows of a plan file, given as its bytes or an open file."""
    numbers = None if columns is None else [plan_schema().get_field_index(c) for c in columns]
    return _open(data).read_all(column_indices=numbers)


class PlanFile:
    """A plan file, for one shard after the other: what it holds is its bytes, and of the rows
    those row groups that the last shard lies in."""

    def __init__(self, data: bytes | pa.Buffer | Any) -> None:
        self._file = _open(data)
        metadata = self._file.metadata
        groups = map(metadata.row_group, range(metadata.num_row_groups))
        statistics = [group.column(0).statistics for group in groups]
        self._ends = [(shards.min, shards.max) for shards in statistics]
        self._held: list[int] = []
        self._table: Any = None

    def shard(self, shard: int) -> pa.Table:
        """Return the ranges of one shard; `PlanError` if the file has none of it.

        Only the row groups that hold the shard are read.
        """
        groups = [n for n, (first, last) in enumerate(self._ends) if first <= shard <= last]
        if self._table is None or groups != self._held:
            self._table = self._file.read_row_groups(groups, use_threads=False)
            self._held = groups
        start, stop = np.searchsorted(from_arrow(self._table["shard"]), [shard, shard + 1])
        if start == stop:
            raise PlanError(f"shard {shard} is not in this plan file")
        return self._table.slice(int(start), int(stop - start))


def _open(data: Any) -> Any:
    in_memory = isinstance(data, bytes | bytearray | memoryview | pa.Buffer)
    reader = parquet_files.ParquetReader()
    reader.open(pa.BufferReader(data) if in_memory else data)
    return reader
