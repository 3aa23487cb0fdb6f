"""Folders that runs wrote, read by `read_parquet`: the files that their manifest lists."""

from __future__ import annotations

import datetime
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from writing.lakes import Killed, Watched

import mapred
from mapred import writing
from mapred.dataset import lakes, listing
from mapred.errors import DatasetError, StaleDatasetError
from mapred.storage import open_store
from mapred.writing import publishing

ONE, TWO, THREE = (datetime.date(2026, 11, day) for day in (1, 2, 3))
OLD = Counter([(1, ONE, "de"), (2, ONE, "01"), (3, TWO, "de"), (4, TWO, None)])
NEW = Counter([(5, ONE, "de"), (6, TWO, "it"), (7, THREE, "de")])


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder to write to, on disk and on an object store."""
    if request.param == "local":
        return str(tmp_path / "lake")
    return str(request.getfixturevalue("s3_root")) + "/lake"


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lakes, "_PATIENCE", 0.0)


def table(rows: Counter[Any]) -> pa.Table:
    numbers, days, countries = zip(*rows, strict=True)
    return pa.table({"n": numbers, "day": days, "country": pa.array(countries, pa.string())})


def target_of(lake: str, **options: Any) -> writing.Target:
    return mapred.write_parquet(lake, partition_by=["day", "country"], **options)


def write(rows: Counter[Any], target: writing.Target, name: str) -> None:
    writing.publish(target, [writing.write_values(target, name, 0, "1-abc", [table(rows)])])


def read(source: Any) -> Counter[tuple[Any, ...]]:
    """(n, day, country) of what mapred reads."""
    run = mapred.run(lambda t: t.to_pylist(), source, backend="inline", progress="none")
    rows = [row for some in run.result() for row in some]
    return Counter((row["n"], row["day"], row["country"]) for row in rows)


def spoil(lake: str) -> None:
    """Put Parquet files of others into the folder: leftovers of a copy, a file beside."""
    store = open_store(lake)
    path = next(path for path, _ in store.list("") if path.endswith(".parquet"))
    store.copy(path, f"{path.rpartition('/')[0]}/leftover.parquet")
    store.copy(path, "day=2020-01-01/country=xx/leftover.parquet")


def test_live_files_and_no_others(lake: str) -> None:
    target = target_of(lake)
    write(OLD, target, "run-1")
    # What another run has written and not published, and what lies about.
    writing.write_values(target, "run-2", 0, "1-abc", [table(NEW)])
    spoil(lake)
    one = Counter([row for row in OLD if row[1] == ONE])
    assert read(lake) == read(mapred.read_parquet(lake)) == OLD
    assert read(f"{lake}/") == read(f"{lake}/**/*.parquet") == read(f"{lake}/*/*/*.parquet") == OLD
    assert read(f"{lake}/*") == OLD
    assert read(f"{lake}/day=2026-11-01") == read(f"{lake}/day=*-01/*/*.parquet") == one
    assert read(f"{lake}/day=2026-11-01/*/*") == one
    assert read([f"{lake}/day=2026-11-01", f"{lake}/day=2026-11-02"]) == OLD
    assert read([f"{lake}/day=2026-11-01", f"{lake}/day=*"]) == OLD
    assert read(f"{lake}/day=2026-11-02/country=__HIVE_DEFAULT_PARTITION__") == Counter(
        [(4, TWO, None)]
    )
    filtered = mapred.read_parquet(
        lake, filters=[("day", "==", ONE)], columns=["n", "day", "country"]
    )
    assert read(filtered) == one
    # A file that is named is that file, as are those that a program lists.
    files = listing(mapred.read_parquet(lake))["path"].to_pylist()
    assert sum(read(files).values()) == 4
    assert len(listing(mapred.read_files(f"{lake}/day=2020-01-01"))) == 1


def test_partitions_that_are_gone(lake: str) -> None:
    write(OLD, target_of(lake), "run-1")
    target = target_of(lake, replace={"day": TWO})
    writing.publish(target, [writing.write_values(target, "run-2", 0, "1-abc", [])])
    assert read(lake) == Counter([row for row in OLD if row[1] == ONE])
    with pytest.raises(
        DatasetError, match=r"no file that the dataset has now: version 4 .* 2 files"
    ):
        read(f"{lake}/day=2026-11-02")


def test_a_dataset_within_a_partition_of_another(lake: str) -> None:
    target = mapred.write_parquet(f"{lake}/raw/year=2026", partition_by=["day"])
    rows = table(OLD).drop_columns("country")
    writing.publish(target, [writing.write_values(target, "run-1", 0, "1-abc", [rows])])
    for uri in (f"{lake}/raw/year=2026", f"{lake}/raw/year=2026/day=2026-11-01"):
        run = mapred.run(lambda t: t.to_pylist(), uri, backend="inline", progress="none")
        found = [row for some in run.result() for row in some]
        assert {(row["year"], type(row["day"])) for row in found} == {(2026, datetime.date)}


def test_another_client_reads_the_same(s3_root: str, s3_server: dict[str, Any]) -> None:
    s3fs = pytest.importorskip("s3fs")
    lake = f"{s3_root}/lake"
    write(OLD, target_of(lake), "run-1")
    spoil(lake)
    filesystem = s3fs.S3FileSystem(endpoint_url=s3_server["endpoint"])
    assert read(mapred.read_parquet(lake, filesystem=filesystem)) == OLD
    below = mapred.read_parquet(f"{lake}/day=2026-11-01", filesystem=filesystem)
    assert read(below) == Counter([row for row in OLD if row[1] == ONE])


def test_every_moment_of_publishing_is_read(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the manifest a reader sees all old rows or all new ones, and never has to look again."""
    target = target_of(lake, replace={"day": [ONE, TWO, THREE]})
    write(OLD, target_of(lake), "run-1")
    seen = []

    def look() -> None:
        try:
            seen.append(read(lake))
        except StaleDatasetError:  # pragma: no cover
            seen.append(Counter())

    watched = Watched(open_store(lake), look)
    outputs = [writing.write_values(target, "run-2", 0, "1-abc", [table(NEW)])]
    with monkeypatch.context() as patch:
        patch.setattr(publishing, "open_store", lambda _, **__: watched)
        writing.publish(target, outputs)
    assert len(seen) > 8
    begun = seen.index(NEW)
    assert seen == [OLD] * begun + [NEW] * (len(seen) - begun)
    assert read(lake) == NEW


