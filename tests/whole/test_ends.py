"""How items and runs end: any exception is one item's failure, and nothing is left at work."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import signal
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
from mapred.engine.fork_client import fork_server
from mapred.errors import AccessError
from mapred.functions.task import Task
from mapred.runfolder import failures
from mapred.storage import open_store
from mapred.worker.context import Context

QUIET: dict[str, Any] = {"progress": "none"}


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Rude(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


class Wrong(Exception):
    def __str__(self) -> Any:
        return 3  # noqa: PLE0307


class Base(BaseException):
    pass


class NeedsArguments(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__("needs them")


def _grouped() -> BaseException:
    if sys.version_info < (3, 11):
        return Base("a group")
    return BaseExceptionGroup("several", [KeyboardInterrupt(), Mute()])  # noqa: F821


class Noted(Exception):
    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise SystemExit("no notes")


RAISED: dict[str, Any] = {
    "KeyboardInterrupt": KeyboardInterrupt,
    "Mute": Mute,
    "Rude": Rude,
    "Wrong": Wrong,
    "Noted": Noted,
    "Base": Base,
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(Mute()),
    "CancelledError": asyncio.CancelledError,
    "StopIteration": StopIteration,
    "NeedsArguments": lambda: NeedsArguments(1, 2),
    "StorageError": lambda: mapred.StorageError("another bucket is gone"),
    "AccessError": lambda: AccessError("another bucket refuses"),
    "BackendError": lambda: mapred.BackendError("a run of its own"),
    "Group": _grouped,
}


class Raises:
    """Every item but 0 raises what has its name."""

    def __call__(self, name: str) -> str:
        if name != "fine":
            raise RAISED[name]()
        return name


def check(backend: Any, root: Path, per_task: int = 1) -> None:
    names = ["fine", *RAISED, "fine"]
    run = mapred.run(
        Raises(), mapred.items(names), backend=backend, root=root, per_task=per_task,
        attempts=2, max_failed=len(RAISED), **QUIET,
    )  # fmt: skip
    assert run.result() == ["fine", *[None] * len(RAISED), "fine"]
    assert run.status().given_up.indices == tuple(range(1, len(RAISED) + 1))
    if per_task == 1:
        assert all(f.attempts == 2 and len(f.items) == 1 for f in run.failures)
        assert all("__call__" in f.traceback for f in run.failures)
        assert all("call_each" not in f.traceback for f in run.failures)
        found = {f.error for f in run.failures} - {"BaseExceptionGroup", "Base"}
        assert found == RAISED.keys() - {"Group", "Base"}


@pytest.mark.parametrize("backend", ["inline", "local"])
@pytest.mark.parametrize("per_task", [1, 20])
def test_any_exception_is_one_items_failure(backend: str, per_task: int, tmp_path: Path) -> None:
    check(backend, tmp_path, per_task)


def test_any_exception_is_one_items_failure_in_threads(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        check(pool, tmp_path)
        assert pool.submit(abs, -1).result() == 1


@pytest.mark.slow
def test_any_exception_is_one_items_failure_in_processes(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        check(pool, tmp_path)
        assert pool.submit(abs, -1).result() == 1


@pytest.mark.slow
def test_any_exception_is_one_items_failure_on_dask(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    check("dask", tmp_path)


@pytest.mark.parametrize("error", [Mute(), Rude(), Wrong(), SystemExit(Mute()), Base(), _grouped()])
def test_a_failure_is_told_whatever_its_exception_does(error: BaseException) -> None:
    task = Task(stage="map", shard=0, attempt=1, seed=0, folder="")
    failure = failures.describe(error, task, "1-a", "item 0", {}, False, {})
    assert failure.error == type(error).__name__
    assert failure.message or isinstance(error, Base)
    assert failures.Failure.from_bytes(failure.to_bytes()) == failure


def test_a_reducer_may_raise_anything_too(tmp_path: Path) -> None:
    def reduce(values: Any) -> Any:
        list(values)
        raise KeyboardInterrupt

    with pytest.raises(mapred.RunError, match="KeyboardInterrupt") as caught:
        mapred.run(
            abs, mapred.items([1, 2]), reduce=reduce, attempts=1, backend="inline", root=tmp_path,
            **QUIET,
        )  # fmt: skip
    assert caught.value.run.state == "failed"


class Broken(io.RawIOBase):
    """A file of the dataset whose store is gone."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise mapred.StorageError("the dataset's bucket is gone")


