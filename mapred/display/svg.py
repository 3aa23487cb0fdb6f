"""SVG pictures of shard sizes and of a run's tasks, legible on light and dark pages.

They carry neither script nor style sheet: notebooks strip both. Text takes the page's own colour,
and the fills stand out from white and from black. A picture is as wide as its page, while its
labels keep their size: all that is placed along its width is given in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mapred.display import scales
from mapred.display.format import (
    escape_html,
    format_bytes,
    format_count,
    format_seconds,
    pluralize,
    shorten,
)
from mapred.display.summary import (
    Floats,
    Scene,
    Timeline,
    attempts,
    bins,
    busy,
    failed_attempts,
    timeline,
)
from mapred.display.text.failures import point_text
from mapred.model.status import RunStatus, TaskTime

STAGE_COLOURS = ("#3d82d1", "#b87a14", "#2b936e", "#9a6dd7")
FAILED = "#dc4c4c"
STATES = {"succeeded": "#2b936e", "running": STAGE_COLOURS[0], "failed": FAILED}
OTHER = "#808080"
_FINE = 10_000  # units across the plotted part, where bars and tasks are drawn
_BARS = 150
_WIDEST = 9.0  # percent
_LANES = 32
_SINGLE_TASKS = 2_000


def colour(stage: int) -> str:
    """Return the colour of the stage with this number."""
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]


def shard_picture(sizes: Sequence[int] | npt.NDArray[Any], unit: str = "byte") -> str:
    """Shard sizes in plan order as bars; many shards share a bar, its pale top their largest."""
    drawn = bins(sizes, _BARS)
    top = float(drawn.largest.max()) if len(drawn.largest) else 0.0
    if top <= 0:
        return ""
    size_text = size_format(unit)
    median = float(np.median(np.asarray(sizes)))
    labels = size_text(top), size_text(median)
    left, height = scales.margin(max(labels, key=len)), 112
    step = min((100 - left) / len(drawn.mean), _WIDEST) / (100 - left) * _FINE
    parts = []
    for index, (mean, largest) in enumerate(
        zip(drawn.mean.tolist(), drawn.largest.tolist(), strict=True)
    ):
        first, stop = int(drawn.edges[index]), int(drawn.edges[index + 1])
        parts.append("<g>" + scales.title(_bar_title(first, stop, mean, largest, size_text)))
        if stop - first > 1:
            parts.append(_bar(index * step, step, height, largest / top, ' fill-opacity=".45"'))
        parts.append(_bar(index * step, step, height, mean / top) + "</g>")
    at, count = height - median / top * (height - 8), len(sizes)
    right = left + step * len(drawn.mean) / _FINE * (100 - left)
    frame = (
        scales.rule(left, at, right, f'{scales.LINE} stroke-dasharray="4 3" opacity=".7"')
        + scales.rule(left, height + 0.5, right, f'{scales.LINE} opacity=".5"')
        + scales.label(left - 1, 15, labels[0], "end")
        + (scales.label(left - 1, at + 4, "median", "end") if 30 < at < height - 14 else "")
        + scales.label(left - 1, height, "0", "end")
        + scales.label(left, height + 15, "shard 0")
        + (scales.label(right, height + 15, format_count(count - 1), "end") if count > 1 else "")
    )
    what = "Items" if unit == "item" else "Bytes"
    name = f"{what} of {pluralize(count, 'shard')} in plan order"
    about = f"Median {labels[1]}, largest {labels[0]}."
    inside = _plot(left, height, "".join(parts), f' fill="{colour(0)}"')
    return scales.picture(name, about, height + 20, inside + frame)


def size_format(unit: str) -> Callable[[float], str]:
    """Return what shows the size of a shard: bytes, or items."""
    return format_bytes if unit == "byte" else _items_text


def _items_text(number: float) -> str:
    return pluralize(int(number) if number == int(number) else round(number, 1), "item")  # type: ignore[arg-type]


def timeline_picture(
    status: RunStatus, now: float | None = None, scene: Scene | None = None
) -> str:
    """When each task ran: a lane for each worker, or, for too many, how many ran at once.

    Of a run at work, `scene` says what its workers are at `now`; those tasks are open to the right.
    """
    scene = scene or Scene()
    workers = (scene.workers or ()) if status.live and now is not None else ()
    line = timeline(status, _LANES, workers, now)
    if line is None:
        return ""
    if not line.labels:
        return _crowd(line)
    labels = [shorten(label, 18) for label in lane_names(line.labels)]
    left = scales.margin(max(labels, key=len))
    lane = 18 if len(labels) <= 16 else 14
    floor = lane * len(labels) + 4
    top = 14 if line.pauses else 0
    titles = _titles(status, scene, attempts(status, workers, now), line)
    single = len(line.start) <= _SINGLE_TASKS
    parts = [scales.axis(line.seconds, left, top, top + floor)]
    plots = []
    for number, label in enumerate(labels):
        mine = np.flatnonzero(line.lane == number)
        y = top + number * lane + 4
        parts.append(scales.label(left - 1, y + lane / 2 + 2, label, "end"))
        parts.append(scales.rule(left, y + lane - 1.5, 100, scales.FAINT))
        if single:
            plots += [_task(line, i, titles[i], y, lane - 4) for i in mine.tolist()]
        else:
            plots.append(_cells(line, mine, y, lane - 4))
    parts.append(_plot(left, top + floor, "".join(plots)))
    if single:
        parts += _crosses(line, left, lane, top)
    parts += [_pause(line, left, at, long, top + floor) for at, long in line.pauses]
    name = f"{_count(line, len(status.times))} on {pluralize(len(labels), 'lane')}"
    name += f" in {format_seconds(line.seconds)}"
    return scales.picture(name, _about(line), top + floor + 20, "".join(parts)) + _legend(line)


def _count(line: Timeline, done: int) -> str:
    others = len(line.start) - int(line.open.sum()) - done
    return pluralize(done, "task") + (
        f" and {pluralize(others, 'failed attempt')}" if others else ""
    )


def lane_names(labels: Sequence[str]) -> list[str]:
    """Return the workers' names, without the machine's where all have the same."""
    hosts = {label.rpartition(":")[0] for label in labels}
    if len(hosts) == 1 and hosts != {""}:
        return [f"pid {label.rpartition(':')[2]}" for label in labels]
    return list(labels)


def _about(line: Timeline) -> str:
    facts = [f"Stages: {', '.join(line.stages)}."]
    if line.failed.any():
        facts.append(f"{pluralize(int(line.failed.sum()), 'failed attempt')}.")
    if line.open.any():
        facts.append(f"{pluralize(int(line.open.sum()), 'task')} at work.")
    facts += [
        f"Paused for {format_seconds(long)} after {format_seconds(at)}." for at, long in line.pauses
    ]
    return " ".join(facts)


def _titles(
    status: RunStatus, scene: Scene, times: Sequence[TaskTime], line: Timeline
) -> list[str]:
    """Return what is known of each attempt in words."""
    if len(times) > _SINGLE_TASKS:
        return []
    titles = []
    failures = dict(enumerate(failed_attempts(status), len(status.times)))
    for number, task in enumerate(times):
        title = f"{task.stage} {task.task}, {format_seconds(task.seconds)}"
        if line.open[number]:
            title += " so far"
        if task.bytes and status.bytes:
            title += f", {format_bytes(task.bytes)}"
        if line.failed[number]:
            title += ", failed attempt"
        if number in failures:
            title += f": {point_text(failures[number])}"
        titles.append(title)
    return titles


def _task(line: Timeline, i: int, title: str, y: float, height: int) -> str:
    scale = _FINE / line.seconds
    fill = FAILED if line.failed[i] else colour(int(line.stage[i]))
    x = float(line.start[i]) * scale
    length = max(float(line.stop[i] - line.start[i]) * scale - 8, 14)
    opened = f' fill-opacity=".35" stroke="{fill}" vector-effect="non-scaling-stroke"'
    return (
        f'<rect x="{x:.0f}" y="{y:g}" width="{length:.0f}" height="{height}" fill="{fill}"'
        f"{opened if line.open[i] else ''}>{scales.title(title)}</rect>"
    )


def _crosses(line: Timeline, left: float, lane: int, top: int) -> list[str]:
    """Mark where attempts failed, for those who cannot tell the colours apart."""
    parts = []
    for i in np.flatnonzero(line.failed)[:200].tolist():
        x = left + float(line.stop[i]) / line.seconds * (100 - left)
        y = top + int(line.lane[i]) * lane + 4 + (lane - 4) / 2
        parts.append(scales.label(x, y + 4, "✗", "end"))
    return parts


def _pause(line: Timeline, left: float, at: float, long: float, floor: float) -> str:
    """Mark where a pause was cut out."""
    x = left + at / line.seconds * (100 - left)
    text = f"paused {format_seconds(long)}"
    anchor = "end" if x > 100 - len(text) * scales.CHARACTER / 2 else "middle"
    return (
        f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="14" y2="{floor:g}" {scales.LINE}'
        f' stroke-dasharray="3 3">{scales.title(text)}</line>' + scales.label(x, 10, text, anchor)
    )


def _cells(line: Timeline, mine: npt.NDArray[np.int64], y: float, height: int) -> str:
    """One lane as cells of time, the darker the busier; equal neighbours are one cell."""
    columns = max(60, min(240, 4_000 // len(line.labels)))
    edges = np.linspace(0.0, line.seconds, columns + 1)
    layers = [(line.stage == number, colour(number)) for number in range(len(line.stages))]
    parts = []
    for chosen, fill in [*layers, (line.failed, FAILED)]:
        tasks = mine[chosen[mine]]
        if not len(tasks):
            continue
        share = busy(line.start[tasks], line.stop[tasks], edges)
        level = np.ceil(np.minimum(share, 1.0) * 4 - 1e-6).astype(int)
        cuts = np.flatnonzero(np.diff(level)) + 1
        firsts, lasts = [0, *cuts.tolist()], [*cuts.tolist(), columns]
        paths: dict[int, str] = {}
        for first, last in zip(firsts, lasts, strict=True):
            x, wide = first * _FINE / columns, (last - first) * _FINE / columns
            if level[first]:
                path = paths.get(level[first], "")
                paths[level[first]] = path + f"M{x:.0f} {y:g}h{wide:.0f}v{height}h-{wide:.0f}z"
        parts += [
            f'<path d="{path}" fill="{fill}" fill-opacity="{strength / 4}"/>'
            for strength, path in paths.items()
        ]
    return "".join(parts)


def _crowd(line: Timeline) -> str:
    """How many tasks of each stage ran at once, as stacked areas."""
    height, floor, columns = 120, 128, 240
    edges = np.linspace(0.0, line.seconds, columns + 1)
    shares = [
        busy(line.start[line.stage == number], line.stop[line.stage == number], edges)
        for number in range(len(line.stages))
    ]
    least = float(np.max(shares)) / height  # a lone task stays visible
    shares = [np.where(share > 1e-9, np.maximum(share, least), 0.0) for share in shares]
    stacked = np.cumsum([np.zeros(columns), *shares], axis=0)
    top = max(float(stacked[-1].max()), 1e-9)
    left = scales.margin(format_count(round(top)))
    parts = [
        f'<path d="{_area(stacked[n], stacked[n + 1], floor, height / top)}"'
        f' fill="{colour(n)}">{scales.title(name)}</path>'
        for n, name in enumerate(line.stages)
    ]
    frame = [
        scales.axis(line.seconds, left, 0, floor),
        scales.label(left - 1, floor - height + 9, format_count(round(top)), "end"),
        scales.label(left - 1, floor, "0", "end"),
        *(_pause(line, left, at, long, floor) for at, long in line.pauses),
    ]
    name = (
        f"Tasks at once over {format_seconds(line.seconds)}, at most {format_count(round(top))}; "
        f"{pluralize(len(line.start), 'task')}"
    )
    inside = "".join(frame) + _plot(left, floor, "".join(parts))
    return scales.picture(name, _about(line), floor + 20, inside) + _legend(line, "tasks at once: ")


def _area(low: Floats, high: Floats, floor: float, scale: float) -> str:
    xs = np.linspace(0, _FINE, len(low) + 1)
    upper = "".join(
        f"V{floor - y * scale:.1f}H{x:.0f}"
        for y, x in zip(high.tolist(), xs[1:].tolist(), strict=True)
    )
    back = "".join(
        f"V{floor - y * scale:.1f}H{x:.0f}"
        for y, x in zip(low[::-1].tolist(), xs[:-1][::-1].tolist(), strict=True)
    )
    return f"M0 {floor}{upper}{back}z"


def _legend(line: Timeline, before: str = "") -> str:
    shown = [("■", name, colour(number)) for number, name in enumerate(line.stages)]
    if line.labels and line.failed.any():
        shown.append(("✗", "failed attempt", FAILED))
    items = "".join(
        f'<span style="margin-right:14px"><span style="color:{fill}">{mark}</span> '
        f"{escape_html(name)}</span> "
        for mark, name, fill in shown
    )
    if line.open.any():
        items += "<span>□ at work</span>"
    return f'<div style="font-size:12px">{escape_html(before)}{items}</div>'


def _bar_title(
    first: int, stop: int, mean: float, largest: float, size_text: Callable[[float], str]
) -> str:
    if stop - first == 1:
        return f"shard {format_count(first)}: {size_text(mean)}"
    return (
        f"shards {format_count(first)}-{format_count(stop - 1)}: "
        f"mean {size_text(mean)}, largest {size_text(largest)}"
    )


def _bar(x: float, step: float, floor: float, part: float, more: str = "") -> str:
    height = max(part * (floor - 8), 0.5)
    return (
        f'<rect x="{x:.0f}" y="{floor - height:.1f}" width="{step * 0.82:.0f}"'
        f' height="{height:.1f}"{more}/>'
    )


def _plot(left: float, height: float, inside: str, more: str = "") -> str:
    """Return shapes in a coordinate system that is `_FINE` units wide, whatever the page."""
    return (
        f'<svg x="{left}%" width="{100 - left:.1f}%" height="{height:g}"'
        f' viewBox="0 0 {_FINE} {height:g}" preserveAspectRatio="none"><g{more}>{inside}</g></svg>'
    )
