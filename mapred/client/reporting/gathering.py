"""A run's folder as the values of a report: read once, bounded, and as data alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from mapred._version import __version__
from mapred.client import advising, audit
from mapred.client.reporting import again, facts, sources
from mapred.display.format import format_bytes, format_count, format_time, one_line, pluralize
from mapred.display.report.values import LogTail, PlanFacts, Report, SlowTask
from mapred.display.sweeps import SweepPoints, drawable
from mapred.errors import MapredError, RunError
from mapred.functions import pickling
from mapred.model.failure import Failure, Retry
from mapred.model.spec import Job
from mapred.model.status import RunStatus, TaskTime
from mapred.process import secrecy
from mapred.runfolder import plans, points, swept
from mapred.runfolder.folder import RunFolder

T = TypeVar("T")

_SLOW, _SLOW_OTHERS = 10, 3
_LOGS, _LOG_BYTES = 8, 8_000
_AUDITED = 20_000  # tasks; an audit reads the commits of all once more
_AUDIT_LENGTH = 20_000
_BROKEN = 10
_ITEMS = 3  # of a slow task whose values are shown


NO_LOGS: tuple[tuple[LogTail, ...], int] = ((), 0)
NO_AUDIT: tuple[bool | None, str] = (None, "")
NO_FACTS: tuple[tuple[str, str], ...] = ()


class Reading:
    """Reads parts of a folder, and notes those that cannot be read."""

    def __init__(self) -> None:
        self.unread: list[str] = []

    def __call__(self, what: str, read: Callable[[], T], default: T) -> T:
        """Return what `read` does, or the default with a note of why not."""
        try:
            return read()
        except (MapredError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self.unread.append(
                secrecy.mask(one_line(f"{what}: {type(error).__name__}: {error}", 600))
            )
            return default


def gather(
    folder: RunFolder, job: Job, status: Callable[[], RunStatus], result: str | None
) -> Report:
    """Return what a report of the run shows; `status` is how its state is told."""
    read = Reading()
    unknown = replace(folder.running_status(job), state="unknown")
    known = read("the state of the run", status, unknown)
    with pickling.plain_alone(True):
        sweep = read("the points of the sweep", lambda: swept.load_swept(folder, job), None)
        slow: tuple[SlowTask, ...] = read(
            "the inputs of slow tasks", lambda: tuple(_slow(folder, job, known)), ()
        )
    check_result(job, sweep, result)
    logs, count = read("the logs", lambda: _logs(folder, job, known), NO_LOGS)
    whole, audited = read("the audit", lambda: _audit(folder, job, known), NO_AUDIT)
    plan = read(
        "the plan", lambda: facts.read_plan(folder, job), PlanFacts(tuple(facts.dataset_facts(job)))
    )
    advice = read("the advice", lambda: advising.advise_run(folder, job, known), None)
    named = read("the facts", lambda: tuple(facts.list_facts(folder, job, known)), NO_FACTS)
    return Report(
        status=_masked(known),
        made=time.time(),
        version=__version__,
        facts=named,
        sources=read("the source", lambda: tuple(sources.read_sources(folder, job)), ()),
        plan=plan,
        slow=slow,
        asked=tuple((stage.name, stage.resources.memory_bytes) for stage in job.stages),
        advice=advice,
        sweep=None if sweep is None else SweepPoints(sweep.parameters, sweep.results, sweep.states),
        sweep_result=result,
        logs=logs,
        logs_in_all=count,
        audit=audited,
        whole=whole,
        written=read("what was written", lambda: tuple(_written(folder, job)), NO_FACTS),
        recipes=read("how to continue", lambda: tuple(again.list_recipes(folder, job, known)), ()),
        unread=(*read.unread, *_broken_commits(folder, job, known)),
    )


def check_result(job: Job, sweep: swept.Swept | None, result: str | None) -> None:
    """Raise a `RunError` for the name of a result that no picture can show."""
    if result is None:
        return
    if sweep is None:
        raise RunError(
            f"run {job.run_id} has no points to draw: only a sweep of up to "
            f"{swept.MOST_POINTS:,} points has a plot"
        )
    names = drawable(SweepPoints(sweep.parameters, sweep.results, sweep.states))
    if result not in names:
        shown = ", ".join(map(repr, names)) or "none"
        raise RunError(f"no result {result!r} of run {job.run_id} is a number; there are: {shown}")


def _masked(status: RunStatus) -> RunStatus:
    """Return the status without what looks like a secret in texts that the user's code made."""
    mask = secrecy.mask

    def masked(failure: Failure) -> Failure:
        return replace(
            failure,
            message=mask(failure.message),
            traceback=mask(failure.traceback[-20_000:]),
            log=mask(failure.log),
            where=mask(failure.where),
            values={item: mask(text) for item, text in failure.values.items()},
        )

    def masked_try(retry: Retry) -> Retry:
        values = {item: mask(text) for item, text in retry.values.items()}
        return replace(retry, message=mask(retry.message), where=mask(retry.where), values=values)

    return replace(
        status,
        message=mask(status.message),
        parameters={
            name: "…" if secrecy.is_suspect(name, value) else value
            for name, value in status.parameters.items()
        },
        heavy={mask(name): rows for name, rows in status.heavy.items()},
        failures=tuple(map(masked, status.failures)),
        retries=tuple(map(masked_try, status.retries)),
        tries=tuple(map(masked_try, status.tries)),
    )