@pytest.mark.parametrize("last", range(1, 12, 3))
def test_what_was_cut_off_is_read(lake: str, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(lake, replace={"day": [ONE, TWO, THREE]})
    write(OLD, target_of(lake), "run-1")
    outputs = [writing.write_values(target, "run-2", 0, "1-abc", [table(NEW)])]
    with monkeypatch.context() as patch:
        patch.setattr(
            publishing, "open_store", lambda uri, **_: Watched(open_store(uri), lambda: None, last)
        )
        with pytest.raises(Killed):
            writing.publish(target, outputs)
    assert read(lake) == read(mapred.read_parquet(lake)) == NEW
    assert read(f"{lake}/day=2026-11-01") == Counter([(5, ONE, "de")])
    writing.publish(target, outputs)
    assert read(lake) == NEW


def test_a_reader_waits_for_what_is_being_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lakes, "_PATIENCE", 5.0)
    lake = str(tmp_path / "lake")
    target = target_of(lake)
    outputs = [writing.write_values(target, "run-1", 0, "1-abc", [table(OLD)])]
    with monkeypatch.context() as patch:
        patch.setattr(
            publishing, "open_store", lambda uri, **_: Watched(open_store(uri), lambda: None, 1)
        )
        with pytest.raises(Killed):
            writing.publish(target, outputs)
    waits = []

    def sleep(_: float) -> None:
        waits.append(1)
        writing.publish(target, outputs)

    monkeypatch.setattr(lakes.time, "sleep", sleep)
    files = listing(mapred.read_parquet(lake))["path"].to_pylist()
    assert waits == [1]
    assert not any("_staging" in path for path in files)


def test_files_that_are_replaced_after_planning(lake: str) -> None:
    write(OLD, target_of(lake), "run-1")
    plan = mapred.plan(mapred.read_parquet(lake))
    write(Counter([(9, TWO, "de")]), target_of(lake, replace={"day": TWO}), "run-2")
    with pytest.raises(mapred.RunError, match="gone since it was planned; plan"):
        mapred.run(len, plan, backend="inline", progress="none")
    assert mapred.run(len, lake, reduce=sum, backend="inline", progress="none").result() == 3


def test_a_live_file_that_someone_removed(lake: str) -> None:
    write(OLD, target_of(lake), "run-1")
    files = listing(mapred.read_parquet(lake))["path"].to_pylist()
    open_store(lake).delete(files[0][len(lake) + 1 :])
    with pytest.raises(
        DatasetError, match=r"01/run-1.*is gone, and the newest version in .*lists it"
    ):
        read(lake)
    # What the error advises.
    assert sum(read(mapred.read_parquet(mapred.files(files[1:]))).values()) == 3
    write(OLD, target_of(lake), "run-2")
    assert read(lake) == OLD


def test_a_manifest_of_someone_else(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    (lake / "_manifest").mkdir(parents=True)
    (lake / "_manifest/README.json").write_text("{}")
    pq.write_table(table(OLD), lake / "a.parquet")
    assert read(str(lake)) == OLD
    newer = '{"format": "mapred-manifest-99"}'
    for text, why in {
        newer: r"_manifest-000000001\.json was made by a newer mapred: its format is mapred-manifest-99",
        '{"format": 1}': "is not a manifest that mapred wrote .*its format is 1",
        "{": "is not a manifest that mapred wrote",
    }.items():
        (lake / "_manifest/_manifest-000000001.json").write_text(text)
        with pytest.raises(DatasetError, match=why):
            read(str(lake))


def test_a_copied_dataset_is_read_where_it_is(tmp_path: Path) -> None:
    write(OLD, target_of(str(tmp_path / "lake")), "run-1")
    shutil.copytree(tmp_path / "lake", tmp_path / "x=1" / "copy [2]")
    assert read(tmp_path / "x=1" / "copy [2]") == OLD
    assert read(str(tmp_path / "x=1" / "copy [2]" / "day=2026-11-01")).total() == 2


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(OLD, target_of("lake"), "run-1")
    spoil("lake")
    assert read("lake") == read("./lake/*/*/*.parquet") == OLD
    monkeypatch.chdir(tmp_path / "lake/day=2026-11-01")
    assert read("..") == OLD
