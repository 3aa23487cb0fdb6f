"""The runs that words of a command line name, and what to do next with those of a list."""

from __future__ import annotations

import os
import shlex

import click

import mapred
from mapred.client import hints, history, lookup
from mapred.client.naming import default_root
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


def open_run(reference: str, root: str | None, backend: str | Backend | None = None) -> mapred.Run:
    """Return the run that RUN names; one that is not there is wrong input, not a failed run."""
    try:
        return mapred.open(find(reference, root), backend=backend)
    except RunError as error:
        raise MapredError(str(error)) from error


def word(run_id: str, uri: str) -> str:
    """How the command line names a run: its id where that is found, else its folder."""
    home = os.path.abspath(os.path.expanduser(default_root()))
    return run_id if uri == os.path.join(home, run_id) else shlex.quote(uri)


def advice(runs: history.Runs) -> list[str]:
    """Return a command for each of the newest runs that can be resumed."""
    resumable = [entry for entry in runs if entry.resumable][:_ADVISED]
    return [f"{entry.state}: mapred {_next(entry)}" for entry in resumable]


def _next(entry: history.Entry) -> str:
    run, backend = word(entry.id, entry.uri), hints.backend_for({"name": entry.backend})
    if entry.state == "failed":
        return f"show {run}"  # It says what failed, and the command that resumes with it fixed.
    return f"resume {run}" if backend is None else f"resume {run} --backend {backend}"
