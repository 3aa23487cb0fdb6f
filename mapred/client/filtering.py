"""Which runs of a root a list shows: by state, by the name of the job, by when they were made."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, TypeAlias

from mapred.model import rules
from mapred.model.rules import Rule, Unfit

STATES = (
    "running", "queued", "waiting", "succeeded", "failed", "interrupted", "suspended", "cancelled", "unknown",
    "unreadable",
)  # fmt: skip
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_FORMS = (
    "a date or time such as '2026-03-01' or '2026-03-01T12:30Z', an age such as '2h' or '3d', a "
    "datetime, a date or a timedelta"
)


def read_moment(value: Any) -> float:
    """Return the seconds since the epoch of a date, a time or an age, in the zone of this machine."""
    try:
        if isinstance(value, str) and _DATE.match(value):
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if isinstance(value, datetime):
            return value.timestamp()
    except (ValueError, OverflowError) as error:  # pandas' NaT is a datetime
        raise Unfit(str(error)) from None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day).timestamp()  # noqa: DTZ001
    if isinstance(value, timedelta) or (isinstance(value, str) and value[-1:].isalpha()):
        return max(0.0, time.time() - rules.seconds(value))
    raise Unfit


def _read_states(value: Any) -> tuple[str, ...]:
    states = (value,) if isinstance(value, str) else rules.as_tuple(value)
    if not states or not all(state in STATES for state in states):
        raise Unfit
    return states


States: TypeAlias = Annotated[
    str | Sequence[str], Rule(f"one or several of {', '.join(STATES)}", _read_states)
]
Since: TypeAlias = Annotated[str | date | timedelta, Rule(_FORMS, read_moment)]


@dataclass(frozen=True)
class Filter:
    """What a listed run has to match: `job` is a glob, `since` in seconds since the epoch.

    `folded` leaves out runs for which a pipeline stands.
    """

    states: tuple[str, ...] = ()
    job: str | None = None
    since: float | None = None
    folded: bool = True

    @property
    def stamp(self) -> str:
        """The beginning that ids of runs have since then, or a smaller one."""
        if self.since is None:
            return ""
        return time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.since))

    def matches(self, state: str, job: str, created: datetime | None) -> bool:
        return (not self.states or state in self.states) and self.matches_job(job, created)

    def matches_job(self, job: str, created: datetime | None) -> bool:
        """Whether a run may be listed; of one that cannot be read, the age is not known."""
        return (self.job is None or fnmatch.fnmatchcase(job, self.job)) and (
            self.since is None or created is None or created.timestamp() >= int(self.since)
        )

    def __str__(self) -> str:
        words = [f"state={'|'.join(self.states)}"] * bool(self.states)
        words += [f"job={self.job}"] * (self.job is not None)
        if self.since is not None:
            words.append(f"since={datetime.fromtimestamp(self.since).astimezone():%Y-%m-%d %H:%M}")
        return ", ".join(words)
