"""Listings that lag: a name that was put is read by name at once, and listed late or never."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from mapred.storage.local import LocalStore
from mapred.storage.object_store import ObjectStore

FOREVER = 10**9


class Lag:
    """How often each new name is left out of the listings that would show it."""

    def __init__(self, times: Callable[[str], int]) -> None:
        self._times, self._left = times, dict[str, int]()
        self._lock = threading.Lock()
        self.hidden = 0

    @classmethod
    def seeded(cls, seed: int) -> Lag:
        """Most names late by a few listings, some never listed."""
        chance = random.Random(seed)
        return cls(lambda name: chance.choice([0, 1, 2, 5, FOREVER]))

    def shows(self, name: str) -> bool:
        with self._lock:
            left = self._left.setdefault(name, self._times(name))
            self._left[name] = left - 1
            self.hidden += left > 0
            return left <= 0


def install(lag: Lag, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the stores of this process list as `lag` says."""
    for kind in (LocalStore, ObjectStore):

        def listed(
            self: LocalStore | ObjectStore,
            prefix: str,
            known: Callable[..., list[tuple[str, int]]] = kind.list,
        ) -> list[tuple[str, int]]:
            found = known(self, prefix)
            return [(path, size) for path, size in found if lag.shows(f"{self.uri}/{path}")]

        monkeypatch.setattr(kind, "list", listed)
