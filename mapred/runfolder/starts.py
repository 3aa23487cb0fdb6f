"""When a run worked: its submission, the pauses between its starts, its end.

`handle.json` tells of the last start and of the pauses before it. A duration and a deadline count
from the submission and leave pauses out, for a run that this process drives as for one read from
its folder.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mapred.model.fields import Seconds
from mapred.model.frozen import dataclass
from mapred.model.spec import Job
from mapred.model.status import RunStatus, TaskTime
from mapred.runfolder.records import End

if TYPE_CHECKING:
    from mapred.model.failure import Failure, Retry


@dataclass(frozen=True)
class Start:
    """The last start of a run: what drives it (`ref`), and the state in which it was left.

    `ended` is when it was stopped, where somebody said so; `pauses` lie between the starts.
    Times are seconds since the epoch.
    """

    ref: str | None = None
    state: str = "interrupted"
    time: Seconds = 0.0
    ended: Seconds | None = None
    pauses: tuple[tuple[Seconds, Seconds], ...] = ()


def add_pause(start: Start, ended: float | None, now: float) -> Start:
    """Return the last start of a run that goes on `now`, with the pause since it ended, if it did."""
    pauses = start.pauses if ended is None else (*start.pauses, (ended, now))
    return dataclasses.replace(start, ended=now, pauses=pauses)


def submission_time(job: Job) -> float:
    """When the run was made; to the second for one of an earlier version."""
    if job.submitted:
        return job.submitted
    import calendar

    return float(calendar.timegm(time.strptime(job.created, "%Y-%m-%dT%H:%M:%SZ")))


def activity_times(times: Iterable[TaskTime], failures: Iterable[Failure | Retry]) -> list[float]:
    """When a run gave a sign of life: the ends of its attempts."""
    ends = [task.started + task.seconds for task in times]
    return [*ends, *(failure.time for failure in failures)]


def add_times(status: RunStatus, job: Job, start: Start, end: End | None) -> RunStatus:
    """Return the status with the run's times: the same live and reopened.

    A run that is not at work ended with its last word, its stop, or its last sign of life, of
    which its last start is one: it may have been killed before it did anything.
    """
    begun = submission_time(job)
    finished = None
    if not status.live:
        told = (end and end.time) or start.ended
        if told is None:
            told = max([*activity_times(status.times, status.failures), start.time])
        finished = max(begun, told)
    return dataclasses.replace(status, started=begun, finished=finished, pauses=start.pauses)


def working_seconds(begun: float, start: Start, until: float) -> float:
    """Seconds from `begun`, as a rule the submission, to `until`, pauses left out."""
    paused = sum(max(0.0, end - max(begin, begun)) for begin, end in start.pauses)
    return max(0.0, until - begun - paused)


def seconds_left(job: Job, start: Start, now: float) -> float:
    """Seconds that are left of a deadline; a run that was stopped uses none of them up."""
    if job.deadline is None:
        return math.inf
    begun = job.deadline_since or submission_time(job)
    return job.deadline - working_seconds(begun, start, now if start.ended is None else start.ended)


def overdue_message(job: Job) -> str:
    """Return what is said of a run that its deadline ended."""
    return f"the run took longer than deadline={job.deadline:g} s"
