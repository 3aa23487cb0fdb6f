"""Backends that are pools: a thread of this process drives the run over an executor."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from mapred.engine import leaving
from mapred.engine.base import Handle
from mapred.engine.driver import Driver
from mapred.errors import BackendError, FunctionError
from mapred.functions import instances, transport
from mapred.model.frozen import dataclass
from mapred.model.limits import Limits
from mapred.model.spec import Job, Stage
from mapred.model.status import Look, RunStatus
from mapred.process.lazy import shlex
from mapred.runfolder import liveness
from mapred.storage import Store

_PROOF_SECONDS = 10.0
_LEAVING_SECONDS = 10.0
_CANCEL_SECONDS = 300.0  # a store that does not answer is asked again for some minutes


class DriverThread:
    """The handle of a run that a thread of this process drives; `closing` is called at its end."""

    survives_client = False

    def __init__(
        self, driver: Driver, name: str, closing: Callable[[], None] | None = None
    ) -> None:
        self._driver, self._closing = driver, closing
        self._done = threading.Event()
        self._waiter: threading.Thread | None = None
        self.ref = liveness.own_ref(name)
        leaving.watch(self)
        self._thread = threading.Thread(target=self._run, name="mapred-driver", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no room for one more thread
            self._done.set()
            if closing is not None:
                closing()
            raise

    def _run(self) -> None:
        driver = self._driver
        try:
            with driver.folder.send_heartbeats(self.ref):
                driver.run()
        finally:
            try:
                if driver.status().state in ("running", "interrupted"):
                    driver.folder.note_interruption(self.ref)
                if self._closing is not None:
                    self._closing()
            finally:
                self._done.set()

    def alive(self) -> bool:
        return not self._done.is_set()

    def wait(self, timeout: float) -> bool:
        self._waiter = threading.current_thread()
        return self._done.wait(timeout)

    def cancel(self) -> None:
        self._driver.stop()
        if not self._done.wait(_CANCEL_SECONDS):
            raise BackendError(
                f"the run did not stop within {_CANCEL_SECONDS:g} s: its store or its pool does not "
                "answer; end this process to stop it"
            )

    def leave(self, *, alone: bool) -> None:
        """Stop a run that this process leaves at work, and say how to continue it.

        If `alone`, one that another thread waits for continues.
        """
        if not self.alive() or (alone and self._is_awaited()):
            return
        driver = self._driver
        driver.stop()
        self._done.wait(_LEAVING_SECONDS)
        status = driver.status()
        if status.state in ("running", "interrupted"):
            done, total = (sum(getattr(s, n) for s in status.stages) for n in ("done", "total"))
            sys.stderr.write(
                f"mapred: this process is ending, and run {status.run_id} ends with it ({done} of "
                f"{total} tasks are done); to continue: mapred resume {shlex.quote(status.uri)}, or "
                f"mapred.open({status.uri!r}).resume()\n"
            )

    def _is_awaited(self) -> bool:
        waiter = self._waiter
        if waiter is None or waiter is threading.main_thread():
            return False
        return waiter.is_alive() and not waiter.daemon

    def status(self) -> RunStatus | None:
        return self._driver.status()

    def look(self, seen: int) -> Look:
        return self._driver.look(seen)

    def raise_error(self) -> None:
        if self._driver.error is not None:
            raise self._driver.error


class Finished(DriverThread):
    """The handle of a run that is over already."""

    def __init__(self, driver: Driver, ref: str) -> None:
        self._driver = driver
        self._done = threading.Event()
        self._done.set()
        self.ref = ref


@dataclass(frozen=True)
class Pool:
    """A user's executor as a backend; it is not shut down, and its workers are not killed."""

    executor: Executor
    name: str = "pool"

    @property
    def arguments(self) -> Mapping[str, Any]:
        return {"executor": type(self.executor).__name__}

    def check(self, limits: Limits) -> None:
        """Refuse limits on processes that are not ours."""
        if limited := limits.describe():
            kind = type(self.executor).__name__
            raise BackendError(
                f"a {kind} cannot keep {limited}: its workers are not mapred's to end or to set up; "
                "leave that out, or use backend='local', which keeps it (a Dask cluster does too: "
                "pass its Client, not its executor)"
            )

    def prepare(self) -> None:
        return

    def prove(
        self, stage: Stage, timeout: float | None, keyed: bool, code: tuple[bytes, ...]
    ) -> Pool:
        """Have a worker load the code, unless all are busy for long; threads are this process."""
        if isinstance(self.executor, ThreadPoolExecutor):
            transport.prove(*code)
            return self
        future = self.executor.submit(transport.prove, *code)
        try:
            future.result(_PROOF_SECONDS)
        except FunctionError:
            raise
        except Exception:  # the driver says what is wrong with the pool
            future.cancel()
        return self

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        borrowed = _Borrowed(self.executor)
        leaving.before_pools(type(self.executor))
        driver = Driver(store, job, digest, lambda stage: borrowed)
        # The instances of threads; other processes close theirs when they end.
        return DriverThread(driver, self.name, functools.partial(instances.close, store.uri))


class _Borrowed(Executor):
    """Someone else's executor, which outlives the run: only the run's own calls end with it."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._pending: set[Future[Any]] = set()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = self.executor.submit(fn, *args, **kwargs)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    def kill(self) -> None:
        """Take back what is still queued; what runs cannot be ended."""
        for future in list(self._pending):
            future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        return