def _slow(folder: RunFolder, job: Job, status: RunStatus) -> Iterator[SlowTask]:
    for stage in job.stages:
        times = [each for each in status.times if each.stage == stage.name]
        if len(times) < 2:
            continue
        median = float(np.median([each.seconds for each in times]))
        most = _SLOW if stage.kind == "map" else _SLOW_OTHERS
        for each in sorted(times, key=lambda task: -task.seconds)[:most]:
            text = plans.describe_task_input(folder.store, stage, each.task)
            text += _values(folder, job, each) if stage.kind == "map" else ""
            yield SlowTask(each, each.seconds / median if median else 1.0, secrecy.mask(text))


def _values(folder: RunFolder, job: Job, task: TaskTime) -> str:
    """Return the first items of a task as text, as far as they are plain values."""
    if job.format.name != "items":
        return ""
    items = plans.items_of(plans.shard_ranges(folder.store, task.task))[:_ITEMS]
    texts = points.stored_values(folder.store, job, task.task, items)
    return f": {'; '.join(texts[item] for item in sorted(texts))}" if texts else ""


def _logs(folder: RunFolder, job: Job, status: RunStatus) -> tuple[tuple[LogTail, ...], int]:
    found: list[LogTail] = []
    count = 0
    for stage in job.stages:
        failed = [each.task for each in status.failures if each.stage == stage.name]
        times = [each for each in status.times if each.stage == stage.name]
        slow = [each.task for each in sorted(times, key=lambda task: -task.seconds)[:_LOGS]]
        tails, number = folder.log_tails(stage.name, failed + slow, _LOGS - len(found), _LOG_BYTES)
        found += [
            LogTail(stage.name, task, attempt, secrecy.mask(text), size)
            for task, attempt, text, size in tails
        ]
        count += number
    return tuple(found), count


def _audit(folder: RunFolder, job: Job, status: RunStatus) -> tuple[bool | None, str]:
    if status.live:
        return None, "The run is at work: an audit compares one that is over with its plan."
    tasks = sum(stage.tasks for stage in job.stages)
    if tasks > _AUDITED:
        return None, (
            f"Not done here, since the run has {format_count(tasks)} tasks: mapred audit {folder.uri}"
        )
    found = audit.audit(folder, job, content=False)
    text = str(found)
    more = " …" if len(text) > _AUDIT_LENGTH else ""
    return found.ok, secrecy.mask(text[:_AUDIT_LENGTH]) + more


def _written(folder: RunFolder, job: Job) -> Iterator[tuple[str, str]]:
    if job.write is not None:
        named = {name: value for name, value in job.write.items() if name != "schema" and value}
        shown = ", ".join(f"{name}={value!r}" for name, value in named.items())
        yield "by write=", secrecy.mask(one_line(shown, 1000))
    for write in sorted(folder.list_writes(), key=lambda each: each.time)[:20]:
        yield f"at {format_time(write.time)}", secrecy.mask(one_line(write.uri, 400))
    for stage in job.stages:
        files = folder.list_outputs(stage.name)
        if files:
            names = ", ".join(one_line(path, 120) for path, _ in files[:10])
            size = format_bytes(sum(size for _, size in files))
            more = ", …" if len(files) > 10 else ""
            yield (
                f"files of {stage.name}",
                f"{pluralize(len(files), 'file')}, {size}: {names}{more}",
            )


def _broken_commits(folder: RunFolder, job: Job, status: RunStatus) -> Iterator[str]:
    """Say which commits are there and cannot be read: their tasks count as not done."""
    nothing: list[int] = []
    for stage in job.stages:
        known = {each.task for each in status.times if each.stage == stage.name}
        read = Reading()
        listed = read("the commits", partial(folder.list_committed, stage.name), nothing)
        broken = [task for task in listed if task not in known]
        for task in broken[:_BROKEN]:
            read("a commit", partial(folder.sound_commit, stage.name, task), None)
        yield from read.unread
        if len(broken) > _BROKEN and read.unread:
            yield f"and {format_count(len(broken) - _BROKEN)} commits more of {stage.name}"
