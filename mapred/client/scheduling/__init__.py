"""Jobs that a cluster starts on a schedule: `schedule`, `schedules`, `unschedule`.

A schedule is a job without its shards: it starts a small pod, which lists the dataset as it is
then and submits a run. `firing` is what that pod does.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone, tzinfo
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mapred import backends
from mapred.backends.schedules import Schedule, SchedulingBackend
from mapred.client import stored
from mapred.client.job import Job
from mapred.client.pipelines import arguments
from mapred.engine.base import Backend
from mapred.errors import BackendError, PlanError
from mapred.functions import parameters, transport
from mapred.functions.parameters import DATE
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.resources import Resources
from mapred.model.rules import Location, Text
from mapred.process import secrecy

__all__ = [
    "Schedule",
    "Template",
    "arguments_of",
    "bind_date",
    "schedule",
    "schedule_pipeline",
    "schedules",
    "unschedule",
    "zone",
]

_SHOWN = (
    "and a schedule is visible to others: store it in a Secret and write "
    "on_failure='name-of-the-secret/key'"
)
_FIELD = re.compile(r"[0-9A-Za-z*/,?#-]+")


@dataclass(frozen=True)
class Template:
    """What a schedule stores: the job, the backend's name and arguments, the zone of `date`.

    `job` is a `Job`, or a pipeline.
    """

    job: Any
    backend: str
    arguments: Mapping[str, Any]
    timezone: str


@checks(PlanError)
def schedule(
    job: Job,
    cron: str | Sequence[str],
    *,
    timezone: Text = "UTC",
    params: Mapping[str, Any] | None = None,
    on_failure: str | Sequence[str] | None = None,
    backend: str | Backend = "argo",
    root: Location | None = None,
    name: Text | None = None,
) -> Schedule:
    """Have a cluster start a job on a schedule. A schedule of the same name is replaced.

    While a run is at work the next one does not start.

    Args:
        job: The job, made by `mapred.job`. Places such as `{date:%Y/%m/%d}` in its URIs are filled
            when it starts, and its function gets the parameters that it names: see `Job.bind`.
        cron: Five fields, such as `"0 3 * * *"`, or a list of several.
        timezone: The time zone of `cron`, and of the parameter `date`, which is the time for which
            the run was planned, however late its pod starts.
        params: Values of parameters: texts, numbers, booleans.
        on_failure: Who is told when a run fails: a webhook's `https://` URL, to which JSON with a
            `text` is posted; `"secret/key"`, which holds one; or a program's words, run in the
            image, with `MAPRED_SCHEDULE`, `MAPRED_STATUS`, `MAPRED_FAILURES` and more about it.
        backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.
        root: Where the job is stored and its runs are made, which pods must reach (default: the
            backend's).
        name: The schedule's name, of lower case, digits and `-` (default: the job's).

    Returns:
        The schedule.

    Raises:
        PlanError: Nothing takes a parameter, or a place is left without one.
        BackendError: The cluster does not take it, or the backend has no schedules.

    Examples:
        >>> job = mapred.job(len, mapred.read_text("logs/{date:%Y-%m-%d}.txt", as_="bytes"))
        >>> nightly = mapred.schedule(job, "0 3 * * *", timezone="Europe/Berlin", name="nightly")
        >>> nightly.cron, nightly.job
        (('0 3 * * *',), 'len')
    """
    values = parameters.check(params or {})
    cluster, crons = _scheduling(backend), _crons(cron)
    _check(job, values, timezone)
    wanted = Schedule(
        name=name or name_of(job.name),
        job=job.name,
        cron=crons,
        timezone=timezone,
        root="",
        digest="",
        parameters=values,
        on_failure=_check_on_failure(on_failure),
    )
    return _put(wanted, stored.apply_annotation(job), job.resources, cluster, root)


@checks(PlanError)
def schedule_pipeline(
    pipeline: Any,
    cron: str | Sequence[str],
    *,
    timezone: Text,
    params: Mapping[str, Any] | None,
    on_failure: str | Sequence[str] | None,
    backend: str | Backend,
    root: Location | None,
    name: Text | None,
) -> Schedule:
    """Have a cluster start a pipeline on a schedule; see `Pipeline.schedule`."""
    values = parameters.check(params or {})
    cluster, crons = _scheduling(backend), _crons(cron)
    _check_values(values)
    arguments_of(pipeline, datetime.now(zone(timezone)), values)
    wanted = Schedule(
        name=name or name_of(pipeline.name),
        job=pipeline.name,
        cron=crons,
        timezone=timezone,
        root="",
        digest="",
        parameters=values,
        on_failure=_check_on_failure(on_failure),
        pipeline=True,
    )
    return _put(wanted, pipeline, Resources(), cluster, root)


def arguments_of(pipeline: Any, when: datetime, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a pipeline is called with: its parameters and, where it takes one, a date."""
    takes = inspect.signature(pipeline.fn).parameters
    date = {DATE: when} if DATE in takes else {}
    return arguments.bind(pipeline.fn, pipeline.name, (), {**values, **date})


