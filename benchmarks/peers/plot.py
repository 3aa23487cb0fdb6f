"""Bars of seconds relative to mapred, on a logarithmic scale, as SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape
from typing import Any

_LEFT, _WIDTH, _LINE = 150, 420, 18
_COLOURS = {"mapred": "#2b6cb0"}


def svg(sections: Sequence[dict[str, Any]]) -> str:
    """One group of bars for each workload, the fastest engine first."""
    ratios = [_ratios(section) for section in sections]
    values = [value for group in ratios for value in group.values()] or [1.0]
    least, most = min(*values, 0.5), max(*values, 2.0)
    scale = _WIDTH / math.log(most / least)
    parts, y = [], 20
    for section, group in zip(sections, ratios, strict=True):
        parts.append(_text(10, y, section["title"], "bold"))
        y += _LINE
        for name, ratio in sorted(group.items(), key=lambda pair: pair[1]):
            length = max(1.0, math.log(ratio / least) * scale)
            colour = _COLOURS.get(name, "#a0aec0")
            parts.append(
                f'<rect x="{_LEFT}" y="{y - 12}" width="{length:.1f}" height="13" fill="{colour}"/>'
            )
            parts.append(_text(20, y, name))
            parts.append(_text(_LEFT + length + 6, y, f"{ratio:.2f}"))
            y += _LINE
        y += 10
    one = _LEFT + math.log(1 / least) * scale
    rule = f'<line x1="{one:.1f}" y1="0" x2="{one:.1f}" y2="{y}" stroke="#718096"/>'
    size = f'width="{_LEFT + _WIDTH + 60}" height="{y}"'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    )
    back = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, back, rule, *parts, "</svg>", ""])


def _ratios(section: dict[str, Any]) -> dict[str, float]:
    ours = statistics.median(section["seconds"]["mapred"])
    return {name: statistics.median(times) / ours for name, times in section["seconds"].items()}


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(text)}</text>'
