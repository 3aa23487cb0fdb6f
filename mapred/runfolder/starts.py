"""When a run worked: its submission, the pauses between its starts, its end.

`handle.json` tells of the last start and of the pauses before it. A duration and a deadline count
from the submission and leave pauses out, for a run that this process drives as for one read from
its folder.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from mapred.errors import MapredError
from mapred.model import layout
from mapred.model.coding import Seconds, encode
from mapred.model.frozen import dataclass
from mapred.model.spec import Job
from mapred.model.status import RunStatus, TaskTime
from mapred.runfolder import records
from mapred.storage import Store

if TYPE_CHECKING:
    from mapred.model.failure import Failure


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


def read(store: Store) -> Start:
    """What handle.json says; of a run that never started, that it is interrupted.

    So it is of one whose handle.json cannot be read, as a power cut may leave it.
    """
    return records.read_if_sound(store, layout.HANDLE, Start) or Start()


def started(store: Store, ref: str | None, pauses: tuple[tuple[float, float], ...] = ()) -> Start:
    """Remember where a run was started."""
    return write(store, Start(ref, "running", time.time(), None, pauses))


def stopped(store: Store, ref: str | None, state: str) -> Start:
    """Remember that a run was stopped just now; `ref` is what may go on with it."""
    return write(store, dataclasses.replace(read(store), ref=ref, state=state, ended=time.time()))


def interrupted(store: Store, ref: str) -> None:
    """Remember that what drove a run has ended before the run did, unless it is driven anew.

    There may be no room for a new file, since a full disk may be what ended it.
    """
    with suppress(MapredError, OSError, ValueError):
        start = read(store)
        if start.ref != ref:
            return
        ended = dataclasses.replace(start, ref=None, state="interrupted", ended=time.time())
        try:
            write(store, ended)
        except MapredError:
            _overwrite(store, encode(ended))


def _overwrite(store: Store, data: bytes) -> None:
    """Write handle.json where it lies, in the room that it has."""
    here = store.local_path(layout.HANDLE)
    if here is None:
        return
    with open(here, "r+b", buffering=0) as file:
        room = os.fstat(file.fileno()).st_size
        if len(data) <= room:
            file.write(data.ljust(room))


def write(store: Store, start: Start) -> Start:
    store.write(layout.HANDLE, encode(start))
    return start


def paused(start: Start, ended: float | None, now: float) -> Start:
    """The last start of a run that goes on `now`, with the pause since it ended, if it did."""
    pauses = start.pauses if ended is None else (*start.pauses, (ended, now))
    return dataclasses.replace(start, ended=now, pauses=pauses)


def submitted(job: Job) -> float:
    """When the run was made; to the second for one of an earlier version."""
    if job.submitted:
        return job.submitted
    import calendar

    return float(calendar.timegm(time.strptime(job.created, "%Y-%m-%dT%H:%M:%SZ")))


def end_of(
    store: Store, start: Start, times: Iterable[TaskTime], failures: Iterable[Failure]
) -> float | None:
    """When a run that is not at work ended: its last word, its stop, or its last sign of life.

    Its last start is one as well: a run may have been killed before it did anything.
    """
    told = (records.read_end(store) or {}).get("time") or start.ended
    if told is not None:
        return float(told)
    signs = [task.started + task.seconds for task in times]
    return max([*signs, *(failure.time for failure in failures), start.time]) or None


def timed(status: RunStatus, store: Store, job: Job, start: Start) -> RunStatus:
    """The status with the run's times: the same live and reopened."""
    begun = submitted(job)
    finished = None
    if not status.live:
        ended = end_of(store, start, status.times, status.failures)
        finished = begun if ended is None else max(begun, ended)
    return dataclasses.replace(status, started=begun, finished=finished, pauses=start.pauses)


def worked(begun: float, start: Start, until: float) -> float:
    """Seconds from `begun`, as a rule the submission, to `until`, pauses left out."""
    paused = sum(max(0.0, end - max(begin, begun)) for begin, end in start.pauses)
    return max(0.0, until - begun - paused)


def left(job: Job, start: Start, now: float) -> float:
    """Seconds that are left of a deadline; a run that was stopped uses none of them up."""
    if job.deadline is None:
        return math.inf
    begun = job.deadline_since or submitted(job)
    return job.deadline - worked(begun, start, now if start.ended is None else start.ended)


def overdue(job: Job) -> str:
    """What is said of a run that its deadline ended."""
    return f"the run took longer than deadline={job.deadline:g} s"
