"""What a function does to its process stays there: forks, odd exceptions, closed files, daemons."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

import mapred
from mapred.process import forks

QUIET: dict[str, Any] = {"progress": "none"}


# --- children that come back


def _fork(how: str) -> None:
    """Fork a child that leaves the user's function in one of many ways."""
    pid = os.fork()
    if pid:
        if how != "late":
            os.waitpid(pid, 0)
        return
    if how == "error":
        raise ValueError("of the child")
    if how == "exit":
        sys.exit(3)
    if how == "_exit":
        os._exit(0)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "storage":
        raise mapred.StorageError("of the child")
    if how == "late":
        time.sleep(0.5)


class Forks:
    """Notes who calls it, in a file for each call, and forks."""

    def __init__(self, folder: Path, how: str, kind: str) -> None:
        self.folder, self.how, self.kind = str(folder), how, kind

    def __call__(self, item: int) -> Any:
        Path(self.folder, f"{item}-{os.getpid()}").touch()
        if self.kind == "table":
            return self._tables(item)
        me = os.getpid()
        _fork(self.how)
        return item if os.getpid() == me else -1

    def _tables(self, item: int) -> Iterator[pa.Table]:
        me = os.getpid()
        yield pa.table({"n": [item], "day": ["a"]})
        _fork(self.how)
        yield pa.table({"n": [item if os.getpid() == me else -1], "day": ["b"]})


HOW = ["return", "error", "exit", "_exit", "interrupt", "storage", "late"]
OFTEN = pytest.mark.slow


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "backend", ["local", *(pytest.param(b, marks=OFTEN) for b in ("processes", "dask"))]
)
def test_a_child_that_comes_back_decides_nothing(how: str, backend: str, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    chosen: Any = mapred.Local(workers=1) if backend == "local" else backend
    pool = (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) if backend == "processes" else None
    )
    if backend == "dask":
        pytest.importorskip("distributed")
    run = mapred.run(
        Forks(calls, how, "item"), mapred.items(range(3)), per_task=3, root=tmp_path / "runs",
        backend=pool or chosen, **QUIET,
    )  # fmt: skip
    assert run.result() == [0, 1, 2]
    assert not run.failures
    assert run.audit().ok, run.audit()
    time.sleep(0.6 if how == "late" else 0)
    assert len(list(calls.iterdir())) == 3, "a child goes on with no other item"
    if pool is not None:
        pool.shutdown()


