"""A job that starts by the clock, as its backend keeps it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from mapred.engine.base import Backend
from mapred.model.coding import decode
from mapred.model.fields import Count
from mapred.model.resources import Resources


@dataclass(frozen=True)
class Schedule:
    """A job that a cluster starts on a schedule, as `mapred.schedule` and `mapred.schedules` return it.

    Attributes:
        name: The schedule's name.
        job: The job's name.
        cron: When it starts: texts of five fields, read in `timezone`.
        timezone: The name of the time zone.
        root: Where the job is stored and its runs are made.
        digest: The SHA-256 of the stored job.
        parameters: The values of the job's parameters.
        on_failure: Who is told when a run fails: a URL, `secret/key` that holds one, or a program's
            words.
        pipeline: Whether it starts a pipeline, whose name is `job`.
        suspended: Whether the cluster starts no runs at present.
        last: When it last started one, in UTC, as the cluster writes it; None if it never did.
        active: How many runs are at work.

    Examples:
        >>> job = mapred.job(len, mapred.read_text("logs/{date:%Y-%m-%d}.txt", as_="bytes"))
        >>> nightly = mapred.schedule(job, "0 3 * * *", name="nightly")
        >>> nightly.cron, nightly.timezone, nightly.active
        (('0 3 * * *',), 'UTC', 0)
    """

    name: str
    job: str
    cron: tuple[str, ...]
    timezone: str
    root: str
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on_failure: str | tuple[str, ...] | None = None
    pipeline: bool = False
    suspended: bool = False
    last: str | None = None
    active: Count = 0

    def to_json(self) -> str:
        """Return the schedule as JSON, without the fields that are the cluster's."""
        fields = dataclasses.asdict(self)
        if not self.pipeline:
            del fields["pipeline"]  # which mapred of before did not know
        return json.dumps({k: v for k, v in fields.items() if k not in _OF_CLUSTER})

    @classmethod
    def from_json(cls, text: str, where: str = "a schedule") -> Schedule:
        """Return the schedule in a text that was read at `where`; `RecordError` if there is none."""
        return decode(cls, text.encode(errors="surrogatepass"), where)


_OF_CLUSTER = ("suspended", "last", "active")


@runtime_checkable
class SchedulingBackend(Backend, Protocol):
    """A backend that starts jobs by the clock."""

    def schedule(self, schedule: Schedule, resources: Resources, packages: tuple[str, ...]) -> None:
        """Start a job by the clock from now on; a schedule of the same name is replaced.

        `resources` are those of a map task, `packages` what the job needs beside its own.
        """

    def schedules(self) -> list[Schedule]: ...

    def unschedule(self, name: str) -> None:
        """Start a job no more; a run that is at work continues."""
