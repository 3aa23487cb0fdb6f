"""A run's own input, items and frames, checked by their digests at every read.

Items are pickles, and who can change a pickle can run code in the process that loads it. A large
file has a digest for each piece, in a file that has a digest itself, so that a reader checks what
it reads and no more.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, BinaryIO

from mapred.errors import FunctionError, RecordError
from mapred.model import layout
from mapred.model.coding import EMPTY, is_blank
from mapred.model.frozen import dataclass
from mapred.storage import Store

PIECE = 2**20
_SIZE = 32  # of a SHA-256
_KEPT = 8  # pieces of a file, for the small ranges that follow each other


def hash_pieces(path: str, data: Any) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of the digests of an input file, if that has several pieces."""
    view = memoryview(data).cast("B")
    if len(view) > PIECE:
        pieces = (view[start : start + PIECE] for start in range(0, len(view), PIECE))
        yield layout.sums(path), b"".join(hashlib.sha256(piece).digest() for piece in pieces)


def read(store: Store, digests: Mapping[str, str], path: str) -> bytes:
    """Return a file of a run; refuse it if its digest is not the one that the job names."""
    data = store.read(path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != digests.get(path):
        if is_blank(data):
            raise RecordError(f"{store.uri}/{path} {EMPTY}", blank=True)
        raise _changed_error(store, path, digest)
    return data


def fetch_input(store: Store, digests: Mapping[str, str], path: str) -> bytes | Pieces:
    """Return the bytes of an input file, or the pieces of a large one, which are read as needed."""
    if layout.sums(path) in digests:
        return Pieces(store, path, read(store, digests, layout.sums(path)))
    if path not in digests:
        raise _changed_error(store, path, "of a file that the job does not name")
    return _read_verified(store, digests[path], path)


def as_reader(data: bytes | Pieces) -> BinaryIO:
    return io.BytesIO(data) if isinstance(data, bytes) else io.BufferedReader(_Reader(data))


def open_input(store: Store, digests: Mapping[str, str], path: str) -> BinaryIO:
    """Open an input file, for a process that reads it once."""
    return as_reader(fetch_input(store, digests, path))


@dataclass(frozen=True)
class Pieces:
    """A file that is checked piece by piece; `sums` are their digests, one after the other."""

    store: Store
    path: str
    sums: bytes
    kept: dict[int, bytes] = field(default_factory=dict)

    def read(self, first: int, stop: int) -> bytes:
        """Return the pieces `first` up to `stop`, by one request if they are not kept."""
        kept = self.kept.get(first) if stop == first + 1 else None
        if kept is not None:
            return kept
        data = self.store.read(self.path, first * PIECE, (stop - first) * PIECE)
        view = memoryview(data)
        for number in range(first, stop):
            piece = view[(number - first) * PIECE : (number - first + 1) * PIECE]
            digest = hashlib.sha256(piece).digest()
            if digest != self.sums[number * _SIZE : (number + 1) * _SIZE]:
                raise _changed_error(self.store, self.path, f"{digest.hex()} of piece {number}")
        while len(self.kept) >= _KEPT:
            self.kept.pop(next(iter(self.kept)), None)
        self.kept[stop - 1] = bytes(view[(stop - 1 - first) * PIECE :])
        return data

    @property
    def size(self) -> int:
        """In bytes: all pieces but the last are whole."""
        last = len(self.sums) // _SIZE - 1
        return last * PIECE + len(self.read(last, last + 1))


class _Reader(io.RawIOBase):
    def __init__(self, pieces: Pieces) -> None:
        self._pieces, self._at = pieces, 0
        self._size = pieces.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        stop = min(self._at + len(view), self._size)
        if stop <= self._at:
            return 0
        first = self._at // PIECE
        data = self._pieces.read(first, -(-stop // PIECE))
        count = stop - self._at
        start = self._at - first * PIECE
        view[:count] = memoryview(data)[start : start + count]
        self._at = stop
        return count


def _read_verified(store: Store, digest: str, path: str) -> bytes | Pieces:
    """Return a file without a file of digests: it is small, or of a run of an earlier version."""
    whole, sums = hashlib.sha256(), []
    first = b""
    with store.open(path) as file:
        while piece := file.read(PIECE):
            whole.update(piece)
            sums.append(hashlib.sha256(piece).digest())
            first = first or piece
    if whole.hexdigest() != digest:
        raise _changed_error(store, path, whole.hexdigest())
    return first if len(sums) < 2 else Pieces(store, path, b"".join(sums))


def _changed_error(store: Store, path: str, digest: str) -> FunctionError:
    return FunctionError(
        f"{store.uri}/{path} is not the file that the job names (SHA-256 {digest}); "
        "someone changed it: start a new run"
    )
