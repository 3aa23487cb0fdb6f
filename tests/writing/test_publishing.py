"""What a dataset shows while runs publish to it, and after one was cut off."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from writing.days import day_of, rows_of, write, wrote
from writing.lakes import (
    Killed,
    Watched,
    by_folder,
    by_manifest,
    together,
)
from writing.programs import by_duckdb

import mapred
from mapred import writing
from mapred.errors import RunError
from mapred.model import layout
from mapred.storage import open_store
from mapred.writing import publishing


def test_a_day_that_runs_twice_is_there_once(lake: str) -> None:
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
        context.setattr(publishing, "open_store", lambda _, **__: watched)
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
    show = publishing._publish_file

    def late(store: Any, entry: Any) -> bool:
        data = store.read(entry.path)
        monkeypatch.setattr(publishing, "_publish_file", show)
        writing.publish(target, first)
        writing.publish(target, second)
        store.write(entry.final, data)
        return True

    monkeypatch.setattr(publishing, "_publish_file", late)
    writing.publish(target, first)
    assert by_folder(lake) == by_manifest(lake) == rows_of([0], 1000)
