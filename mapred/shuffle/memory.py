"""Keeping freed memory for the next use, where pages of the system cost more than the work."""

from __future__ import annotations

import ctypes
import functools
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT = 2**29


@functools.cache
def keep_freed() -> None:
    """Let this process keep up to 512 MiB that it has freed; where libc cannot, do nothing.

    A shuffle takes and frees large arrays all the time. Handed back to the system, each comes
    again with a fault for every page, which can take as long as the work.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        # Where the first is refused, as before glibc 2.35, the second alone would do harm.
        if mallopt(_MMAP_THRESHOLD, _KEPT):
            mallopt(_TRIM_THRESHOLD, _KEPT)
