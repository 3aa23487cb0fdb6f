"""Advice from a run for the next one: what it asked for against what it used. Pure functions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from mapred import formats
from mapred.client.advising.figures import Figures
from mapred.client.advising.memory import advise_memory
from mapred.client.advising.settings import advise_attempts, advise_deadline, advise_timeout
from mapred.client.advising.shards import advise_shards
from mapred.client.hints import resources_line
from mapred.display.advice import Advice
from mapred.display.format import format_count, pluralize
from mapred.errors import MapredError
from mapred.model.resources import Resources
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.runfolder import plans
from mapred.runfolder.folder import RunFolder


def advise_run(folder: RunFolder, job: Job, status: RunStatus) -> Advice:
    """Return the advice from a run in its folder."""
    splittable = False
    if job.bytes and not job.format.once_per_item:
        with suppress(MapredError, ValueError):
            paths = plans.load_plan_file(folder.store, 0)["path"]
            splittable = bool(np.all(formats.is_splittable(job.format, paths)))
    return advise(job, status, splittable=splittable)


def advise(job: Job, status: RunStatus, *, splittable: bool = False) -> Advice:
    """Return what to ask for next time; `splittable` says whether its files can be cut further."""
    figures = Figures(job, status, splittable)
    shards = advise_shards(figures)
    steps = [
        *advise_memory(figures, grows=any(step.grows for step in shards)),
        *shards,
        *advise_timeout(figures),
        *advise_deadline(figures),
        *advise_attempts(figures),
    ]
    options: dict[str, Any] = {}
    for step in steps:
        options |= step.options
    return Advice(
        run=job.run_id,
        recommendations=tuple(step.recommendation for step in steps if step.recommendation),
        options=options,
        python=", ".join(f"{name}={_python(value)}" for name, value in options.items()),
        shell=" ".join(_shell(options)),
        notes=(*_progress(figures), *(note for step in steps for note in step.notes), *_cores(job)),
    )


def _python(value: Any) -> str:
    return resources_line(value) if isinstance(value, Resources) else repr(value)


def _shell(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if name == "resources":
            yield f"--memory {shlex.quote(str(value.memory))}"
        elif name != "reduce_resources":  # for which the command line has no option
            yield f"--{name.replace('_', '-')} {shlex.quote(f'{value:g}' if isinstance(value, float) else str(value))}"


def _progress(figures: Figures) -> Iterator[str]:
    total = sum(stage.total for stage in figures.status.stages)
    known = len(figures.status.times)
    if not known:
        yield "no task has ended, so nothing is known of what one needs"
    elif known < total:
        tasks = f"{format_count(known)} of {pluralize(total, 'task')}"
        yield f"known of {tasks} alone: the others may need more"


def _cores(job: Job) -> Iterator[str]:
    cpu = job.stages[0].resources.cpu
    if cpu != Resources().cpu:
        yield f"cores: {cpu:g} for each task; how many a task used is not recorded"
