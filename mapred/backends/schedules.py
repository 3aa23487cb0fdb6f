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
    """A job that starts by the clock, as its backend keeps it.

    `cron` has five fields and is read in `timezone`; `digest` is the SHA-256 of the stored job
    below `root`; `on_failure` is a URL, `secret/key` that holds one, or a program's words.
    `suspended`, `last` (the last firing, UTC) and `active` (firings at work) are the cluster's.
    """

    name: str
    job: str
    cron: tuple[str, ...]
    timezone: str
    root: str
    digest: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    on_failure: str | tuple[str, ...] | None = None
    suspended: bool = False
    last: str | None = None
    active: Count = 0

    def to_json(self) -> str:
        """Return the schedule as JSON, without the fields that are the cluster's."""
        fields = dataclasses.asdict(self)
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
