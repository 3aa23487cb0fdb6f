"""Classes as functions: one instance for each process and thread, closed when that is done."""

from __future__ import annotations

import atexit
import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.engine import process_pool
from mapred.engine.process_pool import ProcessExecutor
from mapred.functions import instances

FOLDER = "MAPRED_TEST_FOLDER"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def note(name: str, text: object) -> None:
    with open(Path(os.environ[FOLDER], name), "a") as file:
        file.write(f"{text}\n")


def noted(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text().split() if (folder / name).exists() else []


class Buffers:
    """Writes what it gets when it is closed."""

    def __init__(self) -> None:
        self.items: list[int] = []

    def __call__(self, item: int) -> int:
        self.items.append(item)
        return item

    def close(self) -> None:
        for item in self.items:
            note("closed", item)


class Manages(Buffers):
    def __enter__(self) -> Manages:
        note("entered", os.getpid())
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Exits(Buffers):
    def __init__(self) -> None:
        super().__init__()
        atexit.register(note, "exits", os.getpid())


class KeepsAFileOpen:
    def __init__(self) -> None:
        self.file = open(Path(os.environ[FOLDER], f"kept-{os.getpid()}"), "w")  # noqa: SIM115

    def __call__(self, item: int) -> int:
        self.file.write(f"{item}\n")
        return item


def all_numbers(folder: Path, pattern: str) -> list[int]:
    texts = [path.read_text() for path in folder.glob(pattern)]
    return sorted(int(word) for text in texts for word in text.split())


def spawned() -> Executor:
    return ProcessPoolExecutor(2, mp_context=get_context("spawn"))


@pytest.mark.parametrize("cls", [Buffers, Manages])
@pytest.mark.parametrize("backend", ["inline", "threads"])
def test_a_class_is_closed_at_the_end(cls: Any, backend: str, folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        chosen = pool if backend == "threads" else backend
        run = mapred.run(cls, mapred.array(6), per_task=1, backend=chosen, progress="none")
        assert run.result() == list(range(6))
        assert all_numbers(folder, "closed") == list(range(6))
        assert len(noted(folder, "entered")) == (cls is Manages)


@pytest.mark.parametrize("cls", [Exits, Manages, KeepsAFileOpen])
def test_a_worker_process_closes_at_the_end(cls: Any, folder: Path) -> None:
    run = mapred.run(cls, mapred.array(6), per_task=1, progress="none")
    assert run.result() == list(range(6))
    pattern = "kept-*" if cls is KeepsAFileOpen else "closed"
    assert all_numbers(folder, pattern) == list(range(6))
    if cls is Exits:
        assert len(noted(folder, "exits")) == len(set(noted(folder, "exits"))) > 0


@pytest.mark.slow
def test_a_pool_of_processes_closes_when_it_ends(folder: Path) -> None:
    with spawned() as pool:
        mapred.run(Buffers, mapred.array(4), per_task=1, backend=pool, progress="none")
    assert all_numbers(folder, "closed") == [0, 1, 2, 3]


def test_a_worker_that_is_used_up_closes_first(folder: Path) -> None:
    def fails_on_two(self: Exits, item: int) -> int:
        if item == 2 and not noted(folder, "failed"):
            note("failed", 2)
            raise ValueError(item)
        self.items.append(item)
        return item

    cls = type("Fails", (Exits,), {"__call__": fails_on_two})
    backend = mapred.Local(workers=1)
    run = mapred.run(cls, mapred.array(4), per_task=1, backend=backend, progress="none")
    assert run.result() == [0, 1, 2, 3]
    assert all_numbers(folder, "closed") == [0, 1, 2, 3]
    assert len(set(noted(folder, "exits"))) >= 2


def test_a_run_that_fails_closes_what_is_idle(folder: Path) -> None:
    def fails_last(self: Buffers, item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return Buffers.__call__(self, item)

    cls = type("Fails", (Buffers,), {"__call__": fails_last})
    with pytest.raises(mapred.RunError):
        mapred.run(
            cls, mapred.array(4), per_task=1, attempts=1, backend=mapred.Local(workers=1),
            progress="none",
        )  # fmt: skip
    assert all_numbers(folder, "closed") == [0, 1, 2]


OPEN: Any = None


def writes_to_a_global(item: int) -> int:
    global OPEN
    if OPEN is None:
        OPEN = gzip.open(Path(os.environ[FOLDER], f"{os.getpid()}.gz"), "wt")  # noqa: SIM115
    OPEN.write(f"{item}\n")
    return item


def test_files_of_modules_are_written_to_their_end(folder: Path) -> None:
    mapred.run(writes_to_a_global, mapred.array(5), per_task=1, progress="none")
    texts = [gzip.decompress(path.read_bytes()).decode() for path in folder.glob("*.gz")]
    assert sorted("".join(texts).split()) == list("01234")


class Refuses(Buffers):
    def close(self) -> None:
        raise OSError("the disk is full")


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_a_class_that_cannot_be_closed_is_told_of(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    mapred.run(Refuses, mapred.array(1), backend=backend, progress="none")
    assert "Refuses could not be closed: OSError: the disk is full" in caplog.text


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class RefusesSilently(Buffers):
    def close(self) -> None:
        raise Mute


def test_why_a_class_cannot_be_closed_is_told_whatever_it_raises() -> None:
    text = instances.Instance(RefusesSilently).close()
    assert text is not None
    assert "Mute" in text


class Hangs(Buffers):
    def close(self) -> None:
        time.sleep(600)


def test_a_class_that_hangs_when_it_is_closed_is_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "SECONDS", 0.3)
    executor = ProcessExecutor(1)
    hanging = instances.ThreadInstances("run", Hangs)
    executor.submit(_keeps, hanging._cls).result(30)
    started = time.monotonic()
    executor.shutdown()
    assert time.monotonic() - started < 5
    assert "was killed that had not closed all that it held" in caplog.text
    assert executor.pids() == []


def _keeps(cls: Any) -> int:
    instances.ThreadInstances("run", cls).here()
    return os.getpid()


class Counts:
    """Not safe for threads: it looks at what it has just put down."""

    def __init__(self) -> None:
        self.buffer: list[int] = []
        self.thread = threading.get_ident()

    def __call__(self, item: int) -> tuple[int, bool]:
        self.buffer.append(item)
        time.sleep(0.001)
        return self.buffer.pop(), threading.get_ident() == self.thread


def test_each_thread_has_an_instance_of_its_own() -> None:
    with ThreadPoolExecutor(8) as pool:
        run = mapred.run(Counts, mapred.array(64), per_task=1, backend=pool, progress="none")
    assert run.result() == [(item, True) for item in range(64)]


LOG: list[str] = []


class Logged:
    def __call__(self, item: int) -> int:
        return item

    def close(self) -> None:
        LOG.append("closed")


@pytest.fixture
def log() -> Iterator[list[str]]:
    LOG.clear()
    yield LOG
    instances.close_all()


def test_a_thread_at_work_closes_once_it_is_done(log: list[str]) -> None:
    made = instances.ThreadInstances("a", Logged)
    with instances.mark_working("a"):
        first = made.here()
        instances.close("a")
        assert made.here() is first
        assert log == []
    assert log == ["closed"]
    with instances.mark_working("a"):
        assert made.here() is not first
    instances.close("a")
    assert log == ["closed"] * 2
    instances.close("a")
    assert log == ["closed"] * 2


def test_a_process_of_a_pool_keeps_instances_of_few_runs(log: list[str]) -> None:
    for number in range(10):
        with instances.mark_working(f"run {number}"):
            instances.ThreadInstances(f"run {number}", Logged).here()
    assert len(log) == 6


def process(item: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("backend", ["local", "dask"])
def test_a_worker_runs_no_more_tasks_than_it_may(backend: str, folder: Path) -> None:
    if backend == "dask":
        pytest.importorskip("distributed")
    run = mapred.run(
        process, mapred.array(7), per_task=1, max_tasks_per_worker=3, backend=backend,
        progress="none",
    )  # fmt: skip
    pids = run.result()
    assert max(pids.count(pid) for pid in pids) <= 3
    assert len(set(pids)) >= 3
    assert mapred.open(run.uri).job.max_tasks_per_worker == 3


def test_each_task_in_a_process_of_its_own(folder: Path) -> None:
    run = mapred.run(
        Exits, mapred.array(4), per_task=1, max_tasks_per_worker=1, progress="none",
    )  # fmt: skip
    assert run.result() == [0, 1, 2, 3]
    assert len(set(noted(folder, "exits"))) == 4
    assert all_numbers(folder, "closed") == [0, 1, 2, 3]


def test_in_a_pod(folder: Path) -> None:
    """The supervisor's child closes, and a new one goes on where its tasks are used up."""
    run = mapred.run(Exits, mapred.array(4), max_tasks_per_worker=2, per_task=1, progress="none")
    (folder / "closed").unlink()
    (folder / "exits").unlink()
    for file in Path(run.uri, "map", "commits").iterdir():
        file.unlink()
    Path(run.uri, "end.json").unlink()
    command = [
        sys.executable,
        "-m",
        "mapred.worker.supervisor",
        run.uri,
        run.digest,
        "map",
        "0",
        "4",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all_numbers(folder, "closed") == [0, 1, 2, 3]
    assert len(noted(folder, "exits")) == 2


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3"])
def test_the_number_of_tasks_is_a_whole_one(wrong: Any) -> None:
    with pytest.raises(mapred.MapredError, match="max_tasks_per_worker="):
        mapred.job(process, mapred.array(1), max_tasks_per_worker=wrong)
