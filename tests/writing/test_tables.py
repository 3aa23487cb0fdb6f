"""What a task returned, as rows of partitions."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from writing.days import write
from writing.programs import READERS, by_duckdb

import mapred
from mapred.errors import RunError

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")

NASTY = "a/b|50%|x=y|two words|zürich 日本||..|a+b&c#d?e|%41|NULL|'q\"|*[x]{y}~|01".split("|")
if duckdb.__version__.startswith("1."):  # which takes a folder called NULL for no value
    NASTY.remove("NULL")


@READERS
def test_names_of_partitions_survive_the_way_there_and_back(
    lake: str, read: Callable[[str], list[dict[str, Any]]]
) -> None:
    values = [*NASTY, None]

    def rows(_: int) -> pa.Table:
        return pa.table({"n": range(len(values)), "a city": values})

    write(rows, [0], mapred.write_parquet(lake, partition_by="a city"))
    assert {row["n"]: row["a city"] for row in read(lake)} == dict(enumerate(values))


@READERS
def test_dates_and_numbers_are_folders_too(
    tmp_path: Path, read: Callable[[str], list[dict[str, Any]]]
) -> None:
    day = datetime.date(2026, 2, 28)

    def rows(_: int) -> pa.Table:
        table = {"n": [1, 2], "day": [day, None], "hour": pa.array([-3, 7], pa.int8())}
        return pa.table({**table, "paid": [True, False]})

    lake = str(tmp_path / "lake")
    write(rows, [0], mapred.write_parquet(lake, partition_by=["day", "hour", "paid"]))
    folders = {str(path.parent.relative_to(lake)) for path in Path(lake).rglob("*.parquet")}
    assert folders == {
        "day=2026-02-28/hour=-3/paid=true",
        "day=__HIVE_DEFAULT_PARTITION__/hour=7/paid=false",
    }
    first, second = sorted(read(lake), key=lambda row: int(row["n"]))
    assert [str(first[name]).lower() for name in ("day", "hour", "paid")] == [
        "2026-02-28",
        "-3",
        "true",
    ]
    assert [str(second[name]).lower() for name in ("day", "hour", "paid")] == ["none", "7", "false"]


@pytest.mark.parametrize(
    ("value", "by", "text"),
    [
        (pa.table({"n": [1]}), "day", "'day' is not a column of the returned table: it has n"),
        (pa.table({"n": [1], "x": [1.5]}), "x", "is a column of double"),
        (pa.table({"n": [1]}), "n", "leaves no column to write"),
        (pa.table({"n": [None]}), (), "holds nothing but nulls"),
        ([1, 2], (), "a list cannot be written as parquet"),
    ],
)
def test_tables_that_cannot_be_written(tmp_path: Path, value: Any, by: Any, text: str) -> None:
    with pytest.raises(RunError, match=text):
        write(
            lambda _: value, [0], mapred.write_parquet(tmp_path / "x", partition_by=by), attempts=1
        )


def test_letters_of_other_alphabets_stay_as_they_are(tmp_path: Path) -> None:
    # Spark takes each `%XX` of a name for a character, the others take it for a byte.
    table = pa.table({"n": [1, 2], "city": ["zürich 日本", "a/b"]})
    written = write(lambda _: table, [0], mapred.write_parquet(tmp_path / "x", partition_by="city"))
    assert written.partitions == ("city=a%2Fb", "city=zürich%20日本")


def test_frames_of_pandas_and_polars(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")

    def rows(item: int) -> Any:
        if item:
            return pl.DataFrame({"n": [1], "c": ["x"]})
        frame = pd.DataFrame({"n": [7, 0], "c": pd.Categorical(["y", "x"])})
        return frame[frame.n < 5]

    lake = str(tmp_path / "lake")
    write(rows, [0, 1], mapred.write_parquet(lake, partition_by="c"))
    assert sorted(map(str, by_duckdb(lake))) == ["{'n': 0, 'c': 'x'}", "{'n': 1, 'c': 'x'}"]
