"""Tasks of several items: what is known of those that failed, and whose turn is next.

What took its process down is set aside until the other items are done, and then has a process to
itself. `turns` are the attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from mapred.model.frozen import dataclass

if TYPE_CHECKING:
    from mapred.model.failure import Failure

Note = Callable[[int, int], None]  # told a task and its item before the item is called
NO_ITEM = -1


@dataclass(frozen=True)
class Pack:
    """What is known of the items of a task that failed.

    `tries` counts the failed attempts of each; the items `alone` took their process down, and
    those `lost` are not tried again; `crashes` counts processes that several items shared.
    """

    tries: Mapping[int, int] = field(default_factory=dict)
    alone: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    crashes: int = 0

    def attempt(self, item: int) -> int:
        """Return the number of the next attempt at an item, from 1."""
        return self.tries.get(item, 0) + 1

    def turn(self, left: Sequence[int]) -> Sequence[int]:
        """Which of the items that are left are called next, all for the same time."""
        together = [item for item in left if item not in self.alone]
        if not together:
            return left[:1]
        if self.crashes > 1:
            # Which of them it was is not certain: a time limit may be too short for all of them.
            return together[:1]
        least = min(map(self.attempt, together))
        return [item for item in together if self.attempt(item) == least]

    def after(self, failure: Failure, lost: Collection[int]) -> Pack:
        """Return what is known after another failed attempt, by which these items are lost."""
        items = set(failure.items)
        tries = {item: max(self.attempt(item), failure.attempts) for item in items}
        pack = replace(self, tries={**self.tries, **tries}, lost=self.lost.union(lost))
        if failure.kind in ("lost", "timeout", "memory"):
            shared = items.isdisjoint(self.alone)
            return replace(pack, alone=self.alone | items, crashes=self.crashes + shared)
        return pack

    def to_json(self) -> dict[str, Any]:
        return {
            "tries": list(self.tries.items()),
            "alone": sorted(self.alone),
            "lost": sorted(self.lost),
            "crashes": self.crashes,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Pack:
        tries = dict(values["tries"])
        return cls(tries, frozenset(values["alone"]), frozenset(values["lost"]), values["crashes"])
