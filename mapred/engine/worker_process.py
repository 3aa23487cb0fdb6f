"""A worker process of a pool: how it starts, which call it has, and how it ends."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from mapred.engine import devices
from mapred.engine.fork_client import ForkServer, fork_server
from mapred.engine.messages import Channel, Log, bound_sending
from mapred.errors import BackendError
from mapred.model.packs import NO_ITEM
from mapred.model.records import Block
from mapred.model.status import WorkerStatus
from mapred.process.children import how_it_ended, kill_group
from mapred.process.lazy import psutil, tempfile
from mapred.process.shortages import REMEDY
from mapred.process.whereabouts import Place
from mapred.worker.closing import SECONDS

_SEND_SECONDS = 30.0  # in which a worker that waits for calls takes one


class WorkerLost(BackendError):
    """A worker process ended before its call did.

    `kind` is `lost`, `timeout` or `memory`; `log` is what the process had printed; `at` the task
    and the item that it was at, where it had begun with one.
    """

    def __init__(
        self, kind: str, message: str, log: str = "", at: tuple[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.log, self.at = kind, log, at

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, str(self), self.log, self.at)


@dataclass
class Call:
    """A call that waits for a worker or has one; `losses` counts the fork servers it survived."""

    future: Future[Any]
    payload: tuple[Callable[..., Any], tuple[Any, ...]]
    fresh: bool = False
    losses: int = 0

    def begin(self) -> bool:
        """Whether the call is to run: nobody cancelled it before."""
        return self.future.running() or self.future.set_running_or_notify_cancel()

    def fail(self, error: BaseException) -> None:
        if self.begin():
            self.future.set_exception(error)


@dataclass
class Worker:
    """A process that lives, or has died unnoticed. Changed by the thread of its pool alone."""

    pid: int
    server: ForkServer
    channel: Channel
    log: Log
    place: Place
    call: Call | None = None
    started: float = 0.0
    doomed: WorkerLost | None = None
    calls: int = 0
    leaves: float | None = None  # the time by which it has to, once it takes no more calls
    gpus: tuple[str, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether the worker waits for a call."""
        return not (self.call or self.leaves)

    def give(self, call: Call) -> None:
        """Have the worker run a call."""
        self.place.forget()
        self.call, self.started = call, time.monotonic()
        try:
            self.channel.send(call.payload)
        except (BrokenPipeError, ConnectionResetError):
            pass  # A worker that just died is found by its closed connection.
        except BlockingIOError:
            self.doomed = WorkerLost("lost", "the worker process took no call")
            kill_group(self.pid)

    def at_work(self) -> WorkerStatus | None:
        """Return what the worker is at; None where it has no call, or one that belongs to no task."""
        call, now = self.call, time.monotonic()
        block = call.payload[1][0] if call is not None and call.payload[1] else None
        if not isinstance(block, Block):
            return None
        task, item = self.place.read() or (None, NO_ITEM)
        if task is None and len(block.tasks) == 1:
            task = block.tasks[0]
        return WorkerStatus(
            f"{os.uname().nodename}:{self.pid}",
            block.stage,
            task,
            None if item == NO_ITEM else item,
            time.time() - (now - self.started),
            _own_memory(self.pid),
            self.log.tail(),
        )

    def dismiss(self, seconds: float = SECONDS) -> None:
        """Have the worker close what it holds and end."""
        self.leaves = time.monotonic() + seconds
        with suppress(OSError):
            self.channel.send(None)

    def enforce(self, now: float, timeout: float | None, memory: int | None) -> None:
        """Kill the worker if its call is over its time or memory."""
        if timeout is not None and now - self.started > timeout:
            text = f"the attempt took longer than timeout={timeout:g} s"
            self.doomed = WorkerLost("timeout", text)
        elif memory is not None and (used := _resident(self.pid)) > memory:
            text = f"the worker used {used:,} bytes; the limit is memory={memory:,}"
            self.doomed = WorkerLost("memory", text)
        if self.doomed:
            kill_group(self.pid)

    def end(self, *, ended: bool = False) -> None:
        """Kill what is left of the worker, and give back what it had; `ended` says it is gone."""
        self.channel.close()
        kill_group(self.pid)
        os.close(self.log.descriptor)
        self.place.close()
        if self.gpus and not ended:
            ended = self.server.exit_status(self.pid, SECONDS) is not None
        if self.gpus and (ended or self.server.dead):
            devices.give_back(self.gpus)

    def why_lost(self, status: int | None) -> str:
        """Say how the process ended that had a call."""
        if self.call is None or not self.server.dead or status is not None:
            return how_it_ended(status)
        return (
            f"the process that worker processes are forked from was ended {self.call.losses + 1} "
            "times while this was running (the system's out-of-memory killer does that)"
        )


def start(
    env: Mapping[str, str], modules: Sequence[str], gpus: Sequence[str], gpu: int
) -> Worker | None:
    """Return a new worker with `gpu` of the devices; None where another pool has taken them."""
    taken = devices.take(gpus, gpu)
    if taken is None:
        return None
    if taken:
        env = {**env, devices.VARIABLE: ",".join(taken)}
    with ExitStack() as undo:
        undo.callback(devices.give_back, taken)
        try:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            with theirs:
                log = _file_in_memory("mapred-log")
                undo.callback(os.close, log)
                place = _file_in_memory("mapred-place")
                undo.callback(os.close, place)
                descriptors = [theirs.fileno(), log, place]
                bound_sending(ours, _SEND_SECONDS)
                server = fork_server()
                pid = server.start(descriptors, env, modules)
                whereabouts = Place(os.dup(place))
        except (OSError, ValueError) as error:
            raise BackendError(f"a worker process cannot be started: {error}; {REMEDY}") from error
        os.close(place)
        undo.pop_all()
    return Worker(pid, server, Channel(ours), Log(log), whereabouts, gpus=taken)


def _file_in_memory(name: str) -> int:
    """Return an unlinked file to append to, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    return descriptor


def _own_memory(pid: int) -> int:
    """Return the bytes resident of a process alone; 0 where it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _resident(pid: int) -> int:
    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += member.memory_info().rss
    return total
