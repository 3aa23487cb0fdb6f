"""Datasets that runs write, read back by programs that know nothing of this package."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from writing.lakes import (
    Killed,
    Watched,
    by_folder,
    by_manifest,
    lake_files,
    newest_manifest,
    together,
)

import mapred
from mapred import writing
from mapred.errors import DatasetError, FunctionError, RunError
from mapred.model import layout
from mapred.storage import open_store
from mapred.writing import manifest, publishing

duckdb = pytest.importorskip("duckdb")
pl = pytest.importorskip("polars")

NASTY = "a/b|50%|x=y|two words|zürich 日本||..|a+b&c#d?e|%41|NULL|'q\"|*[x]{y}~|01".split("|")
if duckdb.__version__.startswith("1."):  # which takes a folder called NULL for no value
    NASTY.remove("NULL")


# --- readers, none of them ours


def by_duckdb(uri: str) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        if uri.startswith("s3://"):
            connection.register_filesystem(lake_files(uri))
        query = f"from read_parquet('{uri}/**/*.parquet', hive_partitioning=true, hive_types_autocast=false)"
        return list(connection.sql(query).to_arrow_table().to_pylist())


def by_polars(uri: str) -> list[dict[str, Any]]:
    options = None
    if uri.startswith("s3://"):
        options = {
            "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    frame = pl.scan_parquet(
        f"{uri}/**/*.parquet",
        hive_partitioning=True,
        try_parse_hive_dates=False,
        storage_options=options,
    )
    return list(frame.collect().to_dicts())


def by_pyarrow(uri: str) -> list[dict[str, Any]]:
    base, filesystem = uri, None
    if uri.startswith("s3://"):
        base, filesystem = uri[5:], pafs.PyFileSystem(pafs.FSSpecHandler(lake_files(uri)))
    found = ds.dataset(base, filesystem=filesystem, partitioning="hive").to_table()
    return list(found.to_pylist())


READERS = pytest.mark.parametrize(
    "read", [by_duckdb, by_polars, by_pyarrow], ids=["duckdb", "polars", "pyarrow"]
)


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty folder to write a dataset to."""
    if request.param == "local":
        return str(tmp_path / "lake")
    return str(request.getfixturevalue("s3_root")) + "/lake"


