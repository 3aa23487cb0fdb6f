"""The runs that words of a command line name, and what to do next with those of a list."""

from __future__ import annotations

import os

import click

import mapred
from mapred.client import hints, history, lookup, naming
from mapred.engine.base import Backend
from mapred.errors import MapredError, RunError
from mapred.storage import is_local

_ADVISED = 5


def find(reference: str, root: str | None) -> str:
    """Return the folder of a run; one that is not there is wrong input, not a failed run."""
    try:
        folder = lookup.find(reference, root)
    except RunError as error:
        raise MapredError(str(error)) from error
    home = os.path.dirname(folder)
    if reference == "last" and is_local(home) and (closed := lookup.last(home)[1]):
        shown = ", ".join(closed[:_ADVISED]) + (", …" if len(closed) > _ADVISED else "")
        click.echo(f"newer, but not readable by this user: {shown}", err=True)
    return folder


def open_any(
    reference: str, root: str | None, backend: str | Backend | None = None
) -> mapred.Run | mapred.PipelineRun:
    """Return what RUN names; what is not there is wrong input, not a failed run."""
    try:
        return mapred.open(find(reference, root), backend=backend)
    except RunError as error:
        raise MapredError(str(error)) from error


def open_run(reference: str, root: str | None, backend: str | Backend | None = None) -> mapred.Run:
    """Return the run that RUN names, and refuse a pipeline, which has no tasks of its own."""
    opened = open_any(reference, root, backend)
    if isinstance(opened, mapred.PipelineRun):
        raise MapredError(
            f"{opened.id} is a pipeline, whose runs have the tasks: name one of these, which "
            f"`mapred show {word(opened.uri)}` and `mapred ls --all` list"
        )
    return opened


def word(uri: str) -> str:
    """How the command line names a run: its id where that is found, else its folder."""
    return naming.word(uri)


def advice(runs: history.Runs) -> list[str]:
    """Return a command for each of the newest runs that can be resumed."""
    resumable = [entry for entry in runs if entry.resumable or entry.waits][:_ADVISED]
    return [f"{entry.state}: mapred {_next(entry)}" for entry in resumable]


def _next(entry: history.Entry) -> str:
    run, backend = word(entry.uri), hints.backend_for({"name": entry.backend})
    if entry.waits:
        return f"approve {run}"
    if entry.state == "failed":
        return f"show {run}"  # It says what failed, and the command that resumes with it fixed.
    return f"resume {run}" if backend is None else f"resume {run} --backend {backend}"
