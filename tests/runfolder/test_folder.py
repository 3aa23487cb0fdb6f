"""The run's folder as one object: what it reads, writes and adds up."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

import mapred
from mapred.model import layout
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.liveness import FRESH_SECONDS, QUIET_SECONDS, Driver, Process


def half(item: int) -> int:
    if item > 3:
        raise ValueError(f"no {item}")
    return item


@pytest.fixture
def run(tmp_path: Path) -> mapred.Run:
    """A run of six tasks of which two failed."""
    job = mapred.job(half, mapred.items(range(6)), per_task=1, attempts=1, reduce=sum)
    run = job.submit(backend="inline", root=tmp_path)
    run.wait()
    return run


def test_a_status_without_reading_commits_has_the_same_numbers(run: mapred.Run) -> None:
    folder = RunFolder(run.store)
    read, listed = folder.status(run.job, alive=False), folder.progress(run.job)
    assert [(s.name, s.done, s.total) for s in read.stages] == [
        (s.name, s.done, s.total) for s in listed.stages
    ]
    assert listed.bytes_done == int(listed.bytes * 4 / 6)
    assert sum(s.done for s in folder.running_status(run.job).stages) == 0


def test_a_status_is_the_same_live_and_from_the_folder(run: mapred.Run) -> None:
    live = run.status()
    read = mapred.open(run.uri).status()
    assert (live.stages, live.failures, live.state) == (read.stages, read.failures, "failed")
    assert sorted(live.times, key=repr) == sorted(read.times, key=repr)


def test_the_first_commit_stands_and_a_damaged_one_makes_room(run: mapred.Run) -> None:
    folder = RunFolder(run.store)
    first = folder.commit("map", 1)
    assert first is not None
    assert folder.put_commit(replace(first, attempt="2-late")) == first
    run.store.write(layout.commit("map", 1), b"")
    late = replace(first, attempt="2-late")
    assert folder.put_commit(late) == late == folder.commit("map", 1)
    assert any(path.endswith(".broken") for path, _ in folder.files())


def test_the_last_sign_of_a_run_is_that_of_its_attempts(run: mapred.Run) -> None:
    folder = RunFolder(run.store)
    failure = max(failure.time for failure in folder.failures(run.job))
    commits = [c.started + c.seconds for c in folder.commits("map", range(4)) if c is not None]
    assert folder.last_activity_time() == max([failure, *commits]) <= time.time()


def test_each_record_that_was_written_is_read_again(run: mapred.Run) -> None:
    folder = RunFolder(run.store)
    assert folder.note_start("a ref", ((1.0, 2.0),)) == folder.start()
    assert folder.note_stop(None, "suspended") == folder.start()
    assert folder.start().pauses == ((1.0, 2.0),)
    assert folder.put_kept(0, 0, b"one") == 0
    assert folder.put_kept(0, 0, b"two") == 1
    loaded: list[bytes] = []
    paths = [layout.kept_value(0, 0), layout.kept_value(0, 1)]
    assert folder.load_kept(0, loaded.append) == (paths, 2)
    assert loaded == [b"one", b"two"]
    assert folder.kept_tasks() == {0}
    folder.put_log("map", layout.stem(3, "1-a"), "printed")
    assert (3, "1-a", "printed") in list(folder.logs("map"))
    assert list(folder.logs("map", 2)) == []
    assert folder.put_given_up({1: None}) == {1: None} == folder.put_given_up({2: [2]})
    folder.delete_end()
    assert folder.end() is None


def test_a_removed_folder_holds_no_run_first(run: mapred.Run) -> None:
    folder = RunFolder(run.store)
    folder.remove(path for path, _ in folder.files())
    assert not folder.has_job()
    assert not Path(run.uri).exists()


@pytest.mark.parametrize(
    ("boot", "lives", "quiet", "alive", "may_live"),
    [
        ("b", True, 0.0, True, True),
        ("b", False, 0.0, False, False),
        ("b", None, FRESH_SECONDS - 1, True, True),
        ("b", None, FRESH_SECONDS + 1, False, True),
        ("b", None, QUIET_SECONDS + 1, False, False),
        ("", None, 0.0, False, False),
    ],
)
def test_whether_a_driver_lives(
    boot: str, lives: bool | None, quiet: float, alive: bool, may_live: bool
) -> None:
    driver = Driver(Process("host", 1, "0", boot), lives, quiet)
    assert (driver.alive, driver.may_live) == (alive, may_live)
