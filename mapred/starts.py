"""When a run worked: its submission, the pauses between its starts, its end; and where it runs.

`handle.json` tells of the last start and of the pauses before it. A duration counts from the
submission and leaves pauses out, for a run that this process drives as for one read from its folder.
"""

from __future__ import annotations

import calendar
import dataclasses
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakValueDictionary

from mapred import layout, records
from mapred.backends.base import Handle, process_birth
from mapred.model import Failure, Job, RunStatus, TaskTime
from mapred.storage import Store


@dataclass(frozen=True)
class Start:
    """The last start of a run: what drives it (`ref`), and the state in which it was left.

    `ended` is when it was stopped, where somebody said so; `pauses` lie between the starts.
    Times are seconds since the epoch.
    """

    ref: str | None = None
    state: str = "interrupted"
    time: float = 0.0
    ended: float | None = None
    pauses: tuple[tuple[float, float], ...] = ()


def read(store: Store) -> Start:
    """What handle.json says; of a run that never started, that it is interrupted."""
    try:
        value = json.loads(store.read(layout.HANDLE))
    except FileNotFoundError:
        return Start()
    pauses = tuple((begin, end) for begin, end in value.get("pauses", ()))
    return Start(value["ref"], value["state"], value["time"], value.get("ended"), pauses)


def started(store: Store, ref: str | None, pauses: tuple[tuple[float, float], ...] = ()) -> Start:
    """Remember where a run was started."""
    return _write(store, Start(ref, "running", time.time(), None, pauses))


def stopped(store: Store, ref: str | None, state: str) -> Start:
    """Remember that a run was stopped just now; `ref` is what may go on with it."""
    return _write(store, dataclasses.replace(read(store), ref=ref, state=state, ended=time.time()))


def _write(store: Store, start: Start) -> Start:
    store.write(layout.HANDLE, json.dumps(vars(start)).encode())
    return start


# What drives a run in this process, by the run's folder, however many handles it has.
_driven: WeakValueDictionary[str, Handle] = WeakValueDictionary()


def remember(uri: str, handle: Handle) -> None:
    """Have all handles of this process know what drives a run; a cluster knows by itself."""
    if not handle.detaches:
        with suppress(TypeError):  # A backend's own handle may allow no weak reference.
            _driven[uri] = handle


def forget(uri: str) -> None:
    """Have the folder alone tell of a run, which was stopped."""
    _driven.pop(uri, None)


def driven(uri: str) -> Handle | None:
    """What drives a run in this process, or did last; None where nothing here does."""
    handle = _driven.get(uri)
    # A process that was forked from the one that drives it drives nothing.
    here = handle is not None and handle.ref.split(":")[2:3] == [str(os.getpid())]
    return handle if here else None


def at_work(uri: str, start: Start) -> bool:
    """Whether a process of this machine, this one included, drives a run."""
    here = driven(uri)
    if here is not None and here.alive():
        return True
    return start.ref is not None and driver_alive(start.ref)


def driver_alive(ref: str) -> bool:
    """Whether the process that drove a run lives: known on its own machine alone."""
    parts = ref.split(":")
    if len(parts) != 4 or parts[1] != os.uname().nodename:
        return False
    return int(parts[2]) != os.getpid() and process_birth(int(parts[2])) == parts[3]


def submitted(job: Job) -> float:
    """When the run was made; to the second for one of an earlier version."""
    return job.submitted or float(calendar.timegm(time.strptime(job.created, "%Y-%m-%dT%H:%M:%SZ")))


def end_of(
    store: Store, start: Start, times: Iterable[TaskTime], failures: Iterable[Failure]
) -> float | None:
    """When a run that is not at work ended: its last word, its stop, or its last sign of life."""
    told = (records.read_end(store) or {}).get("time") or start.ended
    if told is not None:
        return float(told)
    signs = [task.started + task.seconds for task in times]
    return max([*signs, *(failure.time for failure in failures)], default=None)


def timed(status: RunStatus, store: Store, job: Job, start: Start) -> RunStatus:
    """The status with the run's times: the same whoever asks, and from wherever."""
    begun = submitted(job)
    finished = None
    if status.state != "running":
        ended = end_of(store, start, status.times, status.failures)
        finished = begun if ended is None else max(begun, ended)
    return dataclasses.replace(status, started=begun, finished=finished, pauses=start.pauses)


def worked(begun: float, start: Start, until: float) -> float:
    """Seconds from the submission to `until`, pauses left out."""
    return max(0.0, until - begun - sum(end - begin for begin, end in start.pauses))
