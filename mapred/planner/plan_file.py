"""The rows of a plan, one per range, and their files in a run's folder.

A worker reads them before anything else, so nothing here may load pandas, which
`pyarrow.dataset`, `pyarrow.compute` and `to_numpy` would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import from_arrow, to_arrow
from mapred.errors import PlanError
from mapred.model import layout
from mapred.process.lazy import pa

if TYPE_CHECKING:
    from mapred.planner.shards import Ints, Plan


def plan_files(plan: Plan) -> Iterator[tuple[str, pa.Table]]:
    """The plan as files of a run's folder: path and rows, `layout.PLAN_SHARDS` shards each."""
    for number, shard in enumerate(range(0, plan.shards, layout.PLAN_SHARDS)):
        stop = min(shard + layout.PLAN_SHARDS, plan.shards)
        yield layout.plan_file(number), rows(plan, shard, stop)


def plan_schema() -> pa.Schema:
    """The columns of a plan file, one row per range."""

    return pa.schema(
        {
            "shard": pa.int64(),
            "path": pa.large_string(),
            "offset": pa.int64(),
            "length": pa.int64(),
            "size": pa.int64(),
            "etag": pa.string(),
            "first": pa.int64(),
            "count": pa.int64(),
        }
    )


def write_plan(table: pa.Table) -> pa.Buffer:
    """The bytes of a plan file: Parquet, in row groups small enough to read one shard."""
    from pyarrow._parquet import ParquetWriter  # as `_open` does

    sink = pa.BufferOutputStream()
    writer = ParquetWriter(
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


def read_shard(data: bytes | pa.Buffer | Any, shard: int) -> pa.Table:
    """The ranges of one shard, from a plan file's bytes or the open file.

    Only the row groups that hold the shard are read. Raises `PlanError` if none does.
    """
    return PlanFile(data).shard(shard)


class PlanFile:
    """A plan file, for one shard after the other: what it holds is its bytes, and of the rows
    those row groups that the last shard lies in."""

    def __init__(self, data: bytes | pa.Buffer | Any) -> None:
        self._file = _open(data)
        metadata = self._file.metadata
        known = [
            metadata.row_group(group).column(0).statistics
            for group in range(metadata.num_row_groups)
        ]
        self._ends = [(each.min, each.max) for each in known]
        self._held: list[int] = []
        self._table: Any = None

    def shard(self, shard: int) -> pa.Table:
        groups = [n for n, (first, last) in enumerate(self._ends) if first <= shard <= last]
        if self._table is None or groups != self._held:
            self._table = self._file.read_row_groups(groups, use_threads=False)
            self._held = groups
        start, stop = np.searchsorted(from_arrow(self._table["shard"]), [shard, shard + 1])
        if start == stop:
            raise PlanError(f"shard {shard} is not in this plan file")
        return self._table.slice(int(start), int(stop - start))


def _open(data: Any) -> Any:
    """What `pyarrow.parquet` reads by; that itself loads all file systems and OpenSSL.

    They would be a tenth of a worker's start.
    """
    from pyarrow._parquet import ParquetReader

    in_memory = isinstance(data, bytes | bytearray | memoryview | pa.Buffer)
    reader = ParquetReader()
    reader.open(pa.BufferReader(data) if in_memory else data)
    return reader


def rows(plan: Plan, shard: int, stop: int) -> pa.Table:
    """The rows of the shards up to `stop`, as they stand in a plan file."""

    starts = plan.starts[shard : stop + 1]
    here = slice(int(starts[0]), int(starts[-1]))
    file = plan.file[here]
    head = int(file[0])
    listing = plan.listing.slice(head, int(file[-1]) + 1 - head)
    if len(listing) != len(file):
        listing = _repeated(listing, file - head)
    columns = {
        "shard": to_arrow(np.repeat(np.arange(shard, stop, dtype=np.int64), np.diff(starts))),
        "path": listing["path"],
        "offset": to_arrow(plan.offset[here]),
        "length": to_arrow(plan.length[here]),
        "size": listing["size"],
        "etag": listing["etag"],
        "first": to_arrow(plan.first[here]),
        "count": to_arrow(plan.count[here]),
    }
    table, schema = pa.table(columns), plan_schema()
    return table if table.schema == schema else table.cast(schema)  # which loads pyarrow.compute


def _repeated(listing: pa.Table, file: Ints) -> pa.Table:
    """The rows of a listing at the places `file`."""

    if len(listing) > 1:
        return listing.take(to_arrow(file))  # which loads pyarrow.compute
    columns = {name: pa.repeat(listing[name][0], len(file)) for name in listing.column_names}
    return pa.table(columns)