def _reads(lines: Iterator[str]) -> int:
    return sum(1 for _ in lines)


def _reads_by_a_library(lines: Iterator[str]) -> int:
    return len(list(csv.reader(lines)))


def _opens_another(lines: Iterator[str]) -> bytes:
    next(lines)
    return open_store("s3://").read("x")


def _maps_another(lines: Iterator[str]) -> list[bytes]:
    with ThreadPoolExecutor(1) as threads:
        return list(threads.map(lambda line: open_store("s3://").read(line), lines))


@pytest.mark.parametrize("function", [_reads, _reads_by_a_library, _opens_another, _maps_another])
def test_the_functions_own_stores_are_told_from_the_datasets(
    function: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    monkeypatch.setattr("mapred.model.policy.REFUSALS", 1)
    reads = function in (_reads, _reads_by_a_library)
    if reads:
        broken = lambda run, path, known=None: io.BufferedReader(Broken())  # noqa: E731
        monkeypatch.setattr(Context, "open", broken)
        monkeypatch.setattr("mapred.formats.base._fingerprint", lambda *_: (4, ""))
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(
            function, str(tmp_path / "*.txt"), backend="inline", attempts=1,
            root=tmp_path / "runs", **QUIET,
        )  # fmt: skip
    assert caught.value.run.state == ("interrupted" if reads else "failed"), str(caught.value)
    assert bool(caught.value.failures) != reads


# A run's own calls end with it, and no others.


def slow(item: int) -> int:
    time.sleep(0.1)
    if item == 0:
        raise ValueError("at once")
    return item


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def commits(run: Any) -> int:
    return len(run.store.list("map/commits/"))


def quickly(pool: Executor) -> None:
    begun = time.monotonic()
    assert pool.submit(abs, -1).result() == 1
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("end", ["failure", "deadline", "cancel", "suspend"])
def test_a_run_leaves_nothing_queued_in_a_borrowed_pool(
    end: str, pool: Executor, tmp_path: Path
) -> None:
    items = mapred.items(range(0 if end == "failure" else 1, 100))
    options: dict[str, Any] = {"deadline": 0.3} if end == "deadline" else {}
    run = mapred.submit(slow, items, backend=pool, root=tmp_path, attempts=1, **options)
    if end in ("cancel", "suspend"):
        time.sleep(0.15)
        getattr(run, end)()
    else:
        with pytest.raises(mapred.RunError):
            run.result()
    quickly(pool)
    before = commits(run)
    time.sleep(0.3)
    assert commits(run) <= before + 2
    assert mapred.run(abs, mapred.items([-1, -2]), backend=pool, root=tmp_path).result() == [1, 2]


def test_a_borrowed_pool_keeps_what_others_queued(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        gate = threading.Event()
        pool.submit(gate.wait)
        theirs = pool.submit(abs, -3)
        run = mapred.submit(slow, mapred.items(range(50)), backend=pool, root=tmp_path)
        time.sleep(0.1)
        run.cancel()
        gate.set()
        assert theirs.result(5) == 3
    assert commits(run) == 0


SCRIPT = """
import os, sys, time, threading
from concurrent.futures import ThreadPoolExecutor, ProcessPoolExecutor
import mapred

def slow(item):
    open(os.path.join({calls!r}, str(item)), "w").close()
    time.sleep({seconds})
    return item

if __name__ == "__main__":
    pool = {pool}
    {body}
"""


def script(tmp_path: Path, body: str, pool: str = "'local'", seconds: float = 0.2) -> Any:
    calls = tmp_path / "calls"
    calls.mkdir()
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(calls=str(calls), seconds=seconds, pool=pool, body=body))
    root = str(Path(mapred.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, str(path)],
        env={**os.environ, "PYTHONPATH": root, "MAPRED_ROOT": str(tmp_path / "runs")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


SUBMIT = "run = mapred.submit(slow, mapred.items(range(60)), backend=pool, per_task=1)"
POOLS = [
    "'local'",
    pytest.param("ThreadPoolExecutor(2)", marks=pytest.mark.slow),
    pytest.param("ProcessPoolExecutor(2)", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.slow
def test_a_script_that_ends_with_a_live_run_says_how_to_continue(pool: str, tmp_path: Path) -> None:
    process = script(tmp_path, f"{SUBMIT}; time.sleep(0.5); print(run.uri)", pool)
    out, err = process.communicate(timeout=30)
    uri = out.strip()
    assert process.returncode == 0
    (line,) = err.splitlines()
    assert f"mapred resume {uri}" in line
    assert f"mapred.open({uri!r}).resume()" in line
    opened = mapred.open(uri)
    assert opened.state == "interrupted"
    assert opened.failures == ()
    assert len(list((tmp_path / "calls").iterdir())) < 30
    if pool == "'local'":
        words = line.split("mapred resume ")[1].split(",")[0]
        command = [sys.executable, "-m", "mapred", "resume", words]
        root = str(Path(mapred.__file__).parents[1])
        env = {**os.environ, "PYTHONPATH": root}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert mapred.open(uri).state == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("body", [SUBMIT + "; run.result()", "pass"])
def test_a_script_without_a_live_run_says_nothing(body: str, tmp_path: Path) -> None:
    process = script(tmp_path, body, seconds=0)
    assert process.communicate(timeout=30) == ("", "")


@pytest.mark.slow
def test_a_run_that_another_thread_waits_for_is_finished(tmp_path: Path) -> None:
    body = (
        "threading.Thread(target=lambda: print(mapred.run(slow, mapred.items(range(6)), "
        "backend=pool, progress='none').result())).start(); time.sleep(0.5)"
    )
    process = script(tmp_path, body, seconds=0.3)
    assert process.communicate(timeout=30) == ("[0, 1, 2, 3, 4, 5]\n", "")


@pytest.mark.parametrize("pool", [pytest.param("'inline'", marks=pytest.mark.slow), *POOLS])
def test_ctrl_c_stops_the_run_and_the_process(pool: str, tmp_path: Path) -> None:
    body = "mapred.run(slow, mapred.items(range(60)), backend=pool, per_task=1, progress='none')"
    process = script(tmp_path, body, pool)
    while len(list((tmp_path / "calls").iterdir())) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    last = err.rstrip().splitlines()[-1]
    assert last == "KeyboardInterrupt" or ".resume(" in last
    (folder,) = (tmp_path / "runs").glob("2*")
    opened = mapred.open(folder)
    assert opened.state == "interrupted"
    assert opened.failures == ()
    assert len(list((tmp_path / "calls").iterdir())) < 30


# A reduce that fails while maps run.


def late(item: int) -> int:
    time.sleep(0.2)
    return item


def test_a_reduce_that_fails_at_once_ends_the_run_at_once(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(mapred.RunError, match="NameError") as caught:
        mapred.run(
            late, mapred.items(range(300)), per_task=1, reduce=lambda values: undefined,  # noqa: F821
            root=tmp_path, **QUIET,
        )  # fmt: skip
    assert time.monotonic() - begun < 10
    run = caught.value.run
    assert run.state == "failed"
    assert commits(run) < 300
    assert [(f.stage, f.attempts) for f in caught.value.failures] == [("reduce-1", 3)]


class FailsOnce:
    """A reducer whose first attempts fail before it takes anything."""

    def __init__(self, folder: Path, times: int) -> None:
        self.folder, self.times = folder, times

    def __call__(self, values: Any) -> Any:
        tries = len(list(self.folder.iterdir()))
        (self.folder / str(tries)).touch()
        if tries < self.times:
            raise ValueError(f"attempt {tries + 1}")
        return sum(values)


@pytest.mark.parametrize("times", [1, 2])
def test_a_reduce_that_fails_early_has_all_its_attempts(times: int, tmp_path: Path) -> None:
    (tmp_path / "tries").mkdir()
    run = mapred.run(
        late, mapred.items(range(8)), per_task=1, reduce=FailsOnce(tmp_path / "tries", times),
        root=tmp_path / "runs", **QUIET,
    )  # fmt: skip
    assert run.result() == 28
    assert len(list((tmp_path / "tries").iterdir())) == times + 1
    assert run.status().failures == ()


@pytest.mark.slow
def test_a_run_goes_on_when_its_fork_server_is_killed(tmp_path: Path) -> None:
    run = mapred.submit(late, mapred.items(range(40)), per_task=1, root=tmp_path)
    while commits(run) < 2:
        time.sleep(0.02)
    fork_server().process.kill()
    assert run.result() == list(range(40))


# What pickling and loading a value raises, which is the user's code as well.


class Pickles:
    """Its pickle cannot be made, or not be loaded, since that raises what has this name."""

    def __init__(self, name: str, when: str) -> None:
        self.name, self.when = name, when

    def __reduce__(self) -> tuple[Any, ...]:
        return _pickled(self) if self.when == "load" else _raise(self.name)


def _pickled(value: Pickles) -> tuple[Any, ...]:
    return _raise, (value.name,)


def _raise(name: str) -> Any:
    raise RAISED[name]()


PICKLED = ["Mute", "SystemExit", "Base", "GeneratorExit"]


@pytest.mark.parametrize("name", [*PICKLED, "KeyboardInterrupt"])
def test_a_returned_value_that_cannot_be_stored_is_one_items_failure(
    name: str, tmp_path: Path
) -> None:
    run = mapred.run(
        lambda x: Pickles(name, "dump") if x == 1 else x, mapred.items(range(3)),
        backend="inline", root=tmp_path, attempts=1, max_failed=1, per_task=3, **QUIET,
    )  # fmt: skip
    assert run.result() == [0, None, 2]
    assert run.failures[0].error == "FunctionError"


@pytest.mark.parametrize("name", [*PICKLED, "KeyboardInterrupt"])
def test_an_item_that_cannot_be_loaded_is_named(name: str, tmp_path: Path) -> None:
    run = mapred.run(
        lambda x: 1, mapred.items([0, Pickles(name, "load"), 2]),
        backend="inline", root=tmp_path, attempts=1, max_failed=1, per_task=3, **QUIET,
    )  # fmt: skip
    assert run.result() == [1, None, 1]
    assert "item 1 cannot be loaded" in run.failures[0].message


@pytest.mark.parametrize("name", PICKLED)
def test_a_value_that_cannot_travel_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(mapred.DatasetError, match=r"item 1 .* cannot be pickled"):
        mapred.run(abs, mapred.items([0, Pickles(name, "dump")]), root=tmp_path, **QUIET)
    value = Pickles(name, "dump")
    with pytest.raises(mapred.FunctionError, match="cannot be sent to a worker"):
        mapred.run(lambda x: value, mapred.items([0]), root=tmp_path, **QUIET)
    run = mapred.run(
        lambda x: Pickles(name, "load"), mapred.items([0]), root=tmp_path, backend="inline", **QUIET
    )
    with pytest.raises(mapred.FunctionError, match="cannot be loaded"):
        run.result()
