"""`mapred resume`: what a command line changes of a run, and its start."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

import mapred
from mapred.cli import references
from mapred.cli.reports import INTERRUPTED, how_to_resume, say
from mapred.cli.run_list import word
from mapred.client import hints
from mapred.errors import RunError
from mapred.functions import origins

if TYPE_CHECKING:
    from mapred.engine.base import Backend


def resume(
    run: mapred.Run,
    words: Mapping[str, Any],
    resources: Mapping[str, Any],
    backend: str | Backend | None,
    progress: str,
) -> None:
    """Resume a run and wait for its end, which the caller tells."""
    changes = references.load_functions(words)
    if resources:
        changes["resources"] = dataclasses.replace(run.job.stages[0].resources, **resources)
    old = {
        option: names
        for option, names in origins.find_outdated(run.store, run.job).items()
        if option not in changes
    }
    if old:
        hint = hints.in_shell(word(run.uri), run.job, hints.renewal(run.job, old))
        say(f"the run resumes with the code that it stored; {hint}", err=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # The same, for Python.
            run.resume(**changes, backend=backend, progress=progress)
    except RunError:
        pass  # The caller tells it, with the command that resumes.
    except KeyboardInterrupt:
        say(f"Interrupted; {how_to_resume(run)}", "run", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
