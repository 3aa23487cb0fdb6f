"""Compare files with what was written: by content, or by size alone."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from mapred.client.audit.problems import Problem
from mapred.errors import StorageError
from mapred.model import checksums
from mapred.storage import Store

_PIECE = 2**20

Listing = Mapping[str, tuple[int, str]]  # size and etag by path


@dataclass(frozen=True)
class Stored:
    """A file as it was written, at `path` of its store: `what` of `where` it is, in words.

    `checksum` is a CRC-32 or a SHA-256 in hexadecimal digits; `size` is None where only the
    checksum was recorded. `etag` is the store's own checksum, where it has one.
    """

    path: str
    where: str
    what: str
    size: int | None
    checksum: str
    etag: str = ""


def check_file(store: Store, file: Stored, listing: Listing | None) -> Problem | None:
    """Return what is wrong with a file: by a listing of its folder, else by its content."""
    if listing is None or file.path not in listing:  # a listing may lag behind
        return _check_content(store, file)
    size, etag = listing[file.path]
    if file.size not in (None, size):
        return _report_changed(file)
    if has_etag(listing, file) and etag != file.etag:
        text = f"{file.what} {file.path} has another etag than when it was written"
        return Problem("changed", file.where, f"{text}; audit its content")
    return None


def _check_content(store: Store, file: Stored) -> Problem | None:
    try:
        size, checksum = _measure(store, file)
    except FileNotFoundError:
        return _report_missing(file)
    except StorageError as error:
        return Problem("unreadable", file.where, f"{file.what} {file.path}: {error}")
    same = file.size in (None, size) and file.checksum == checksum
    return None if same else _report_changed(file)


def has_etag(listing: Listing, file: Stored) -> bool:
    """Whether the store's own checksum of a file was recorded, and is listed."""
    return bool(file.etag and listing.get(file.path, (0, ""))[1])


def check_exists(store: Store, file: Stored) -> Problem | None:
    """Return what is wrong with a file whose size is unknown, without reading its content."""
    try:
        store.read(file.path, 0, 0)
    except FileNotFoundError:
        return _report_missing(file)
    return None


def crc32_text(checksum: int) -> str:
    """Return a CRC-32 as `Stored` has it."""
    return f"{checksum:08x}"


def _report_missing(file: Stored) -> Problem:
    return Problem("missing", file.where, f"{file.what} {file.path} is gone")


def _report_changed(file: Stored) -> Problem:
    return Problem("changed", file.where, f"{file.what} {file.path} is not what was written")


def _measure(store: Store, file: Stored) -> tuple[int, str]:
    if file.size is not None and file.size <= _PIECE:
        return _sums(io.BytesIO(store.read(file.path)), file)
    with store.open(file.path) as opened:
        return _sums(opened, file)


def _sums(opened: BinaryIO, file: Stored) -> tuple[int, str]:
    if len(file.checksum) == 64:
        return checksums.sha256_of_file(opened)
    size, crc32 = checksums.of_file(opened)
    return size, crc32_text(crc32)
