"""Compressed and wide text as plain pieces of bytes: exact on members, frames and truncation."""

from __future__ import annotations

import codecs
import functools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from mapred.arrow.buffers import from_arrow
from mapred.errors import DatasetError
from mapred.formats.base import Source
from mapred.formats.magic import LOOK, refuse_binary
from mapred.model.spec import Format
from mapred.process.lazy import np, pa, pc

if TYPE_CHECKING:
    import numpy.typing as npt

PIECE = 1 << 20
_INPUT = 1 << 18
_SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
_STATEFUL = ("utf-7", "hz", "iso2022")


@dataclass(frozen=True)
class Encoding:
    """How bytes become text. `wide`: lines cannot be cut at a newline byte."""

    name: str
    wide: bool = False
    bom: bool = False


@functools.lru_cache(maxsize=64)
def encoding_of(name: str) -> Encoding:
    """Return the encoding of that name; a `DatasetError` if there is none."""
    try:
        canonical = codecs.lookup(name).name
        if canonical == "utf-8-sig":
            return Encoding("utf-8", bom=True)
        narrow = "\r\n".encode(canonical) == b"\r\n"
    except LookupError as error:
        raise DatasetError(f"encoding={name!r} is unknown: {error}") from error
    return Encoding(canonical, wide=not narrow or canonical.startswith(_STATEFUL))


def compression_of(format: Format, path: str) -> str | None:
    """Return the compression of a text file, by its suffix unless the format says it."""
    if format.compression == "infer":
        _, dot, suffix = path.rpartition(".")
        return _SUFFIXES.get(dot + suffix.lower())
    if format.compression is None or format.compression in _SUFFIXES.values():
        return format.compression
    names = ", ".join(_SUFFIXES.values())
    raise DatasetError(f"compression={format.compression!r} is not one of infer, {names}, None")


def must_read_whole(format: Format, path: str) -> bool:
    """Whether a text file can only be read from its first byte to its last."""
    return (
        format.newlines_in_values
        or compression_of(format, path) is not None
        or encoding_of(format.encoding).wide
    )


def is_splittable(format: Format, paths: pa.ChunkedArray) -> bool | npt.NDArray[np.bool_]:
    """Tell which files a plan may cut: one answer for all of them, or one for each."""
    if format.name in ("text", "csv", "json"):
        if must_read_whole(format, "") or compression_of(format, "") is not None:
            return False
        if format.compression is None:
            return True

        suffixes = "|".join(suffix[1:] for suffix in _SUFFIXES)
        return ~from_arrow(pc.match_substring_regex(paths, rf"(?i)\.({suffixes})$"))
    return format.name != "files"


def iter_pieces(file: BinaryIO, format: Format, path: str) -> Iterator[bytes]:
    """Return the whole file, decompressed; wide encodings come out as UTF-8."""
    compression = compression_of(format, path)
    plain = _decompress(file, compression) if compression else _read_raw(file)
    plain = check_is_text(plain, path, compression)
    encoding = encoding_of(format.encoding)
    return _as_utf8(plain, encoding.name, format.errors, path) if encoding.wide else plain


def check_is_text(plain: Iterator[bytes], path: str, compression: str | None) -> Iterator[bytes]:
    """Yield the pieces of a file unchanged; refuse archives and other binary files by the first ones."""
    head = b""
    for piece in plain:
        head += piece
        if len(head) >= LOOK:
            break
    refuse_binary(head, path, compression)
    if head:
        yield head
    yield from plain


def _read_raw(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield piece


def _decompress(file: BinaryIO, compression: str) -> Iterator[bytes]:
    if compression == "zstd":
        return _decompress_zstd(file)
    return _decompress_members(file, _decompressor(compression))


def _decompress_zstd(file: BinaryIO) -> Iterator[bytes]:
    if not file.read(1):
        return
    file.seek(0)
    stream = pa.CompressedInputStream(pa.PythonFile(Source(file), mode="r"), "zstd")
    while piece := stream.read(PIECE):
        yield piece


def _decompressor(compression: str) -> Callable[[], Any]:
    if compression == "gzip":
        return lambda: _Gzip(zlib.decompressobj(wbits=31))
    # Some Pythons are built without these two.
    if compression == "bz2":
        import bz2

        return bz2.BZ2Decompressor
    import lzma

    # The older .lzma format has no checksum: a hole in a file would pass for one.
    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ)


class _Gzip:
    """zlib's decompressor, with the interface of those of bz2 and lzma."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._inner.decompress(self._inner.unconsumed_tail + data, max_length))


def _decompress_members(file: BinaryIO, new: Callable[[], Any]) -> Iterator[bytes]:
    """Decompress one member after the other; zero bytes between and behind them are padding."""
    inner: Any = None
    data = file.read(_INPUT)
    first = True
    while True:
        if inner is None:
            data = data if first else data.lstrip(b"\0")
            if not data:
                data = file.read(_INPUT)
                if not data:
                    return
                continue
            inner, first = new(), False
        if inner.needs_input and not data:
            data = file.read(_INPUT)
            if not data:
                raise EOFError("the compressed file is truncated")
        piece, data = inner.decompress(data, PIECE), b""
        if piece:
            yield piece
        if inner.eof:
            inner, data = None, inner.unused_data


def _as_utf8(plain: Iterator[bytes], name: str, errors: str, path: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(name)(errors)
    read = 0
    final = False
    while not final:
        piece = next(plain, b"")
        final = not piece
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            raise DatasetError(
                f"{path}: byte {read - held + error.start} is not valid {name}"
                f" ({error.reason}); pass encoding=, or errors='replace' or errors='ignore'"
            ) from error
        read += len(piece)
        if text:
            yield text.encode()
