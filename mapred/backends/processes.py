"""An executor of worker processes that one task's crash, hang or greed cannot take down.

The pools at hand fall short of one thing each: a dead worker breaks every pending call of
`ProcessPoolExecutor` and loky, neither of them can end one call that hangs, and pebble and
the standard library run the user's `__main__` in a worker.
"""

from __future__ import annotations

import atexit
import collections
import fcntl
import logging
import os
import pickle
import queue
import resource
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from mapred.backends import devices
from mapred.backends.messages import ENDED, NOTICE, REFUSED, STARTED, Channel, Left, Log
from mapred.children import how_it_ended, kill_group
from mapred.closing import SECONDS
from mapred.errors import BackendError
from mapred.place import Place
from mapred.resources import THREADS

_HERE = os.path.abspath(f"{__file__}/../../..")  # where this package lies
_TICK = 0.25
_HURRY_SECONDS = 5.0  # within which idle workers leave a pool that is killed
_OTHER_FILES = 16  # that a driver has open at one time, besides its workers' connections
_log = logging.getLogger("mapred")
# Memory from the C library, in pages of 2 MiB where the system has such: TPC-H Q1 takes a tenth
# longer with Arrow's own allocator and small pages. The pages are glibc's, from 2.35 on.
_MEMORY = {"ARROW_DEFAULT_MEMORY_POOL": "system", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
# Neither the folder that the server starts in nor the user's script is on its import path.
_SERVER = """
import socket, sys
sys.path[:1] = sys.path[:1] if sys.path[0] else []
from mapred.backends import forkserver
forkserver.serve(socket.socket(fileno=int(sys.argv[1])))
"""


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


class _Server:
    """The driver's end of a fork server. One thread at a time may start workers."""

    def __init__(self) -> None:
        env = {**dict.fromkeys(THREADS, "1"), **_MEMORY, **os.environ}
        env["PYTHONPATH"] = os.pathsep.join([*_import_path()[1:], _HERE])
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", _SERVER, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    env=env,
                )
        except OSError as error:
            raise BackendError(
                f"no process can be started that worker processes are made from: {error}; "
                "close files or end processes of this user, or raise the limits "
                "(ulimit -n, ulimit -u)"
            ) from error
        self.control = ours
        self.owner = os.getpid()
        self.lock = threading.Lock()
        self.started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.ended: dict[int, int] = {}
        self.condition = threading.Condition()
        self.dead = False
        threading.Thread(target=self._listen, name="mapred-forkserver", daemon=True).start()

    def start(
        self, descriptors: Sequence[int], env: Mapping[str, str], modules: Sequence[str]
    ) -> int:
        """The pid of a new worker; `env` goes on top of this process's variables.

        The descriptors are its connection, its log and where it notes what it is at.

        The server itself imports `modules`, so that all workers share them.
        """
        settings = {
            "env": {**os.environ, **env},
            "cwd": current_folder(),
            "path": _import_path(),
            "modules": list(modules),
        }
        payload = pickle.dumps(settings)
        with self.lock:
            if self.dead:
                raise BackendError("the fork server ended; start the run again")
            try:
                socket.send_fds(self.control, [struct.pack("!i", len(payload))], descriptors)
                self.control.sendall(payload)
            except OSError as error:
                raise BackendError(f"the fork server ended: {error}") from error
            pid = self.started.get(timeout=60)
        if pid == _GONE:
            raise BackendError("the fork server ended while it started a worker")
        if pid < 0:
            raise BackendError(
                f"no worker process can be started: {os.strerror(-pid)}; let this user have more "
                "processes (ulimit -u) or memory, or run fewer: backend=mapred.Local(workers=…)"
            )
        return pid

    def exit_status(self, pid: int, timeout: float = 5.0) -> int | None:
        """How a worker ended (negative: by that signal); None if nobody knows."""
        with self.condition:
            self.condition.wait_for(lambda: pid in self.ended or self.dead, timeout)
            return self.ended.pop(pid, None)

    def close(self) -> None:
        if os.getpid() == self.owner:
            with suppress(OSError):
                # Other threads that read from it are woken, and the server sees its end.
                self.control.shutdown(socket.SHUT_RDWR)
            self.control.close()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)

    def _listen(self) -> None:
        while True:
            try:
                notice = self.control.recv(NOTICE.size, socket.MSG_WAITALL)
            except OSError:
                notice = b""
            if len(notice) < NOTICE.size:
                break
            kind, pid, status = NOTICE.unpack(notice)
            if kind == STARTED:
                with self.condition:
                    # The system gives the ids of ended processes to new ones after some time.
                    self.ended.pop(pid, None)
                self.started.put(pid)
            elif kind == REFUSED:
                self.started.put(-status)
            elif kind == ENDED:
                with self.condition:
                    self.ended[pid] = status
                    self.condition.notify_all()
        with self.condition:
            self.dead = True
            self.condition.notify_all()
        self.started.put(_GONE)


