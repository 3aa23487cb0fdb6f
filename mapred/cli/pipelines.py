"""The commands that pipelines have: `approve`, and what `show`, `resume` and `cancel` do with one."""

from __future__ import annotations

import json as json_module
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import click

import mapred
from mapred import display
from mapred.cli import completing
from mapred.cli.options import Place, Report, json_option, root_option, traceback_option
from mapred.cli.reports import FAILED, INTERRUPTED, print_json, say, terminal_width
from mapred.errors import MapredError, RunError
from mapred.storage import is_local

_YES, _NO = ("yes", "true"), ("no", "false")
_SECONDS, _SECONDS_AFAR = 0.5, 5.0  # between two looks, where each costs requests


@click.command(short_help="Answer a pipeline that waits.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@click.argument("name", required=False)
@click.option("--value", metavar="TEXT", help="The answer: yes, no, a number or a text.")
@click.option("--note", default="", metavar="TEXT", help="What to keep with the answer.")
@root_option
@json_option
@traceback_option
def approve(
    run_name: str, name: str | None, value: str | None, note: str, root: str | None, json: bool
) -> None:
    """Answer the gate NAME of a pipeline; without NAME, list the gates that wait.

    The first answer stands. It says who gave it, as told by this command.

    \b
    mapred approve last
    mapred approve last release --value yes --note "looks right"
    """
    from mapred.cli import output, run_list

    run = run_list.open_any(run_name, root)
    if not isinstance(run, mapred.PipelineRun):
        raise MapredError(f"{run.id} is a run, and only pipelines wait for answers")
    if name is None:
        if value is not None:
            raise click.UsageError(f"--value {value} answers a gate: name it before")
        status = run.status()
        if json:
            print_json([output.gate_json(row) for row in display.open_gates(status)])
        else:
            say(display.open_gates_text(status, run_list.word), "run")
        return
    gates = {step.name: step.choices for step in run.status().steps if step.kind == "gate"}
    choices = gates.get(name, ())  # of an unknown gate, `run.approve` says which there are
    if choices and value is None:
        raise click.UsageError(f"give the answer to {name}: --value {_words(choices)}")
    try:
        answer = run.approve(name, _choice(choices, value) if choices else value, note)
    except RunError as error:
        raise MapredError(str(error)) from error
    if json:
        print_json(vars(answer))
    else:
        say(f"{name} of {run.id} is answered: {display.choice_word(answer.value)}", err=True)
        if run.state == "interrupted":
            say(f"it continues by: mapred resume {run_list.word(run.uri)}", "run", err=True)


def _choice(choices: Sequence[Any], text: str | None) -> Any:
    """Return the choice that a word of a command line names."""
    assert text is not None
    for choice in choices:
        if isinstance(choice, bool):
            found = text.lower() in (_YES if choice else _NO)
        elif isinstance(choice, str):
            found = text == choice
        else:
            found = _number(text) == choice
        if found:
            return choice
    raise click.UsageError(f"--value {text} is not one of the choices: {_words(choices)}")


def _number(text: str) -> float | None:
    try:
        value = json_module.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _words(choices: Sequence[Any]) -> str:
    return " or ".join(map(display.choice_word, choices))


def show_pipeline(run: mapred.PipelineRun, *, follow: bool, json: bool) -> None:
    """Print the state and the steps of a pipeline, once it is over where it is followed."""
    from mapred.cli import output, run_list

    status = run.status()
    if follow:
        status = _follow(run, quiet=json)
    if json:
        print_json(output.pipeline_json(status))
    else:
        width = terminal_width() or 90
        text = display.pipeline_text(status, time.time(), width, word=run_list.word, python=False)
        say(text, "run")
        say(f"  {run.uri}")
        if line := _next(run, status.state):
            say(line, "run")
    if follow and status.state != "succeeded":
        raise click.exceptions.Exit(FAILED)


def _next(run: mapred.PipelineRun, state: str) -> str:
    from mapred.cli import run_list

    if state not in ("failed", "interrupted"):
        return ""
    return f"to resume it:\nmapred resume {run_list.word(run.uri)}"


def _follow(run: mapred.PipelineRun, *, quiet: bool) -> Any:
    from mapred.cli import run_list
    from mapred.display.showing import pipeline_page

    show = pipeline_page(None if quiet else sys.stdout, run_list.word)
    try:
        while True:
            status = run.status()
            show(status)
            if not status.live:
                return status
            time.sleep(_SECONDS if is_local(run.uri) else _SECONDS_AFAR)
    except KeyboardInterrupt:
        say(f"\nStopped watching; pipeline {run.id} continues", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    finally:
        show.close()


def audit_pipeline(run: mapred.PipelineRun, *, content: bool, contact: bool, json: bool) -> None:
    """Print what is wrong with a pipeline and its runs; exit with 1 if anything is."""
    report = run.audit(content=content, contact=contact)
    if json:
        from mapred.cli import output

        print_json(output.pipeline_audit_json(report))
    else:
        say(str(report), "audit")
    if not report.ok:
        raise click.exceptions.Exit(FAILED)


def resume_pipeline(
    run: mapred.PipelineRun,
    changes: Mapping[str, Any],
    resources: Mapping[str, Any],
    place: Place,
    report: Report,
) -> None:
    """Resume a pipeline, with another function if one is given, and tell what came of it."""
    from mapred.cli import references, run_list

    wrong = [name for name in (*changes, *resources) if name != "fn"]
    if wrong:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise click.UsageError(
            f"{run.id} is a pipeline, whose function says what its runs need: it takes --fn and "
            f"--backend, and not {names}"
        )
    fn = references.load_function(changes["fn"]) if "fn" in changes else None
    try:
        with redirect_stdout(sys.stderr):
            run.resume(fn, backend=place.resolve_backend(), progress=report.shows)
    except RunError as error:
        if report.json:
            from mapred.cli import output

            print_json(output.pipeline_json(run.status()))
        text = str(error).removesuffix(error.hint).rstrip()
        say(f"Error: {text}\n{_next(run, run.state)}".rstrip(), "error", err=True)
        raise click.exceptions.Exit(FAILED) from None
    except KeyboardInterrupt:
        say(f"Interrupted; to resume it:\nmapred resume {run_list.word(run.uri)}", "run", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _conclude(run, report)


def _conclude(run: mapred.PipelineRun, report: Report) -> None:
    from mapred.cli import output

    if report.json:
        print_json(output.pipeline_json(run.status()))
        return
    say(run.uri)
    if not report.quiet:
        try:
            say(output.result_text(run.result(), terminal_width() or 100))
        except MapredError as error:
            say(f"The pipeline succeeded, but its result cannot be shown: {error}", err=True)
