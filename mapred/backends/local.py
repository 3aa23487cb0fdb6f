"""Worker processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mapred.backends.base import Handle
from mapred.backends.driver import Driver
from mapred.backends.forkserver import run_logged
from mapred.backends.pool import DriverThread
from mapred.backends.processes import ProcessExecutor, fork_server
from mapred.checking import FromOne, Text, check_fields
from mapred.errors import BackendError
from mapred.model import Job, Stage
from mapred.storage import Store, client_modules


def available_cpus() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# What every stage of a keyed reduce imports, some 40 ms in each of its new workers.
_KEYED = ("mapred.keyed", "pyarrow.compute", "pyarrow._acero")


@dataclass(frozen=True)
class Local:
    """`workers` processes side by side (default: the processors, divided by a task's cpu)."""

    workers: FromOne | None = None
    name: Text = "local"

    def __post_init__(self) -> None:
        check_fields(self, BackendError)

    @property
    def arguments(self) -> Mapping[str, Any]:
        return {"workers": self.workers}

    def prepare(self) -> None:
        fork_server()

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        def executor(stage: Stage) -> ProcessExecutor:
            workers = self.workers or max(1, int(available_cpus() / stage.resources.cpu))
            return ProcessExecutor(
                min(workers, stage.tasks),
                timeout=job.timeout,
                memory=stage.resources.memory_bytes,
                env=stage.resources.env,
                modules=(*(_KEYED if job.shuffle else ()), *client_modules(store)),
            )

        return DriverThread(
            Driver(store, job, digest, executor, run_logged, follows=True), self.name
        )
