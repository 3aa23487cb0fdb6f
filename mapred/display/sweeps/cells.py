"""What the points of one place in a picture came to: their results, and those without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mapred.display.format import pluralize
from mapred.display.sweeps.points import DONE, FAILED, SweepPoints, format_number, number


@dataclass
class Cell:
    """The results of the points at one place; `blank` counts those that returned no number."""

    values: list[float] = field(default_factory=list)
    failed: int = 0
    missing: int = 0
    blank: int = 0

    @property
    def mean(self) -> float:
        # Divided first: the sum of large numbers may be none.
        return sum(value / len(self.values) for value in self.values)

    def text(self, where: str, result: str) -> str:
        """`rate=0.1: loss 0.25 (mean of 3, 0.2 to 0.3), 1 failed`."""
        parts = []
        if len(self.values) == 1:
            parts.append(f"{result} {format_number(self.values[0])}")
        elif self.values:
            low, high = format_number(min(self.values)), format_number(max(self.values))
            mean = f"{result} {format_number(self.mean)}"
            parts.append(f"{mean} (mean of {len(self.values):,}, {low} to {high})")
        for count, what in (
            (self.failed, "failed"),
            (self.missing, "not done"),
            (self.blank, "without a number"),
        ):
            if count:
                several = count > 1 or self.values
                parts.append(f"{count:,} {what}" if several else what)
        return f"{where}: {', '.join(parts)}"


def cells(
    points: SweepPoints, result: str, places: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Cell]:
    """Return what lies at each place of the points."""
    found: dict[tuple[int, ...], Cell] = {}
    for place, state, value in zip(places, points.states, points.results[result], strict=True):
        cell = found.setdefault(place, Cell())
        real = number(value) if state == DONE else None
        if real is not None:
            cell.values.append(real)
        elif state == DONE:
            cell.blank += 1
        elif state == FAILED:
            cell.failed += 1
        else:
            cell.missing += 1
    return found


def summary(found: Mapping[Any, Cell], names: Any) -> str:
    """Return the lowest and the highest result in words, and how many points have none.

    `names` holds the place of each cell as it is shown.
    """
    means = {place: cell.mean for place, cell in found.items() if cell.values}
    parts = []
    if means:
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        parts.append(f"lowest {format_number(means[low])} at {names[low]}")
        parts.append(f"highest {format_number(means[high])} at {names[high]}")
    for attribute, what in (("failed", "failed"), ("missing", "not done")):
        count = sum(getattr(cell, attribute) for cell in found.values())
        if count:
            parts.append(f"{pluralize(count, 'point')} {what}")
    return "; ".join(parts)
