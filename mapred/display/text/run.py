"""A run as plain text: its stages, pace, slowest tasks and timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mapred.display.format import (
    format_bytes,
    format_count,
    format_estimate,
    format_rate,
    format_seconds,
    format_time,
    join_numbers,
    one_line,
    pluralize,
    shorten,
)
from mapred.display.summary import (
    Timeline,
    busy,
    fraction,
    pace,
    pause_seconds,
    timeline,
    whole_seconds,
)
from mapred.display.text.bars import bar, sparkline
from mapred.display.text.failures import failures_text, point_text
from mapred.functions.parameters import text_of
from mapred.model.records import GivenUp
from mapred.model.status import RunStatus, StageStatus
from mapred.process.secrecy import mask

_LANES = 16
_STAGE_MARKS = "█▓▒░"


def run_text(status: RunStatus, now: float | None = None) -> str:
    """Return a run on one line: its id, state, tasks, input and time."""
    counts = [_tasks(name, total, done) for name, total, done in _count_by_kind(status)]
    return f"Run {one_line(status.run_id)} {state_text(status)}: " + ", ".join(
        [part for part in counts if part] + [_amount(status, now)]
    )


def state_text(status: RunStatus) -> str:
    """`succeeded`, `succeeded, 3 items given up` or `queued since 2026-01-02 03:04`."""
    state, number = one_line(status.state), len(status.given_up.indices)
    if status.queued_since is not None:
        state += f" since {format_time(status.queued_since)}"
    return f"{state}, {pluralize(number, status.given_up.what)} given up" if number else state


def given_up_text(given_up: GivenUp) -> str:
    """`3 items given up: 4, 13, 22`."""
    indices = given_up.indices
    return f"{pluralize(len(indices), given_up.what)} given up: {join_numbers(indices)}"


def skipped_text(rows: int) -> str:
    """`2 bad rows skipped`."""
    return f"{pluralize(rows, 'bad row')} skipped"


def retries_text(status: RunStatus) -> str:
    """`2 retries (ValueError, lost)`: the failed attempts at what succeeded later, by kind."""
    kinds = Counter(
        retry.error if retry.kind in ("function", "dataset") else retry.kind
        for retry in status.retries
    ).most_common(5)
    number = len(status.retries)
    details = ", ".join(
        one_line(kind, 40) if count == number else f"{format_count(count)} × {one_line(kind, 40)}"
        for kind, count in kinds
    )
    return f"{pluralize(number, 'retry', 'retries')} ({details})"


def retry_lines(status: RunStatus, most: int = 5) -> list[str]:
    """`map 12: ValueError: bad price (item 4: beta=0.5)`, a line for each of the first retries."""
    lines = [
        f"{one_line(retry.stage, 40)} {retry.task}: {point_text(retry)}"
        for retry in status.retries[:most]
    ]
    more = len(status.retries) - most
    return lines if more <= 0 else [*lines, f"and {format_count(more)} more"]


def status_text(
    status: RunStatus, now: float | None = None, timeline: bool = True, width: int = 60
) -> str:
    """Return a run as text: its stages, pace, counters, failures and, if asked, its timeline.

    `now`, in seconds since the epoch, is what elapsed time and the estimate go by.
    """
    lines = [run_text(status, now)]
    if status.message:
        lines.append("  " + one_line(mask(status.message), 500))
    if status.parameters:
        lines.append("  with " + one_line(text_of(status.parameters), 500))
    names = [one_line(stage.name, 40) for stage in status.stages]
    room = max(map(len, names), default=0)
    lines += [
        f"  {name:<{room}}  "
        + ", ".join([stage_text(stage, min(24, width - 8)), *rest_facts(status, stage)])
        for name, stage in zip(names, stages_to_show(status), strict=True)
    ]
    if status.given_up.indices:
        lines.append("  " + given_up_text(status.given_up))
    facts = pace_facts(status, now)
    if facts:
        lines.append("  " + ", ".join(facts))
    for name, value in status.counters.items():
        lines.append(f"  {one_line(name, 40)} = {format_count(value)}")
    lines += ["  " + text for text in heavy_text(status)]
    if timeline and status.times:
        lines += ["  " + text for text in slowest_text(status)]
        lines += ["  " + line for line in timeline_text(status, width).split("\n")]
    lines += ["  retried: " + text for text in retry_lines(status)]
    if status.failures:
        lines.append(failures_text(status.failures))
    return "\n".join(line.rstrip() for line in lines)


def stages_to_show(status: RunStatus) -> tuple[StageStatus, ...]:
    """Return the stages; of a run that is over, without tasks that its end cut off."""
    if status.live:
        return status.stages
    return tuple(replace(stage, running=0) for stage in status.stages)


def stage_text(stage: StageStatus, width: int = 24) -> str:
    """One stage as a bar and its counts."""
    ended = stage.done + stage.given_up
    parts = [f"{format_count(stage.done)}/{format_count(stage.total)}", *count_facts(stage)]
    return f"{bar(ended / stage.total if stage.total else 1.0, width)}  {', '.join(parts)}"


def count_facts(stage: StageStatus) -> list[str]:
    """Return what there is to say of a stage beside its tasks done: `2 running`, `1 failed`, …"""
    parts = []
    if stage.running:
        parts.append(f"{format_count(stage.running)} running")
    if stage.failed:
        parts.append(f"{format_count(stage.failed)} failed")
    return parts + loss_facts(stage)


def rest_facts(status: RunStatus, stage: StageStatus) -> list[str]:
    """`12 not started`, as far as it is known; of a run that is over, what its end cut off."""
    rest = stage.total - stage.done - stage.given_up - stage.failed - stage.running
    if rest <= 0:
        return []
    waiting = status.waiting.get(stage.name)
    if waiting is None:
        return [] if status.live else [f"{format_count(rest)} not done"]
    waiting = min(waiting, rest)
    parts = [f"{format_count(waiting)} not started"] if waiting else []
    if rest > waiting and not status.live:
        parts.append(f"{format_count(rest - waiting)} cut off")
    return parts


def loss_facts(stage: StageStatus) -> list[str]:
    """`3 items given up`, or nothing."""
    if stage.given_up_items:
        return [f"{pluralize(stage.given_up_items, 'item')} given up"]
    return [f"{pluralize(stage.given_up, 'shard')} given up"] if stage.given_up else []


def pace_facts(status: RunStatus, now: float | None = None) -> list[str]:
    """Return items or records, bytes, rates, elapsed time and the time left, as far as known."""
    speed = pace(status, now)
    facts = []
    if status.items and (status.records or status.times or not status.live):
        facts.append(_items_done(status))
    elif status.records:
        facts.append(pluralize(status.records, "record"))
    if status.skipped:
        facts.append(skipped_text(status.skipped))
    if status.retries:
        facts.append(retries_text(status))
    if status.bytes:
        part = status.bytes_done < status.bytes
        facts.append(format_bytes(status.bytes_done))
        facts[-1] += f" of {format_bytes(status.bytes)}" if part else ""
    if speed.items is not None:
        facts.append(f"{format_rate(speed.items)} items/s")
    if speed.rate is not None:
        facts.append(f"{format_bytes(speed.rate)}/s")
    if speed.elapsed is not None:
        facts.append(f"{format_seconds(speed.elapsed)} elapsed{_pause_note(status)}")
    if speed.left is not None:
        facts.append(f"about {format_seconds(whole_seconds(speed.left))} left")
    return facts


def heavy_text(status: RunStatus) -> list[str]:
    """For each key that stands out about how many rows it has: `≈ 11,300 rows of shop='a'`."""
    return [
        f"{format_estimate(rows)} rows of {one_line(mask(key))}"
        for key, rows in status.heavy.items()
    ]


def slowest_text(status: RunStatus) -> list[str]:
    """For each stage its median task, its slowest, and the most memory that one held."""
    lines = []
    for name in dict.fromkeys(time.stage for time in status.times):
        times = [time for time in status.times if time.stage == name]
        slow = max(times, key=lambda time: time.seconds)
        text = f"{one_line(name, 40)} task{'s' * (len(times) > 1)}: "
        if len(times) > 1:
            median = float(np.median([time.seconds for time in times]))
            text += f"median {format_seconds(median)}, slowest {format_seconds(slow.seconds)}"
            text += f" (task {slow.task})"
        else:
            text += format_seconds(slow.seconds)
        memory = max(time.peak_memory for time in times)
        lines.append(text + (f", peak memory {format_bytes(memory)}" if memory else ""))
    return lines


def lane_width(columns: int) -> int:
    """Return the characters of a lane that has a label of up to 18 beside it."""
    return max(20, min(60, columns - 30))


def timeline_text(status: RunStatus, width: int = 60) -> str:
    """Return a lane of `width` characters for each worker; where too many ran, how many at once."""
    line = timeline(status, _LANES)
    if line is None:
        return ""
    edges = np.linspace(0.0, line.seconds, width + 1)
    ruler = "0 s" + f"{format_seconds(line.seconds):>{width - 3}}"
    if not line.labels:
        share = busy(line.start, line.stop, edges)
        at_most = format_count(round(float(share.max())))
        return f"tasks at once, at most {at_most}\n{sparkline(share)}\n{ruler}"
    marks = {name: _STAGE_MARKS[i % len(_STAGE_MARKS)] for i, name in enumerate(line.stages)}
    labels = [shorten(label, 18) for label in line.labels]
    room = max(len(label) for label in labels)
    rows = [
        f"{label:<{room}} │{row}│ {_lane_utilization(line, lane):>4.0%}"
        for lane, (label, row) in enumerate(zip(labels, _rows(line, width), strict=True))
    ]
    shown = [f"{mark} {one_line(name, 40)}" for name, mark in marks.items()]
    if line.failed.any():
        shown.append("x failed attempt")
    return "\n".join([*rows, f"{'':<{room}}  {ruler}", f"{'':<{room}}  {'  '.join(shown)}"])


def _rows(line: Timeline, width: int) -> list[str]:
    """Return the lanes' characters: a later stage hides an earlier one, a failure hides both."""
    first = np.minimum((line.start / line.seconds * width).astype(np.int64), width - 1)
    last = np.ceil(line.stop / line.seconds * width).astype(np.int64) - 1
    last = np.clip(last, first, width - 1)
    shown = np.zeros((len(line.labels), width), dtype=np.int64)
    layers = [line.stage == number for number in range(len(line.stages))] + [line.failed]
    for number, chosen in enumerate(layers):
        edges = np.zeros((len(line.labels), width + 1), dtype=np.int64)
        np.add.at(edges, (line.lane[chosen], first[chosen]), 1)
        np.add.at(edges, (line.lane[chosen], last[chosen] + 1), -1)
        shown[np.cumsum(edges, axis=1)[:, :width] > 0] = number + 1
    stages = [_STAGE_MARKS[number % len(_STAGE_MARKS)] for number in range(len(line.stages))]
    marks = " " + "".join(stages) + "x"
    return ["".join(marks[cell] for cell in row) for row in shown.tolist()]


