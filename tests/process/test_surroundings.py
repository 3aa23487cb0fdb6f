"""What a task changes of its process is undone before the next one; what its code sets stays."""

from __future__ import annotations

import io
import locale
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.process import surroundings


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MAPRED_TEST_KEPT", "before")
    found = surroundings.capture()
    yield
    surroundings.restore(found)


def seen() -> tuple[Any, ...]:
    mask = os.umask(0o022)
    os.umask(mask)
    variables = [os.environ.get(name) for name in ("MAPRED_TEST_KEPT", "MAPRED_TEST_NEW")]
    return os.getcwd(), mask, variables, time.localtime(0).tm_hour, locale.setlocale(locale.LC_ALL)


def change() -> None:
    os.chdir("/")
    os.umask(0o077)
    os.environ["MAPRED_TEST_NEW"] = "x"
    del os.environ["MAPRED_TEST_KEPT"]
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    locale.setlocale(locale.LC_ALL, "C")


def leaves_traces(item: int) -> tuple[Any, ...]:
    found = seen()
    change()
    return found


def test_signals_alarms_and_streams_are_as_they_were() -> None:
    """What a task leaves armed would strike the next one."""
    handler = signal.getsignal(signal.SIGALRM)
    found, out = surroundings.capture(), sys.stdout
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(1000)
    sys.stdout = io.StringIO()
    surroundings.restore(found)
    assert signal.getsignal(signal.SIGALRM) == handler
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert sys.stdout is out
    # An alarm of the caller's own goes on.
    signal.setitimer(signal.ITIMER_REAL, 1000)
    surroundings.restore(surroundings.capture())
    assert signal.alarm(0) > 0


def test_all_is_as_it_was() -> None:
    found, state = surroundings.capture(), seen()
    change()
    assert seen() != state
    surroundings.restore(found)
    assert seen() == state
    assert surroundings.capture() == found


def test_a_folder_that_is_gone_is_no_trouble(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    os.chdir(gone)
    found = surroundings.capture()
    gone.rmdir()
    os.chdir("/")
    surroundings.restore(found)
    assert os.getcwd() == "/"


def test_threads_that_share_a_process_are_left_alone() -> None:
    notes: list[Any] = []
    thread = threading.Thread(target=lambda: notes.append(surroundings.capture()))
    thread.start()
    thread.join()
    surroundings.restore(notes[0])
    assert notes == [None]


BACKENDS: dict[str, Callable[[], Any]] = {
    "local": lambda: mapred.Local(workers=1),
    "inline": lambda: "inline",
    "processes": lambda: ProcessPoolExecutor(1, mp_context=get_context("spawn")),
}


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_task_sees_what_the_one_before_changed(backend: str) -> None:
    here, chosen = seen(), BACKENDS[backend]()
    run = mapred.run(leaves_traces, mapred.array(3), per_task=1, backend=chosen, progress="none")
    assert run.result() == [here] * 3
    assert seen() == here
    if hasattr(chosen, "shutdown"):
        chosen.shutdown()


class SetsUp:
    """Prepares its process once, for all tasks."""

    def __init__(self) -> None:
        os.environ["MAPRED_TEST_NEW"] = "made"

    def __call__(self, item: int) -> str | None:
        return os.environ.pop("MAPRED_TEST_NEW", None)


def test_what_a_class_sets_when_it_is_made_is_there_for_each_task() -> None:
    run = mapred.run(
        SetsUp, mapred.array(3), per_task=1, backend=mapred.Local(workers=1), progress="none"
    )
    assert run.result() == ["made"] * 3


def test_a_commit_has_the_permissions_of_the_others(tmp_path: Path) -> None:
    os.umask(0o022)
    run = mapred.run(
        leaves_traces, mapred.array(2), per_task=1, root=tmp_path, backend="inline",
        progress="none",
    )  # fmt: skip
    commits = list(Path(run.uri, "map", "commits").iterdir())
    assert {commit.stat().st_mode & 0o777 for commit in commits} == {0o600}


def hour(item: int) -> int:
    return time.localtime(0).tm_hour


def test_the_time_zone_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = mapred.Resources(env={"TZ": "Asia/Tokyo"})
    assert mapred.run(hour, mapred.array(1), resources=asked, progress="none").result() == [9]
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert mapred.run(hour, mapred.array(1), progress="none").result() == [5]
