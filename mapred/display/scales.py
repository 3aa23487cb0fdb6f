"""What pictures share whose labels keep their size: all along their width is given in percent."""

from __future__ import annotations

import numpy as np

from mapred.display.format import escape_html, format_seconds

LINE = 'stroke="currentColor" stroke-width="1"'
FAINT = f'{LINE} opacity=".15"'
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
CHARACTER = 6.3 / 470 * 100  # its width in percent of the narrowest picture


def axis(seconds: float, left: float, top: float, floor: float) -> str:
    step = next((step for step in _STEPS if seconds / step <= 6), seconds / 6)
    if seconds < 6 * _STEPS[0] and seconds / _STEPS[0] < 2:
        step = seconds / 2
    elif step > _STEPS[-1]:
        step = 3600 * np.ceil(step / 3600)
    parts = []
    for number in range(int(seconds / step + 1e-6) + 1):
        x = left + number * step / seconds * (100 - left)
        parts.append(f'<line x1="{x:.2f}%" x2="{x:.2f}%" y1="{top:g}" y2="{floor:g}" {FAINT}/>')
        anchor = "end" if x > 96 else "start" if number == 0 else "middle"
        parts.append(label(x, floor + 14, format_seconds(number * step), anchor))
    return "".join(parts)


def margin(label: str) -> float:
    """Return the percent of a picture's width that labels on its left need where it is narrow."""
    return round(max(len(label), 4) * CHARACTER + 2, 1)


def rule(left: float, y: float, right: float, look: str) -> str:
    return f'<line x1="{left:.2f}%" x2="{right:.2f}%" y1="{y:.1f}" y2="{y:.1f}" {look}/>'


def label(x: float, y: float, text: str, anchor: str = "start") -> str:
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{x:.2f}%" y="{y:.1f}"{where}>{escape_html(text)}</text> '


def title(text: str) -> str:
    return f"<title>{escape_html(text)}</title>"


def picture(name: str, about: str, height: float, inside: str) -> str:
    return (
        f'<svg role="img" aria-label="{escape_html(name)}" width="100%" height="{height:g}"'
        ' style="display:block;margin:6px 0" font-family="sans-serif" font-size="11"'
        f' xmlns="http://www.w3.org/2000/svg">{title(name)} <desc>{escape_html(about)}</desc> '
        f'<g fill="currentColor">{inside}</g></svg>'
    )
