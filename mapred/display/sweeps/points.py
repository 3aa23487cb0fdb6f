"""The points of a sweep as columns, and which of them a picture shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from mapred.display.format import one_line
from mapred.model.checking import safe_text

DONE, FAILED, MISSING = "done", "failed", "missing"
# Parameters of these names tell repeats of a point apart, unless nothing else varies.
REPEATS = ("repeat", "seed")
_LARGEST = 1e300  # so that sums and distances of a few are numbers


@dataclass(frozen=True)
class SweepPoints:
    """Columns of parameters and of results with a value for each point; `states` says how it went.

    A state is `done`, `failed` or `missing`: not done yet, or cancelled. The results of a point
    that is not done are None.
    """

    parameters: Mapping[str, Sequence[Any]]
    results: Mapping[str, Sequence[Any]]
    states: Sequence[str]


def number(value: Any) -> float | None:
    """Return a number that a picture has room for as a float; None for all else and for booleans."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        real = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if abs(real) > _LARGEST or math.isnan(real):
        return None
    return real if abs(real) * _LARGEST > 1 else 0.0


def text(value: Any, width: int = 60) -> str:
    """Return a value of a parameter as a person reads it."""
    real = number(value)
    return format_number(real) if real is not None else one_line(safe_text(str, value), width)


def format_number(value: float) -> str:
    """`0.001`, `12,345`, `1.5e-07`: at most four digits, and whole numbers in full."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:.3g}"


def drawable(points: SweepPoints) -> tuple[str, ...]:
    """Return the results that can be drawn: numbers for half of the points that are done or more."""
    done = [place for place, state in enumerate(points.states) if state == DONE]
    found = []
    for name, values in points.results.items():
        count = sum(1 for place in done if number(values[place]) is not None)
        if count and 2 * count >= len(done):
            found.append(name)
    return tuple(found)


def choose(points: SweepPoints) -> str | None:
    """Return the result that is drawn where nobody chose: the first one that varies."""
    names = drawable(points)
    for name in names:
        if len({number(value) for value in points.results[name]} - {None}) > 1:
            return name
    return names[0] if names else None


def varying(points: SweepPoints) -> tuple[str, ...]:
    """Return the parameters with several values; those that count repeats only where alone."""
    several = [name for name, values in points.parameters.items() if _varies(values)]
    axes = [name for name in several if name not in REPEATS]
    return tuple(axes or several)


def _varies(values: Sequence[Any]) -> bool:
    first = text(values[0]) if len(values) else ""
    return any(text(value) != first for value in values)
