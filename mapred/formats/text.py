"""Lines of text: each belongs to the range that holds its first byte."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from mapred.errors import DatasetError, StaleDatasetError
from mapred.formats.base import Open, OpenRange, Range, Reading, guarded, planned_ranges
from mapred.formats.compression import (
    PIECE,
    check_is_text,
    encoding_of,
    iter_pieces,
    must_read_whole,
)
from mapred.formats.magic import refuse_binary
from mapred.model.spec import Format
from mapred.process.lazy import np, pa

# Small, so that the lines of a block stay in the processor's cache while they are handed out.
LINES_BLOCK = 1 << 16
LARGE_BLOCK = 4 << 20
_PAST_END = 1 << 16
BOM = b"\xef\xbb\xbf"


class LineIterator(Iterator[Any]):
    """The lines of a shard, once, as they are read; `sum(1 for _ in lines)` counts them."""

    def __init__(self, blocks: Iterable[Iterable[Any]]) -> None:
        self._lines = itertools.chain.from_iterable(blocks)

    def __iter__(self) -> Iterator[Any]:
        return self._lines

    def __next__(self) -> Any:
        return next(self._lines)


def read(format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading) -> Any:
    """Lines of str or bytes, lazily; or all of them as an Arrow array or as bytes."""
    if format.as_ == "lines":
        return LineIterator(_str_lists(format, ranges, open_range, reading))
    if format.as_ == "byte_lines":
        return LineIterator(_byte_lists(format, ranges, open_range, reading))
    if format.as_ == "strings":
        return _strings(format, ranges, open_range, reading)
    if format.as_ == "bytes":
        return _join_ranges(format, ranges, open_range, reading)
    raise DatasetError(f"text cannot be read as_={format.as_!r}")


def blocks(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading, size: int
) -> Iterator[bytes]:
    """Whole lines of every range, about `size` bytes or one longer line at a time.

    Each block ends with a newline, unless it ends a file that does not. `reading` knows
    where the block lies, and counts its bytes when the next one is asked for.
    """
    for range_ in planned_ranges(ranges):
        yield from range_blocks(format, range_, open_range, reading, size)


def range_blocks(
    format: Format, range_: Range, open_range: OpenRange, reading: Reading, size: int
) -> Iterator[bytes]:
    """Yield the blocks of a range; a file that cannot be cut belongs to the range at its start."""
    reading.begin(range_)
    if must_read_whole(format, range_.path):
        if range_.offset == 0:
            with open_range(range_) as file:
                plain = iter_pieces(file, format, range_.path)
                yield from _cut_lines(plain, 0, None, reading, size)
            reading.finish(0, range_.size)
        else:
            reading.finish(range_.end, range_.end)
        return
    with open_range(range_) as file:
        if range_.offset == 0 and range_.length == range_.size <= size:
            block = file.read(range_.size)
            if block and len(block) == range_.size:  # small files are many: one read each
                refuse_binary(block, range_.path, None)
                reading.hold(0, range_.size)
                yield block
                reading.release()
                reading.finish()
                return
            file.seek(0)
        piece, start = _first_line(file, range_)
        reading.start_at(start)
        if start < range_.end:
            plain = itertools.chain((piece,), _read_raw(file, range_, start + len(piece)))
            if start == 0:
                plain = check_is_text(plain, range_.path, None)
            yield from _cut_lines(plain, start, range_.end, reading, size)
    reading.finish()


def _first_line(file: BinaryIO, range_: Range) -> tuple[bytes, int]:
    """Return what was read from the first line of the range on, and where that line starts.

    A range in which no line starts gives its end. The byte before it is read too: it tells
    whether a line starts at the offset itself.
    """
    if range_.offset == 0:
        return b"", 0
    position = file.seek(range_.offset - 1)
    while position < range_.end:
        piece = file.read(min(PIECE, range_.end - position))
        if not piece:
            raise _truncated_error(range_, position)
        newline = piece.find(b"\n") + 1
        if newline:
            return piece[newline:], position + newline
        position += len(piece)
    return b"", range_.end


def _read_raw(file: BinaryIO, range_: Range, position: int) -> Iterator[bytes]:
    """Yield the file from `position` on: up to the range's end, then further in growing pieces."""
    past = _PAST_END
    while position < range_.size:
        if position < range_.end:
            want = min(PIECE, range_.end - position)
        else:
            want = past
            past *= 2
        piece = file.read(want)
        if not piece:
            raise _truncated_error(range_, position)
        position += len(piece)
        yield piece


def _truncated_error(range_: Range, position: int) -> StaleDatasetError:
    return StaleDatasetError(
        f"{range_.path} ended at byte {position}, but had {range_.size} bytes when it was"
        " planned; plan again"
    )


def _cut_lines(
    plain: Iterator[bytes], at: int, end: int | None, reading: Reading, size: int
) -> Iterator[bytes]:
    """Yield pieces that start at offset `at` as whole lines, up to the line that holds byte `end - 1`.

    The next range begins at the first line that starts at `end` or behind it: so a line that goes
    over `end` is read here to its end, and one that starts just at `end` is not read at all. The
    newline looked for is therefore the first from `end - 1` on, which may be in a later piece.
    """
    pending: list[bytes] = []  # pieces of a line that has not ended yet, joined once
    begun = at
    unpacked = end is None
    for piece in plain:
        stop = 0
        if end is not None and at + len(piece) >= end:
            stop = piece.find(b"\n", max(end - 1 - at, 0)) + 1
        start = 0
        for cut in _find_cuts(piece, stop or len(piece), size):
            block = piece[start:cut]
            if pending:
                block = b"".join((*pending, block))
                pending.clear()
            reading.hold(begun, begun + len(block), unpacked=unpacked)
            yield block
            reading.release()  # not before the next block is asked for
            begun += len(block)
            start = cut
        if stop:
            return
        if start < len(piece):
            pending.append(piece[start:])
        at += len(piece)
    if pending:
        block = b"".join(pending)
        reading.hold(begun, begun + len(block), unpacked=unpacked)
        yield block
        reading.release()


