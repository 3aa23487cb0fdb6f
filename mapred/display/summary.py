"""What the text and the pictures of a plan or run are drawn from; all of it pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mapred.model.failure import Failure, Retry
from mapred.model.status import RunStatus, TaskTime, WorkerStatus

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column that the function gets: its pinned type, and what is to be said of it."""

    name: str
    type: str
    note: str = ""


@dataclass(frozen=True)
class PlanSummary:
    """The numbers of a plan that a person looks at.

    `limit` names what chose the number of shards; `largest_files` holds `(path, bytes)`;
    `columns` are those of a table; `unsplittable` holds `(files, bytes, reason)`; `shard_bytes` are
    in plan order. Sizes of shards count the `unit`: `byte`, or `item` where no file is read.
    """

    dataset: str
    format: str
    files: int
    bytes: int
    shards: int
    tasks: int
    items: int
    limit: str
    smallest: int
    median: int
    largest: int
    largest_files: tuple[tuple[str, int], ...] = ()
    columns: tuple[Column, ...] = ()
    unit: str = "byte"
    unsplittable: tuple[tuple[int, int, str], ...] = ()
    shard_bytes: Sequence[int] | npt.NDArray[Any] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Bins:
    """Consecutive shards drawn as one bar each: shards `edges[i]` up to `edges[i + 1]`."""

    edges: npt.NDArray[np.int64]
    mean: Floats
    largest: Floats


def bins(sizes: Sequence[int] | npt.NDArray[Any], most: int) -> Bins:
    """At most `most` bars of consecutive shards; none for no shards."""
    values = np.asarray(sizes, dtype=np.float64)
    count = min(most, len(values))
    edges = np.linspace(0, len(values), count + 1).astype(np.int64)
    if not count:
        return Bins(edges, values, values)
    sums = np.add.reduceat(values, edges[:-1])
    return Bins(edges, sums / np.diff(edges), np.maximum.reduceat(values, edges[:-1]))


@dataclass(frozen=True)
class FailureGroup:
    """Failures of one signature: the first of them, how many, in which tasks, of which items.

    `items` is empty where they are not known of every failure; `places` are the items with their
    values, else where each task failed.
    """

    first: Failure
    count: int
    tasks: tuple[int, ...]
    items: tuple[int, ...] = ()
    places: tuple[str, ...] = ()


def group_failures(failures: Sequence[Failure]) -> list[FailureGroup]:
    """Equal failures of a stage as one group, the most frequent first."""
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        cause = (failure.signature,) if failure.signature else (failure.error, failure.message)
        groups.setdefault((failure.stage, failure.kind, *cause), []).append(failure)
    return [
        FailureGroup(
            same[0],
            len(same),
            tuple(dict.fromkeys(failure.task for failure in same)),
            _items(same),
            _places(same),
        )
        for same in sorted(groups.values(), key=len, reverse=True)
    ]


def _items(failures: Sequence[Failure]) -> tuple[int, ...]:
    if not all(failure.items for failure in failures):
        return ()
    return tuple(dict.fromkeys(item for failure in failures for item in failure.items))


def _places(failures: Sequence[Failure]) -> tuple[str, ...]:
    items = [
        f"item {item}: {failure.values[item]}"
        for failure in failures
        for item in failure.items
        if item in failure.values
    ]
    places = items or [failure.where for failure in failures if failure.where]
    # Items without values are listed by their numbers.
    numbered = not items and bool(_items(failures))
    return tuple(dict.fromkeys(places[:1] if numbered else places))


@dataclass(frozen=True)
class Pace:
    """How fast a run goes: seconds elapsed, bytes and items a second, seconds left; None if unknown."""

    elapsed: float | None
    rate: float | None
    left: float | None
    items: float | None = None


