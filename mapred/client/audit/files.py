"""Files as they were written, against what lies there now: by content, or by size alone."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mapred.client.audit.problems import Problem
from mapred.errors import StorageError
from mapred.storage import Store

_PIECE = 2**20

Listing = Mapping[str, tuple[int, str]]  # size and etag by path


@dataclass(frozen=True)
class Stored:
    """A file as it was written, at `path` of its store: `what` of `where` it is, in words.

    `checksum` is a CRC-32 or a SHA-256 in hexadecimal digits; `size` is None where only the
    checksum was recorded. `etag` is the store's own checksum, where it told one.
    """

    path: str
    where: str
    what: str
    size: int | None
    checksum: str
    etag: str = ""


def by_content(store: Store, file: Stored) -> Problem | None:
    """What is wrong with a file, all of which is read; a large one comes in pieces."""
    try:
        size, checksum = _measured(store, file)
    except FileNotFoundError:
        return _gone(file)
    except StorageError as error:
        return Problem("unreadable", file.where, f"{file.what} {file.path}: {error}")
    same = file.size in (None, size) and file.checksum == checksum
    return None if same else _changed(file)


def by_size(store: Store, known: Listing, file: Stored) -> Problem | None:
    """What is wrong with a file by a listing of its folder; nothing is read of what it shows."""
    if file.path not in known:
        # A listing may lag behind.
        return by_content(store, file)
    size, etag = known[file.path]
    if file.size not in (None, size):
        return _changed(file)
    if has_etag(known, file) and etag != file.etag:
        text = f"{file.what} {file.path} has another etag than when it was written"
        return Problem("changed", file.where, f"{text}; audit its content")
    return None


def has_etag(known: Listing, file: Stored) -> bool:
    """Whether the store's own checksum of a file was recorded, and is listed."""
    return bool(file.etag and known.get(file.path, (0, ""))[1])


def by_name(store: Store, file: Stored) -> Problem | None:
    """What is wrong with a file of which no size is known, and no content is to be read."""
    try:
        store.read(file.path, 0, 0)
    except FileNotFoundError:
        return _gone(file)
    return None


def crc32_text(checksum: int) -> str:
    """A CRC-32 as `Stored` has it."""
    return f"{checksum:08x}"


def _gone(file: Stored) -> Problem:
    return Problem("missing", file.where, f"{file.what} {file.path} is gone")


def _changed(file: Stored) -> Problem:
    return Problem("changed", file.where, f"{file.what} {file.path} is not what was written")


def _measured(store: Store, file: Stored) -> tuple[int, str]:
    add, text = _sha256() if len(file.checksum) == 64 else _crc32()
    count = 0
    if file.size is not None and file.size <= _PIECE:
        data = store.read(file.path)
        add(data)
        return len(data), text()
    with store.open(file.path) as opened:
        while piece := opened.read(_PIECE):
            count += len(piece)
            add(piece)
    return count, text()


def _sha256() -> tuple[Callable[[bytes], None], Callable[[], str]]:
    digest = hashlib.sha256()
    return digest.update, digest.hexdigest


def _crc32() -> tuple[Callable[[bytes], None], Callable[[], str]]:
    value = 0

    def add(data: bytes) -> None:
        nonlocal value
        value = zlib.crc32(data, value)

    return add, lambda: crc32_text(value)
