"""A large answer into one piece of memory, by several threads.

The system makes a page of fresh memory when it is first touched. Asking for many pages at once
costs far less processor time than a fault for each.
"""

from __future__ import annotations

import functools
import io
import mmap
import sys
from collections.abc import Callable, Iterable
from typing import Any

from mapred.process.lazy import np

_STEP = 2**20
_POPULATE_WRITE = 23  # Linux 5.14; an older one refuses, and makes pages one by one


def allocate(size: int) -> io.BytesIO:
    """Return `size` zero bytes, whose pages the system makes when they are touched."""
    return io.BytesIO(bytes(size))


def copy_into(target: memoryview, pieces: Iterable[Any]) -> int:
    """Copy pieces one behind the other, while other threads work; return how many bytes came.

    What comes beyond the target's end is counted and dropped.
    """
    whole, came, ready = np.frombuffer(target, np.uint8), 0, 0
    address, advise = whole.ctypes.data, _advice()
    for piece in pieces:
        some = np.frombuffer(piece, np.uint8)
        end = came + len(some)
        if end <= len(whole):
            if end > ready:
                start, ready = ready, min(end + _STEP, len(whole))
                advise(address + start, address + ready)
            whole[came:end] = some
        came = end
    return came


@functools.lru_cache(maxsize=1)
def _advice() -> Callable[[int, int], None]:
    """Return a function that populates the pages between two addresses, where the system can."""
    if sys.platform != "linux":
        return lambda start, stop: None
    import ctypes

    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def advise(start: int, stop: int) -> None:
        start -= start % mmap.PAGESIZE
        stop -= stop % mmap.PAGESIZE
        if stop > start:
            madvise(start, stop - start, _POPULATE_WRITE)

    return advise
