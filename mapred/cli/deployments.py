"""The commands about jobs that live in a cluster: deploy, deployments, start, undeploy."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

import click

import mapred
from mapred import display
from mapred.cli import completing
from mapred.cli.argo import backend_option
from mapred.cli.options import json_option, param_option, root_option, traceback_option
from mapred.cli.reports import print_json, say, terminal_width


@click.command(short_help="Keep a job in a cluster, to be started by its name.")
@click.argument("target", shell_complete=completing.files)
@click.option(
    "--job", "job_name", metavar="NAME", help="Which job to take, if the file defines several."
)
@click.option("--name", metavar="TEXT", help="Name of the deployment (default: the job's).")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of a parameter unless a start gives another (repeatable).",
)
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option(
    "--replace",
    is_flag=True,
    help="Replace what another user deployed under that name, or mapred did not make.",
)
@backend_option
@root_option
@traceback_option
def deploy(
    target: str,
    job_name: str | None,
    name: str | None,
    params: Sequence[str],
    description: str,
    replace: bool,
    backend: str,
    root: str | None,
) -> None:
    """Keep the job TARGET in a cluster under a name, and print the name.

    TARGET is a Python file that defines a job, file.py:job or module:job. Others start it by
    `mapred start`, on Argo's page, or by `argo submit --from`, with values for the parameters of
    its function, whose annotations say what fits. Deploying again replaces it; runs that have
    begun keep the version with which they began.

    \b
    mapred deploy nightly.py --backend prod --param city=Bern
    mapred deploy pipelines.nightly:job --name nightly --description "Counts of one day"
    """
    from mapred.cli import references

    with redirect_stdout(sys.stderr):
        made = references.job_named(target, job_name).deploy(
            name,
            params=references.parameters_of(params),
            description=description,
            replace=replace,
            backend=backend,
            root=root,
        )
    say(made.name)


@click.command(short_help="List the jobs that a cluster keeps.")
@backend_option
@json_option
@traceback_option
def deployments(backend: str, json: bool) -> None:
    """List the deployed jobs of a cluster's namespace: name, parameters, version, owner, root.

    Parameters in brackets have a default. --json has their kinds, choices and descriptions too.

    \b
    mapred deployments --backend prod
    mapred deployments --json | jq '.[] | {name, parameters}'
    """
    from mapred.client import deploying

    found = mapred.deployments(backend=backend)
    if json:
        print_json([_values(entry) for entry in found])
    elif not found:
        say("no deployments", err=True)
    else:
        rows = deploying.rows(found)
        say(display.table_text(rows, terminal_width(), shrink=("root", "parameters")))


@click.command(short_help="Start a job that a cluster keeps.")
@click.argument("name")
@param_option
@backend_option
@traceback_option
def start(name: str, params: Sequence[str], backend: str) -> None:
    """Start the deployed job NAME, and print the folder of its run; `mapred show -f` follows it.

    A pod of the cluster lists the dataset and submits the run, which may take a minute. A value
    of --param is read as the job's annotations say; one that does not fit starts nothing.

    \b
    mapred start nightly --backend prod --param city=Bern --param date=2026-03-01
    mapred show "$(mapred start nightly)" -f
    """
    from mapred.cli import references

    values = references.words_of(params)
    say(mapred.deployed(name, backend=backend).start(**values).uri)


@click.command(short_help="Remove a job from a cluster.")
@click.argument("name")
@backend_option
@traceback_option
def undeploy(name: str, backend: str) -> None:
    """Remove the deployed job NAME; a run that it has started continues.

    \b
    mapred undeploy nightly --backend prod
    """
    mapred.undeploy(name, backend=backend)
    say(f"deployment {name} is removed", err=True)


def _values(entry: mapred.Deployment) -> dict[str, object]:
    shown = {name: value for name, value in vars(entry).items() if name != "backend"}
    return {**shown, "parameters": [dataclasses.asdict(each) for each in entry.parameters]}
