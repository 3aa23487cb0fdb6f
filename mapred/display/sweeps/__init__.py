"""Pictures of a sweep: a result over one parameter or two; pure functions of its points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mapred.display.format import escape_html, one_line, pluralize
from mapred.display.markup import page
from mapred.display.sweeps.grids import grid_picture, shown_levels
from mapred.display.sweeps.lines import line_picture
from mapred.display.sweeps.points import REPEATS, SweepPoints, choose, drawable, varying

__all__ = [
    "SweepPlot",
    "SweepPoints",
    "choose",
    "drawable",
    "sweep_html",
    "sweep_picture",
    "varying",
]


@dataclass(frozen=True, repr=False)
class SweepPlot:
    """The picture of a sweep, as `run.plot()` returns it: a notebook shows it.

    Attributes:
        points: The parameters and results of the points.
        result: The name of the result that is shown, or None for the first one that varies.
        note: Why there is nothing to draw, if there is not.

    Examples:
        >>> run = mapred.run(lambda rate: rate**2, mapred.sweep(rate=[0.1, 0.2]))
        >>> run.plot()
        result over rate
    """

    points: SweepPoints
    result: str | None = None
    note: str = ""

    @property
    def results(self) -> tuple[str, ...]:
        """The names of the results that can be shown."""
        return drawable(self.points)

    @property
    def svg(self) -> str:
        """The picture as SVG text, empty where there is nothing to draw."""
        return sweep_picture(self.points, self.result)

    def __repr__(self) -> str:
        if not self.svg:
            return f"nothing to draw{': ' * bool(self.note)}{self.note}"
        return f"{self.result or choose(self.points)} over {', '.join(varying(self.points)[:2])}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
        drawn = sweep_html(self.points, self.result, "run.plot({})")
        return {
            "text/plain": repr(self),
            "text/html": page([drawn or f"<div>{escape_html(repr(self))}</div>"]),
        }


def sweep_picture(points: SweepPoints, result: str | None = None) -> str:
    """Return the SVG of a result over the first one or two parameters that vary.

    `result` is by default the first one whose values are numbers that vary. Empty where there is
    nothing to draw.
    """
    chosen = result or choose(points)
    names = varying(points)
    if chosen is None or not names:
        return ""
    if len(names) == 1:
        return line_picture(points, chosen, names[0])
    return grid_picture(points, chosen, names[0], names[1])


def sweep_html(points: SweepPoints, result: str | None = None, how: str = "") -> str:
    """Return the picture, and what it shows and leaves out; `how` says how to draw another result.

    In `how`, `{}` stands for the name of the result.
    """
    chosen = result or choose(points)
    drawn = sweep_picture(points, result)
    if not drawn or chosen is None:
        return ""
    parts = [f"{one_line(chosen, 60)}: {_kind(points)}", *_left_out(points)]
    others = [name for name in drawable(points) if name != chosen]
    if others:
        text = f"other results: {', '.join(one_line(name, 40) for name in others[:8])}"
        text += f" and {len(others) - 8} more" if len(others) > 8 else ""
        parts.append(text + (f"; to draw one: {how.format(repr(others[0]))}" if how else ""))
    lines = "".join(f"<div>{escape_html(text)}</div>" for text in parts)
    return f'{drawn}<div style="font-size:12px;opacity:.8">{lines}</div>'


def _kind(points: SweepPoints) -> str:
    """Say what a mark stands for."""
    names = varying(points)
    shown = set(names[:2])
    averaged = [
        name
        for name, values in points.parameters.items()
        if name not in shown and len(set(map(str, values))) > 1
    ]
    if not averaged:
        return "each point is one call"
    repeats = [name for name in averaged if name in REPEATS]
    if averaged == repeats:
        if len(names) == 1:
            return f"the mean over {' and '.join(repeats)}; bars from the lowest to the highest"
        return f"the mean over {' and '.join(repeats)}"
    return f"the mean over {', '.join(one_line(name, 40) for name in averaged)}"


def _left_out(points: SweepPoints) -> list[str]:
    names = varying(points)
    left = shown_levels(points, names[0], names[1]) if len(names) > 1 else ""
    more = names[2:]
    parts = [f"shown: {left}"] if left else []
    if more:
        parts.append(f"of {pluralize(len(names), 'parameter')} that vary, the first two are drawn")
    return parts
