"""What a backend is: something that starts and stops the processes of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mapred.errors import BackendError
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.storage import Store


class Vanished(BackendError):
    """The folder of a run was taken away while the run was at work: nothing can go on."""


class Handle(Protocol):
    """A started run, as its backend sees it."""

    @property
    def ref(self) -> str:
        """A string to reopen the handle by."""
        ...

    @property
    def detaches(self) -> bool:
        """Whether the run goes on when this process ends."""
        ...

    def alive(self) -> bool:
        """Whether anything still works on the run."""
        ...

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; True once nothing works on the run any more."""
        ...

    def cancel(self) -> None:
        """Stop everything that works on the run; what is committed stays."""
        ...

    def suspend(self) -> bool:
        """Have nothing more begun, and what runs end; False where it can only be cancelled."""
        ...

    def proceed(self) -> None:
        """Go on after `suspend`."""
        ...

    def status(self) -> RunStatus | None:
        """What the backend knows of the run's progress; None: look into the folder."""
        ...

    def raise_error(self) -> None:
        """Raise what went wrong in driving the run, if anything did."""
        ...


class Backend(Protocol):
    """Takes the whole job at once and returns; the run goes on by itself."""

    @property
    def name(self) -> str: ...

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What job.json says of the backend; no secrets."""
        ...

    def prepare(self) -> None:
        """Start what takes a while, such as processes, beside the planning."""
        ...

    def submit(self, store: Store, job: Job, digest: str) -> Handle: ...
