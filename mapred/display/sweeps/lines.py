"""A result over one parameter: a point for each value, and the spread of its repeats."""

from __future__ import annotations

import numpy as np

from mapred.display.drawing import FAINT, WIDTH, cross, label, line, picture, ring, title, width_of
from mapred.display.format import shorten
from mapred.display.svg import FAILED as RED
from mapred.display.svg import colour
from mapred.display.sweeps.axes import Axis, Scale, axis, result_scale, ticks
from mapred.display.sweeps.cells import Cell, cells, summary
from mapred.display.sweeps.points import SweepPoints, format_number

_HEIGHT, _TOP = 230, 14
_MOST_DOTS = 600  # single repeats beside their mean
_MOST_LEVELS = 300  # of more values of a parameter, neighbours are drawn as one


def line_picture(points: SweepPoints, result: str, parameter: str) -> str:
    """Return the picture of a result over one parameter; empty where no point has a number."""
    across = _bounded(axis(parameter, points.parameters[parameter]))
    found = {
        place[0]: cell
        for place, cell in cells(points, result, [(level,) for level in across.level]).items()
    }
    values = [value for cell in found.values() for value in cell.values]
    if not values:
        return ""
    up = _padded(result_scale(values))
    marks = [(up.at(value), format_number(value)) for value in ticks(up)]
    left = 10 + max(width_of(shown) for _, shown in marks)
    rows = _rows(found)
    left = max(left, *(10 + width_of(name) for name in rows)) if rows else left
    inside = _frame(marks, left, result + " (log scale)" * up.log)
    inside += _curve(across, found, up, left)
    base = _HEIGHT + 8
    for number, name in enumerate(rows):
        inside += _row(across, found, name, left, base + 16 * number)
    base += 16 * len(rows)
    room = WIDTH - left - 14
    for place, shown in across.ticks(room):
        x = left + 7 + place * room
        inside += line(x, _HEIGHT, x, _HEIGHT + 4) + label(x, base + 10, shown, "middle")
    inside += label(left + 7 + room / 2, base + 29, shorten(across.title, 60), "middle", _BOLD)
    about = summary(found, [f"{across.name}={shown}" for shown in across.texts])
    name = f"{result} over {across.title}, {len(across.levels):,} values"
    return picture(name, about, base + 36, inside)


_BOLD = ' font-weight="bold"'


def _bounded(across: Axis) -> Axis:
    """Return an axis with at most so many levels: neighbours share one, at their middle."""
    count = len(across.levels)
    if count <= _MOST_LEVELS:
        return across
    group = np.arange(count) * _MOST_LEVELS // count
    middles = [int(np.flatnonzero(group == number).mean()) for number in range(_MOST_LEVELS)]
    return Axis(
        across.name,
        tuple(across.levels[middle] for middle in middles),
        tuple(across.texts[middle] for middle in middles),
        tuple(group[list(across.level)].tolist()),
        across.scale,
    )


def _padded(scale: Scale) -> Scale:
    if scale.log:
        return Scale(scale.low / 1.2, scale.high * 1.2, True)
    more = (scale.high - scale.low) * 0.12 or abs(scale.high) * 0.1 or 1.0
    return Scale(scale.low - more, scale.high + more, False)


def _y(up: Scale, value: float) -> float:
    return _HEIGHT - up.at(value) * (_HEIGHT - _TOP)


def _frame(marks: list[tuple[float, str]], left: float, name: str) -> str:
    parts = [label(left, _TOP - 4, shorten(name, 80), "start", _BOLD)]
    for place, shown in marks:
        y = _HEIGHT - place * (_HEIGHT - _TOP)
        parts.append(line(left, y, WIDTH, y) + label(left - 6, y + 4, shown, "end"))
    parts.append(line(left, _HEIGHT, WIDTH, _HEIGHT, FAINT.replace(".15", ".5")))
    return "".join(parts)


def _curve(across: Axis, found: dict[int, Cell], up: Scale, left: float) -> str:
    room = WIDTH - left - 14
    fill = colour(0)
    drawn = sorted(level for level, cell in found.items() if cell.values)
    xs = {level: left + 7 + across.at(level) * room for level in drawn}
    means = {level: _y(up, found[level].mean) for level in drawn}
    parts = []
    if across.scale is not None and len(drawn) > 1:
        path = "L".join(f"{xs[level]:.1f} {means[level]:.1f}" for level in drawn)
        parts.append(f'<path d="M{path}" fill="none" stroke="{fill}" stroke-width="1.6"/>')
    dots = sum(len(found[level].values) for level in drawn) <= _MOST_DOTS
    for level in drawn:
        cell, x = found[level], xs[level]
        inside = title(cell.text(f"{across.name}={across.texts[level]}", "mean"))
        if len(cell.values) > 1:
            low, high = _y(up, min(cell.values)), _y(up, max(cell.values))
            inside += line(x, low, x, high, f'stroke="{fill}" stroke-width="2" opacity=".5"')
            for value in cell.values if dots else ():
                inside += f'<circle cx="{x:.1f}" cy="{_y(up, value):.1f}" r="2" opacity=".55"/>'
        inside += (
            f'<circle cx="{x:.1f}" cy="{means[level]:.1f}" r="{4 if len(drawn) < 60 else 2.5}"/>'
        )
        parts.append(f'<g fill="{fill}">{inside}</g>')
    return "".join(parts)


def _rows(found: dict[int, Cell]) -> list[str]:
    """Return the rows below the picture that are needed: of points that have no number."""
    counts = {
        "failed": sum(cell.failed for cell in found.values()),
        "not done": sum(cell.missing for cell in found.values()),
        "no number": sum(cell.blank for cell in found.values()),
    }
    return [name for name, count in counts.items() if count]


def _row(across: Axis, found: dict[int, Cell], name: str, left: float, y: float) -> str:
    attribute = {"failed": "failed", "not done": "missing", "no number": "blank"}[name]
    parts = [label(left - 6, y + 4, name, "end")]
    for level, cell in sorted(found.items()):
        if not getattr(cell, attribute):
            continue
        x = left + 7 + across.at(level) * (WIDTH - left - 14)
        shown = cell.text(f"{across.name}={across.texts[level]}", "mean")
        parts.append(cross(x, y, RED, shown) if name == "failed" else ring(x, y, shown))
    return "".join(parts)
