"""`mapred show -f` and `mapred logs -f`: what a run is at until it is over."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

import mapred
from mapred.cli.reports import INTERRUPTED, say
from mapred.display.showing import page
from mapred.model.status import RunStatus
from mapred.runfolder.folder import RunFolder
from mapred.storage import is_local

_SECONDS, _SECONDS_AFAR = 0.5, 2.0  # between two looks, where each costs requests


def follow_status(run: mapred.Run, *, quiet: bool) -> RunStatus:
    """Show a run until it is over: in place at a terminal, else as lines on standard error."""
    show = page(None if quiet else sys.stdout)
    with _watching(run):
        try:
            while True:
                status = run.status()
                show(status)
                if not status.live:
                    break
                time.sleep(_pause(run))
        finally:
            show.close()
    return status


def follow_logs(run: mapred.Run, stage: str | None, task: int | None) -> None:
    """Print what the attempts at tasks printed, each once it has ended, until the run is over."""
    folder, known = RunFolder(run.store), set[tuple[str, int, str]]()
    stages = [each.name for each in run.job.stages] if stage is None else [stage]
    with _watching(run):
        live = True
        while live:
            live = run.status().live  # Asked first: what ends meanwhile is still printed.
            for name in stages:
                printed = {(index, attempt) for where, index, attempt in known if where == name}
                for index, attempt, text in folder.logs(name, task, printed):
                    known.add((name, index, attempt))
                    say(log_text(name, index, attempt, text), "logs")
            if live:
                time.sleep(_pause(run))
    if not known:
        say("nothing was printed", err=True)


def log_text(stage: str, task: int, attempt: str, text: str) -> str:
    return f"--- {stage} task {task}, attempt {attempt}\n{text}"


@contextmanager
def _watching(run: mapred.Run) -> Iterator[None]:
    """Have Ctrl-C end the watching, and leave the run alone."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nStopped watching; run {run.id} continues", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def _pause(run: mapred.Run) -> float:
    return _SECONDS if is_local(run.uri) else _SECONDS_AFAR
