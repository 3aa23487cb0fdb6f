"""An executor of worker processes that one task's crash, hang or greed cannot take down.

Other pools lack one thing each: a dead worker breaks every pending call of `ProcessPoolExecutor`
and loky, neither of them can end one call that hangs, and pebble and the standard library run the
user's `__main__` in a worker.
"""

from __future__ import annotations

import collections
import logging
import os
import resource
import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any

from mapred.engine import devices, worker_process
from mapred.engine.fork_client import ServerLost, fork_server
from mapred.engine.messages import Left
from mapred.engine.worker_process import Call, Worker, WorkerLost
from mapred.errors import BackendError
from mapred.model.status import WorkerStatus
from mapred.process.shortages import REMEDY
from mapred.worker.closing import SECONDS

_TICK, _IDLE_TICK = 0.25, 60.0
_STARTS = 4  # tries to start a worker where none is left, with a longer pause each time
_LOSSES = 10  # of a fork server that a call survives: it may be what brings them about
_HURRY_SECONDS = 5.0  # within which idle workers leave a pool that is killed
_OTHER_FILES = 16  # that a driver has open at one time, besides its workers' connections
_STOPPED = "the pool was stopped"
_log = logging.getLogger("mapred")


class ProcessExecutor(Executor):
    """Calls in worker processes of their own.

    `timeout` (seconds) and `memory` (bytes resident, children included) hold for each call;
    a call whose process ends early raises `WorkerLost` and touches no other call. One that is
    lost because its fork server was runs again, in a worker of a new server. A worker
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
        self._queue: collections.deque[Call] = collections.deque()
        self._workers: list[Worker] = []
        self._closing = self._killed = False
        self._refusals = 0  # in a row, to start a worker
        self._next_start = 0.0  # the time before which no other is started
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._manage, name="mapred-pool", daemon=True)
        try:
            fork_server()
            self._thread.start()
        except BaseException as error:
            self._close_wake()
            if isinstance(error, RuntimeError):
                raise BackendError(
                    f"a pool of worker processes cannot be started: {error}; {REMEDY}"
                ) from error
            raise

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call; `fn` must be importable and its arguments picklable."""
        if kwargs:
            raise BackendError("calls of worker processes take positional arguments alone")
        return self._enqueue(Call(Future(), (fn, args)))

    def submit_fresh(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Like `submit`, in a process that has run nothing before."""
        return self._enqueue(Call(Future(), (fn, args), fresh=True))

    def _enqueue(self, call: Call) -> Future[Any]:
        with self._lock:
            if self._closing:
                raise RuntimeError("cannot submit after shutdown")
            self._queue.append(call)
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
        with self._lock:
            return [worker.pid for worker in self._workers]

    def at_work(self) -> list[WorkerStatus]:
        """Return what each worker with a call is at."""
        # A worker is ended once it is off the list: until then its files are its own.
        with self._lock:
            return [found for worker in self._workers if (found := worker.at_work())]

    def _close(self, cancel_futures: bool, *, kill: bool) -> None:
        with self._lock:
            self._closing = True
            self._killed |= kill
            dropped = list(self._queue) if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
        for call in dropped:
            if not call.future.cancel():
                call.fail(WorkerLost("lost", _STOPPED))
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._wake_write, b"x")

    def _manage(self) -> None:
        try:
            while True:
                with self._lock:
                    if self._killed:
                        return
                    if self._closing and not self._queue and not any(w.call for w in self._workers):
                        return
                self._assign()
                self._wait()
                self._enforce()
        except BaseException as error:
            self._fail_all(error)
        finally:
            try:
                self._end_workers()
            finally:
                self._close_wake()
                self._fail_all(WorkerLost("lost", _STOPPED))

    def _assign(self) -> None:
        """Give queued calls to idle workers; start workers while there is room."""
        while self._queue:
            with self._lock:
                if not self._queue:
                    return
                call = self._queue[0]
            idle = [worker for worker in self._workers if worker.idle]
            if call.fresh:
                if idle and not self._room():
                    idle.pop().dismiss()
                idle = []
            if not idle and not self._room():
                return
            worker = idle.pop() if idle else self._start_worker(call)
            if worker is None:
                return
            if self._take(call) and call.begin():
                worker.give(call)

    def _take(self, call: Call) -> bool:
        """Take the first call off the queue; False where it was cancelled just now."""
        with self._lock:
            waits = bool(self._queue) and self._queue[0] is call
            if waits:
                self._queue.popleft()
            return waits

    def _room(self) -> bool:
        """Whether one more worker may start; some that leave may still be there."""
        if self._gpu and devices.free(self._gpus) < self._gpu:
            return False
        staying = sum(1 for worker in self._workers if worker.leaves is None)
        return staying < self.max_workers and len(self._workers) < 2 * self.max_workers

    def _start_worker(self, call: Call) -> Worker | None:
        """Return a new worker; None where the call has to wait, or failed for want of one."""
        while time.monotonic() >= self._next_start:
            try:
                worker = worker_process.start(self._env, self.modules, self._gpus, self._gpu)
            except BackendError as error:
                self._refusals += 1
                if not isinstance(error, ServerLost) or self._refusals >= _LOSSES:
                    self._do_without(call, error)
                    break
            else:
                self._refusals = 0
                if worker is not None:
                    with self._lock:
                        self._workers.append(worker)
                return worker
        return None

    def _do_without(self, call: Call, error: BackendError) -> None:
        """Continue with the workers that there are; without any, fail the call after some tries."""
        if self._workers:
            if self._refusals == 1:
                _log.warning(
                    "cannot start more than %d worker processes: %s", len(self._workers), error
                )
            self._next_start = time.monotonic() + 1.0
            idle = [worker for worker in self._workers if worker.idle]
            if idle:
                idle[0].dismiss()
        elif self._refusals < _STARTS:
            self._next_start = time.monotonic() + 0.1 * 2**self._refusals
        elif self._take(call):
            call.fail(error)

    def _wait(self) -> None:
        """Sleep until a worker answers or dies, a call comes in, or the next tick."""
        descriptors = {w.channel.fileno(): w for w in self._workers}
        poller = select.poll()
        for descriptor in (*descriptors, self._wake_read):
            poller.register(descriptor, select.POLLIN)
        busy = bool(self._queue) or any(w.call or w.leaves for w in self._workers)
        for descriptor, _ in poller.poll((_TICK if busy else _IDLE_TICK) * 1000):
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
            else:
                self._hear(descriptors[descriptor])

    def _hear(self, worker: Worker) -> bool:
        """Handle the next message of a worker, or its end; False while there is nothing whole."""
        try:
            if not worker.channel.has_value():
                return False
            message = worker.channel.receive()
        except (EOFError, OSError):
            self._bury(worker)
            return True
        except Exception as error:  # the answer cannot be unpickled here
            message = BackendError(f"a worker's answer cannot be read: {error}"), False
            worker.dismiss()
        if isinstance(message, Left):
            for complaint in message.complaints:
                _log.warning("a worker ended: %s", complaint)
            self._remove(worker)
            return True
        (answer, leaving), call = message, worker.call
        worker.call = None
        worker.calls += self.max_calls is not None
        if leaving:
            worker.leaves = time.monotonic() + SECONDS
        elif self.max_calls is not None and worker.calls >= self.max_calls:
            worker.dismiss()
        if call is None:
            return True
        if isinstance(answer, BaseException):
            call.future.set_exception(answer)
        else:
            call.future.set_result(answer)
        return True

    def _bury(self, worker: Worker) -> None:
        status = worker.server.exit_status(worker.pid)
        orphaned = status is None and worker.server.dead and worker.doomed is None
        log, at = worker.log.read(), worker.place.read()
        self._remove(worker, ended=status is not None)
        call = worker.call
        if call is not None and orphaned and call.losses < _LOSSES:
            call.losses += 1
            with self._lock:
                self._queue.appendleft(call)
        elif call is not None:
            lost = worker.doomed or WorkerLost("lost", worker.why_lost(status))
            lost.log, lost.at = log, at
            call.fail(lost)
        elif worker.leaves is not None:
            _log.warning(
                "a worker ended (exit status %s) before all that it held was closed\n%s",
                status,
                log,
            )

    def _remove(self, worker: Worker, *, ended: bool = False) -> None:
        with self._lock:
            self._workers.remove(worker)
        worker.end(ended=ended)

    def _enforce(self) -> None:
        """Kill what is over its time or memory; keep logs short."""
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.server.dead or worker.pid in worker.server.ended:
                # It may have answered since. What never answers is not waited for: a process
                # that it left behind may hold its connection open.
                if not self._hear(worker):
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
            if worker.call is not None and not worker.doomed:
                worker.enforce(now, self.timeout, self._memory)

    def _fail_all(self, error: BaseException) -> None:
        with self._lock:
            calls = list(self._queue)
            self._queue.clear()
            self._closing = True
        for call in calls:
            call.fail(error)

    def _close_wake(self) -> None:
        os.close(self._wake_read)
        write, self._wake_write = self._wake_write, -1
        os.close(write)

    def _end_workers(self) -> None:
        """Kill the workers that have a call, and let the others leave."""
        seconds = _HURRY_SECONDS if self._killed else SECONDS
        for worker in list(self._workers):
            if worker.call is not None:
                self._remove(worker)
                worker.call.fail(WorkerLost("lost", _STOPPED))
            elif worker.leaves is None:
                worker.dismiss(seconds)
            else:
                worker.leaves = min(worker.leaves, time.monotonic() + seconds)
        while self._workers:
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
