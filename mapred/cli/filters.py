"""Which runs `mapred ls` lists: by state, by the name of the job, and by when they were made."""

from __future__ import annotations

import fnmatch
import re
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from mapred.cli.options import gather_fields
from mapred.model import rules

if TYPE_CHECKING:
    from mapred.client.history import Entry, Runs

STATES = (
    "running", "queued", "succeeded", "failed", "interrupted", "suspended", "cancelled", "unknown",
    "unreadable",
)  # fmt: skip
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Filters:
    """What a listed run has to match; `since` is in seconds since the epoch."""

    states: tuple[str, ...]
    job: str | None
    since: float | None

    def select(self, root: str | None, limit: int | None) -> Runs:
        """Return the newest `limit` runs that match."""
        from mapred.client import history

        if not (self.states or self.job or self.since is not None):
            return history.runs(root, limit)
        found = self._read_candidates(root)
        chosen = tuple(entry for entry in found if self._matches(entry))
        return history.Runs(found.root, chosen[:limit])

    def describe(self) -> str:
        """Return ` that match --state failed`, or nothing where all runs match."""
        words = [f"--state {state}" for state in self.states]
        words += [f"--job {self.job}"] * bool(self.job)
        if self.since is not None:
            words.append(
                f"--since {datetime.fromtimestamp(self.since).astimezone():%Y-%m-%d %H:%M}"
            )
        return f" that match {' '.join(words)}" if words else ""

    def _read_candidates(self, root: str | None) -> Runs:
        from mapred.client import history, lookup

        if self.since is None:
            return history.runs(root)
        # The name of a folder says when its run was made: older ones are not read.
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.since))
        base = lookup.base_of(root)
        young = sum(second >= stamp for (second, _), _ in lookup.folders(base))
        return history.runs(base, young) if young else history.Runs(base, ())

    def _matches(self, entry: Entry) -> bool:
        return (
            (not self.states or entry.state in self.states)
            and (self.job is None or fnmatch.fnmatchcase(entry.name, self.job))
            and (self.since is None or _created(entry) >= self.since)
        )


def _created(entry: Entry) -> float:
    try:
        return datetime.fromisoformat(entry.created.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return float("inf")  # An unreadable run is young by its folder's name.


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds since the epoch of an ISO date or time, or of an age such as `2h`."""
    if value is None:
        return None
    try:
        if _DATE.match(value):
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
        if value[-1:].isalpha():
            return max(0.0, time.time() - rules.seconds(value))
    except (ValueError, OverflowError, rules.Unfit):
        pass
    raise click.BadParameter(
        f"{value!r} is not a time; write a date (2026-03-01), a date and time in your time zone "
        "(2026-03-01T12:30) or in another (…Z, …+02:00), or an age (90m, 2h, 3d)"
    )


filter_options = gather_fields(
    Filters,
    click.option(
        "--state",
        "states",
        type=click.Choice(STATES),
        multiple=True,
        help="Only runs in this state (repeatable).",
    ),
    click.option("--job", metavar="NAME", help="Only runs of this job; NAME may be a glob."),
    click.option(
        "--since",
        metavar="TIME",
        callback=moment,
        help="Only runs made since a date or time (2026-03-01), or within an age (2h, 3d).",
    ),
)
