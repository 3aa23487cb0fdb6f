"""Worker processes on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mapred.engine import devices
from mapred.engine.base import Handle
from mapred.engine.calls import prove, run_logged
from mapred.engine.driver import Driver
from mapred.engine.fork_client import current_folder, fork_server
from mapred.engine.process_pool import ProcessExecutor
from mapred.engine.thread import DriverThread
from mapred.engine.worker_process import WorkerLost
from mapred.errors import BackendError, FunctionError
from mapred.functions.modules.importing import required_modules
from mapred.model.checking import check_fields
from mapred.model.frozen import dataclass
from mapred.model.limits import Limits
from mapred.model.rules import FromOne, Text
from mapred.model.spec import Job, Stage
from mapred.process.private import acero
from mapred.storage import Store, client_modules


def available_cpus() -> int:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# What every stage of a keyed reduce imports: the fork server does so once for all workers.
_KEYED = ("mapred.worker.keyed", "pyarrow.compute", acero.__name__)

# Slow to import, and safe to fork once they are: where a module of the user imports one, the fork
# server does so first, for all workers of this session.
_SHARED = (
    "numpy",
    "pandas",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "hypothesis",
    "pytest",
)


@dataclass(frozen=True)
class Local:
    """Worker processes of this machine.

    Args:
        workers: How many to have side by side, from 1 (default: the processors that this process may
            use, divided by the `cpu` of a task).
        name: How the backend is recorded.

    Raises:
        BackendError: An argument does not fit.

    Examples:
        >>> mapred.run(abs, [-1, -2], backend=mapred.Local(workers=2)).result()
        [1, 2]
    """

    workers: FromOne | None = None
    name: Text = "local"

    def __post_init__(self) -> None:
        check_fields(self, BackendError)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What job.json says of the backend."""
        return {"workers": self.workers}

    def check(self, limits: Limits) -> None:
        """Refuse what this machine lacks: devices, the folder that workers start in."""
        current_folder()
        for resources in limits.resources:
            devices.check(resources)

    def prepare(self) -> None:
        """Start the process from which workers are forked."""
        fork_server()

    def prove(
        self, stage: Stage, timeout: float | None, keyed: bool, code: tuple[bytes, ...]
    ) -> _Proved:
        """Load the code in the first worker; the backend that is returned continues with it."""
        shared = tuple(name for name in _SHARED if name in required_modules(code[-1]))
        executor = self._executor(stage, None, (*_KEYED, *shared) if keyed else shared)
        try:
            executor.submit(prove, stage.resources.cpu, *code).result()
        except WorkerLost as lost:
            executor.kill()
            raise FunctionError(f"the function cannot be loaded: {lost}\n{lost.log}") from lost
        except BaseException:
            executor.kill()
            raise
        executor.timeout = timeout
        return _Proved(self.workers, self.name, executor)

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        """Start a run on worker processes, and return its handle."""
        return self._driven(store, job, digest, [])

    def _driven(
        self, store: Store, job: Job, digest: str, ready: list[ProcessExecutor]
    ) -> DriverThread:
        """Start the run; its first stage takes the executor that is ready, if there is one."""

        def executor(stage: Stage) -> ProcessExecutor:
            if ready and stage is job.stages[0]:
                pool = ready.pop()
                pool.modules = (*pool.modules, *client_modules(store))
            else:
                modules = (*(_KEYED if job.shuffle else ()), *client_modules(store))
                pool = self._executor(stage, job.timeout, modules)
            pool.max_calls = job.max_tasks_per_worker
            return pool

        def closing() -> None:
            for unused in ready:
                unused.kill()

        driver = Driver(store, job, digest, executor, run_logged, follows=True)
        return DriverThread(driver, self.name, closing)

    def _executor(
        self, stage: Stage, timeout: float | None, modules: tuple[str, ...]
    ) -> ProcessExecutor:
        resources = stage.resources
        workers = self.workers or max(1, int(available_cpus() / resources.cpu))
        gpus = devices.check(resources)
        return ProcessExecutor(
            min(workers, stage.tasks, len(gpus) // resources.gpu if resources.gpu else workers),
            timeout=timeout,
            memory=resources.memory_bytes,
            env=resources.env,
            modules=modules,
            gpus=gpus,
            gpu=resources.gpu,
        )


@dataclass(frozen=True)
class _Proved(Local):
    """`Local` with a worker that has loaded the code of a run."""

    executor: ProcessExecutor | None = None

    def discard(self) -> None:
        """End the worker of a run that did not start."""
        if self.executor is not None:
            self.executor.kill()

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        return self._driven(store, job, digest, [] if self.executor is None else [self.executor])
