"""What a backend is: something that starts and stops the processes of a run.

`Backend` and `Handle` are what each one has. What only some can do is a protocol of its own; whether
a backend, a handle or an executor can do it is asked by `isinstance`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable

from mapred.errors import BackendError
from mapred.model.limits import Limits
from mapred.model.spec import Job, Stage
from mapred.model.status import Look, RunStatus
from mapred.storage import Store


class Vanished(BackendError):
    """The folder of a run was taken away while the run was at work: nothing can continue."""


class Handle(Protocol):
    """A started run, as its backend sees it."""

    @property
    def ref(self) -> str:
        """A string to reopen the handle by."""

    @property
    def survives_client(self) -> bool:
        """Whether the run continues when this process ends."""

    def alive(self) -> bool:
        """Whether anything still works on the run."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True once nothing works on the run any more."""

    def cancel(self) -> None:
        """Stop everything that works on the run; what is committed stays."""

    def status(self) -> RunStatus | None:
        """Return what the backend knows of the run's progress; None: look into the folder."""

    def raise_error(self) -> None:
        """Raise what went wrong in driving the run, if anything did."""


@runtime_checkable
class Suspends(Handle, Protocol):
    """A handle whose run can pause, and continue without being submitted again."""

    def suspend(self) -> bool:
        """Have nothing more begun, and what runs end; False where it can only be cancelled."""

    def resume(self) -> None:
        """Continue after `suspend`."""


@runtime_checkable
class ReportsState(Handle, Protocol):
    """A handle that can tell the state of its run without the progress, which takes longer."""

    def standing(self) -> RunStatus | None:
        """Return the state by one look; None: look into the folder."""


@runtime_checkable
class Looks(Handle, Protocol):
    """A handle that knows each worker, and what is new since the last look."""

    def look(self, seen: int) -> Look:
        """Return what there is to say, after a look that had seen so many tasks end."""


@runtime_checkable
class Backend(Protocol):
    """Where the tasks of a run go: what any backend is, by a protocol.

    It takes the whole job at once and returns; the run continues by itself. `mapred.Local`,
    `mapred.Dask` and `mapred.Argo` are backends; docs/extending.md shows how to write one.
    """

    @property
    def name(self) -> str:
        """The name that job.json records."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What job.json says of the backend; no secrets."""

    def prepare(self) -> None:
        """Start what takes a while, such as processes, beside the planning."""

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        """Start a run, whose folder is `store` and whose job.json has this digest; return its handle."""


@runtime_checkable
class Checks(Protocol):
    """A backend that knows what it cannot keep before anything is written."""

    def check(self, limits: Limits) -> None: ...


@runtime_checkable
class Proves(Protocol):
    """A backend that loads the code of a run in a process like its workers'."""

    def prove(
        self, stage: Stage, timeout: float | None, keyed: bool, code: tuple[bytes, ...]
    ) -> Backend:
        """Return the backend to submit to, once the code was loaded; raises `FunctionError`."""


@runtime_checkable
class Discards(Protocol):
    """A backend that holds a process for a run that may not start."""

    def discard(self) -> None: ...


@runtime_checkable
class Renders(Protocol):
    """A backend that shows what it would submit."""

    def render(self, job: Job, *, uri: str, digest: str) -> str: ...


@runtime_checkable
class Reopens(Protocol):
    """A backend whose runs continue without the process that submitted them."""

    def reopen(self, store: Store, job: Job, ref: str) -> Handle | None:
        """Return the handle of a run by an earlier one's `ref`; None for another backend's."""


@runtime_checkable
class ExpectsPackages(Protocol):
    """A backend whose workers have packages of their own, which should be like those here."""

    def expected(self, used: Mapping[str, str]) -> dict[str, str]:
        """Select the packages used here that its workers should have in the same versions."""


@runtime_checkable
class RunsInCluster(Protocol):
    """A backend that processes of its own cluster can submit to."""

    def in_cluster(self, packages: str | None) -> Backend: ...


class PipelineHandle(Protocol):
    """What a cluster has started to call the function of a pipeline."""

    @property
    def ref(self) -> str:
        """A string to reopen the handle by."""

    def alive(self) -> bool:
        """Whether it works on the pipeline, or will again."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True once nothing works on the pipeline any more."""

    def cancel(self) -> None:
        """Stop what works on the pipeline; its runs continue."""

    def wake(self) -> None:
        """Have the function called soon, where the pipeline waits without a process."""

    def begin(self) -> bool:
        """Note, from inside, that a process begins; whether those before it allow that."""

    def leave(self, seconds: float) -> None:
        """Note, from inside, that the process leaves, and that another one begins so much later."""


@runtime_checkable
class DrivesPipelines(Protocol):
    """A backend whose cluster calls the functions of pipelines, so that these survive the client.

    `digest` is the SHA-256 of pipeline.json. Of the handles it is noted in the pipeline's folder which
    one drives the pipeline.
    """

    def start_pipeline(self, store: Store, digest: str) -> PipelineHandle: ...

    def reopen_pipeline(self, store: Store, digest: str, ref: str) -> PipelineHandle | None:
        """Return the handle of an earlier start by its `ref`; None for another backend's."""


@runtime_checkable
class DrivesPipelinesInCluster(Protocol):
    """A backend whose cluster calls the functions of pipelines, as their process there uses it."""

    def in_pipeline(self, packages: str | None, pipeline: str) -> Backend:
        """Return the backend for the runs of a pipeline, by its id."""

    def own_pipeline(self, store: Store, digest: str, name: str) -> PipelineHandle:
        """Return the handle of what this process is part of, by the name that the cluster has."""


@runtime_checkable
class NamesRoot(Protocol):
    """A backend that says where runs are kept unless `root=` does."""

    @property
    def root(self) -> str | None: ...


@runtime_checkable
class Namespaced(Protocol):
    """A backend whose runs lie in a namespace of its cluster; None is the default one."""

    @property
    def namespace(self) -> str | None: ...


@runtime_checkable
class SubmitsFresh(Protocol):
    """An executor that can give a call a process that has run nothing before."""

    def submit_fresh(self, fn: Any, /, *args: Any) -> Future[Any]: ...


@runtime_checkable
class Kills(Protocol):
    """An executor that can end its calls at once."""

    def kill(self) -> None: ...