def name_of(text: str) -> str:
    """Return a name of a schedule made from that of what it starts."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _put(
    wanted: Schedule,
    what: Any,
    resources: Resources,
    cluster: SchedulingBackend,
    root: Location | None,
) -> Schedule:
    """Store what a schedule starts below the root, and hand the schedule to the cluster."""
    base = stored.root_of(root, cluster)
    arguments = stored.arguments_of(cluster)
    data = transport.dump(Template(what, cluster.name, arguments, wanted.timezone))
    new = replace(wanted, root=base, digest=hashlib.sha256(data).hexdigest())
    stored.put(base, layout.schedule(new.name, new.digest), data)
    cluster.schedule(new, resources, () if new.timezone == "UTC" else ("tzdata",))
    return new


def schedules(*, backend: str | Backend = "argo") -> list[Schedule]:
    """Return the schedules of a cluster's namespace, by name.

    Args:
        backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.

    Returns:
        A list of `mapred.Schedule`.

    Raises:
        BackendError: The cluster does not answer, or the backend has no schedules.

    Examples:
        >>> nightly = mapred.schedule(mapred.job(abs, [-1, -2]), "0 3 * * *", name="nightly")
        >>> [schedule.name for schedule in mapred.schedules()]
        ['nightly']
    """
    return list(_scheduling(backend).schedules())


@checks(BackendError)
def unschedule(name: Text, *, backend: str | Backend = "argo") -> None:
    """Remove a schedule, so that it starts no more runs. A run that it has started continues.

    Args:
        name: The schedule's name.
        backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.

    Raises:
        BackendError: There is no schedule of that name; the error lists those that there are.

    Examples:
        >>> nightly = mapred.schedule(mapred.job(abs, [-1, -2]), "0 3 * * *", name="nightly")
        >>> mapred.unschedule("nightly")
        >>> mapred.schedules()
        []
    """
    _scheduling(backend).unschedule(name)


def bind_date(job: Job, when: datetime, values: Mapping[str, Any]) -> Job:
    """Return the job bound to its parameters and, where it takes one, a date."""
    date = {DATE: when} if DATE in job.parameters else {}
    return job.bind(**values, **date)


def zone(name: str) -> tzinfo:
    """Return a zone by its name; `PlanError` for one that is not known here."""
    if name == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PlanError(
            f"timezone={name!r} is not known here: write one such as 'Europe/Berlin', and install "
            "tzdata where the system has no zones"
        ) from None


def _crons(cron: str | Sequence[str]) -> tuple[str, ...]:
    crons = tuple([cron] if isinstance(cron, str) else cron)
    for line in crons:
        fields = line.split()
        if len(fields) != 5 or not all(map(_FIELD.fullmatch, fields)):
            raise PlanError(f"cron={line!r} must have five fields, such as '0 3 * * *'")
    if not crons:
        raise PlanError("cron=[]: name at least one time")
    return crons


def _check(job: Job, values: Mapping[str, Any], timezone: str) -> None:
    _check_values(values)
    bind_date(job, datetime.now(zone(timezone)), values)


def _check_values(values: Mapping[str, Any]) -> None:
    if DATE in values:
        raise PlanError(f"params={{{DATE!r}: …}}: {DATE} is the time for which a run is planned")
    for name, value in values.items():
        if not isinstance(value, str | int | float | bool):
            raise PlanError(f"params: {name}={value!r} must be a text, a number, true or false")


def _check_on_failure(on_failure: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    if on_failure is None:
        return None
    if not isinstance(on_failure, str):
        words = tuple(on_failure)
        if not words or not all(isinstance(word, str) for word in words):
            raise PlanError("on_failure= must be a program's words, such as ['bash', '-c', '…']")
        if any(map(secrecy.looks_secret, words)):
            raise PlanError(f"on_failure=: a word of it looks like a secret, {_SHOWN}")
        return words
    if "://" in on_failure:
        parts = urlsplit(on_failure)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise PlanError(
                "on_failure= must be an http:// or https:// URL without a password in it"
            )
        if secrecy.looks_secret(on_failure):
            raise PlanError(f"on_failure=: the URL is a secret by itself, {_SHOWN}")
    elif not re.fullmatch(r"[a-z0-9][-a-z0-9.]*/[-._a-zA-Z0-9]+", on_failure):
        raise PlanError("on_failure= must be a URL, 'secret/key', or a list of a program's words")
    return on_failure


def _scheduling(backend: str | Backend) -> SchedulingBackend:
    cluster = backends.resolve(backend)
    if not isinstance(cluster, SchedulingBackend):
        raise BackendError(f"backend {cluster.name!r} has no schedules; 'argo' has")
    return cluster
