"""Many operations on a store at once, where each is a round trip over a network."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from mapred.storage.base import is_local

if TYPE_CHECKING:
    from concurrent.futures import Future

THREADS = 32
_AHEAD = 2 * THREADS

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(store: Any, call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`call` of every item, in order, as `map` gives them.

    On a store behind a network, calls for the next items are under way meanwhile, in
    threads: as many as keep it busy, so that memory does not grow with their number. A path
    of this machine answers at once and is asked one by one.
    """
    if is_local(store.uri):
        return map(call, items)
    return prefetch(call, items, THREADS, _AHEAD)


def prefetch(
    call: Callable[[T], R], items: Iterable[T], threads: int, most: int | None = None
) -> Iterator[R]:
    """`call` of every item, in order; up to `most` (default: `threads`) are under way or wait."""
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
        # Whoever stops in the middle waits for no more than what is under way.
        pool.shutdown(wait=True, cancel_futures=True)
