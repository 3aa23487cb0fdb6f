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
        """Return what was asked for, without what the cluster says."""
        known = dataclasses.asdict(self)
        return json.dumps({k: v for k, v in known.items() if k not in _OF_CLUSTER})

    @classmethod
    def from_json(cls, text: str, where: str = "a schedule") -> Schedule:
        """Return the schedule that a text holds, at the place `where`; a `RecordError` if none."""
        return decode(cls, text.encode(errors="surrogatepass"), where)


_OF_CLUSTER = ("suspended", "last", "active")


@runtime_checkable
class SchedulingBackend(Backend, Protocol):
    """A backend that starts jobs by the clock."""

    def schedule(self, wanted: Schedule, asked: Resources, packages: tuple[str, ...]) -> None:
        """Have a job started by the clock; a schedule of that name is replaced.

        `asked` are the resources of a map task, `packages` what the job needs beside its own.
        """
        ...

    def schedules(self) -> list[Schedule]: ...

    def unschedule(self, name: str) -> None:
        """Have it start no more; a run that is at work goes on."""
        ...
