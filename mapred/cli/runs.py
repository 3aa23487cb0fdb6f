"""The commands that look at runs: ls, show, logs."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

import mapred
from mapred import display
from mapred.cli import completing
from mapred.cli.options import json_option, root_option, traceback_option
from mapred.cli.reports import (
    FAILED,
    how_to_resume,
    print_json,
    say,
    terminal_width,
    timeline_width,
)
from mapred.client import filtering
from mapred.model.rules import Unfit


def _check_moment(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    try:
        if value is not None:
            filtering.read_moment(value)
    except Unfit:
        raise click.BadParameter(
            f"{value!r} is not a time; write a date (2026-03-01), a date and time in your time "
            "zone (2026-03-01T12:30) or in another (…Z, …+02:00), or an age (90m, 2h, 3d)"
        ) from None
    return value


@click.command(short_help="List the runs, newest first.")
@click.option(
    "--state",
    "states",
    type=click.Choice(filtering.STATES),
    multiple=True,
    help="Only runs in this state (repeatable).",
)
@click.option("--job", metavar="NAME", help="Only runs of this job; NAME may be a glob.")
@click.option(
    "--since",
    metavar="TIME",
    callback=_check_moment,
    help="Only runs made since a date or time (2026-03-01), or within an age (2h, 3d).",
)
@root_option
@click.option("--all", "unfolded", is_flag=True, help="List the runs of pipelines too.")
@click.option("--limit", "-n", type=click.IntRange(1), metavar="N", help="Only the newest N.")
@json_option
@traceback_option
def ls(
    states: Sequence[str],
    job: str | None,
    since: str | None,
    root: str | None,
    unfolded: bool,
    limit: int | None,
    json: bool,
) -> None:
    """List the runs of a root, newest first: state, name, parameters, tasks done, times, dataset.

    A pipeline stands for its runs, unless --all is given, and counts steps in place of tasks. Below the list are commands for runs that failed or were interrupted.

    \b
    mapred ls -n 10
    mapred ls --state failed --since 3d
    mapred ls --job 'nightly*' --since 2026-03-01
    mapred ls --json | jq -r '.[] | select(.seconds > 3600) | .uri'
    """
    from mapred.cli import output
    from mapred.cli.run_list import advice
    from mapred.client import history

    runs = history.runs(
        root, limit, state=states or None, job=job, since=since, folded=not unfolded
    )
    if json:
        print_json([output.entry_json(entry) for entry in runs])
    elif runs:
        rows = history.rows(runs)
        say(display.table_text(rows, terminal_width(), shrink=("dataset", "name")), "list")
        for line in advice(runs):
            say(line, "run", err=True)
    else:
        say(repr(runs), err=True)


@click.command(short_help="Show how a run went, and what failed.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@click.option("--follow", "-f", is_flag=True, help="Show it live until it is over.")
@root_option
@json_option
@traceback_option
def show(run_name: str, follow: bool, root: str | None, json: bool) -> None:
    """Show the state, the stages, the pace, the timeline and the failures of a run.

    Of a pipeline it shows the steps, with what waits for an answer and what failed. With --follow the exit code is that of the run: 0 if it succeeded, else 1. Ctrl-C ends the
    showing, not the run.

    \b
    mapred show last
    mapred show last -f && echo done
    mapred show 20260102-0304 --json | jq .failures
    """
    from mapred.cli import run_list

    run = run_list.open_any(run_name, root)
    if isinstance(run, mapred.PipelineRun):
        from mapred.cli import pipelines

        pipelines.show_pipeline(run, follow=follow, json=json)
        return
    if follow:
        from mapred.cli import following

        status = following.follow_status(run, quiet=json)
    else:
        status = run.status()
    if json:
        from mapred.cli import output

        print_json(output.status_json(status))
    else:
        say(display.status_text(status, time.time(), width=timeline_width()), "run")
        say(f"  {run.uri}")
        if not status.live and status.state not in ("succeeded", "cancelled"):
            say(str(how_to_resume(run)), "run")
    if follow and status.state != "succeeded":
        raise click.exceptions.Exit(FAILED)


@click.command(short_help="Print what the tasks of a run printed.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@click.argument("task", type=click.IntRange(0), required=False)
@click.option(
    "--stage", metavar="NAME", help="map (the default), reduce-1, …; with --follow, all of them."
)
@click.option(
    "--follow", "-f", is_flag=True, help="Print more as attempts end, until the run is over."
)
@root_option
@traceback_option
def logs(
    run_name: str, task: int | None, stage: str | None, follow: bool, root: str | None
) -> None:
    """Print the logs of a run's tasks, or of the task number TASK, every attempt of it.

    What an attempt prints is stored when the attempt ends, so --follow prints it then.

    \b
    mapred logs last
    mapred logs last -f
    mapred logs last 17
    mapred logs last 0 --stage reduce-1
    """
    from mapred.cli import run_list

    run = run_list.open_run(run_name, root)
    if task is not None or stage is not None or not follow:
        stage = stage or "map"
        tasks = run.job.stage(stage).tasks
        if task is not None and task >= tasks:
            raise click.UsageError(f"{stage} has the tasks 0 to {tasks - 1}, and no {task}")
    if follow:
        from mapred.cli import following

        following.follow_logs(run, stage, task)
    elif text := run.logs(task, stage or "map"):
        say(text, "logs")
    else:
        say("nothing was printed", err=True)
