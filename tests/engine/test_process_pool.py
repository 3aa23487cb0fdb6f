"""Worker processes that end: what they said before counts, and what others did does not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mapred.engine.fork_client import fork_server
from mapred.engine.process_pool import ProcessExecutor


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    executor = ProcessExecutor(1)
    yield executor
    executor.kill()


def answer_and_leave() -> int:
    # A process that was left with a thread takes no further call.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return os.getpid()


@pytest.mark.timeout(60)
@pytest.mark.skipif(sys.platform != "linux", reason="needs to know which process ids come next")
def test_a_worker_is_not_taken_for_an_old_one_of_its_number(executor: ProcessExecutor) -> None:
    # The numbers that the system gives next, as if other workers had had them before.
    newest = subprocess.Popen(["true"])
    newest.wait()
    limit = int(Path("/proc/sys/kernel/pid_max").read_text())
    old = [(newest.pid + n) % limit for n in range(5000)]
    fork_server().ended.update(dict.fromkeys(old, 0))
    pid = executor.submit(os.getpid).result(30)
    assert pid in old
    # It is idle now, and nobody buries it.
    executor.submit(time.sleep, 0.6).result(30)
    assert executor.pids() == [pid]


@pytest.mark.timeout(60)
def test_an_answer_counts_though_its_worker_ended_since(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, wait = fork_server(), executor._wait

    def until_it_ended() -> None:
        """What a manager sees that was busy with other workers for that time."""
        if any(worker.call for worker in executor._workers):
            pids = executor.pids()
            with server.condition:
                server.condition.wait_for(lambda: server.ended.keys() & set(pids), 30)
        else:
            wait()

    monkeypatch.setattr(executor, "_wait", until_it_ended)
    pid = executor.submit(answer_and_leave).result(30)
    assert pid != os.getpid()
    executor.shutdown()
    assert executor.pids() == []


def memory_of_a_worker() -> tuple[str, bool]:
    import pyarrow

    return pyarrow.default_memory_pool().backend_name, "GLIBC_TUNABLES" in os.environ


def test_workers_take_memory_from_the_c_library(
    executor: ProcessExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    pool, leaks = executor.submit(memory_of_a_worker).result(30)
    assert pool == "system"
    assert not leaks, "what a task starts has the user's environment"


def is_loaded(module: str) -> bool:
    return module in sys.modules


def test_modules_are_loaded_before_the_fork(executor: ProcessExecutor) -> None:
    assert not executor.submit(is_loaded, "colorsys").result(30)
    other = ProcessExecutor(1, modules=["no_such_module", "colorsys"])
    try:
        assert other.submit(is_loaded, "colorsys").result(30)
    finally:
        other.kill()
