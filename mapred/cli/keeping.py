"""The commands that sum a run up: a page to keep or send, and what to ask for next time."""

from __future__ import annotations

import click

from mapred.cli import completing
from mapred.cli.options import json_option, root_option, traceback_option
from mapred.cli.reports import print_json, say


@click.command(short_help="Write a page about a run, to keep or to send.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@click.option(
    "--output", "-o", metavar="FILE", help="Where to (default: report-ID.html in this folder)."
)
@click.option("--result", metavar="NAME", help="Which result the picture of a sweep shows.")
@root_option
@traceback_option
def report(run_name: str, output: str | None, result: str | None, root: str | None) -> None:
    """Write what is known of a run to one HTML file without scripts, and print its path.

    It holds the source of the function, parameters, the plan, a timeline, slow tasks, memory,
    failures, ends of logs, counters, an audit, and how to continue; no values of secrets. An
    earlier report is replaced, and any other file refused.

    \b
    mapred report last
    mapred report last -o monday.html
    """
    from mapred.cli import run_list

    run = run_list.open_run(run_name, root)
    say(str(run.report(output or f"report-{run.id}.html", result)))


@click.command(short_help="Say what to ask for next time.")
@click.argument("run_name", metavar="RUN", shell_complete=completing.run_ids)
@root_option
@json_option
@traceback_option
def advise(run_name: str, root: str | None, json: bool) -> None:
    """Compare what a run asked for with what it used: memory, time, attempts, size of shards.

    The last lines are options for the next run, to be pasted.

    \b
    mapred advise last
    """
    from mapred.cli import run_list

    advice = run_list.open_run(run_name, root).advise()
    if json:
        print_json(
            {
                "run": advice.run,
                "recommendations": [vars(each) for each in advice.recommendations],
                "python": advice.python,
                "shell": advice.shell,
                "notes": advice.notes,
            }
        )
    else:
        say(str(advice))
