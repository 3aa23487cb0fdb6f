"""A result over two parameters: a heat map of a grid, or dots of single samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mapred.display.drawing import (
    CHARACTER,
    WIDTH,
    cross,
    label,
    line,
    picture,
    ring,
    title,
    width_of,
)
from mapred.display.format import shorten
from mapred.display.svg import FAILED as RED
from mapred.display.sweeps.axes import Axis, Scale, axis, result_scale, ticks
from mapred.display.sweeps.cells import Cell, cells, summary
from mapred.display.sweeps.points import SweepPoints, format_number

_PALETTE = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_MOST_ACROSS, _MOST_UP, _MOST_DOTS = 48, 32, 2_000
_BOLD = ' font-weight="bold"'

Place = tuple[int, ...]


def grid_picture(points: SweepPoints, result: str, across: str, up: str) -> str:
    """Return the picture of a result over two parameters; empty where no point has a number."""
    x, y = axis(across, points.parameters[across]), axis(up, points.parameters[up])
    places: list[Place] = list(zip(x.level, y.level, strict=True))
    both = x.scale is not None and y.scale is not None
    if both and len(set(places)) * 3 < len(x.levels) * len(y.levels):
        return _scatter(points, result, x, y, places)
    x, y = _bounded(x, _MOST_ACROSS), _bounded(y, _MOST_UP)
    found = cells(points, result, list(zip(x.level, y.level, strict=True)))
    found = {place: cell for place, cell in found.items() if min(place) >= 0}
    return _heat(found, result, x, y) if any(cell.values for cell in found.values()) else ""


def shown_levels(points: SweepPoints, across: str, up: str) -> str:
    """Say which values a heat map leaves out, if it does."""
    parts = []
    for name, most in ((across, _MOST_ACROSS), (up, _MOST_UP)):
        found = axis(name, points.parameters[name])
        if found.scale is None and len(found.levels) > most:
            parts.append(f"the first {most} of {len(found.levels):,} values of {name}")
    return " and ".join(parts)


def _bounded(one: Axis, most: int) -> Axis:
    """Return an axis with at most `most` levels: neighbours together, or the first categories."""
    count = len(one.levels)
    if count <= most:
        return one
    if one.scale is None:
        level = tuple(place if place < most else -1 for place in one.level)
        return Axis(one.name, one.levels[:most], one.texts[:most], level, None)
    group = np.arange(count) * most // count
    firsts = [int(np.flatnonzero(group == number)[0]) for number in range(most)]
    lasts = [*(first - 1 for first in firsts[1:]), count - 1]
    texts = tuple(
        one.texts[first] if first == last else f"{one.texts[first]} to {one.texts[last]}"
        for first, last in zip(firsts, lasts, strict=True)
    )
    levels = tuple(one.levels[first] for first in firsts)
    return Axis(one.name, levels, texts, tuple(group[list(one.level)].tolist()), one.scale)


def _heat(found: dict[Place, Cell], result: str, x: Axis, y: Axis) -> str:
    colours = result_scale([cell.mean for cell in found.values() if cell.values])
    names = [shorten(shown, 22) for shown in _names(y)]
    left = 12 + max(*map(width_of, names), min(width_of(y.title), 130))
    wide = min((WIDTH - left - 2) / len(x.levels), 86.0)
    high = max(15.0, min(32.0, 440 / len(y.levels)))
    top, room = 22.0, wide * len(x.levels)
    floor = top + high * len(y.levels)
    parts = [label(left - 8, top - 8, shorten(y.title, 24), "end", _BOLD)]
    order = range(len(y.levels)) if y.scale is None else range(len(y.levels) - 1, -1, -1)
    every = max(1, round(15 / high))
    for row, level in enumerate(order):
        middle = top + (row + 0.5) * high
        if row % every == 0:
            parts.append(label(left - 8, middle + 4, names[level], "end"))
        for column in range(len(x.levels)):
            box = (left + column * wide, top + row * high, wide, high)
            where = f"{x.name}={x.texts[column]}, {y.name}={y.texts[level]}"
            parts.append(_cell(found.get((column, level)), box, where, result, colours))
    below = replace(x, scale=None, texts=_names(x))
    for place, shown in below.ticks(room, max(4, int(wide / CHARACTER))):
        parts.append(label(left + place * room, floor + 17, shown, "middle"))
    parts.append(label(left + room / 2, floor + 36, shorten(x.title, 60), "middle", _BOLD))
    parts.append(_legend(found.values(), result, colours, left, floor + 48))
    texts = {p: f"{x.name}={x.texts[p[0]]}, {y.name}={y.texts[p[1]]}" for p in found}
    name = f"{result} over {x.title} and {y.title}"
    return picture(name, summary(found, texts), floor + 78, "".join(parts))


def _names(one: Axis) -> tuple[str, ...]:
    """Return the labels of an axis: of neighbours that are drawn together the first."""
    return one.texts if one.scale is None else tuple(map(format_number, one.levels))


def _cell(
    cell: Cell | None,
    box: tuple[float, float, float, float],
    where: str,
    result: str,
    colours: Scale,
) -> str:
    x, y, wide, high = box
    middle, centre = x + wide / 2, y + high / 2
    frame = (
        f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{wide - 1:.1f}" height="{high - 1:.1f}"'
    )
    if cell is None:
        return ""
    name = cell.text(where, result)
    if not cell.values:
        hollow = f'{frame} fill="none" stroke="currentColor" stroke-dasharray="2 2" opacity=".35"/>'
        mark = cross(middle, centre, RED, name) if cell.failed else ""
        mark = mark or (ring(middle, centre, name, 3) if cell.missing else _dash(middle, centre))
        return f"<g>{title(name)}{hollow}{mark}</g>"
    share = colours.at(cell.mean)
    inside = f'{title(name)}{frame} fill="{shade(share)}"/>'
    shown = format_number(cell.mean)
    if width_of(shown) + 6 <= wide and high >= 14:
        ink = "#fff" if share < 0.45 else "#111"
        inside += label(middle, centre + 4, shown, "middle", f' fill="{ink}"')
    if cell.failed:
        corner = f"M{x + wide - 1:.1f} {y + 1:.1f}v7l-7 -7z"
        inside += f'<path d="{corner}" fill="{RED}" stroke="#fff" stroke-width=".7"/>'
    return f"<g>{inside}</g>"


def _dash(x: float, y: float) -> str:
    return line(x - 3, y, x + 3, y, 'stroke="currentColor" stroke-width="1.5" opacity=".7"')


def shade(share: float) -> str:
    """Return the colour of a share from 0 to 1: from dark violet over green to yellow."""
    place = min(max(share, 0.0), 1.0) * (len(_PALETTE) - 1)
    first = min(int(place), len(_PALETTE) - 2)
    mix = [
        round(low + (high - low) * (place - first))
        for low, high in zip(_PALETTE[first], _PALETTE[first + 1], strict=True)
    ]
    return "#{:02x}{:02x}{:02x}".format(*mix)


def _legend(drawn: object, result: str, colours: Scale, left: float, y: float) -> str:
    found: Sequence[Cell] = list(drawn)  # type: ignore[call-overload]
    shown = shorten(result, 30) + " (log scale)" * colours.log
    low, high = format_number(colours.low), format_number(colours.high)
    parts = [label(left, y + 10, shown, "start", _BOLD)]
    x = left + width_of(shown) + 22
    parts.append(label(x, y + 10, low))
    x += width_of(low) + 6
    steps = 32
    for number in range(steps):
        fill = shade(number / (steps - 1))
        parts.append(
            f'<rect x="{x + 4 * number:.1f}" y="{y}" width="4.5" height="12" fill="{fill}"/>'
        )
    x += 4 * steps + 8
    parts.append(label(x, y + 10, high))
    x += width_of(high) + 24
    if any(cell.failed for cell in found):
        parts.append(cross(x, y + 6, RED, "failed") + label(x + 10, y + 10, "failed"))
        x += 70
    if any(cell.missing for cell in found):
        parts.append(ring(x, y + 6, "not done") + label(x + 10, y + 10, "not done"))
        x += 86
    if any(cell.blank and not cell.values for cell in found):
        parts.append(_dash(x, y + 6) + label(x + 10, y + 10, "no number"))
    return "".join(parts)


def _scatter(points: SweepPoints, result: str, x: Axis, y: Axis, places: list[Place]) -> str:
    found = cells(points, result, places)
    values = [cell.mean for cell in found.values() if cell.values]
    if not values or x.scale is None or y.scale is None:
        return ""
    colours = result_scale(values)
    across, up = _wider(x.scale), _wider(y.scale)
    marks = [(up.at(value), format_number(value)) for value in ticks(up)]
    left = 12 + max(width_of(shown) for _, shown in marks)
    top, floor, room = 22.0, 282.0, WIDTH - left - 8
    parts = [label(left, top - 8, shorten(y.title, 60), "start", _BOLD)]
    for place, shown in marks:
        at = floor - place * (floor - top)
        parts.append(line(left, at, WIDTH, at) + label(left - 6, at + 4, shown, "end"))
    for value in ticks(across):
        at = left + across.at(value) * room
        parts.append(line(at, top, at, floor))
        parts.append(label(at, floor + 17, format_number(value), "middle"))
    chosen = list(found)
    for column, row in chosen[:: -(-len(chosen) // _MOST_DOTS)]:
        at = left + across.at(x.levels[column]) * room
        over = floor - up.at(y.levels[row]) * (floor - top)
        where = f"{x.name}={x.texts[column]}, {y.name}={y.texts[row]}"
        parts.append(_dot(found[column, row], at, over, where, result, colours))
    parts.append(label(left + room / 2, floor + 36, shorten(x.title, 60), "middle", _BOLD))
    parts.append(_legend(found.values(), result, colours, left, floor + 48))
    texts = {p: f"{x.name}={x.texts[p[0]]}, {y.name}={y.texts[p[1]]}" for p in found}
    name = f"{result} over {x.title} and {y.title}, {len(found):,} samples"
    return picture(name, summary(found, texts), floor + 78, "".join(parts))


def _dot(cell: Cell, x: float, y: float, where: str, result: str, colours: Scale) -> str:
    name = cell.text(where, result)
    if not cell.values:
        return cross(x, y, RED, name) if cell.failed else ring(x, y, name)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{shade(colours.at(cell.mean))}"'
        f' stroke="currentColor" stroke-width=".6" stroke-opacity=".6">{title(name)}</circle>'
    )


def _wider(scale: Scale) -> Scale:
    if scale.log:
        more = (scale.high / scale.low) ** 0.04
        return Scale(scale.low / more, scale.high * more, True)
    more = (scale.high - scale.low) * 0.04 or abs(scale.high) * 0.1 or 1.0
    return Scale(scale.low - more, scale.high + more, False)