def pace(status: RunStatus, now: float | None = None) -> Pace:
    """Return the pace of a run as seen at `now`, in seconds since the epoch."""
    end = status.finished
    if end is None:
        end = now if status.live else None
    if end is None and status.times:
        end = max(time.started + time.seconds for time in status.times)
    if end is None:
        return Pace(None, None, None)
    elapsed = max(0.0, end - status.started - pause_seconds(status))
    rate = status.bytes_done / elapsed if elapsed and status.bytes_done else None
    items = status.records / elapsed if elapsed and status.items and status.records else None
    done = fraction(status)
    going = status.state == "running" and 0 < done < 1
    return Pace(elapsed, rate, elapsed * (1 - done) / done if going else None, items)


def pause_seconds(status: RunStatus) -> float:
    """Seconds between a stop of the run and its next start, all pauses together."""
    return sum(end - begin for begin, end in status.pauses)


def fraction(status: RunStatus) -> float:
    """Return the part of the run that is done: by bytes or items where they are known, else by tasks."""
    if status.bytes:
        return min(1.0, status.bytes_done / status.bytes)
    total = sum(stage.total for stage in status.stages)
    done = sum(stage.done + stage.given_up for stage in status.stages)
    return min(1.0, done / total) if total else 0.0


def whole_seconds(left: float) -> int:
    """Return an estimate rounded up to the second: more digits would promise too much."""
    return math.ceil(left - 1e-3)