@pytest.mark.parametrize("how", ["return", "error", pytest.param("late", marks=OFTEN)])
@pytest.mark.parametrize("write", [True, False])
@pytest.mark.slow
def test_a_child_of_a_generator_writes_nothing(how: str, write: bool, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    options: dict[str, Any] = (
        {"write": mapred.write_parquet(tmp_path / "lake", partition_by="day")}
        if write
        else {"by": "day", "aggregate": {"n": "sum"}}
    )
    run = mapred.run(
        Forks(calls, how, "table"), mapred.items([1, 2]), backend=mapred.Local(workers=1),
        root=tmp_path / "runs", **options, **QUIET,
    )  # fmt: skip
    assert run.audit().ok, run.audit()
    assert not run.failures
    if write:
        assert run.result().rows == 4
        assert not (tmp_path / "lake/_staging").exists()
    else:
        assert run.to_arrow().column(1).to_pylist() == [3, 3]


class ForksPickled:
    def __reduce__(self) -> Any:
        _fork("return")
        return int, (7,)


@pytest.mark.parametrize("size", [1, 2])
def test_a_child_of_a_value_writes_nothing(size: int, tmp_path: Path) -> None:
    run = mapred.run(
        lambda i: [ForksPickled(), bytes(100_000 * i)], mapred.items(range(size)), per_task=size,
        backend=mapred.Local(workers=1), root=tmp_path, **QUIET,
    )  # fmt: skip
    assert [value[0] for value in run.result()] == [7] * size
    assert run.audit().ok
    assert not run.failures


def test_a_child_of_a_reducer_decides_nothing(tmp_path: Path) -> None:
    def total(values: Any) -> int:
        found = sum(values)
        _fork("return")
        return found

    run = mapred.run(
        abs, mapred.items(range(5)), reduce=total, fan_in=None, backend=mapred.Local(workers=1),
        root=tmp_path, **QUIET,
    )  # fmt: skip
    assert run.result() == 10
    assert run.audit().ok


def test_a_process_is_told_from_its_children() -> None:
    forks.leave_unless(os.getpid())
    pid = os.fork()
    if not pid:
        forks.leave_unless(os.getppid())
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


# --- odd exceptions


class Liar(Exception):
    __class__ = property(lambda self: mapred.StorageError)  # type: ignore[assignment]


class NoClass(Exception):
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no class")


class NoTraceback(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt

    @__traceback__.setter
    def __traceback__(self, value: Any) -> None:
        return


class NoCause(Exception):
    @property
    def __cause__(self) -> Any:  # type: ignore[override]
        raise SystemExit(1)


class NoCode(SystemExit):
    @property
    def code(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no code")


class _Nameless(type):
    @property
    def __name__(cls) -> Any:  # type: ignore[override]
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=_Nameless):
    pass


class Hashless(Exception):
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equal")


class NoGetattr(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise StorageErrorOfMine(name)


class StorageErrorOfMine(mapred.StorageError):
    pass


def _nested(kind: str) -> Any:
    if kind == "StorageError":
        return mapred.run(abs, mapred.items([1]), root="/proc/x", backend="inline", **QUIET)
    if kind == "PlanError":
        return mapred.run(abs, mapred.read_text("/nothing/*.txt"), backend="inline", **QUIET)
    return mapred.run(len, mapred.items([1]), backend="inline", attempts=1, **QUIET)


ODD: dict[str, Callable[[], Any]] = {
    kind.__qualname__ if kind is not Nameless else "Nameless": kind
    for kind in (Liar, NoClass, NoTraceback, NoCause, NoCode, Nameless, Hashless, NoGetattr)
}  # fmt: skip
NESTED = ["StorageError", "PlanError", "RunError"]


class RaisesOdd:
    def __call__(self, name: str) -> str:
        if name in ODD:
            raise ODD[name]()
        if name in NESTED:
            _nested(name)
        return name


def check_odd(backend: Any, root: Path, per_task: int) -> None:
    names = ["fine", *ODD, *NESTED, "fine"]
    run = mapred.run(
        RaisesOdd(), mapred.items(names), backend=backend, root=root, per_task=per_task,
        attempts=2, max_failed=len(names) - 2, **QUIET,
    )  # fmt: skip
    assert run.result() == ["fine", *[None] * (len(names) - 2), "fine"]
    if per_task == 1:
        assert [f.attempts for f in run.failures] == [2] * (len(names) - 2)
        assert {f.error for f in run.failures} >= ODD.keys() | {"RunError"}


@pytest.mark.parametrize("per_task", [1, pytest.param(20, marks=OFTEN)])
@pytest.mark.parametrize(
    "backend", ["inline", "threads", *(pytest.param(b, marks=OFTEN) for b in ("local", "dask"))]
)
def test_an_odd_exception_is_one_items_failure(backend: str, per_task: int, tmp_path: Path) -> None:
    if backend == "dask":
        pytest.importorskip("distributed")
    with ThreadPoolExecutor(2) as pool:
        check_odd(pool if backend == "threads" else backend, tmp_path, per_task)


class Unstorable:
    def __init__(self, error: Any) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error()


@pytest.mark.parametrize("error", [KeyboardInterrupt, mapred.StorageError, SystemExit, Liar])
@pytest.mark.parametrize("per_task", [1, 3])
def test_a_value_that_refuses_to_be_stored_is_its_tasks_failure(
    error: Any, per_task: int, tmp_path: Path
) -> None:
    def function(item: int) -> Any:
        return Unstorable(error) if item == 1 else item

    given: dict[str, Any] = {"backend": "inline", "root": tmp_path, "per_task": per_task, **QUIET}
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(function, mapred.items(range(3)), attempts=2, **given)
    assert caught.value.run.state == "failed"
    assert caught.value.failures
    run = mapred.run(function, mapred.items(range(3)), attempts=2, max_failed=3, **given)
    assert run.state == "succeeded"
    assert 1 in run.status().given_up.indices


# --- what a task started


def _alive(mark: str) -> list[int]:
    """The processes that have a mark in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if mark in (process.info["cmdline"] or ()) and process.info["status"] != "zombie":
            found.append(process.pid)
    return found


def _until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


# Each starts a shell that has the mark as its `$0`; a process group's kill misses all but one.
_SLEEP = ["sh", "-c", "sleep 97; :"]


def plain_child(mark: str) -> None:
    subprocess.Popen([*_SLEEP, mark])


def session(mark: str) -> None:
    subprocess.Popen([*_SLEEP, mark], start_new_session=True)


def daemon(mark: str) -> None:
    """What daemons do: fork, setsid, fork, exec."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.execvp(_SLEEP[0], [*_SLEEP, mark])
        os._exit(0)
    os.wait()


def shell(mark: str) -> None:
    subprocess.run(["setsid", "sh", "-c", f'sh -c "sleep 97; :" {mark} &'], check=True)


def chain(mark: str) -> None:
    """A daemon that has a daemon."""
    code = 'setsid sh -c "sleep 97; :" "$0" & sleep 97; :'
    subprocess.Popen(["sh", "-c", code, mark], start_new_session=True)


STARTS = [plain_child, session, daemon, shell, chain]


def _started(mark: str) -> bool:
    return len(_alive(mark)) >= len(STARTS)


def starts_all(mark: str) -> None:
    for start in STARTS:
        start(mark)
    assert _until(lambda: _started(mark))


@pytest.fixture
def mark() -> Iterator[str]:
    mark = f"mark-{os.urandom(6).hex()}"
    yield mark
    for pid in _alive(mark):
        os.kill(pid, 9)


def test_what_a_task_started_ends_with_its_run(mark: str) -> None:
    def function(item: int) -> int:
        starts_all(mark)
        return item

    run = mapred.run(function, mapred.items([1]), backend=mapred.Local(workers=1), **QUIET)
    assert run.result() == [1]
    assert not _alive(mark)


def test_what_a_worker_started_ends_with_it(mark: str, tmp_path: Path) -> None:
    """The other worker goes on, and so does what that has started."""
    other = f"{mark}-other"

    def function(item: int) -> int:
        if item:
            session(other)
            assert _until(lambda: not _alive(mark) and Path(tmp_path, "started").exists())
            assert _alive(other)
            return item
        starts_all(mark)
        Path(tmp_path, "started").touch()
        os.kill(os.getpid(), 9)
        return item

    run = mapred.run(
        function, mapred.items(range(2)), backend=mapred.Local(workers=2), attempts=1,
        max_failed=1, root=tmp_path / "runs", **QUIET,
    )  # fmt: skip
    assert run.result() == [None, 1]
    assert not _alive(other)


_DRIVER = """
import os, sys, mapred
sys.path.insert(0, sys.argv[1])
from test_forks import _SLEEP, starts_all
mark, kind, root = os.environ["MARK"], *sys.argv[2:]

def function(item):
    import pathlib, os, time
    starts_all(mark)
    pathlib.Path(root, "server").write_text(str(os.getppid()))
    time.sleep(60)

if kind == "command":
    function = mapred.command(["sh", "-c", 'setsid "$@"; true', "sh", *_SLEEP, mark])
mapred.run(function, mapred.items([1]), backend=mapred.Local(workers=1), root=root, progress="none")
"""


@pytest.mark.parametrize(
    "killed", ["driver", *(pytest.param(k, marks=OFTEN) for k in ("server", "guard"))]
)
@pytest.mark.slow
def test_nothing_is_left_when_driver_and_server_die(killed: str, mark: str, tmp_path: Path) -> None:
    with _driver("function", mark, tmp_path) as driver:
        assert _until(lambda: Path(tmp_path, "server").exists(), 30)
        assert _until(lambda: bool(Path(tmp_path, "server").read_text()))
        server = psutil.Process(int(Path(tmp_path, "server").read_text()))
        guard = server.parent()
        assert guard is not None
        assert guard.ppid() == driver.pid
        assert _started(mark)
        for process in [driver, *{"server": [server], "guard": [guard]}.get(killed, [])]:
            process.kill()
        assert _until(lambda: not _alive(mark))
        assert _until(lambda: not server.is_running())


@pytest.mark.slow
def test_programs_end_with_their_driver(mark: str, tmp_path: Path) -> None:
    with _driver("command", mark, tmp_path):
        assert _until(lambda: bool(_alive(mark)), 30)
    assert _until(lambda: not _alive(mark))


@contextmanager
def _driver(kind: str, mark: str, root: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [sys.executable, "-c", _DRIVER, str(Path(__file__).parent), kind, str(root)]
    with subprocess.Popen(arguments, env={**os.environ, "MARK": mark}) as driver:
        try:
            yield driver
        finally:
            driver.kill()


# --- descriptors


class Closes:
    """Closes all descriptors, opens as many files in their place, and looks at them at the end."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = str(folder), kind

    def __call__(self, item: int) -> int:
        print("a line for the log")
        if item != 1 or Path(self.folder, "0").exists():
            return item
        os.closerange(1 if self.kind == "all" else 3, 4096)
        for number in range(40):
            path = f"{self.folder}/{number}"
            os.write(os.open(path, os.O_CREAT | os.O_RDWR), b"precious")
        return item


@pytest.mark.parametrize("kind", ["all", pytest.param("but the log", marks=OFTEN)])
@pytest.mark.parametrize("attempts", [1, 2])
def test_a_function_that_closes_all_descriptors_spoils_no_file(
    kind: str, attempts: int, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    run = mapred.run(
        Closes(files, kind), mapred.items(range(3)), backend=mapred.Local(workers=1),
        attempts=attempts, root=tmp_path / "runs", **QUIET,
    )  # fmt: skip
    assert run.result() == [0, 1, 2]
    assert {path.read_bytes() for path in files.iterdir()} == {b"precious"}


def test_a_connection_that_was_replaced_is_not_written_to(tmp_path: Path) -> None:
    import socket

    from mapred.engine.messages import Channel, Log

    ours, theirs = socket.socketpair()
    stranger, heard = socket.socketpair()
    channel = Channel(ours)
    os.dup2(stranger.fileno(), ours.fileno())
    with pytest.raises(ConnectionResetError):
        channel.send("the answer")
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(1)
    for end in (theirs, ours, heard, stranger):
        end.close()
    shared, other = os.memfd_create("log"), os.open(tmp_path / "mine", os.O_CREAT | os.O_RDWR)
    os.write(shared, b"printed")
    log = Log(shared)
    os.write(other, b"precious")
    os.dup2(other, shared)
    assert log.take() == ""
    assert (tmp_path / "mine").read_bytes() == b"precious"
    os.close(shared)
    os.close(other)
