"""The axes of a sweep's pictures: numbers, numbers spaced by their logarithm, or categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mapred.display.drawing import CHARACTER, width_of
from mapred.display.format import shorten
from mapred.display.sweeps.points import format_number, number, text

_FEW = 9  # values that each have a tick of their own
_WIDE_RESULT = 1000  # how many times the lowest result the highest is, on an axis by logarithm
_WIDE_VALUES = 20


@dataclass(frozen=True)
class Scale:
    """Maps the numbers from `low` to `high` to 0 to 1, by their logarithm if `log`."""

    low: float
    high: float
    log: bool

    def at(self, value: float) -> float:
        low, high, value = (
            (math.log(self.low), math.log(self.high), math.log(value))
            if self.log
            else (self.low, self.high, value)
        )
        return (value - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class Axis:
    """The values of one parameter: `levels` are what it takes, and `level` that of each point.

    `scale` is None for categories. `texts` are the levels as they are shown.
    """

    name: str
    levels: tuple[Any, ...]
    texts: tuple[str, ...]
    level: tuple[int, ...]
    scale: Scale | None

    @property
    def title(self) -> str:
        return f"{self.name} (log scale)" if self.scale and self.scale.log else self.name

    def at(self, level: int) -> float:
        """Return the place of a level between 0 and 1."""
        if self.scale is not None:
            return self.scale.at(self.levels[level])
        return (level + 0.5) / len(self.levels)

    def ticks(self, room: float, width: int = 28) -> list[tuple[float, str]]:
        """Return places and labels that do not overlap on `room` pixels."""
        if self.scale is not None and len(self.levels) > _FEW:
            marks = [(self.scale.at(value), format_number(value)) for value in ticks(self.scale)]
        else:
            each = room / max(len(self.levels), 1) if self.scale is None else room
            most = (
                max(4, min(width, int((each - 8) / CHARACTER)))
                if len(self.levels) <= _FEW
                else width
            )
            marks = [
                (self.at(level), shorten(shown, most)) for level, shown in enumerate(self.texts)
            ]
        return without_overlaps(marks, room)


def without_overlaps(marks: list[tuple[float, str]], room: float) -> list[tuple[float, str]]:
    """Leave out labels that would touch the one before; they are centred at their places."""
    kept: list[tuple[float, str]] = []
    end = -math.inf
    for place, shown in marks:
        half = width_of(shown) / 2
        if place * room - half >= end:
            kept.append((place, shown))
            end = place * room + half + 6
    return kept


def ticks(scale: Scale, most: int = 6) -> list[float]:
    """Return round numbers on a scale: powers of ten where there are several."""
    if scale.high - scale.low <= 1e-9 * max(abs(scale.low), abs(scale.high)):
        return [scale.low]  # They would all have the same label.
    if scale.log:
        first, last = math.ceil(math.log10(scale.low) - 1e-9), math.log10(scale.high) + 1e-9
        powers = list(range(first, math.floor(last) + 1))
        if len(powers) >= 2:
            return [10.0**power for power in powers[:: -(-len(powers) // most)]]
        return [scale.low, math.sqrt(scale.low) * math.sqrt(scale.high), scale.high]
    step = _round_step((scale.high - scale.low) / most)
    first = math.ceil(scale.low / step - 1e-9)
    return [n * step for n in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(power * step for step in (1, 2, 5, 10) if power * step >= least * (1 - 1e-9))


def axis(name: str, values: Sequence[Any]) -> Axis:
    """Return the axis of a parameter; a value that is not a number makes all of them categories."""
    numbers = [number(value) for value in values]
    if any(value is None for value in numbers):
        texts = [text(value) for value in values]
        names = tuple(dict.fromkeys(texts))
        places = {shown: place for place, shown in enumerate(names)}
        return Axis(name, names, names, tuple(places[shown] for shown in texts), None)
    known = np.array(numbers, dtype=np.float64)
    levels, level = np.unique(known, return_inverse=True)
    scale = Scale(float(levels[0]), float(levels[-1]), is_log(levels))
    found = tuple(levels.tolist())
    shown = tuple(format_number(value) for value in found)
    return Axis(name, found, shown, tuple(level.reshape(-1).tolist()), scale)


def is_log(levels: Any) -> bool:
    """Whether sorted numbers are spaced more evenly by their logarithms, and far apart."""
    if len(levels) < 2 or levels[0] <= 0 or levels[-1] / levels[0] < _WIDE_VALUES:
        return False
    if len(levels) == 2:
        return bool(levels[-1] / levels[0] >= 100)
    plain, log = np.diff(levels), np.diff(np.log(levels))
    return bool(np.std(log) / np.mean(log) < np.std(plain) / np.mean(plain))


def result_scale(values: Sequence[float]) -> Scale:
    """Return the scale of results; by logarithm where most would be at the foot of a plain one."""
    found = np.array(values, dtype=np.float64)
    low, high = float(found.min()), float(found.max())
    wide = low > 0 and high / low >= _WIDE_RESULT and float(np.median(found)) < high / 30
    return Scale(low, high, wide)