@pytest.fixture(params=["local", "s3"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Like `lake`, on S3 in the quick tests too."""
    if request.param == "local":
        return str(tmp_path / "lake")
    return str(request.getfixturevalue("s3_root")) + "/lake"


def day_of(item: int) -> pa.Table:
    days = [f"2026-01-0{1 + item % 3}", "2026-01-09"]
    return pa.table({"n": [item, item + 100], "day": days})


def rows_of(items: Iterable[int], change: int = 0) -> Counter[tuple[Any, ...]]:
    return Counter(
        (n + change, day)
        for item in items
        for n, day in zip(*day_of(item).to_pydict().values(), strict=True)
    )


def write(fn: Callable[..., Any], items: Any, target: writing.Target, **options: Any) -> Any:
    return mapred.run(
        fn, mapred.items(items), write=target, backend="inline", progress="none", **options
    ).result()


# --- Parquet


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


def test_a_day_that_runs_twice_is_there_once(both: str) -> None:
    lake = both
    target = mapred.write_parquet(lake, partition_by="day")
    write(day_of, [0, 1, 2], target)

    def again(item: int) -> pa.Table:
        return pa.table({"n": [item + 1000], "day": ["2026-01-02"]})

    for _ in range(2):
        write(again, [1, 4], target)
        untouched = Counter({row: n for row, n in rows_of([0, 1, 2]).items() if row[1][-1] != "2"})
        wanted = untouched + Counter([(1001, "2026-01-02"), (1004, "2026-01-02")])
        assert Counter((row["n"], row["day"]) for row in by_duckdb(lake)) == wanted
        assert by_manifest(lake) == wanted


def test_files_of_other_programs_are_replaced_as_well(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    table = day_of(0)
    ds.write_dataset(
        table, lake, format="parquet", partitioning=["day"], partitioning_flavor="hive"
    )
    assert by_folder(str(lake)) == rows_of([0])

    def one(_: int) -> pa.Table:
        return pa.table({"n": [5], "day": ["2026-01-01"]})

    write(one, [0], mapred.write_parquet(lake, partition_by="day"))
    assert by_folder(str(lake)) == Counter([(5, "2026-01-01"), (100, "2026-01-09")])


def test_modes(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")

    def put(mode: str, by: str | None = "day") -> Counter[tuple[Any, ...]]:
        write(day_of, [0], mapred.write_parquet(lake, partition_by=by or (), mode=mode))
        assert by_manifest(lake).total() == sum(1 for _ in by_duckdb(lake))
        return by_manifest(lake)

    assert put("append") == rows_of([0])
    assert put("append") == rows_of([0, 0])
    assert put("overwrite_partitions") == rows_of([0])
    with pytest.raises(RunError, match=r"partitioned by \['day'\], and this run by \[\]"):
        put("append", by=None)
    assert put("overwrite", by=None) == Counter([(0, None), (100, None)])
    assert put("overwrite_partitions", by=None) == Counter([(0, None), (100, None)])


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lake/orders").mkdir(parents=True)
    pq.write_table(day_of(0), tmp_path / "lake/orders/1.parquet")
    with pytest.raises(RunError, match=r"orders/1\.parquet, which is not a file of a dataset"):
        write(day_of, [0], mapred.write_parquet(tmp_path / "lake"))
    assert (tmp_path / "lake/orders/1.parquet").exists()


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


def test_schemas_that_differ_are_an_error_and_nothing_is_published(lake: str) -> None:
    def rows(item: int) -> pa.Table:
        return pa.table({"n": [item], "x": [1.5 if item else "text"]})

    with pytest.raises(RunError, match=r"shards 0 and 1.*column 'x' is string and double"):
        write(rows, [0, 1], mapred.write_parquet(lake))
    assert not [p for p, _ in open_store(lake).list("") if not p.startswith("_staging")]
    schema = pa.schema({"n": pa.int64(), "x": pa.string()})
    write(rows, [0, 1], mapred.write_parquet(lake, schema=schema))
    assert sorted(row["x"] for row in by_duckdb(lake)) == ["1.5", "text"]
    with pytest.raises(RunError, match=r"column 'x' is double, and .* holds it as string"):
        write(lambda n: pa.table({"x": [1.5]}), [1], mapred.write_parquet(lake, mode="append"))


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


def test_arguments_are_checked_at_once(tmp_path: Path) -> None:
    for wrong in (
        lambda: mapred.write_parquet(tmp_path, mode="replace"),
        lambda: mapred.write_parquet(tmp_path, compression="zip"),
        lambda: mapred.write_parquet(tmp_path, partition_by=["a", "a"]),
        lambda: mapred.write_parquet(tmp_path, partition_by="a=b"),
        lambda: mapred.write_parquet(tmp_path, target_file_bytes="2Gi"),
        lambda: mapred.write_parquet(tmp_path, partition_by="b", schema=pa.schema({"a": "int8"})),
        lambda: mapred.write_delta("oss://bucket/x"),
    ):
        with pytest.raises(DatasetError):
            wrong()
    with pytest.raises(FunctionError, match="leave reduce= out"):
        mapred.job(day_of, [1], reduce=list, write=mapred.write_parquet(tmp_path))
    with pytest.raises(FunctionError, match="must be write_parquet"):
        mapred.job(day_of, [1], write=str(tmp_path))  # type: ignore[arg-type]


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


def test_small_outputs_of_a_task_share_a_file(tmp_path: Path) -> None:
    target = mapred.write_parquet(tmp_path / "lake", partition_by="day")
    assert write(day_of, range(90), target, per_task=90).files == 4
    assert by_folder(str(tmp_path / "lake")) == rows_of(range(90))


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


# --- what readers see while it is published, and after it was cut off


def wrote(target: writing.Target, name: str, change: int, items: Iterable[int]) -> list[Any]:
    """What the tasks of a run `name` hand to its last one."""
    found = []
    for item in items:
        table = day_of(item)
        table = table.set_column(0, "n", pa.array([n + change for n in table["n"].to_pylist()]))
        found.append(writing.write_values(target, name, item, "1-abc", [table]))
    return found


OLD, NEW = rows_of(range(3)), rows_of(range(3), change=1000)


def look(lake: str) -> None:
    """What readers see is whole: by the manifest all or nothing, in a folder old or new."""
    by_list = by_manifest(lake)
    assert by_list in (OLD, NEW)
    seen = by_folder(lake)
    assert by_list == NEW or seen == OLD
    assert all(count == 1 for count in seen.values())
    for day in {day for _, day in OLD}:
        here = {row for row in seen if row[1] == day}
        assert here <= OLD.keys() or here <= NEW.keys(), "old rows and new ones at a time"


def republished(lake: str, last: int, looking: bool, patch: pytest.MonkeyPatch) -> Any:
    """Replace OLD by NEW, until the store's write number `last`; the target, outputs, count."""
    target = mapred.write_parquet(lake, partition_by="day")
    writing.publish(target, wrote(target, "run-1", 0, range(3)))
    outputs = wrote(target, "run-2", 1000, range(3))
    watched = Watched(open_store(lake), (lambda: look(lake)) if looking else (lambda: None), last)
    with patch.context() as context:
        context.setattr(publishing, "open_store", lambda _: watched)
        try:
            writing.publish(target, outputs)
        except Killed:
            look(lake)
    return target, outputs, watched.count


@pytest.mark.slow
def test_every_moment_of_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, count = republished(str(tmp_path / "whole"), -1, True, monkeypatch)
    assert by_folder(str(tmp_path / "whole")) == NEW
    assert count > 20
    for last in range(count):
        lake = str(tmp_path / str(last))
        target, outputs, _ = republished(lake, last, False, monkeypatch)
        # Another attempt at the same task goes on where that one was cut off.
        writing.publish(target, outputs)
        assert by_folder(lake) == by_manifest(lake) == NEW
        assert not open_store(lake).list("_staging")


@pytest.mark.slow
def test_the_next_run_finishes_what_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, count = republished(str(tmp_path / "whole"), -1, False, monkeypatch)
    for last in range(0, count, 3):
        lake = str(tmp_path / str(last))
        target, outputs, _ = republished(lake, last, False, monkeypatch)
        begun = by_manifest(lake) == NEW
        writing.publish(target, wrote(target, "run-3", 2000, [0]))
        kept = {row for row in (NEW if begun else OLD) if row[1][-1] in "23"}
        wanted = Counter(kept) + rows_of([0], change=2000)
        assert by_folder(lake) == by_manifest(lake) == wanted
        # The one that was cut off comes back: it does nothing a second time.
        writing.publish(target, outputs)
        wanted = wanted if begun else NEW
        assert by_folder(lake) == by_manifest(lake) == wanted


_SCRIPT = """
import os, signal, sys
import mapred, pyarrow as pa
from mapred.storage import open_store

lake, root, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
kind = type(open_store(lake))
copy, done = kind.copy, []

def dying(self, source, target):
    if len(done) >= after:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(target)
    copy(self, source, target)

kind.copy = dying

def day_of(item):
    days = [f"2026-01-0{1 + item % 3}", "2026-01-09"]
    return pa.table({"n": [item, item + 100], "day": days})

mapred.run(day_of, mapred.items(range(6)), write=mapred.write_parquet(lake, partition_by="day"),
           root=root, backend="inline", progress="none")
"""


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_publishes_is_resumed(lake: str, tmp_path: Path) -> None:
    write(lambda _: day_of(0), [0], mapred.write_parquet(lake, partition_by="day"))
    arguments = [sys.executable, "-c", _SCRIPT, lake, str(tmp_path / "runs"), "3"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # All that the manifest names can be read in the middle of it.
    assert by_manifest(lake) == rows_of(range(6))
    (folder,) = (tmp_path / "runs").glob("2*")
    run = mapred.open(folder)
    assert run.state == "interrupted"
    run.resume(progress="none")
    assert by_manifest(lake) == rows_of(range(6))
    assert Counter((row["n"], row["day"]) for row in by_duckdb(lake)) == rows_of(range(6))
    assert not open_store(lake).list("_staging")
    run.store.delete(layout.END)
    run.store.delete(layout.commit("reduce-1", 0))
    run.resume(progress="none")
    assert Counter((row["n"], row["day"]) for row in by_duckdb(lake)) == rows_of(range(6))


def test_twins_publish_once(lake: str) -> None:
    target = mapred.write_parquet(lake, partition_by="day")
    for number in range(3):
        name, change = f"run-{number}", 1000 * number
        outputs = wrote(target, name, change, range(4))
        # What a losing attempt wrote is seen by nobody, and goes.
        writing.write_values(target, name, 0, "2-def", [day_of(0)])
        together(*[lambda outputs=outputs: writing.publish(target, outputs)] * 4)
        wanted = rows_of(range(4), change)
        assert by_manifest(lake) == wanted
        assert Counter((row["n"], row["day"]) for row in by_duckdb(lake)) == wanted
        assert not open_store(lake).list("_staging")


def test_several_runs_at_once(tmp_path: Path) -> None:
    lake = str(tmp_path / "lake")
    target = mapred.write_parquet(lake, partition_by="day")
    apart = [
        [writing.write_values(target, f"run-{day}", 0, "1-a", [table])]
        for day in range(8)
        for table in [pa.table({"n": [day], "day": [f"2026-02-0{day}"]})]
    ]
    same = [wrote(target, f"same-{n}", 1000 * n, range(3)) for n in range(3)]
    together(*[lambda each=each: writing.publish(target, each) for each in (*apart, *same)])
    seen = by_manifest(lake)
    assert seen == by_folder(lake)
    assert {row for row in seen if "-02-" in row[1]} == {(d, f"2026-02-0{d}") for d in range(8)}
    rest = Counter({row: n for row, n in seen.items() if "-01-" in row[1]})
    assert rest in [rows_of(range(3), 1000 * n) for n in range(3)]


def test_who_is_late_leaves_no_file_that_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = str(tmp_path / "lake")
    target = mapred.write_parquet(lake, partition_by="day")
    first, second = wrote(target, "first", 0, [0]), wrote(target, "second", 1000, [0])
    show = publishing._show

    def late(store: Any, entry: Any) -> bool:
        data = store.read(entry.path)
        monkeypatch.setattr(publishing, "_show", show)
        writing.publish(target, first)
        writing.publish(target, second)
        store.write(entry.final, data)
        return True

    monkeypatch.setattr(publishing, "_show", late)
    writing.publish(target, first)
    assert by_folder(lake) == by_manifest(lake) == rows_of([0], 1000)


def test_old_versions_of_the_manifest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_KEPT", 3)
    target = mapred.write_parquet(tmp_path / "lake", partition_by="day")
    for number in range(4):
        writing.publish(target, wrote(target, f"run-{number}", 0, [0]))
    names = Path(tmp_path / "lake/_manifest")
    assert len(list(names.iterdir())) == 8, "young ones stay, for somebody may build on them"
    monkeypatch.setattr(manifest, "_KEPT_SECONDS", -1.0)
    writing.publish(target, wrote(target, "run-9", 0, [0]))
    assert [path.name[-7:] for path in sorted(names.iterdir())] == [
        f"{n:02d}.json" for n in (7, 8, 9, 10)
    ]
    assert by_manifest(str(tmp_path / "lake")) == rows_of([0])


# --- Delta


def delta_rows(lake: str) -> Counter[tuple[Any, ...]]:
    """(n, day) of all rows, as Polars reads the table; deltalake's own reader must agree."""
    deltalake = pytest.importorskip("deltalake")
    options = None
    if lake.startswith("s3://"):
        options = {
            "aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"],
            "aws_access_key_id": os.environ["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": os.environ["AWS_SECRET_ACCESS_KEY"],
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }
    frame = pl.scan_delta(lake, storage_options=options).collect()
    table = deltalake.DeltaTable(lake, storage_options=options)
    rows = Counter((row["n"], str(row["day"])) for row in frame.to_dicts())
    again = pa.table(deltalake.QueryBuilder().register("t", table).execute("select n, day from t"))
    assert Counter((row["n"], str(row["day"])) for row in again.to_pylist()) == rows
    return rows


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
