"""The commands that speak to a cluster: submit, cancel, schedule, schedules, unschedule, doctor."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

import click

import mapred
from mapred import backends, display
from mapred.backends.findings import BAD, Examines, Finding
from mapred.cli import completing
from mapred.cli.argo import backend_option
from mapred.cli.datasets import Words, job_options
from mapred.cli.options import (
    json_option,
    param_option,
    root_option,
    traceback_option,
)
from mapred.cli.reports import FAILED, print_json, say, terminal_width
from mapred.engine.base import Reopens


@click.command(short_help="Submit a job to a cluster, and return.")
@job_options
@backend_option
@root_option
@traceback_option
def submit(
    words: Words,
    backend: str,
    root: str | None,
) -> None:
    """Submit TARGET to a cluster, and print the folder of its run; `mapred show -f` follows it.

    TARGET is a Python file that defines a job, module:job, or a function and a DATASET. A
    value of --param is a number, true or false where it looks like one; date=2026-03-01 is a
    date, which is today unless it is given.

    \b
    mapred submit nightly.py --backend prod --param date=2026-03-01 --param city=Bern
    mapred submit pipelines.nightly:job --backend prod
    """
    from mapred.cli import jobs

    with redirect_stdout(sys.stderr):
        cluster = backends.resolve(backend)
        if not isinstance(cluster, Reopens):
            raise click.UsageError(
                f"a run on {cluster.name!r} ends with this command: use `mapred run`"
            )
        started = jobs.job_of(words).submit(backend=cluster, root=root)
    say(started.uri)


@click.command(short_help="Stop a run for good.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@root_option
@traceback_option
def cancel(run_name: str, root: str | None) -> None:
    """Stop a run, on any backend; what it has committed stays in its folder.

    A pipeline is stopped with its runs.

    A run that is over is left alone.

    \b
    mapred cancel last --root s3://team/runs
    """
    from mapred.cli import run_list

    run = run_list.open_any(run_name, root)
    what = "pipeline" if isinstance(run, mapred.PipelineRun) else "run"
    if run.state in ("succeeded", "failed", "cancelled"):
        say(f"{what} {run.id} has ended: {run.state}", err=True)
        return
    run.cancel()
    say(f"{what} {run.id} is cancelled", err=True)


@click.command(short_help="Start a job on a schedule.")
@click.argument("target", shell_complete=completing.files)
@click.argument("cron", nargs=-1, required=True)
@click.option(
    "--job", "job_name", metavar="NAME", help="Which job to take, if the file defines several."
)
@click.option(
    "--timezone",
    default="UTC",
    metavar="ZONE",
    help="Time zone of CRON, such as Europe/Berlin (default: UTC).",
)
@param_option
@click.option(
    "--on-failure",
    metavar="WHOM",
    help="Whom to tell: the URL of a webhook, or secret/key of a Secret that holds it.",
)
@click.option("--name", metavar="TEXT", help="Name of the schedule (default: the job's).")
@backend_option
@root_option
@traceback_option
def schedule(
    target: str,
    cron: Sequence[str],
    job_name: str | None,
    timezone: str,
    params: Sequence[str],
    on_failure: str | None,
    name: str | None,
    backend: str,
    root: str | None,
) -> None:
    """Start the job TARGET at the times CRON, and print the name of the schedule.

    TARGET is a Python file that defines a job, or module:job. CRON is five fields in quotes:
    minute, hour, day, month, weekday. A schedule of that name is replaced; `mapred unschedule`
    removes it. The parameter `date` is the time for which a run was planned.

    \b
    mapred schedule nightly.py "0 3 * * *" --backend prod --param city=Bern
    mapred schedule pipelines.nightly:job "0 3 * * 1-5" --timezone Europe/Berlin --name nightly
    """
    from mapred.cli import references

    with redirect_stdout(sys.stderr):
        made = mapred.schedule(
            references.job_named(target, job_name),
            cron,
            timezone=timezone,
            params=references.parameters_of(params),
            on_failure=on_failure,
            backend=backend,
            root=root,
            name=name,
        )
    say(made.name)


@click.command(short_help="List the schedules of a cluster.")
@backend_option
@json_option
@traceback_option
def schedules(backend: str, json: bool) -> None:
    """List the schedules of a cluster's namespace: name, times, last start, root.

    \b
    mapred schedules --backend prod
    """
    schedules = mapred.schedules(backend=backend)
    if json:
        print_json([vars(entry) for entry in schedules])
        return
    if not schedules:
        say("no schedules", err=True)
        return
    rows = [
        {
            "name": entry.name,
            "cron": ", ".join(entry.cron),
            "timezone": entry.timezone,
            "last": entry.last or "never",
            "state": "suspended" if entry.suspended else "running" if entry.active else "waiting",
            "root": entry.root,
        }
        for entry in schedules
    ]
    say(display.table_text(rows, terminal_width(), shrink=("root",)))


@click.command(short_help="Remove a schedule.")
@click.argument("name")
@backend_option
@traceback_option
def unschedule(name: str, backend: str) -> None:
    """Remove the schedule NAME; a run that it has started continues.

    \b
    mapred unschedule nightly --backend prod
    """
    mapred.unschedule(name, backend=backend)
    say(f"schedule {name} is removed", err=True)


@click.command(short_help="Check this machine, or a cluster, and say what to do.")
@click.option(
    "--backend",
    metavar="NAME",
    shell_complete=completing.backend_names,
    help="A cluster to check: argo, or a name of mapred.toml.",
)
@root_option
@click.option("--pod", is_flag=True, help="Also start a pod, which looks at image, root and clock.")
@json_option
@traceback_option
def doctor(backend: str | None, root: str | None, pod: bool, json: bool) -> None:
    """Check what runs need, and say what to do about what is missing.

    Without --backend: Python and packages, memory, processors, disk and storage of the root,
    mapred.toml, and whether its backends can be reached. With --backend: the cluster, the
    rights, the accounts, the root and the clock.

    Each line begins with ok, with bad for what keeps runs from working, with ? for what could
    not be seen, or with - for what is optional and not there. The exit code is 1 if anything
    is bad.

    \b
    mapred doctor
    mapred doctor --json | jq '.findings[] | select(.state == "bad")'
    mapred doctor --backend prod --pod
    """
    found = []
    for finding in _examine(backend, root, pod):
        found.append(finding)
        if not json:
            say(str(finding), "findings")
    bad = any(finding.state == BAD for finding in found)
    if json:
        print_json({"ok": not bad, "findings": [vars(finding) for finding in found]})
    if bad:
        raise click.exceptions.Exit(FAILED)


def _examine(backend: str | None, root: str | None, pod: bool) -> Iterator[Finding]:
    if backend is None:
        from mapred.cli import machine

        if pod:
            raise click.UsageError("--pod needs --backend, the cluster to start a pod on")
        return machine.examine(root)
    cluster = backends.resolve(backend)
    if not isinstance(cluster, Examines):
        raise click.UsageError(
            f"--backend {backend} is {cluster.name}, which is not a cluster that can be checked; "
            "`mapred doctor` alone checks this machine"
        )
    return cluster.examine(root, pod=pod)
