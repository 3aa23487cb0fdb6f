"""How to continue a run, to open it, and to do it again: lines to paste."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from mapred.client import hints
from mapred.dataset.values import as_option_for
from mapred.display.report.values import Recipe
from mapred.functions import origins
from mapred.functions.parameters import from_json, text_of
from mapred.model.resources import Resources
from mapred.model.spec import Format, Job
from mapred.model.status import RunStatus
from mapred.runfolder.folder import RunFolder

_BY_SUFFIX = ("text", "csv", "json", "parquet", "arrow")  # what the command line tells by itself


def list_recipes(folder: RunFolder, job: Job, status: RunStatus) -> Iterator[Recipe]:
    """Yield the lines that fit the state of a run."""
    uri = folder.uri
    if not status.live and status.state != "succeeded":
        needed = hints.remedy(folder, job, status.failures)
        shell = hints.in_shell(shlex.quote(uri), job, needed)
        python = hints.in_python(uri, job, needed)
        yield Recipe(f"In a shell, {shell.words}:", shell.line)
        if python.line != shell.line:
            yield Recipe(f"In Python, {python.words}:", python.line)
    line = f"import mapred; run = mapred.open({uri!r})"
    yield Recipe("To open the run in Python, for run.result(), run.failures, run.logs():", line)
    if not status.live:
        yield Recipe(
            "To prove that it is whole, by the content of its files:",
            f"mapred audit {shlex.quote(uri)}",
        )
    again = run_line(job)
    words = "To run it anew, with the code and the data as they are now:"
    if again is not None:
        yield Recipe(words, again)
    else:
        name = job.name or "function"
        yield Recipe(
            "To run it anew, pass the same function and dataset, as they are now:",
            f"mapred.run({name if name.isidentifier() else 'function'}, dataset, …)  # {job.dataset}",
        )


def run_line(job: Job) -> str | None:
    """Return the command that makes such a run; None where one cannot say all of it."""
    function = _reference(job, job.function)
    plain = Format(job.format.name, job.format.as_, schema=job.format.schema)
    kept = ("columns", "filter", "header", "names", "storage", "encoding", "null_values")
    told = all(getattr(job.format, name) == getattr(plain, name) for name in kept)
    several = " and " in job.dataset and job.dataset.endswith(" more")
    readable = job.format.name in _BY_SUFFIX and told and not several and job.dataset
    if function is None or not readable:
        return None
    if job.shuffle or job.write or job.retry_on or job.no_retry_on or len(job.stages) > 2:
        return None
    words = ["mapred", "run", function, job.dataset]
    kind = as_option_for(job.format.name, job.format.as_)
    if kind != as_option_for(job.format.name, None):
        words += ["--as", kind]
    if job.reduce is not None:
        reduce = _reference(job, job.reduce) or _ready(job)
        if reduce is None:
            return None
        words += ["--reduce", reduce]
    if job.attempts != 3:
        words += ["--attempts", str(job.attempts)]
    for name in ("timeout", "deadline"):
        if value := getattr(job, name):
            words += [f"--{name}", f"{value:g}"]
    if job.max_failed:
        words += ["--max-failed", f"{job.max_failed:g}"]
    resources = job.stages[0].resources
    if resources.memory is not None:
        words += ["--memory", str(resources.memory)]
    if resources.cpu != Resources().cpu:
        words += ["--cpu", f"{resources.cpu:g}"]
    line = shlex.join(words)
    for pair in shlex.split(text_of(from_json(job.parameters))):
        line += f" --param {shlex.quote(pair)}"
    return line


def _reference(job: Job, path: str) -> str | None:
    origin = origins.recorded_origin(job, path)
    return None if origin is None else hints.reference(origin)


def _ready(job: Job) -> str | None:
    """Return the name of a ready reducer, as the command line takes it."""
    origin = origins.recorded_origin(job, job.reduce)
    ready = ("concat", "count", "max", "mean", "merge_counts", "min", "sum")
    return origin.name if origin is not None and origin.name in ready else None
