"""Datasets that runs write as a whole, read back by programs that know nothing of this package."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from writing.days import day_of, rows_of, write
from writing.lakes import (
    by_manifest,
    newest_manifest,
)
from writing.programs import READERS, by_duckdb, delta_rows

import mapred
from mapred.errors import DatasetError, FunctionError
from mapred.storage import open_store


@READERS
@pytest.mark.slow
def test_other_programs_read_what_was_written(
    lake: str, read: Callable[[str], list[dict[str, Any]]]
) -> None:
    run = mapred.run(
        day_of,
        mapred.items(range(6)),
        write=mapred.write_parquet(lake, partition_by="day"),
        progress="none",
    )
    assert Counter((row["n"], str(row["day"])) for row in read(lake)) == rows_of(range(6))
    written = run.result()
    assert (written.rows, written.files, written.kind) == (12, 12, "parquet")
    assert written.partitions == tuple(f"day=2026-01-0{n}" for n in (1, 2, 3, 9))
    assert by_manifest(lake) == rows_of(range(6))
    assert run.audit().ok
    assert not open_store(lake).list("_staging")


def test_nothing_to_write(lake: str) -> None:
    target = mapred.write_parquet(lake, partition_by="day")
    write(day_of, [0], target)
    empty = day_of(0).slice(0, 0)
    assert write(lambda _: None, [0, 1], target).files == 0
    assert write(lambda _: empty, [0, 1], target).files == 0
    assert by_manifest(lake) == rows_of([0])
    # Without partitions what came out empty replaces what was there, and keeps its columns.
    flat = lake + "-flat"
    write(day_of, [0], mapred.write_parquet(flat))
    assert write(lambda _: None, [0, 1], mapred.write_parquet(flat)).files == 0
    assert len(by_duckdb(flat)) == 2
    assert write(lambda _: empty, [0, 1], mapred.write_parquet(flat)).rows == 0
    assert by_duckdb(flat) == []
    assert newest_manifest(flat)["rows"] == 0


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_results_that_exist_are_written_too(tmp_path: Path, kind: str) -> None:
    run = mapred.run(day_of, mapred.items(range(4)), backend="inline", progress="none")
    lake, put, read = str(tmp_path / "lake"), run.write_parquet, by_manifest
    if kind == "delta":
        pytest.importorskip("deltalake")
        put, read = run.write_delta, delta_rows
    for _ in range(2):
        assert put(lake, partition_by="day", mode="overwrite").rows == 8
        assert read(lake) == rows_of(range(4))
    with pytest.raises(DatasetError, match="'city' is not a column"):
        put(lake, partition_by="city")
    assert read(lake) == rows_of(range(4))
    assert not open_store(lake).list("_staging")
    words = mapred.run(str, mapred.items(range(4)), backend="inline", progress="none")
    with pytest.raises(FunctionError, match="a str cannot be written"):
        words.write_parquet(tmp_path / "words")


def test_on_oss(oss_root: str) -> None:
    lake = oss_root + "/lake"
    for _ in range(2):
        write(day_of, range(3), mapred.write_parquet(lake, partition_by="day"), root=oss_root)
    store = open_store(lake)
    seen: Counter[tuple[Any, ...]] = Counter()
    for path, _ in store.list(""):
        if path.endswith(".parquet"):
            table = pq.ParquetFile(pa.BufferReader(store.read(path))).read()
            seen.update((n, path.split("/")[0][4:]) for n in table["n"].to_pylist())
    assert seen == rows_of(range(3))
    assert not store.list("_staging")