def _import_path() -> list[str]:
    """`sys.path` without what Python itself passes over, such as a `Path`."""
    entries: list[Any] = sys.path
    return [entry for entry in entries if isinstance(entry, str)]


def current_folder() -> str:
    """Where this process is, as its workers will be; an error where the folder is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        try:
            place = os.readlink("/proc/self/cwd").removesuffix(" (deleted)")
        except OSError:
            place = os.environ.get("PWD", "")
        raise BackendError(
            f"the current folder {place} was removed; change to one that exists "
            "(os.chdir, or cd in a shell) and start again"
        ) from None


_GONE = 0  # in place of a worker's pid, where the server is dead
_server: _Server | None = None
_server_lock = threading.Lock()


def fork_server() -> _Server:
    """This process's fork server, started at first use and kept for the next run."""
    global _server
    with _server_lock:
        if _server is not None and _server.owner != os.getpid():
            _server = None
        if _server is not None and (_server.dead or _server.process.poll() is not None):
            _server.close()
            _server = None
        if _server is None:
            _server = _Server()
            atexit.register(_server.close)
        return _server


@dataclass
class _Call:
    future: Future[Any]
    payload: tuple[Callable[..., Any], tuple[Any, ...]]
    fresh: bool = False


@dataclass
class _Worker:
    pid: int
    channel: Channel
    log: Log
    place: Place
    call: _Call | None = None
    started: float = 0.0
    doomed: WorkerLost | None = None
    calls: int = 0
    leaves: float | None = None  # the time by which it has to, once it takes no more calls
    gpus: tuple[str, ...] = ()


@dataclass
class _State:
    queue: collections.deque[_Call] = field(default_factory=collections.deque)
    workers: list[_Worker] = field(default_factory=list)
    closing: bool = False
    killed: bool = False


