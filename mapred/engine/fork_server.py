"""The process that local workers are forked from, and what runs in a worker.

The server imports what a worker needs once and nothing of the user's: a worker forked from
it starts in milliseconds, never runs the user's `__main__`, and inherits no thread and no
lock of the driver. One server serves one driver for as long as it lives; when the driver
goes, by whatever means, the server kills every worker's process group and ends.

A request is a length (4 bytes), a pickled dict of `env`, `cwd`, `path` and `modules`, and three
file descriptors: the worker's connection, its log and its `Place`. Answers are `NOTICE` structs.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import io
import logging
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from mapred.engine.messages import ENDED, NOTICE, REFUSED, STARTED, Channel, Left, Log
from mapred.functions import transport
from mapred.model.records import Block, Outcome
from mapred.process import forks, threads
from mapred.process.children import (
    UNCONNECTED,
    adopt,
    children,
    die_with_parent,
    end_children,
    kill_group,
)
from mapred.process.whereabouts import Place
from mapred.shuffle.memory import keep_freed
from mapred.worker.closing import leave
from mapred.worker.context import context
from mapred.worker.tasks import run_block

_DESCRIPTORS = 3  # of a request: a worker's connection, its log and its place
_MOST_ENDED = 100
_log: Log | None = None
_place: Place | None = None


def run_logged(block: Block) -> list[Outcome]:
    """`run_block` with what this worker process prints as the attempts' logs."""
    read_log = _log.take if _log else None
    job = context(block.uri, block.digest).job
    resources = job.stage(block.stage).resources
    threads.limit(resources.cpu)
    if job.shuffle is not None and resources.memory is None:
        keep_freed()
    note = _place.note if _place else None
    return run_block(block, read_log, note)


def prove(cpu: float, *code: bytes) -> None:
    """Load the code of a run, in a process that is set up for its tasks."""
    threads.limit(cpu)
    transport.prove(*code)


def serve(control: socket.socket) -> None:
    """Serve in a child; what the child leaves behind, however it ends, ends here.

    A server can be killed (the system's out-of-memory killer does that), and then ends none of its
    workers. Its parent adopts them, and does nothing that could get it killed.
    """
    guard = os.getpid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    adopt()
    _freeze_objects()
    try:
        server = os.fork()
    except OSError:  # no room for another process: the server does without
        fork_workers(control)
        return
    if not server:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        die_with_parent(guard, signal.SIGUSR1)
        adopt()
        fork_workers(control, guard)
        os._exit(0)
    control.close()
    while os.wait()[0] != server:
        pass
    end_children()
    os._exit(0)  # nothing here is to be closed, and the driver waits for the end


def fork_workers(control: socket.socket, guard: int | None = None) -> None:
    """Fork a worker for every request until the driver closes its end, or the guard is gone.

    The end of a child is a signal, which may come right before `select`: it is written to a socket
    as well, so that none is missed.
    """
    wakeup, signalled = socket.socketpair()
    signalled.setblocking(False)
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    workers: set[int] = set()
    try:
        while True:
            readable, _, _ = select.select([control, wakeup], [], [])
            if wakeup in readable:
                wakeup.recv(4096)
                _reap(workers, control)
                if guard not in (None, os.getppid()):
                    return  # its end is what sent SIGUSR1
            if control in readable:
                request = _receive(control)
                if request is None:
                    return
                _load(request[0]["modules"])
                try:
                    pid = _fork(*request, closing=(control, wakeup, signalled))
                except OSError as error:
                    control.sendall(NOTICE.pack(REFUSED, 0, error.errno or 0))
                else:
                    workers.add(pid)
                    control.sendall(NOTICE.pack(STARTED, pid, 0))
                for descriptor in request[1]:
                    os.close(descriptor)
    except OSError:
        return
    finally:
        signal.set_wakeup_fd(-1)
        for pid in workers:
            kill_group(pid)
        end_children()


def _load(modules: Sequence[str]) -> None:
    """Import what the workers to come would each import for itself."""
    missing = [name for name in modules if name not in sys.modules]
    for name in missing:
        with contextlib.suppress(ImportError):  # a task that needs it will say so
            importlib.import_module(name)
    if missing:
        _freeze_objects()


def _freeze_objects() -> None:
    """Keep objects made so far out of the collector's way, so that forks share their pages."""
    gc.collect()
    gc.freeze()


def _reap(workers: set[int], control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if pid not in workers:
            continue  # what a worker left behind, and this process adopted
        # What the worker itself started must not outlive it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        workers.discard(pid)
        end_children(but=workers)
        control.sendall(NOTICE.pack(ENDED, pid, os.waitstatus_to_exitcode(status)))


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next request; None where the driver is gone, be it in the middle of one."""
    start, descriptors, _, _ = socket.recv_fds(control, 4, _DESCRIPTORS)
    head = bytearray(start)
    if not _fill(control, head, 4):
        return None
    (size,) = struct.unpack("!i", head)
    payload = bytearray()
    if not _fill(control, payload, size):
        return None
    return pickle.loads(payload), descriptors


def _fill(control: socket.socket, data: bytearray, size: int) -> bool:
    """Receive up to `size` bytes in all; False where the other end closed before."""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            return False
        data += more
    return True


def _fork(
    settings: dict[str, Any],
    descriptors: Sequence[int],
    *,
    closing: tuple[socket.socket, ...],
) -> int:
    if len(descriptors) < _DESCRIPTORS:
        # The system leaves out those that this process has no room for.
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    server = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        for end in closing:
            end.close()
        os.setsid()  # a group of its own, to be killed with all that the function starts
        die_with_parent(server)
        adopt()
        connection, log, place = descriptors
        _take_over(settings, log, Place(place))
        os._exit(_work(Channel(socket.socket(fileno=connection))))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)


def _take_over(settings: dict[str, Any], log: int, place: Place) -> None:
    """Take over the driver's environment, folder and import path; print into the log."""
    global _log, _place
    os.environ.clear()
    os.environ.update(settings["env"])
    time.tzset()
    with contextlib.suppress(OSError):
        os.chdir(settings["cwd"])
    sys.path[:] = settings["path"]
    os.dup2(log, 1)
    os.dup2(log, 2)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    _log, _place = Log(log), place


def _work(channel: Channel) -> int:
    """Answer calls until the driver has no more or this process is used up; the exit status.

    A process in which a task failed, or which was left with more threads than before, is not
    used again: a repeated attempt must start afresh.
    """
    before, pid = threading.active_count(), os.getpid()
    while True:
        try:
            call = channel.receive()
        except EOFError:
            return 0
        except OSError:
            return UNCONNECTED
        if call is None:
            break
        function, arguments = call
        answer: Any
        try:
            answer = function(*arguments)
            failed = isinstance(answer, list) and any(
                isinstance(outcome, Outcome) and outcome.failure for outcome in answer
            )
        except BaseException as error:
            answer, failed = error, True
        forks.leave_unless(pid)
        leaving = failed or threading.active_count() > before or _many_ended()
        try:
            channel.send((answer, leaving))
        except OSError:
            return UNCONNECTED
        if leaving:
            break
    context.cache_clear()
    complaints = leave()
    end_children()
    with contextlib.suppress(OSError):
        channel.send(Left(complaints))
    return 0


def _many_ended() -> bool:
    """Whether many children of this process have ended that nobody waits for."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return ended is not None and len(children()) > _MOST_ENDED
