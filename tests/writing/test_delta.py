"""Delta tables that runs write, read by delta-rs and DuckDB."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from writing.days import day_of, rows_of, write, wrote
from writing.lakes import (
    together,
)
from writing.programs import delta_rows

import mapred
from mapred import writing
from mapred.errors import DatasetError, RunError

pl = pytest.importorskip("polars")


def test_delta(both: str, tmp_path: Path) -> None:
    lake = both
    pytest.importorskip("deltalake")

    def put(mode: str, items: Iterable[int], change: int = 0) -> Any:
        def rows(item: int) -> pa.Table:
            table = day_of(item)
            return table.set_column(0, "n", pa.array([n + change for n in table["n"].to_pylist()]))

        return write(rows, items, mapred.write_delta(lake, partition_by="day", mode=mode))

    assert put("append", [0, 1]).version == 0
    assert delta_rows(lake) == rows_of([0, 1])
    assert put("append", [2]).version == 1
    assert delta_rows(lake) == rows_of([0, 1, 2])
    assert put("overwrite_partitions", [1], change=1000).version == 2
    kept = Counter({row: n for row, n in rows_of([0, 2]).items() if row[1] != "2026-01-09"})
    assert delta_rows(lake) == kept + rows_of([1], 1000)
    assert put("overwrite", [0]).version == 3
    assert delta_rows(lake) == rows_of([0])
    with pytest.raises(DatasetError, match="is a Delta table"):
        write(day_of, [0], mapred.write_parquet(lake))


def test_a_delta_table_by_the_rules_of_two_columns(tmp_path: Path) -> None:
    """Partitions are replaced one by one, not every combination of their values."""
    deltalake = pytest.importorskip("deltalake")
    lake = str(tmp_path / "lake")

    def rows(pairs: list[tuple[Any, Any]]) -> pa.Table:
        days, cities = zip(*pairs, strict=True)
        day = pa.array(days, pa.date32())
        return pa.table({"n": range(len(pairs)), "day": day, "city": pa.array(cities, pa.string())})

    one, two = datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)
    everywhere = [(d, c) for d in (one, two, None) for c in ("a/b 50%", "ü=", None)]
    by = ("day", "city")
    write(rows, [everywhere], mapred.write_delta(lake, partition_by=by))
    change = [(one, "a/b 50%"), (two, "ü="), (None, None)]
    write(rows, [change], mapred.write_delta(lake, partition_by=by, mode="overwrite_partitions"))
    found = pl.read_delta(lake).to_dicts()
    assert Counter((row["day"], row["city"]) for row in found) == Counter(everywhere)
    assert deltalake.DeltaTable(lake).version() == 1
    with pytest.raises(RunError, match="the empty text"):
        write(rows, [[(one, "")]], mapred.write_delta(lake, partition_by=by))


def test_a_run_counts_once_in_a_delta_table(lake: str) -> None:
    pytest.importorskip("deltalake")
    target = mapred.write_delta(lake, partition_by="day")
    outputs = wrote(target, "run-1", 0, range(3))
    together(*[lambda: writing.publish(target, outputs)] * 3)
    assert delta_rows(lake) == rows_of(range(3))
    more = wrote(target, "run-2", 1000, range(3))
    others = [wrote(target, f"run-{n}", 1000 * n, [0]) for n in (3, 4)]
    together(*[lambda e=e: writing.publish(target, e) for e in (more, more, *others)])
    wanted = rows_of(range(3)) + rows_of(range(3), 1000) + rows_of([0], 3000) + rows_of([0], 4000)
    assert delta_rows(lake) == wanted
    assert writing.publish(target, more).rows == 6
    assert delta_rows(lake) == wanted
    # What was replaced meanwhile does not come back.
    over = mapred.write_delta(lake, partition_by="day", mode="overwrite")
    writing.publish(over, wrote(over, "run-5", 5000, [0]))
    writing.publish(target, more)
    assert delta_rows(lake) == rows_of([0], 5000)


def test_a_delta_table_skips_files_by_statistics(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake")
    lake = str(tmp_path / "lake")
    late = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)

    def rows(item: int) -> pa.Table:
        when = pa.array([late, late], pa.timestamp("ns", "UTC"))
        floats = pa.array([0.5, float("nan")])
        return pa.table({"n": [item, None], "s": ["a" * 100, "b"], "when": when, "f": floats})

    write(rows, [3, 8], mapred.write_delta(lake))
    actions = pa.table(deltalake.DeltaTable(lake).get_add_actions()).to_pylist()
    assert sorted(each["min"]["n"] for each in actions) == [3, 8]
    assert all(each["null_count"]["n"] == 1 and each["num_records"] == 2 for each in actions)
    text = (Path(lake) / "_delta_log/00000000000000000000.json").read_text()
    adds = [json.loads(line)["add"] for line in text.splitlines() if '"add"' in line]
    known = json.loads(adds[0]["stats"])
    assert known["maxValues"]["when"] == "2026-01-02T03:04:05.679Z"
    assert set(known["minValues"]) == {"n", "when"}
    assert pl.scan_delta(lake).filter(pl.col("when") == late).collect().height == 4


def test_delta_says_what_does_not_fit(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    lake = str(tmp_path / "lake")
    write(day_of, [0], mapred.write_delta(lake, partition_by="day"))
    with pytest.raises(RunError, match=r"partitioned by \['day'\], and this run by \[\]"):
        write(day_of, [0], mapred.write_delta(lake))
    with pytest.raises(RunError, match=r"column 'n' is .*string.*holds it as .*long"):
        write(
            lambda _: pa.table({"n": ["x"], "day": ["2026-01-01"]}),
            [0],
            mapred.write_delta(lake, partition_by="day"),
        )
    assert delta_rows(lake) == rows_of([0])
