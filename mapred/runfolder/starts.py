"""When a run worked: its submission, the pauses between its starts, its end.

`handle.json` has the last start and the pauses before it. Durations and deadlines count from the
submission and leave pauses out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from datetime import datetime

from mapred.model.failure import Failure, Retry
from mapred.model.fields import Seconds
from mapred.model.frozen import dataclass
from mapred.model.spec import Job
from mapred.model.status import RunStatus, TaskTime
from mapred.runfolder.records import End


@dataclass(frozen=True)
class Start:
    """The last start of a run: what drives it (`ref`), and the state in which it was left.

    `ended` is when it was stopped, if someone noted that; `pauses` lie between the starts.
    Times are seconds since the epoch.
    """

    ref: str | None = None
    state: str = "interrupted"
    time: Seconds = 0.0
    ended: Seconds | None = None
    pauses: tuple[tuple[Seconds, Seconds], ...] = ()


def add_pause(start: Start, ended: float | None, now: float) -> Start:
    """Add the pause since the run `ended`, if it did, to the start of one that continues `now`."""
    pauses = start.pauses if ended is None else (*start.pauses, (ended, now))
    return dataclasses.replace(start, ended=now, pauses=pauses)


def submission_time(job: Job) -> float:
    """Return when the run was made; to the second for one of an earlier version."""
    if job.submitted:
        return job.submitted
    return datetime.strptime(f"{job.created}+0000", "%Y-%m-%dT%H:%M:%SZ%z").timestamp()


def activity_times(times: Iterable[TaskTime], failures: Iterable[Failure | Retry]) -> list[float]:
    """Return when the attempts of a run ended."""
    ends = [task.started + task.seconds for task in times]
    return [*ends, *(failure.time for failure in failures)]


def add_times(status: RunStatus, job: Job, start: Start, end: End | None) -> RunStatus:
    """Add the run's times to its status: the same live and reopened.

    A run that is not at work ended with end.json, its stop, or its last sign of life. Its last
    start counts as one, since it may have been killed before it did anything.
    """
    begun = submission_time(job)
    finished = None
    if not status.live:
        ended = (end and end.time) or start.ended
        if ended is None:
            ended = max([*activity_times(status.times, status.failures), start.time])
        finished = max(begun, ended)
    return dataclasses.replace(status, started=begun, finished=finished, pauses=start.pauses)


def working_seconds(begun: float, start: Start, until: float) -> float:
    """Return the seconds from `begun`, as a rule the submission, to `until`, without pauses."""
    paused = sum(max(0.0, end - max(begin, begun)) for begin, end in start.pauses)
    return max(0.0, until - begun - paused)


def seconds_left(job: Job, start: Start, now: float) -> float:
    """Return the seconds left of a deadline, which a run that was stopped does not use up."""
    if job.deadline is None:
        return math.inf
    begun = job.deadline_since or submission_time(job)
    return job.deadline - working_seconds(begun, start, now if start.ended is None else start.ended)


def overdue_message(job: Job) -> str:
    return f"the run took longer than deadline={job.deadline:g} s"
