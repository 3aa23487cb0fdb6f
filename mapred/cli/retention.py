"""The commands that remove: gc for old runs and leftovers, rm for single runs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mapred.cli import completing
from mapred.cli.options import json_option, root_option, traceback_option
from mapred.cli.reports import FAILED, print_json, say
from mapred.errors import MapredError, RunError

if TYPE_CHECKING:
    from mapred.client.retention import Removals

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Remove nothing; show what would go and how large it is."
)
yes_option = click.option(
    "--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal to ask at."
)


@click.command(short_help="Remove old runs and leftovers.")
@root_option
@click.option(
    "--older-than",
    metavar="AGE",
    help="Remove runs that started longer ago than this, such as 30d or 12h.",
)
@dry_run_option
@yes_option
@json_option
@traceback_option
def gc(root: str | None, older_than: str | None, dry_run: bool, yes: bool, json: bool) -> None:
    """Remove runs older than AGE, leftovers of removed runs, and unused data of failed attempts.

    Without --older-than, all runs stay. Runs that may be active are never touched: those whose
    driver is alive, and those started elsewhere that did anything within the last week. You are
    asked before anything is removed; in a script, pass --yes.

    \b
    mapred gc --older-than 30d --dry-run
    mapred gc --root s3://team/runs --older-than 30d --yes
    """
    from mapred.client import retention

    if not dry_run and _needs_confirmation(yes, "gc"):
        would = retention.gc(root, older_than=older_than, dry_run=True)
        if would.removals and not _confirm(would):
            return
    _print_removals(retention.gc(root, older_than=older_than, dry_run=dry_run), json)


@click.command(short_help="Remove runs.")
@click.argument(
    "run_names", metavar="RUN...", nargs=-1, required=True, shell_complete=completing.run_ids
)
@root_option
@dry_run_option
@yes_option
@json_option
@traceback_option
def rm(run_names: Sequence[str], root: str | None, dry_run: bool, yes: bool, json: bool) -> None:
    """Remove runs with everything in their folders; datasets that they wrote stay.

    Runs that may be active are refused. You are asked before anything is removed; in a script,
    pass --yes.

    \b
    mapred rm 20260102-0304
    mapred rm last --dry-run
    """
    from mapred.cli import run_list
    from mapred.client import retention

    asks = not dry_run and _needs_confirmation(yes, "rm")
    folders = [run_list.find(name, root) for name in run_names]
    try:
        # All are looked at before the first one goes.
        would = [retention.rm(uri, dry_run=True) for uri in folders]
        if dry_run:
            _print_removals(_merge_removals(would), json)
        elif not asks or _confirm(_merge_removals(would)):
            _print_removals(_merge_removals([retention.rm(uri) for uri in folders]), json)
    except RunError as error:
        raise MapredError(str(error)) from error


def _merge_removals(parts: Sequence[Removals]) -> Removals:
    from mapred.client.retention import Removals

    removals = tuple(removal for part in parts for removal in part.removals)
    return Removals(removals, parts[0].dry_run, tuple(p for part in parts for p in part.problems))


def _needs_confirmation(yes: bool, command: str) -> bool:
    """Whether to ask before removing; a `UsageError` where nobody can be asked."""
    if yes:
        return False
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"there is no terminal to ask at: pass --yes to `mapred {command}` to remove, or "
            "--dry-run to see what would go"
        )
    return True


def _confirm(would: Removals) -> bool:
    say(str(would), err=True)
    return click.confirm("Remove them?", err=True)


def _print_removals(removals: Removals, json: bool) -> None:
    if json:
        print_json(
            dataclasses.asdict(removals) | {"files": removals.files, "bytes": removals.bytes}
        )
    else:
        say(str(removals))
    if removals.problems:
        raise click.exceptions.Exit(FAILED)
