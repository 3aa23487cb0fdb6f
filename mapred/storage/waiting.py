"""Waiting in a thread for a coroutine.

The blocking calls of obstore's listings hinder each other in threads: sixteen of them took
twice as long as sixteen coroutines of one event loop, which is here, in a thread of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine gives, or raises."""
    # A third of what a worker imports beyond pyarrow, and it lists nothing.
    import asyncio

    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()


def _loop() -> asyncio.AbstractEventLoop:
    """Return this process's event loop; a forked child makes its own."""
    import asyncio

    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="mapred-listing", daemon=True).start()
        return loop
