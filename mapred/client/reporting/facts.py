"""What ran, as named facts: no value of a variable, and of an option of a file system its name alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.display.format import format_bytes, format_count, one_line, pluralize
from mapred.display.report.values import PlanFacts
from mapred.functions import origins
from mapred.functions.parameters import from_json, text_of
from mapred.model.resources import Resources
from mapred.model.spec import Format, Job
from mapred.model.status import RunStatus
from mapred.process import secrecy
from mapred.runfolder import plans
from mapred.runfolder.folder import RunFolder

_PACKAGES, _HOSTS, _COLUMNS = 60, 10, 40
# Fields of a format that are shown in their own words, or not at all.
_APART = ("name", "as_", "schema", "filter", "columns", "inferred", "seen", "partitions", "storage")


def list_facts(folder: RunFolder, job: Job, status: RunStatus) -> Iterator[tuple[str, str]]:
    """Yield what ran: function, parameters, versions, where, by what, with which limits."""
    yield "name", one_line(job.name)
    if job.parameters:
        shown = {
            name: "…" if secrecy.is_suspect(name, value) else value
            for name, value in from_json(job.parameters).items()
        }
        yield "parameters", one_line(text_of(shown), 2000)
    origin = origins.recorded_origin(job, job.function)
    python = origin.python if origin else ""
    yield "versions", _versions(job, python)
    yield "backend", _backend(job.backend)
    hosts = list(dict.fromkeys(time.worker.rpartition(":")[0] for time in status.times))
    hosts = [host for host in hosts if host]
    if hosts:
        more = f" and {len(hosts) - _HOSTS:,} more" if len(hosts) > _HOSTS else ""
        workers = len({time.worker for time in status.times})
        on = ", ".join(one_line(host, 80) for host in hosts[:_HOSTS])
        yield "workers", f"{pluralize(workers, 'process', 'processes')} on {on}{more}"
    yield "started by", _starter(folder.start().ref)
    yield "command line", "not recorded"
    yield "limits", _limits(job)
    for stage in job.stages:
        if stage.resources != Resources() and (stage is job.stages[0] or stage.last):
            yield f"resources of {stage.name}", one_line(_resources(stage.resources), 1000)
    yield "seed", str(job.seed)
    yield "folder", one_line(folder.uri, 400)


def _starter(ref: str | None) -> str:
    """Return what drives or drove the run, as far as it was noted: its last part tells boots apart."""
    kind, *rest = (ref or "").split(":")
    if len(rest) > 1 and rest[1].isdecimal():
        return one_line(f"{kind}, process {rest[1]} on {rest[0]}", 200)
    return secrecy.mask(one_line(ref or "not recorded", 200))


def _versions(job: Job, python: str) -> str:
    packages = [f"{name} {version}" for name, version in job.packages.items()]
    more = f" and {len(packages) - _PACKAGES:,} more" if len(packages) > _PACKAGES else ""
    known = [f"Python {python or job.python or 'unknown'}", f"mapred {job.mapred or 'unknown'}"]
    return one_line(", ".join([*known, *packages[:_PACKAGES]]) + more, 3000)


def _backend(backend: Mapping[str, Any]) -> str:
    arguments = backend.get("arguments")
    named = arguments.items() if isinstance(arguments, Mapping) else ()
    shown = [
        f"{name}={'…' if secrecy.is_suspect(str(name), value) else value!r}"
        for name, value in named
        if value is not None
    ]
    name = str(backend.get("name") or "not recorded")
    return secrecy.mask(one_line(f"{name}({', '.join(shown)})" if shown else name, 600))


def _limits(job: Job) -> str:
    parts = [f"attempts={job.attempts}"]
    for name in ("timeout", "deadline", "max_failed", "max_tasks_per_worker"):
        if value := getattr(job, name):
            parts.append(f"{name}={value:g}")
    return ", ".join(parts)


def _resources(resources: Resources) -> str:
    """Write what differs from the defaults; of variables and patches the names alone."""
    parts = []
    for field in dataclasses.fields(resources):
        value, default = getattr(resources, field.name), getattr(Resources(), field.name)
        if value == default:
            continue
        if isinstance(value, Mapping):
            parts.append(f"{field.name} of {', '.join(map(str, value))}")
        else:
            parts.append(f"{field.name}={value!r}")
    return secrecy.mask(", ".join(parts))


def read_plan(folder: RunFolder, job: Job) -> PlanFacts:
    """Return the plan: the dataset as it was said, its size, and how it was cut."""
    sizes, unit = plans.shard_bytes(folder.store, job), "byte"
    if not sizes.any():
        firsts = plans.first_items(folder.store, job)
        sizes, unit = [*firsts[1:].tolist(), job.items] - firsts, "item"
    return PlanFacts(tuple(_plan_facts(job, sizes, unit)), sizes, unit)


def _plan_facts(job: Job, sizes: Any, unit: str) -> Iterator[tuple[str, str]]:
    yield from dataset_facts(job)
    parts = [pluralize(job.files, "file")] if job.files else []
    parts += [pluralize(job.items, "item")] if job.items else []
    parts += [format_bytes(job.bytes)] if job.bytes else []
    yield "size", ", ".join(parts) or "nothing"
    stages = ", ".join(f"{pluralize(stage.tasks, 'task')} of {stage.name}" for stage in job.stages)
    yield "stages", one_line(stages, 400)
    if not len(sizes):
        return
    low, middle, high = int(sizes.min()), float(sorted(sizes)[len(sizes) // 2]), int(sizes.max())
    show = format_bytes if unit == "byte" else (lambda n: pluralize(int(n), "item"))
    if low == high:
        yield "shards", f"{pluralize(len(sizes), 'shard')} of {show(low)} each"
        return
    skew = f"smallest {show(low)}, median {show(middle)}, largest {show(high)}"
    skew += f" ({high / middle:,.1f} × the median)" if middle and high >= 1.1 * middle else ""
    yield "shards", f"{format_count(len(sizes))}: {skew}"


def dataset_facts(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the dataset as it was said: what it reads, and how."""
    format_ = job.format
    yield "dataset", secrecy.mask(one_line(job.dataset or "not recorded", 600))
    yield "read as", ", ".join(_options(format_))
    if format_.schema is not None:
        names = format_.columns or tuple(format_.schema.names)
        columns = [
            f"{one_line(name, 60)} {format_.schema.field(name).type}"
            for name in names[:_COLUMNS]
            if name in format_.schema.names
        ]
        more = f" and {len(names) - _COLUMNS:,} more" if len(names) > _COLUMNS else ""
        yield "columns", one_line(", ".join(columns), 4000) + more
    if format_.filter is not None:
        yield "filter", "one, stored as a pickle"
    if isinstance(format_.storage, Mapping):
        yield "file system", one_line(", ".join(map(str, format_.storage)), 300)


def _options(format_: Format) -> Iterator[str]:
    yield f"{format_.name}, as {format_.as_}"
    default = Format(format_.name, format_.as_)
    for field in dataclasses.fields(format_):
        value = getattr(format_, field.name)
        if field.name not in _APART and value and value != getattr(default, field.name):
            yield secrecy.mask(one_line(f"{field.name}={value!r}", 200))