def _find_cuts(piece: bytes, stop: int, size: int) -> Iterator[int]:
    """Find ends of lines in `piece[:stop]`, at most `size` apart unless a line is longer."""
    start = 0
    while start < stop:
        cut = piece.rfind(b"\n", start, min(start + size, stop)) + 1
        cut = cut or piece.find(b"\n", start + size, stop) + 1
        if not cut:
            return
        yield cut
        start = cut


def _str_lists(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Iterator[Iterator[str]]:
    decode = decoder(format, reading)
    with guarded(reading):
        for block in blocks(format, ranges, open_range, reading, LINES_BLOCK):
            text = decode(block)
            if "\r" in text:
                text = text.replace("\r\n", "\n")
            lines = text.split("\n")
            if block.endswith(b"\n"):
                lines.pop()
            yield reading.hand_out(lines)
            reading.take_back()


def _byte_lists(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Iterator[Iterator[bytes]]:
    with guarded(reading):
        for block in blocks(format, ranges, open_range, reading, LINES_BLOCK):
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n")
            lines = block.split(b"\n")
            if block.endswith(b"\n"):
                lines.pop()
            yield reading.hand_out(lines)
            reading.take_back()


def _strings(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> pa.LargeStringArray:
    to_utf8 = encoder(format, reading)
    arrays = []
    parts: list[bytes] = []
    held = 0
    with guarded(reading):
        for block in blocks(format, ranges, open_range, reading, LARGE_BLOCK):
            data = check_utf8(to_utf8(block))
            if b"\r" in data:
                data = data.replace(b"\r\n", b"\n")
            parts.append(data if data.endswith(b"\n") else data + b"\n")
            held += len(data)
            if held >= LARGE_BLOCK:
                arrays.append(_lines_array(parts))
                parts, held = [], 0
        arrays.append(_lines_array(parts))
        lines = pa.concat_arrays(arrays)
    reading.records += len(lines)
    return lines


def _lines_array(parts: list[bytes]) -> pa.LargeStringArray:
    """Return the lines of blocks that end with newlines: found by numpy, never touched one by one."""
    block = b"".join(parts)
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    offsets = np.zeros(len(ends) + 1, np.int64)
    offsets[1:] = ends - np.arange(len(ends))
    values = pa.py_buffer(block.replace(b"\n", b""))
    return pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), values)


def _join_ranges(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> bytes:
    """Return all bytes; a newline is added to a file without one, for the next file to begin a line."""
    parts: list[bytes] = []
    with guarded(reading):
        for block in blocks(format, ranges, open_range, reading, LARGE_BLOCK):
            if parts and not parts[-1].endswith(b"\n"):
                # A carriage return that ends a file is not part of the newline that is added.
                parts.append(b"\r\n" if parts[-1].endswith(b"\r") else b"\n")
            parts.append(block)
            reading.records += block.count(b"\n") + (not block.endswith(b"\n"))
    return b"".join(parts)


def decoder(format: Format, reading: Reading) -> Callable[[bytes], str]:
    """Return how blocks become text, without a byte order mark if the encoding has one."""
    encoding = encoding_of(format.encoding)
    name, errors = ("utf-8", "strict") if encoding.wide else (encoding.name, format.errors)
    if not encoding.bom:
        return lambda block: block.decode(name, errors)

    def decode(block: bytes) -> str:
        text = block.decode(name, errors)
        return text.removeprefix("\ufeff") if reading.block_start == 0 else text

    return decode


def encoder(format: Format, reading: Reading) -> Callable[[bytes], bytes]:
    """Return how blocks become UTF-8."""
    encoding = encoding_of(format.encoding)
    strict = encoding.name == "utf-8" and format.errors == "strict" and not encoding.bom
    if encoding.wide or strict:
        return lambda block: block
    decode = decoder(format, reading)
    return lambda block: decode(block).encode()


def check_utf8(data: bytes) -> bytes:
    """Return the same bytes; raise `UnicodeDecodeError` if they are not UTF-8."""
    if not data.isascii():
        # As one long string: Arrow validates several times as fast as Python decodes.
        ends = pa.py_buffer(struct.pack("=qq", 0, len(data)))
        try:
            pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(data)).validate(full=True)
        except pa.ArrowInvalid:
            data.decode()
            raise
    return data


def line_number(format: Format, range_: Range, offset: int, open_range: OpenRange) -> int:
    """Return the number, from 1, of the line that starts at byte `offset` of the file's text."""
    lines, position = 1, 0
    with open_range(range_) as file:
        for piece in iter_pieces(file, format, range_.path):
            if position + len(piece) >= offset:
                return lines + piece[: offset - position].count(b"\n")
            lines += piece.count(b"\n")
            position += len(piece)
    return lines


def read_head(format: Format, path: str, open_: Open, reading: Reading) -> bytes:
    """Return the first lines of a file as UTF-8: about a megabyte, always whole lines."""
    parts: list[bytes] = []
    to_utf8 = encoder(format, reading)
    held = 0
    with open_(path) as file:
        for block in _cut_lines(iter_pieces(file, format, path), 0, None, reading, PIECE):
            parts.append(to_utf8(block))
            held += len(block)
            if held >= PIECE:
                break
    return b"".join(parts).removeprefix(BOM)
