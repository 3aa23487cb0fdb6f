"""The process that workers are forked from is lost, or refuses: no call is, and none waits for good."""

from __future__ import annotations

import os
import queue
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mapred
from mapred.engine import fork_client, process_pool
from mapred.engine.messages import Channel
from mapred.engine.process_pool import ProcessExecutor
from mapred.engine.worker_process import WorkerLost
from mapred.errors import BackendError

pytestmark = pytest.mark.timeout(120)

# A server that dies at one place of its protocol, if it is the first of its kind.
SERVER = """
import os, signal, socket, sys
from mapred.engine import fork_server as forkserver

class Control(socket.socket):
    def sendall(self, data):
        at("before", data)
        super().sendall(data)
        at("after", data)

def at(when, data):
    pass

def die(*arguments):
    os.kill(os.getpid(), signal.{signal})

control = Control(fileno=int(sys.argv[1]))
fork, fill = forkserver._fork, forkserver._fill
if not os.path.exists({mark!r}):
    open({mark!r}, "w").close()
    {step}
forkserver.serve(control)
"""
STEPS = {
    "at its start": "die()",
    "with a request unread": "forkserver._receive = die",
    "in the middle of a request": "forkserver._fill = lambda c, d, n: n > 4 and die() or fill(c, d, n)",
    "before it forks": "forkserver._load = die",
    "before it says that it forked": "forkserver._fork = lambda *a, **k: (fork(*a, **k), die())",
    "when it has said that it forked": "at = lambda w, data: w == 'after' and data[:1] == b's' and die()",
    "before it says how a worker ended": "at = lambda w, data: w == 'before' and data[:1] == b'e' and die()",
}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Have the next fork server be one that does `step` as it begins, and later ones sound."""

    def serve(step: str, signal: str = "SIGKILL", name: str = "mark") -> None:
        drop()
        script = SERVER.format(mark=str(tmp_path / name), step=step, signal=signal)
        monkeypatch.setattr(fork_client, "_SERVER", script)

    def drop() -> None:
        if fork_client._server is not None:
            fork_client._server.process.kill()
            fork_client._server.process.wait(30)

    yield serve
    drop()


def first_time(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def exit_once(mark: Path) -> str:
    if first_time(mark):
        os._exit(3)
    return "done"


def kill_the_server_once(mark: Path) -> str:
    if first_time(mark):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return "done"


def kill_the_server(task: mapred.Task) -> int:
    if task.attempt == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return task.attempt


@pytest.mark.slow
def test_a_call_survives_the_server_at_each_step_of_its_protocol(
    tmp_path: Path, served: Callable[..., None]
) -> None:
    for number, (name, step) in enumerate(STEPS.items()):
        served(step, name=name)
        executor = ProcessExecutor(1)
        try:
            first = executor.submit_fresh(os.getpid)
            second = executor.submit_fresh(exit_once, tmp_path / f"exit-{number}")
            assert first.result(30) > 0, name
            # One that ends by itself is told of, unless the server was lost before it could say so.
            lost = second.exception(30)
            assert lost is None or "exited with status 3" in str(lost), name
            assert (tmp_path / name).exists(), name
        finally:
            executor.kill()


def test_a_call_at_work_runs_again(tmp_path: Path) -> None:
    executor = ProcessExecutor(2)
    try:
        calls = [executor.submit(kill_the_server_once, tmp_path / "mark") for _ in range(4)]
        assert [call.result(30) for call in calls] == ["done"] * 4
    finally:
        executor.kill()


@pytest.mark.slow
def test_what_kills_the_server_each_time_is_blamed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "_LOSSES", 2)
    run = mapred.run(
        kill_the_server_by_item, mapred.items([1]), attempts=2, root=tmp_path, progress="none"
    )
    assert run.result() == [2]
    assert "forked from was ended 3 times" in next(Path(run.uri).glob("map/errors/*")).read_text()


def kill_the_server_by_item(item: int, task: mapred.Task) -> int:
    return kill_the_server(task)


class Impatient:
    """What a server that stopped has started: nothing."""

    def get(self, timeout: float) -> int:
        assert timeout <= 60
        raise queue.Empty

    def put(self, pid: int) -> None:
        return


@pytest.mark.slow
def test_a_server_that_stops_is_replaced(
    tmp_path: Path, served: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    served("die()", signal="SIGSTOP")
    executor = ProcessExecutor(1)
    while not (tmp_path / "mark").exists():
        time.sleep(0.02)
    stopped = fork_client.fork_server()
    monkeypatch.setattr(stopped, "started", Impatient())
    try:
        assert executor.submit(os.getpid).result(60) > 0
        assert stopped.process.wait(30) == -signal.SIGKILL
    finally:
        executor.kill()


def test_where_no_worker_can_be_forked_the_call_fails(
    served: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "_STARTS", 2)
    refuse = "def fork(*a, **k): raise BlockingIOError(11, 'no')\n    forkserver._fork = fork"
    served(refuse)
    executor = ProcessExecutor(2)
    try:
        calls = [executor.submit(os.getpid) for _ in range(3)]
        for call in calls:
            with pytest.raises(BackendError, match=r"no worker process can be started.*ulimit -u"):
                call.result(30)
    finally:
        executor.kill()


def test_the_others_go_on_where_one_more_worker_is_refused(served: Callable[..., None]) -> None:
    once = (
        "def one(*a, **k):\n"
        "        global count; count += 1\n"
        "        if count > 1: raise BlockingIOError(11, 'no')\n"
        "        return fork(*a, **k)\n"
        "    count = 0; forkserver._fork = one"
    )
    served(once)
    executor = ProcessExecutor(3)
    try:
        calls = [executor.submit(os.getpid) for _ in range(6)]
        assert len({call.result(30) for call in calls}) == 1
    finally:
        executor.kill()


def test_a_server_that_always_dies_fails_the_call(
    monkeypatch: pytest.MonkeyPatch, served: Callable[..., None]
) -> None:
    served("")
    monkeypatch.setattr(fork_client, "_SERVER", "import os; os._exit(7)")
    with pytest.raises(BackendError, match="forked from exited with status 7, again and again"):
        mapred.run(abs, mapred.items([1]), progress="none")


def end_by_a_signal_without_a_name() -> None:
    os.kill(os.getpid(), signal.SIGRTMIN + 1)
    time.sleep(60)


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="has no signals for real time")
def test_a_worker_that_ends_by_an_odd_signal_is_one_lost_call() -> None:
    executor = ProcessExecutor(1)
    try:
        lost = executor.submit(end_by_a_signal_without_a_name).exception(30)
        assert isinstance(lost, WorkerLost)
        assert "killed by signal 35" in str(lost)
        assert executor.submit(os.getpid).result(30) > 0
    finally:
        executor.kill()


def test_half_an_answer_keeps_nobody_waiting() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = Channel(ours)
        assert not channel.has_value()
        Channel(theirs).send(["whole"])
        theirs.sendall(struct.pack("!Q", 1000) + b"half")
        assert channel.has_value()
        assert channel.receive() == ["whole"]
        assert not channel.has_value()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_run_whose_server_is_killed_at_random_goes_on(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run = mapred.submit(slowly, mapred.items(range(60)), reduce=sum, attempts=1, root=tmp_path)
    kills = 0
    while run.wait(timeout=chance.uniform(0.2, 0.6)).status().live and kills < 8:
        server = fork_client._server
        if server is not None and server.process.poll() is None:
            server.process.kill()
            kills += 1
    run.finish("none")
    assert kills
    assert run.result() == sum(range(60))
    assert not run.failures
    assert run.audit().ok


def slowly(item: int) -> int:
    time.sleep(0.05)
    return item


def test_no_future_is_lost_where_the_manager_itself_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, queued = ProcessExecutor(1), threading.Event()

    def fail() -> None:
        if queued.is_set():
            raise ZeroDivisionError

    monkeypatch.setattr(executor, "_enforce", fail)
    calls = [executor.submit(time.sleep, 60) for _ in range(3)]
    queued.set()
    for call in calls:
        with pytest.raises((ZeroDivisionError, WorkerLost)):
            call.result(30)