def _lane_utilization(line: Timeline, lane: int) -> float:
    mine = line.lane == lane
    return min(1.0, float((line.stop[mine] - line.start[mine]).sum()) / line.seconds)


def _count_by_kind(status: RunStatus) -> Iterator[tuple[str, int, int]]:
    kinds: dict[str, list[int]] = {}
    for stage in status.stages:
        counts = kinds.setdefault(one_line(stage.name.split("-")[0], 40), [0, 0])
        counts[0] += stage.total
        counts[1] += stage.done
    yield from ((kind, total, done) for kind, (total, done) in kinds.items())


def _tasks(kind: str, total: int, done: int) -> str:
    if kind == "reduce" and total == 1 and done == 1:
        return "1 reduce"
    of = f"{format_count(done)} of " if done != total else ""
    return of + pluralize(total, f"{kind} task")


def _items_done(status: RunStatus) -> str:
    part = f"{format_count(status.records)} of " if status.records < status.items else ""
    return part + pluralize(status.items, "item")


def _amount(status: RunStatus, now: float | None) -> str:
    elapsed = pace(status, now).elapsed
    if status.bytes:
        amount = format_bytes(status.bytes_done)
        if status.bytes_done < status.bytes:
            amount += f" of {format_bytes(status.bytes)}"
    elif status.items and status.records:
        amount = _items_done(status)
    elif status.records:
        amount = pluralize(status.records, "record")
    else:
        amount = f"{fraction(status):.0%}"
    if elapsed is None:
        return amount
    return f"{amount} in {format_seconds(elapsed)}{_pause_note(status)}"


def _pause_note(status: RunStatus) -> str:
    """` (and 45 s paused)`, or nothing."""
    return f" (and {format_seconds(pause_seconds(status))} paused)" if status.pauses else ""