class ProcessExecutor(Executor):
    """Calls in worker processes of their own.

    `timeout` (seconds) and `memory` (bytes resident, children included) hold for each call;
    a call whose process ends early raises `WorkerLost` and touches no other call. A worker
    takes at most `max_calls`. `env` adds to the variables of the workers; `modules` are what
    their calls import anyway. Each worker has `gpu` of the devices `gpus` for itself.
    """

    def __init__(
        self,
        workers: int,
        *,
        timeout: float | None = None,
        memory: int | None = None,
        max_calls: int | None = None,
        env: Mapping[str, str] | None = None,
        modules: Sequence[str] = (),
        gpus: Sequence[str] = (),
        gpu: int = 0,
    ) -> None:
        _check_files(workers)
        self.max_workers = workers
        self._env, self.modules = env or {}, modules
        self._gpus, self._gpu = gpus, gpu
        self.timeout, self._memory, self.max_calls = timeout, memory, max_calls
        self._state = _State()
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._server = fork_server()
        self._thread = threading.Thread(target=self._manage, name="mapred-pool", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call; `fn` must be importable and its arguments picklable."""
        if kwargs:
            raise BackendError("calls of worker processes take positional arguments alone")
        return self._queue(_Call(Future(), (fn, args)))

    def submit_fresh(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Like `submit`, in a process that has run nothing before."""
        return self._queue(_Call(Future(), (fn, args), fresh=True))

    def _queue(self, call: _Call) -> Future[Any]:
        with self._lock:
            if self._state.closing:
                raise RuntimeError("cannot submit after shutdown")
            self._state.queue.append(call)
        self._wake()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let running calls end; queued ones too unless `cancel_futures`."""
        self._close(cancel_futures, kill=False)
        if wait:
            self._thread.join()

    def kill(self) -> None:
        """End every worker that has a call, which raises `WorkerLost`; the others leave."""
        self._close(cancel_futures=True, kill=True)
        self._thread.join()

    def pids(self) -> list[int]:
        """The process ids of the workers that live now."""
        with self._lock:
            return [worker.pid for worker in self._state.workers]

    def _close(self, cancel_futures: bool, *, kill: bool) -> None:
        with self._lock:
            self._state.closing = True
            self._state.killed = self._state.killed or kill
            dropped = list(self._state.queue) if cancel_futures else []
            if cancel_futures:
                self._state.queue.clear()
        for call in dropped:
            call.future.cancel()
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"x")

    def _manage(self) -> None:
        state = self._state
        try:
            while True:
                with self._lock:
                    if state.killed:
                        return
                    if state.closing and not state.queue and not any(w.call for w in state.workers):
                        return
                self._assign()
                self._wait()
                self._enforce()
        except BaseException as error:
            self._fail_all(error)
        finally:
            self._end_all()

    def _assign(self) -> None:
        """Give queued calls to idle workers; start workers while there is room."""
        state = self._state
        while state.queue:
            with self._lock:
                if not state.queue:
                    return
                call = state.queue[0]
            idle = [worker for worker in state.workers if not (worker.call or worker.leaves)]
            if call.fresh:
                if idle and not self._room():
                    self._dismiss(idle.pop())
                idle = []
            if not idle and not self._room():
                return
            worker = idle.pop() if idle else self._start_worker()
            if worker is None:
                return
            with self._lock:
                if not state.queue or state.queue[0] is not call:
                    continue
                state.queue.popleft()
            if not call.future.set_running_or_notify_cancel():
                continue
            worker.place.forget()
            worker.call, worker.started = call, time.monotonic()
            with suppress(BrokenPipeError, ConnectionResetError):
                # A worker that just died is found by its closed connection.
                worker.channel.send(call.payload)

    def _room(self) -> bool:
        """Whether one more worker may start; some that leave may still be there."""
        workers = self._state.workers
        staying = sum(1 for worker in workers if worker.leaves is None)
        if self._gpu and devices.free(self._gpus) < self._gpu:
            return False
        return staying < self.max_workers and len(workers) < 2 * self.max_workers

    def _dismiss(self, worker: _Worker, seconds: float = SECONDS) -> None:
        """Have an idle worker close what it holds and end."""
        worker.leaves = time.monotonic() + seconds
        with suppress(OSError):
            worker.channel.send(None)

    def _start_worker(self) -> _Worker | None:
        """A new worker; None where another pool was faster to take the devices."""
        env, taken = self._env, devices.take(self._gpus, self._gpu)
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
                    pid = self._server.start(descriptors, env, self.modules)
            except OSError as error:
                raise BackendError(f"a worker process cannot be started: {error}") from error
            undo.pop_all()
        worker = _Worker(pid, Channel(ours), Log(log), Place(place), gpus=taken)
        with self._lock:
            self._state.workers.append(worker)
        return worker

    def _wait(self) -> None:
        """Sleep until a worker answers or dies, a call comes in, or the next tick."""
        descriptors = {w.channel.fileno(): w for w in self._state.workers}
        poller = select.poll()
        for descriptor in (*descriptors, self._wake_read):
            poller.register(descriptor, select.POLLIN)
        state = self._state
        busy = bool(state.queue) or any(w.call or w.leaves for w in state.workers)
        for descriptor, _ in poller.poll(_TICK * 1000 if busy else None):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._hear(descriptors[descriptor])

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.channel.receive()
        except (EOFError, ConnectionResetError, OSError):
            self._bury(worker)
            return
        except Exception as error:
            # An answer that this process cannot unpickle.
            message = BackendError(f"a worker's answer cannot be read: {error}"), False
            self._dismiss(worker)
        if isinstance(message, Left):
            for complaint in message.complaints:
                _log.warning("a worker ended: %s", complaint)
            self._remove(worker)
            return
        (answer, leaving), call = message, worker.call
        worker.call = None
        worker.calls += self.max_calls is not None
        if leaving:
            worker.leaves = time.monotonic() + SECONDS
        elif self.max_calls is not None and worker.calls >= self.max_calls:
            self._dismiss(worker)
        if call is None:
            return
        if isinstance(answer, BaseException):
            call.future.set_exception(answer)
        else:
            call.future.set_result(answer)

    def _bury(self, worker: _Worker) -> None:
        status = self._server.exit_status(worker.pid)
        log, at = worker.log.read(), worker.place.read()
        self._remove(worker, ended=status is not None)
        if worker.call is not None:
            lost = worker.doomed or WorkerLost("lost", how_it_ended(status))
            lost.log, lost.at = log, at
            worker.call.future.set_exception(lost)
        elif worker.leaves is not None:
            _log.warning(
                "a worker ended (exit status %s) before all that it held was closed\n%s",
                status,
                log,
            )

    def _remove(self, worker: _Worker, *, ended: bool = False) -> None:
        with self._lock:
            self._state.workers.remove(worker)
        worker.channel.close()
        kill_group(worker.pid)
        os.close(worker.log.descriptor)
        worker.place.close()
        if worker.gpus and (ended or self._server.exit_status(worker.pid, SECONDS) is not None):
            devices.give_back(worker.gpus)

    def _enforce(self) -> None:
        """Kill what is over its time or memory; keep logs short."""
        now = time.monotonic()
        for worker in list(self._state.workers):
            if worker.pid in self._server.ended:
                # It may have answered since. What never answers is not waited for: a process
                # that it left behind may hold its connection open.
                if worker.channel.has_more():
                    self._hear(worker)
                else:
                    self._bury(worker)
                continue
            worker.log.cap()
            if worker.leaves is not None and now > worker.leaves:
                _log.warning(
                    "a worker was killed that had not closed all that it held within its time "
                    "(close(), __exit__() or an exit handler hangs)\n%s",
                    worker.log.read(),
                )
                self._remove(worker)
                continue
            if worker.call is None or worker.doomed:
                continue
            if self.timeout is not None and now - worker.started > self.timeout:
                text = f"the attempt took longer than timeout={self.timeout:g} s"
                worker.doomed = WorkerLost("timeout", text)
            elif self._memory is not None and (used := _resident(worker.pid)) > self._memory:
                text = f"the worker used {used:,} bytes; the limit is memory={self._memory:,}"
                worker.doomed = WorkerLost("memory", text)
            if worker.doomed:
                kill_group(worker.pid)

    def _fail_all(self, error: BaseException) -> None:
        with self._lock:
            calls = list(self._state.queue)
            self._state.queue.clear()
            self._state.closing = True
        for call in calls:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)

    def _end_all(self) -> None:
        try:
            self._part()
        finally:
            os.close(self._wake_read)
            write, self._wake_write = self._wake_write, -1
            os.close(write)

    def _part(self) -> None:
        """Kill the workers that have a call, and let the others leave."""
        state = self._state
        seconds = _HURRY_SECONDS if state.killed else SECONDS
        for worker in list(state.workers):
            if worker.call is not None:
                self._remove(worker)
                worker.call.future.set_exception(WorkerLost("lost", "the pool was stopped"))
            elif worker.leaves is None:
                self._dismiss(worker, seconds)
            else:
                worker.leaves = min(worker.leaves, time.monotonic() + seconds)
        while state.workers:
            self._wait()
            self._enforce()


def _check_files(workers: int) -> None:
    """Refuse to start with fewer files than a pool opens, besides those that are open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        used = len(os.listdir("/dev/fd")) + _OTHER_FILES
    except OSError:
        return  # nobody tells what is open; a file too many is found when it is opened
    if limit != resource.RLIM_INFINITY and used + 2 * workers > limit:
        fewer = (limit - used) // 2
        instead = f", or run fewer: backend=mapred.Local(workers={fewer})" if fewer > 0 else ""
        raise BackendError(
            f"{workers} worker processes need {used + 2 * workers} open files, and this process "
            f"may have {limit}: raise the limit (ulimit -n {used + 2 * workers}){instead}"
        )


def _file_in_memory(name: str) -> int:
    """An unlinked file to append to, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
    return descriptor


def _resident(pid: int) -> int:
    """Bytes resident of a process and its children."""
    import psutil

    total = 0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += each.memory_info().rss
    return total
