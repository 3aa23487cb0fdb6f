"""Bars of seconds relative to mapred, on a logarithmic scale, as SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape
from typing import Any

CLUSTERS = ("dask", "ray", "spark")
PYTHON = ("dask", "ray", "lithops", "mrjob", "spark rdd", "spark pandas", "spark grouped")
_LEFT, _WIDTH, _RIGHT, _LINE = 130, 460, 90, 18
_OURS, _PYTHON, _OTHERS = "#2b6cb0", "#a0aec0", "#d9b36c"
_KEY = {
    "mapred": _OURS,
    "runs Python functions": _PYTHON,
    "query engine, or base line": _OTHERS,
}


def svg(sections: Sequence[dict[str, Any]]) -> str:
    """One group of bars for each workload, the fastest engine first; the cut ones open, last."""
    groups = [_bars(section) for section in sections]
    values = [ratio for group in groups for _, ratio, _ in group] or [1.0]
    least, most = min(*values, 0.5), max(*values, 2.0)

    def at(ratio: float) -> float:
        return math.log(ratio / least) / math.log(most / least) * _WIDTH

    parts, y, x = [], 20, 10.0
    for what, colour in _KEY.items():
        parts += [_rect(x, y, 12, colour), _text(x + 18, y, what)]
        x += 40 + 7 * len(what)
    top = y + 14
    y += 2 * _LINE + 12
    for section, group in zip(sections, groups, strict=True):
        parts.append(_text(10, y, section["title"], "bold"))
        y += _LINE
        for name, ratio, is_cut in group:
            length = max(1.0, at(ratio))
            parts.append(_rect(_LEFT, y, length, _colour(name), is_cut))
            parts.append(_text(20, y, name))
            shown = f"> {ratio:.1f}, cut" if is_cut else f"{ratio:.2f}"
            parts.append(_text(_LEFT + length + 6, y, shown))
            y += _LINE
        y += 10
    rules = [_text(10, top + 12, "seconds / mapred's")]
    for ratio in _marks(least, most):
        x, colour = _LEFT + at(ratio), "#4a5568" if ratio == 1 else "#e2e8f0"
        rules.append(
            f'<line x1="{x:.1f}" y1="{top + 18}" x2="{x:.1f}" y2="{y}" stroke="{colour}"/>'
        )
        rules.append(_text(x, top + 12, f"{ratio:g}", anchor="middle"))
    size = f'width="{_LEFT + _WIDTH + _RIGHT}" height="{y}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    )
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, back, *rules, *parts, "</svg>", ""])


def _bars(section: dict[str, Any]) -> list[tuple[str, float, bool]]:
    """Engine, ratio, whether it was cut there."""
    ours = statistics.median(section["seconds"]["mapred"])
    ended = [
        (name, statistics.median(times) / ours, False) for name, times in section["seconds"].items()
    ]
    cut = [(name, limit / ours, True) for name, limit in section["cut"].items()]
    return sorted(ended, key=lambda bar: bar[1]) + cut


def _marks(least: float, most: float) -> list[float]:
    marks = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
    return [mark for mark in marks if least <= mark <= most]


def _colour(name: str) -> str:
    if name == "mapred":
        return _OURS
    return _PYTHON if name.startswith(PYTHON) else _OTHERS


def _rect(x: float, y: float, width: float, colour: str, is_open: bool = False) -> str:
    paint = f'fill="white" stroke="{colour}"' if is_open else f'fill="{colour}"'
    return f'<rect x="{x:.1f}" y="{y - 11}" width="{width:.1f}" height="13" {paint}/>'


def _text(x: float, y: float, text: str, weight: str = "normal", anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y}" font-weight="{weight}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(text)}</text>"
