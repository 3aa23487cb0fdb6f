"""Following a run to its end, and telling what came of it."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

import mapred
from mapred.cli.options import Report
from mapred.errors import MapredError, RunError
from mapred.errors.escaping import visible, visible_json

if TYPE_CHECKING:
    from mapred.client.hints import Hint
    from mapred.display.colours import Screen

FAILED, WRONG, INTERRUPTED = 1, 2, 130


def follow(run: mapred.Run, report: Report) -> None:
    """Wait with progress; Ctrl-C stops the run, resumable."""
    try:
        run.wait(report.shows)
    except KeyboardInterrupt:
        run.suspend()
        from mapred.display import run_text

        say(f"\n{run_text(run.status())}", "run", err=True)
        say(f"Interrupted; {how_to_resume(run)}", "run", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def conclude(run: mapred.Run, report: Report) -> None:
    """Print what came of a run that is over; exit with 1 if it failed.

    A run that succeeded did so, even if its result cannot be shown: the reason goes to stderr.
    """
    try:
        run.check()
    except MapredError as error:
        _tell_failure(run, error, report)
        raise click.exceptions.Exit(FAILED) from None
    if report.json:
        from mapred.cli import output

        document = output.status_json(run.status())
        try:
            value = _result(run)
            document["result_type"] = type(value).__name__
            document["result"] = output.jsonable(value)
        except (TypeError, MapredError) as error:
            document["result"], document["result_omitted"] = None, str(error)
        print_json(document)
        return
    say(run.uri)
    if not report.quiet:
        from mapred.cli import output

        try:
            say(output.result_text(_result(run), terminal_width() or 100))
        except MapredError as error:
            say(f"The run succeeded, but its result cannot be shown: {error}", err=True)


def _tell_failure(run: mapred.Run, error: MapredError, report: Report) -> None:
    # The end of the message says in Python how to resume.
    text = (
        str(error).removesuffix(visible(error.hint if isinstance(error, RunError) else "")).rstrip()
    )
    if report.json:
        from mapred.cli import output

        print_json({**output.status_json(run.status()), "error": text, "result": None})
    say(f"Error: {text}\n{how_to_resume(run)}", "error", err=True)


def _result(run: mapred.Run) -> Any:
    """Return the result; a sweep's is a table of parameters and results."""
    if run.job.format.as_ == "keywords" and run.job.reduce is None:
        try:
            return run.to_arrow()
        except (ImportError, ValueError, TypeError, MapredError):
            pass  # Without pandas, or with results that make no column: the bare list.
    return run.result()


def how_to_resume(run: mapred.Run) -> Hint:
    """Return the command that resumes the run, with what has to change before it gets further."""
    from mapred.cli.run_list import word
    from mapred.client import hints
    from mapred.runfolder.folder import RunFolder

    return hints.in_shell(
        word(run.uri), run.job, hints.remedy(RunFolder(run.store), run.job, run.failures)
    )


def print_json(document: Any) -> None:
    from mapred.cli import output

    text = json.dumps(output.jsonable(document), indent=2, ensure_ascii=False)
    click.echo(visible_json(text))


def say(text: str, screen: Screen | None = None, *, err: bool = False, nl: bool = True) -> None:
    """Print text, none of which a terminal takes for a command; in the colours of a screen."""
    text = visible(text)
    if screen is None:
        click.echo(text, err=err, nl=nl)
        return
    from mapred.display.colours import paint
    from mapred.display.format import fold

    stream = sys.stderr if err else sys.stdout
    if screen not in ("list", "logs") and stream.isatty():
        indent = len("ok  ") if screen == "findings" else 2
        text = fold(text, shutil.get_terminal_size().columns, indent)
    click.echo(paint(text, screen, stream), err=err, nl=nl, color=True)


def terminal_width() -> int | None:
    """Return the terminal's columns; None where there is no terminal to fit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def timeline_width() -> int:
    """Return the characters of a timeline's lane."""
    from mapred.display.text.run import lane_width

    return lane_width(terminal_width() or 90)
