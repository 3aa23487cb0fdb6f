"""What becomes of live runs when their process ends: they stop, and a line says how to continue.

Without it the workers would be ended under them, which looks like a fault of the function.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol


class Leavable(Protocol):
    def leave(self, *, alone: bool) -> None:
        """Stop and say so; if `alone`, unless another thread waits for it."""


_live: weakref.WeakSet[Leavable] = weakref.WeakSet()
_owner = 0
_pools: set[type] = set()


def watch(handle: Leavable) -> None:
    """Have a live run stopped when this process ends."""
    global _owner
    if _owner != os.getpid():
        # What a fork inherits is its parent's to stop.
        _live.clear()
        _pools.clear()
        _owner = os.getpid()
    _live.add(handle)
    # What was registered last runs first: before the workers are ended.
    atexit.unregister(_leave)
    atexit.register(_leave, _owner)


def before_pools(kind: type) -> None:
    """Have live runs stopped before executors of this kind finish what is queued.

    They do so before anything that `atexit` runs, and only threading's own list, which they use
    themselves, runs before them: it goes from the last entry to the first.
    """
    if kind not in _pools:
        _pools.add(kind)
        register = getattr(threading, "_register_atexit", atexit.register)
        register(_leave, os.getpid(), alone=True)


def _leave(owner: int, *, alone: bool = False) -> None:
    if owner == os.getpid():
        for handle in list(_live):
            handle.leave(alone=alone)
