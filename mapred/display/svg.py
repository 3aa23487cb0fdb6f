"""SVG pictures of shard sizes and of a run's tasks, legible on light and dark pages.

They carry no style sheet: notebooks strip it. Text takes the page's own colour, and the
fills are of middle lightness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mapred.display.format import (
    escape_html,
    format_bytes,
    format_count,
    format_seconds,
    pluralize,
    shorten,
)
from mapred.display.summary import Floats, Timeline, attempts, bins, busy, timeline
from mapred.model.status import RunStatus, TaskTime

STAGE_COLOURS = ("#4287d6", "#d08a1d", "#2f9e77", "#9a6dd7")
FAILED = "#dc4c4c"
_WIDTH = 760
_BARS = 150
_WIDEST = 73
_LANES = 32
_SINGLE_TASKS = 2_000
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


def colour(stage: int) -> str:
    """Return the colour of the stage with this number."""
    return STAGE_COLOURS[stage % len(STAGE_COLOURS)]


def shard_picture(sizes: Sequence[int] | npt.NDArray[Any]) -> str:
    """Shard sizes in plan order as bars; many shards share a bar, its pale top their largest."""
    drawn = bins(sizes, _BARS)
    top = float(drawn.largest.max()) if len(drawn.largest) else 0.0
    if top <= 0:
        return ""
    left, height, floor = 62, 110, 122
    step = min((_WIDTH - left) / len(drawn.mean), _WIDEST)
    right = left + step * len(drawn.mean)
    wide = max(step * 0.82, 1.0)
    parts = []
    for index, (mean, largest) in enumerate(
        zip(drawn.mean.tolist(), drawn.largest.tolist(), strict=True)
    ):
        first, stop = int(drawn.edges[index]), int(drawn.edges[index + 1])
        x = left + index * step
        title = _bar_title(first, stop, mean, largest)
        parts.append("<g>" + _title(title))
        if stop - first > 1:
            parts.append(_bar(x, floor, wide, largest / top * height, ' fill-opacity=".4"'))
        parts.append(_bar(x, floor, wide, mean / top * height) + "</g>")
    median = float(np.median(np.asarray(sizes)))
    at = floor - median / top * height
    count = len(sizes)
    frame = (
        f'<path d="M{left} {at:.1f}H{right:.1f}" stroke="currentColor" stroke-width="1"'
        ' stroke-dasharray="4 3" opacity=".6"/>'
        f'<path d="M{left} {floor + 0.5}H{right:.1f}" stroke="currentColor" opacity=".4"/>'
        + _label(left - 6, floor - height + 9, format_bytes(top), "end")
        + (_label(left - 6, at + 4, "median", "end") if height - at + 12 < height - 14 else "")
        + _label(left - 6, floor, "0", "end")
        + _label(left, floor + 15, "shard 0")
        + (_label(right, floor + 15, format_count(count - 1), "end") if count > 1 else "")
    )
    name = (
        f"Bytes of {pluralize(count, 'shard')} in plan order, "
        f"median {format_bytes(median)}, largest {format_bytes(top)}"
    )
    return _picture(name, floor + 20, f'<g fill="{colour(0)}">' + "".join(parts) + "</g>" + frame)


def timeline_picture(status: RunStatus) -> str:
    """When each task ran: a lane for each worker, or, for too many, how many ran at once."""
    line = timeline(status, _LANES)
    if line is None:
        return ""
    if not line.labels:
        return _crowd(line)
    left = 14 + 6 * max(len(shorten(label, 18)) for label in line.labels)
    scale = (_WIDTH - left) / line.seconds
    lane = 15 if len(line.labels) <= 12 else 12
    floor = lane * len(line.labels) + 4
    single = len(line.start) <= _SINGLE_TASKS
    tasks = attempts(status)
    parts = [_axis(line.seconds, left, floor)]
    for number, label in enumerate(line.labels):
        mine = np.flatnonzero(line.lane == number)
        parts.append(f'<g transform="translate({left} {number * lane + 4})">')
        parts.append(_label(-6, lane / 2 + 2, shorten(label, 18), "end", min(11, lane - 3)))
        parts.append(f'<path d="M0 {lane - 1}H{_WIDTH - left}" {_FAINT}/>')
        if single:
            parts += [_task(line, tasks, i, scale, lane - 3) for i in mine.tolist()]
        else:
            parts.append(_cells(line, mine, _WIDTH - left, lane - 3))
        parts.append("</g>")
    name = (
        f"{pluralize(len(status.times), 'task')} on {pluralize(len(line.labels), 'lane')} "
        f"in {format_seconds(line.seconds)}"
    )
    return _picture(name, floor + 20, "".join(parts)) + _legend(line)


_FAINT = 'stroke="currentColor" stroke-width="1" opacity=".12"'


def _task(line: Timeline, times: Sequence[TaskTime], i: int, scale: float, height: int) -> str:
    task = times[i]
    title = f"{task.stage} {task.task}, {format_seconds(task.seconds)}"
    if task.bytes:
        title += f", {format_bytes(task.bytes)}"
    title += ", failed attempt" if line.failed[i] else ""
    fill = FAILED if line.failed[i] else colour(int(line.stage[i]))
    length = max(float(line.stop[i] - line.start[i]) * scale - 0.6, 0.8)
    return (
        f'<rect x="{line.start[i] * scale:.1f}" width="{length:.1f}" height="{height}"'
        f' fill="{fill}">{_title(title)}</rect>'
    )


def _cells(line: Timeline, mine: npt.NDArray[np.int64], width: float, height: int) -> str:
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
            x, wide = first * width / columns, (last - first) * width / columns
            if level[first]:
                path = paths.get(level[first], "")
                paths[level[first]] = path + f"M{x:.1f} 0h{wide:.1f}v{height}h-{wide:.1f}z"
        parts += [
            f'<path d="{path}" fill="{fill}" fill-opacity="{strength / 4}"/>'
            for strength, path in paths.items()
        ]
    return "".join(parts)


def _crowd(line: Timeline) -> str:
    """How many tasks of each stage ran at once, as stacked areas."""
    left, height, floor, columns = 62, 120, 128, 240
    edges = np.linspace(0.0, line.seconds, columns + 1)
    shares = [
        busy(line.start[line.stage == number], line.stop[line.stage == number], edges)
        for number in range(len(line.stages))
    ]
    least = float(np.max(shares)) / height  # a lone task stays visible
    shares = [np.where(share > 1e-9, np.maximum(share, least), 0.0) for share in shares]
    stacked = np.cumsum([np.zeros(columns), *shares], axis=0)
    top = max(float(stacked[-1].max()), 1e-9)
    parts = [
        f'<path d="{_area(stacked[n], stacked[n + 1], left, floor, height / top)}"'
        f' fill="{colour(n)}">{_title(name)}</path>'
        for n, name in enumerate(line.stages)
    ]
    parts.append(_axis(line.seconds, left, floor))
    parts.append(_label(left - 6, floor - height + 9, format_count(round(top)), "end"))
    parts.append(_label(left - 6, floor, "0", "end"))
    name = (
        f"Tasks at once over {format_seconds(line.seconds)}, at most {format_count(round(top))}; "
        f"{pluralize(len(line.start), 'task')}"
    )
    return _picture(name, floor + 20, "".join(parts)) + _legend(line, "tasks at once: ")


def _area(low: Floats, high: Floats, left: float, floor: float, scale: float) -> str:
    xs = np.linspace(left, _WIDTH, len(low) + 1)
    upper = "".join(
        f"V{floor - y * scale:.1f}H{x:.1f}"
        for y, x in zip(high.tolist(), xs[1:].tolist(), strict=True)
    )
    back = "".join(
        f"V{floor - y * scale:.1f}H{x:.1f}"
        for y, x in zip(low[::-1].tolist(), xs[:-1][::-1].tolist(), strict=True)
    )
    return f"M{left} {floor}{upper}{back}z"


def _axis(seconds: float, left: float, floor: float) -> str:
    step = next((step for step in _STEPS if seconds / step <= 8), seconds / 8)
    if seconds < 8 * _STEPS[0] and seconds / _STEPS[0] < 2:
        step = seconds / 2
    elif step > _STEPS[-1]:
        step = 3600 * np.ceil(step / 3600)
    scale = (_WIDTH - left) / seconds
    parts = []
    for number in range(int(seconds / step + 1e-6) + 1):
        x = left + number * step * scale
        parts.append(f'<path d="M{x:.1f} 0V{floor}" {_FAINT}/>')
        anchor = "end" if x > _WIDTH - 24 else "start" if number == 0 else "middle"
        parts.append(_label(x, floor + 14, format_seconds(number * step), anchor))
    return "".join(parts)


def _legend(line: Timeline, before: str = "") -> str:
    shown = [(name, colour(number)) for number, name in enumerate(line.stages)]
    if line.labels and line.failed.any():
        shown.append(("failed attempt", FAILED))
    items = "".join(
        f'<span style="margin-right:14px"><span style="color:{fill}">■</span> {escape_html(name)}</span>'
        for name, fill in shown
    )
    return f'<div style="font-size:12px">{escape_html(before)}{items}</div>'


def _bar_title(first: int, stop: int, mean: float, largest: float) -> str:
    if stop - first == 1:
        return f"shard {format_count(first)}: {format_bytes(mean)}"
    return (
        f"shards {format_count(first)}-{format_count(stop - 1)}: "
        f"mean {format_bytes(mean)}, largest {format_bytes(largest)}"
    )


def _bar(x: float, floor: float, width: float, height: float, more: str = "") -> str:
    height = max(height, 0.5)
    return (
        f'<rect x="{x:.1f}" y="{floor - height:.1f}" width="{width:.1f}"'
        f' height="{height:.1f}"{more}/>'
    )


def _label(x: float, y: float, text: str, anchor: str = "start", size: int = 11) -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    where += "" if size == 11 else f' font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{where}>{escape_html(text)}</text>'


def _title(text: str) -> str:
    return f"<title>{escape_html(text)}</title>"


def _picture(name: str, height: float, inside: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape_html(name)}" viewBox="0 0 {_WIDTH} {height:g}"'
        f' width="100%" style="max-width:{_WIDTH}px;display:block;margin:6px 0"'
        ' font-family="sans-serif" font-size="11" xmlns="http://www.w3.org/2000/svg">'
        f'{_title(name)}<g fill="currentColor">{inside}</g></svg>'
    )
