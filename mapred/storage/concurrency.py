"""Many operations on a store at once, where each is a round trip over a network."""

from __future__ import annotations

import collections
import itertools
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from mapred.process.lazy import Lazy
from mapred.storage.base import is_local

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future
else:
    asyncio = Lazy("asyncio")  # most workers list nothing, and it takes long to load

THREADS = 32
_AHEAD = 2 * THREADS

T = TypeVar("T")
R = TypeVar("R")
_lock = threading.Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}


def map_ahead(store: Any, call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `call` of every item, in order, as `map` does.

    On a store behind a network, threads call it for the next items meanwhile, with a limit so that
    memory does not grow with the number of items. Local files are read one by one.
    """
    if is_local(store.uri):
        return map(call, items)
    return prefetch(call, items, THREADS, _AHEAD)


def prefetch(
    call: Callable[[T], R], items: Iterable[T], threads: int, most: int | None = None
) -> Iterator[R]:
    """Yield `call` of every item, in order, with up to `most` (default: `threads`) calls ahead."""
    waiting: collections.deque[Future[R]] = collections.deque()
    coming = iter(items)
    first = list(itertools.islice(coming, 2))
    if len(first) < 2:
        yield from map(call, first)
        return
    coming = itertools.chain(first, coming)
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, "mapred-storage")
    try:
        waiting.extend(
            pool.submit(call, item) for item in itertools.islice(coming, most or threads)
        )
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(call, item) for item in itertools.islice(coming, 1))
    finally:
        # A caller who stops in the middle waits only for the calls that have begun.
        pool.shutdown(wait=True, cancel_futures=True)


def run_coroutine(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait in a thread for a coroutine, which shares one event loop with those of other threads.

    The blocking calls of obstore's listings hinder each other in threads; coroutines do not.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()


def _loop() -> asyncio.AbstractEventLoop:
    """Return this process's event loop; a forked child makes its own."""
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None:
            loop = _loops[os.getpid()] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="mapred-listing", daemon=True).start()
        return loop
