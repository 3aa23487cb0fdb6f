"""Where a process notes what it is at, for the process that finds it dead."""

from __future__ import annotations

import mmap
import os
import struct

_AT = struct.Struct("=qq")
_SIZE = _AT.size
_NOWHERE = (-1, -1)


class Place:
    """A task and an item in memory that two processes share: by a file, or by a fork.

    To note them takes no system call, since every item is noted before it is called.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            self._shared = mmap.mmap(-1, _SIZE)
        else:
            os.ftruncate(descriptor, _SIZE)
            self._shared = mmap.mmap(descriptor, _SIZE)
            os.close(descriptor)
        self.forget()

    def note(self, task: int, item: int) -> None:
        _AT.pack_into(self._shared, 0, task, item)

    def forget(self) -> None:
        self.note(*_NOWHERE)

    def read(self) -> tuple[int, int] | None:
        """Return the task and the item noted last (-1 where it was at none); None before the first."""
        place: tuple[int, int] = _AT.unpack_from(self._shared, 0)
        return None if place == _NOWHERE else place

    def close(self) -> None:
        self._shared.close()
