"""Checksums of what a run stores: taken when it is written, compared when it is read whole.

A record that is put once carries its CRC-32 as its last field, its seal. Records and outputs of
earlier versions have none, and are read as they are.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from mapred.errors import StorageError

_PIECE = 2**20
_SEAL = b',"seal":"'
_LENGTH = len(_SEAL) + 8 + len(b'"}')


def add_seal(record: bytes) -> bytes:
    """Return a record in JSON that ends in its seal."""
    return b'%b%b%08x"}' % (record[:-1], _SEAL, zlib.crc32(record[:-1]))


def is_whole(record: bytes) -> bool:
    """Whether a record that has a seal is what was sealed."""
    data, last = record[:-_LENGTH], record[-_LENGTH:]
    return last == b'%b%08x"}' % (_SEAL, zlib.crc32(data))


def check(data: Any, size: int, crc32: int, where: str) -> None:
    """Raise a `StorageError` unless bytes are those of the size and CRC-32 that were recorded.

    An output of an earlier version may have neither.
    """
    compare((memoryview(data).nbytes, zlib.crc32(data)), size, crc32, where)


def compare(actual: tuple[int, int], size: int, crc32: int, where: str) -> None:
    """Raise a `StorageError` unless the size and CRC-32 that were `found` are the recorded ones."""
    if actual == (size, crc32) or (crc32 == 0 and size in (0, actual[0])):
        return
    raise StorageError(
        f"{where} is not what was written: {size:,} bytes with the CRC-32 {crc32:08x} were "
        f"committed, and {actual[0]:,} with {actual[1]:08x} are there"
    )


def of_file(file: BinaryIO) -> tuple[int, int]:
    """Size and CRC-32 of what is left of a file."""
    size = crc32 = 0
    for piece in blocks(file):
        size, crc32 = size + len(piece), zlib.crc32(piece, crc32)
    return size, crc32


def sha256_of_file(file: BinaryIO) -> tuple[int, str]:
    """Size and SHA-256, in hexadecimal digits, of what is left of a file."""
    size, digest = 0, hashlib.sha256()
    for piece in blocks(file):
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Return what is left of a file, a mebibyte at a time."""
    return iter(lambda: file.read(_PIECE), b"")


def running_crc32(data: Any, offsets: Iterable[int]) -> tuple[tuple[int, ...], int]:
    """Return the CRC-32 of the bytes before each of the rising offsets, and of all."""
    view, sums, start, crc32 = memoryview(data), [], 0, 0
    for offset in offsets:
        crc32, start = zlib.crc32(view[start:offset], crc32), offset
        sums.append(crc32)
    return tuple(sums), zlib.crc32(view[start:], crc32)
