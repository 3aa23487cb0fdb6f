"""The Parquet files that workers write: their sizes and their statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from writing.days import day_of, rows_of, write
from writing.lakes import (
    by_folder,
)
from writing.programs import by_duckdb

import mapred

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")


def test_files_have_about_the_size_that_was_asked_for(tmp_path: Path) -> None:
    def rows(_: int) -> Iterator[pa.Table]:
        # Numbers that do not compress: 8 bytes a row.
        for start in range(0, 400_000, 10_000):
            n = pa.array(range(start, start + 10_000))
            noise = pa.array([hash((i, "x")) for i in range(start, start + 10_000)])
            yield pa.table({"n": n, "noise": noise})

    lake = str(tmp_path / "lake")
    target = mapred.write_parquet(lake, target_file_bytes="1Mi", compression="snappy")
    written = write(rows, [0], target)
    sizes = sorted(path.stat().st_size for path in Path(lake).glob("*.parquet"))
    assert len(sizes) == written.files > 2
    assert all(2**20 <= size <= 2.5 * 2**20 for size in sizes[1:])
    metadata = pq.read_metadata(next(Path(lake).glob("*.parquet")))
    column = metadata.row_group(0).column(0)
    assert column.statistics.has_min_max
    assert column.statistics.null_count == 0
    assert column.compression == "SNAPPY"
    assert column.has_offset_index
    assert sorted(row["n"] for row in by_duckdb(lake)) == list(range(400_000))


def test_statistics_are_what_other_programs_count(tmp_path: Path) -> None:
    def rows(_: int) -> Iterator[pa.Table]:
        for start in range(0, 200_000, 10_000):
            n = range(start, start + 10_000)
            noise = pa.array([hash((i, "x")) if i % 7 else None for i in n], pa.int64())
            yield pa.table({"n": n, "noise": noise, "day": ["2026-01-01"] * 5000 + ["…"] * 5000})

    lake = str(tmp_path / "lake")
    target = mapred.write_parquet(lake, partition_by="day", target_file_bytes="256Ki")
    written = write(rows, [0], target)
    query = f"""
        select file_name, path_in_schema, sum(row_group_num_rows), sum(stats_null_count),
               min(stats_min_value::bigint), max(stats_max_value::bigint)
        from parquet_metadata('{lake}/**/*.parquet') group by all
    """
    with duckdb.connect() as connection:
        told = {row[:2]: row[2:] for row in connection.sql(query).fetchall()}
    assert len(told) == 2 * written.files > 4
    found = pl.scan_parquet(
        f"{lake}/**/*.parquet", include_file_paths="file", hive_partitioning=True
    )
    whole = found.collect()
    for file, frame in whole.group_by("file"):
        for name in ("n", "noise"):
            values = frame[name]
            counted = len(values), values.null_count(), values.min(), values.max()
            assert told[str(file[0]), name] == counted
    assert sorted(whole["n"]) == list(range(200_000))
    assert Counter(whole["day"]) == {"2026-01-01": 100_000, "…": 100_000}


def test_small_outputs_of_a_task_share_a_file(tmp_path: Path) -> None:
    target = mapred.write_parquet(tmp_path / "lake", partition_by="day")
    assert write(day_of, range(90), target, per_task=90).files == 4
    assert by_folder(str(tmp_path / "lake")) == rows_of(range(90))
