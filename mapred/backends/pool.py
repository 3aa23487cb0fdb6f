"""Backends that are pools: a thread of this process drives the run over an executor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from mapred.backends.base import Handle, process_birth
from mapred.backends.driver import Driver
from mapred.model import Job, RunStatus
from mapred.storage import Store


def _ref(name: str) -> str:
    return f"{name}:{os.uname().nodename}:{os.getpid()}:{process_birth(os.getpid())}"


class DriverThread:
    """The handle of a run that a thread of this process drives; `closing` is called at its end."""

    detaches = False

    def __init__(
        self, driver: Driver, name: str, closing: Callable[[], None] | None = None
    ) -> None:
        self._driver, self._closing = driver, closing
        self._done = threading.Event()
        self.ref = _ref(name)
        self._thread = threading.Thread(target=self._run, name="mapred-driver", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._driver.run()
        finally:
            try:
                if self._closing is not None:
                    self._closing()
            finally:
                self._done.set()

    def alive(self) -> bool:
        return not self._done.is_set()

    def wait(self, timeout: float) -> bool:
        return self._done.wait(timeout)

    def cancel(self) -> None:
        self._driver.stop()
        self._done.wait()

    def suspend(self) -> bool:
        return False

    def proceed(self) -> None:
        return

    def status(self) -> RunStatus | None:
        return self._driver.status()

    def raise_error(self) -> None:
        if self._driver.error is not None:
            raise self._driver.error


class Finished(DriverThread):
    """The handle of a run that is over already."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._done = threading.Event()
        self._done.set()
        self.ref = _ref("inline")


@dataclass(frozen=True)
class Pool:
    """A user's executor as a backend; it is not shut down, and its workers are not killed."""

    executor: Executor
    name: str = "pool"

    @property
    def arguments(self) -> Mapping[str, Any]:
        return {"executor": type(self.executor).__name__}

    def prepare(self) -> None:
        return

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        borrowed = _Borrowed(self.executor)
        return DriverThread(Driver(store, job, digest, lambda stage: borrowed), self.name)


class _Borrowed(Executor):
    """Somebody else's executor, which outlives the run."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        return
