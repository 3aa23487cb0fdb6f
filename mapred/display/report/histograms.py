"""How many tasks took how long, or held how much: a histogram with lines at named values."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mapred.display.drawing import FAINT, WIDTH, label, line, picture, title, width_of
from mapred.display.format import format_count, pluralize

_BARS, _HEIGHT, _TOP = 50, 124, 38


def histogram(
    name: str,
    values: Sequence[float],
    shown: Callable[[float], str],
    marks: Sequence[tuple[str, float, str]],
    fill: str,
) -> str:
    """Return the histogram of values from 0 on; `marks` are lines: what, where, and its colour."""
    if len(values) < 2:
        return ""
    top = max(*values, *(at for _, at, _ in marks)) * 1.02 or 1.0
    counts, _ = np.histogram(np.asarray(values, dtype=np.float64), _BARS, (0.0, top))
    most = int(counts.max())
    left = 12 + width_of(format_count(most))
    room = WIDTH - left - 4
    parts = [
        label(left - 6, _TOP + 8, format_count(most), "end"),
        label(left - 6, _HEIGHT, "0", "end"),
        line(left, _HEIGHT, WIDTH - 4, _HEIGHT, FAINT.replace(".15", ".5")),
    ]
    wide = room / _BARS
    for number, count in enumerate(counts.tolist()):
        if count:
            low, high = shown(top * number / _BARS), shown(top * (number + 1) / _BARS)
            name_of_bar = f"{low} to {high}: {pluralize(count, 'task')}"
            tall = max(count / most * (_HEIGHT - _TOP), 1.5)
            parts.append(
                f'<rect x="{left + number * wide + 0.5:.1f}" y="{_HEIGHT - tall:.1f}"'
                f' width="{wide - 1:.1f}" height="{tall:.1f}" fill="{fill}">'
                f"{title(name_of_bar)}</rect>"
            )
    for place in range(5):
        x = left + room * place / 4
        anchor = "start" if place == 0 else "end" if place == 4 else "middle"
        parts.append(label(x, _HEIGHT + 17, shown(top * place / 4), anchor))
    parts += _marks(marks, top, left, room, shown)
    about = "; ".join(f"{what} {shown(at)}" for what, at, _ in marks)
    return picture(
        f"{name} of {pluralize(len(values), 'task')}", about, _HEIGHT + 23, "".join(parts)
    )


def _marks(
    marks: Sequence[tuple[str, float, str]],
    top: float,
    left: float,
    room: float,
    shown: Callable[[float], str],
) -> list[str]:
    parts = []
    for number, (what, at, colour) in enumerate(sorted(marks, key=lambda mark: mark[1])):
        x, text = left + at / top * room, f"{what} {shown(at)}"
        parts.append(
            line(
                x,
                _TOP - 6,
                x,
                _HEIGHT,
                f'stroke="{colour}" stroke-width="1.5" stroke-dasharray="4 3"',
            )
        )
        end = x + width_of(text) > WIDTH - 4
        y = 13 + 14 * (number % 2)
        parts.append(label(x - 4 if end else x + 4, y, text, "end" if end else "start"))
    return parts
