"""What a backend is: something that starts and stops the processes of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from mapred.model import Job, RunStatus
from mapred.storage import Store


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


def process_birth(pid: int) -> str | None:
    """When a process was started, as a text to compare; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat, open("/proc/stat", "rb") as system:
            # What follows the program's name, which may hold blanks and brackets.
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
            boot = next(int(line.split()[1]) for line in system if line.startswith(b"btime"))
            return f"{ticks / os.sysconf('SC_CLK_TCK') + boot:.2f}"
    except (OSError, ValueError, IndexError, StopIteration):
        pass  # There is no such process, or another system than Linux.
    import psutil

    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return None
