"""The commands that sum a run up: a page to keep or send, and what to ask for next time."""

from __future__ import annotations

import click

from mapred.cli.options import json_option, root_option, traceback_option
from mapred.cli.reports import print_json, say
from mapred.cli.run_list import open_run


@click.command(short_help="Say what to ask for next time.")
@click.argument("run_name", metavar="RUN")
@root_option
@json_option
@traceback_option
def advise(run_name: str, root: str | None, json: bool) -> None:
    """Compare what a run asked for with what it used: memory, time, attempts, size of shards.

    The last lines are options for the next run, to be pasted.

    \b
    mapred advise last
    """
    advice = open_run(run_name, root).advise()
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