@dataclass(frozen=True)
class Scene:
    """What a display shows beside the status of a run.

    `workers` are at work now, None where nobody here knows them; `points` name items by their
    numbers; `printed` are lines that tasks printed last; of a run with too many tasks to draw them
    all, `drawn` are the latest. `result` and `next_line` are the beginning of the result, and what
    to type next; `picture` is the HTML that draws the points of a sweep.
    """

    workers: tuple[WorkerStatus, ...] | None = None
    points: Mapping[int, str] = field(default_factory=dict)
    printed: tuple[str, ...] = ()
    drawn: tuple[TaskTime, ...] | None = None
    result: Preview | None = None
    next_line: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Preview:
    """The beginning of a result: what it is (`dict of 3 keys`), and rows of cells or a text."""

    head: str
    rows: tuple[Mapping[str, Any], ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Timeline:
    """Attempts laid out by worker and time; the arrays are parallel to `attempts`.

    `start` and `stop` count seconds from the first start, pauses cut out: `pauses` says where, and how
    long each was. `lane` is a row of `labels`, `stage` an index into `stages`; `failed` marks
    failed attempts, and tasks that had one, `open` those at work. `labels` is empty where so many
    workers ran at once that only their number can be drawn.
    """

    labels: tuple[str, ...]
    stages: tuple[str, ...]
    start: Floats
    stop: Floats
    lane: npt.NDArray[np.int64]
    stage: npt.NDArray[np.int64]
    failed: npt.NDArray[np.bool_]
    open: npt.NDArray[np.bool_]
    seconds: float
    pauses: tuple[tuple[float, float], ...] = ()


def failed_attempts(status: RunStatus) -> list[Retry]:
    """Return the failed attempts that a timeline can place, those of tasks that failed for good too."""
    known = [*status.retries, *status.tries]
    places = {(retry.stage, retry.task) for retry in known}
    known += [
        Retry(f.stage, f.task, f.kind, f.error, f.items, f.time, f.seconds, f.worker, f.message)
        for f in status.failures
        if (f.stage, f.task) not in places
    ]
    return [retry for retry in known if retry.time]


def attempts(
    status: RunStatus, workers: Sequence[WorkerStatus] = (), now: float | None = None
) -> list[TaskTime]:
    """Return the tasks that are done, then the failed attempts, then what `workers` are at `now`.

    An attempt that took its worker down is shown where the task was done in the end.
    """
    known = {(time.stage, time.task): time.worker for time in status.times}
    return [
        *status.times,
        *(
            TaskTime(
                retry.stage,
                retry.task,
                retry.time - retry.seconds,
                retry.seconds,
                retry.worker or known.get((retry.stage, retry.task), ""),
            )
            for retry in failed_attempts(status)
        ),
        *(
            TaskTime(at.stage, at.task or 0, at.since, max(0.0, now - at.since), at.worker)
            for at in workers
            if now is not None
        ),
    ]


def timeline(
    status: RunStatus,
    most_lanes: int,
    workers: Sequence[WorkerStatus] = (),
    now: float | None = None,
) -> Timeline | None:
    """Return the timeline of a run on at most `most_lanes` lanes; None before a task has begun."""
    times = attempts(status, workers, now)
    if not times:
        return None
    start = np.array([time.started for time in times], dtype=np.float64)
    stop = start + np.array([max(0.0, time.seconds) for time in times], dtype=np.float64)
    start, stop, pauses = _cut_pauses(start, stop, status.pauses)
    names = sorted({time.worker for time in times}, key=lambda name: (len(name), name))
    numbers = {name: number for number, name in enumerate(names)}
    row = np.array([numbers[time.worker] for time in times], dtype=np.int64)
    labels = tuple(names)
    if len(labels) > most_lanes:
        labels, row = _share_lanes(start, stop, row, len(labels), most_lanes)
    stages = tuple(
        dict.fromkeys([stage.name for stage in status.stages] + [time.stage for time in times])
    )
    numbers = {name: number for number, name in enumerate(stages)}
    done, at_work = len(status.times), len(workers) if now is not None else 0
    tried = {(time.stage, time.task) for time in times[done : len(times) - at_work]}
    bad = {(failure.stage, failure.task) for failure in status.failures} - tried
    failed = [(time.stage, time.task) in bad for time in status.times]
    others = len(times) - at_work - done
    return Timeline(
        labels=labels,
        stages=stages,
        start=start,
        stop=stop,
        lane=row,
        stage=np.array([numbers[time.stage] for time in times], dtype=np.int64),
        failed=np.array([*failed, *[True] * others, *[False] * at_work], dtype=np.bool_),
        open=np.arange(len(times)) >= len(times) - at_work,
        seconds=max(float(stop.max()), 1e-6),
        pauses=pauses,
    )


def _cut_pauses(
    start: Floats, stop: Floats, pauses: Sequence[tuple[float, float]]
) -> tuple[Floats, Floats, tuple[tuple[float, float], ...]]:
    """Return the times from the first start on without the pauses, and where these were."""
    places, cut = [], 0.0
    for begin, end in pauses:
        places.append((begin - cut, end - begin))
        cut += end - begin
    for begin, end in reversed(pauses):
        # The latest first, since each cut moves what comes after it.
        start, stop = (
            np.where(t < end, np.minimum(t, begin), t - (end - begin)) for t in (start, stop)
        )
    first = float(start.min())
    last = float(stop.max()) - first
    within = tuple((at - first, long) for at, long in places if 0 < at - first < last)
    return start - first, stop - first, within


def busy(start: Floats, stop: Floats, edges: Floats) -> Floats:
    """How many of the intervals were open, on average, between each two edges."""

    def since(moments: Floats) -> Floats:
        moments = np.sort(moments)
        before = np.searchsorted(moments, edges)
        total = np.concatenate(([0.0], np.cumsum(moments)))
        return before * edges - total[before]

    shares: Floats = np.diff(since(start) - since(stop)) / np.diff(edges)
    return np.maximum(shares, 0.0)


def _share_lanes(
    start: Floats, stop: Floats, row: npt.NDArray[np.int64], workers: int, most: int
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Workers that ran one after the other on a lane together; no lanes beyond `most`."""
    first, last = np.full(workers, np.inf), np.zeros(workers)
    np.minimum.at(first, row, start)
    np.maximum.at(last, row, stop)
    lane_of = np.zeros(workers, dtype=np.int64)
    ends: list[tuple[float, int]] = []
    for worker in np.argsort(first, kind="stable").tolist():
        if ends and ends[0][0] <= first[worker]:
            lane = heapq.heappop(ends)[1]
        elif len(ends) < most:
            lane = len(ends)
        else:
            return (), np.zeros_like(row)
        lane_of[worker] = lane
        heapq.heappush(ends, (float(last[worker]), lane))
    return tuple(f"slot {number + 1}" for number in range(len(ends))), lane_of[row]
