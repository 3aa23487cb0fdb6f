"""A file of a store that is read by ranges, as a seekable reader."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeAlias, cast

from mapred.errors import StorageError

_BUFFER = 4 * 2**20
_WHOLE = 2**20
_NEWLINE = re.compile(rb"\n")
Fetch: TypeAlias = Callable[[int, int], Any]
Stream: TypeAlias = Callable[[int], Iterator[Any]]


class _Reader(io.BufferedIOBase):
    """A seekable file over ranges, and over one long answer once it is read sequentially.

    `_held` is what came last, `_start` its place in the file, and `_at` the position in it. A
    `BufferedReader` would copy what streams through it again.
    """

    def __init__(self, fetch: Fetch, size: int, stream: Stream | None) -> None:
        self._fetch, self._size, self._stream = fetch, size, stream
        self._start = self._at = 0
        self._held = memoryview(b"")
        self._pieces: Iterator[Any] = iter(())
        self._expected = -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._start + self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        target = start + offset
        if target < 0:
            raise ValueError(f"cannot seek to {target}")
        if self._start <= target <= self._start + len(self._held):
            self._at = target - self._start
        else:
            self._hold(target, b"")
        return target

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        wanted = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview] = []
        while wanted:
            parts.append(self._some(wanted))
            wanted -= len(parts[-1])
        if len(parts) != 1:
            return b"".join(parts)
        whole = parts[0].obj
        return (
            whole if isinstance(whole, bytes) and len(whole) == len(parts[0]) else bytes(parts[0])
        )

    read1 = read

    def readline(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        left = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview] = []
        while left:
            self._fill(1)
            end = _NEWLINE.search(self._held, self._at, self._at + left)
            parts.append(self._some((end.end() - self._at) if end else left))
            left = 0 if end else left - len(parts[-1])
        return b"".join(parts)

    def close(self) -> None:
        self._hold(0, b"")
        self._pieces = iter(())
        super().close()

    def _some(self, most: int) -> memoryview:
        """Return at least one of the next `most` bytes, which exist."""
        self._fill(most)
        some = self._held[self._at : self._at + most]
        self._at += len(some)
        if self._at == len(self._held) > _BUFFER:
            self._hold(self.tell(), b"")
        return some

    def _fill(self, wanted: int) -> None:
        """Hold at least one byte that was not read yet."""
        if self._at == len(self._held):
            self._hold(self.tell(), self._next(wanted))

    def _hold(self, start: int, data: Any) -> None:
        self._start, self._held, self._at = start, memoryview(data), 0

    def _next(self, wanted: int) -> Any:
        """Fetch at least one byte from the position on; all that was held has been read."""
        at = self.tell()
        if self._stream is None or at != self._expected:
            self._pieces = iter(())
            piece = self._fetch(at, min(max(wanted, _BUFFER), self._size - at))
        else:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = self._stream(at)
                piece = next(self._pieces, None)
        if not piece:
            raise StorageError("the answer ended before the file did; try again")
        self._expected = at + len(piece)
        return piece


def reader(fetch: Fetch, size: int, stream: Stream | None = None) -> BinaryIO:
    """Return a seekable, buffered reader over `fetch(offset, length)`, which gives just these
    bytes.

    `stream(offset)` gives the bytes from there on in pieces, at least one of them; where it
    ends before the file does, it is called again. A small file is fetched once.
    """
    if size <= _WHOLE:
        fetch, stream = _once(fetch, size), None
    return cast(BinaryIO, _Reader(fetch, size, stream))


def _once(fetch: Fetch, size: int) -> Fetch:
    whole: list[memoryview] = []

    def take(offset: int, length: int) -> memoryview:
        if not whole:
            whole.append(memoryview(fetch(0, size)))
        return whole[0][offset : offset + length]

    return take
