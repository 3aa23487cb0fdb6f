"""What one attempt reads: its ranges, the evidence of what it took, and errors that name the place."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from mapred.errors import DatasetError, MapredError, StaleDatasetError
from mapred.model.records import Span
from mapred.storage import fingerprint

if TYPE_CHECKING:
    import pyarrow as pa


T = TypeVar("T")


class Open(Protocol):
    """Opens a path; the store need not be asked for the size and etag if the plan's are passed."""

    def __call__(self, path: str, fingerprint: tuple[int, str] | None = None, /) -> BinaryIO: ...


Fingerprint = Callable[[str, BinaryIO], tuple[int, str]]


@dataclass(slots=True)
class Range:
    """A range of a shard, row `number` of its plan: `length` bytes of `path` from `offset` on.

    `size` and `etag` are the whole file's when it was planned; `first` and `count` number
    its items in the dataset.
    """

    number: int
    path: str
    offset: int
    length: int
    size: int
    etag: str
    first: int
    count: int

    @property
    def end(self) -> int:
        return self.offset + self.length


OpenRange = Callable[[Range], BinaryIO]


def planned_ranges(ranges: pa.Table) -> Iterator[Range]:
    """Yield the ranges of one shard's plan rows, in order."""
    names = ("path", "offset", "length", "size", "etag", "first", "count")
    columns = [ranges.column(name).to_pylist() for name in names]
    for number, row in enumerate(zip(*columns, strict=True)):
        yield Range(number, *row)


class Reading:
    """The evidence of what was read, true at any moment while the function iterates.

    `records` lines, rows or items and `bytes` count what the function has taken and come
    back from: a block, batch or item that it still holds is not counted. `skipped` counts
    malformed rows that were left out. `ranges` are finished ones, always the first of the
    shard; `units` row groups or record batches read or pruned; `item` the index of the item
    handed out last; `heavy` about how many rows the keys that stand out have.
    """

    def __init__(self) -> None:
        self.records = 0
        self.skipped = 0
        self.ranges = 0
        self.units = 0
        self.item: int | None = None
        self.heavy: dict[str, int] = {}
        self.shard: pa.Table | None = None
        self._bytes = 0
        self._spans: list[Span] = []
        self._range: Range | None = None
        self._start = self._stop = 0
        self._place = ""
        self._block: tuple[int, int] | None = None
        self._what = "bytes"
        self._before = 0
        self._lines: Sequence[Any] = ()
        self._left: Iterator[Any] = iter(())

    @property
    def bytes(self) -> int:
        """Bytes of the files that this reading stands for."""
        return self._bytes + self._stop - self._start

    @property
    def spans(self) -> list[Span]:
        """Ranges whose bytes differ from the plan, and the one that is not finished."""
        if self._range is None:
            return list(self._spans)
        return [*self._spans, Span(self._range.number, self._start, self._stop)]

    @property
    def block_start(self) -> int:
        """Where the block handed out last begins, in bytes of the file's text."""
        return self._block[0] if self._block else 0

    def begin(self, range_: Range) -> None:
        """Start a range; nothing of it counts as read."""
        self._range = range_
        self._start = self._stop = range_.offset
        self._place, self._block, self._what = "", None, "bytes"
        self._before = self.records

    def sample(self, path: str, offset: int = 0) -> None:
        """Name the file that a client takes a sample of."""
        self.begin(Range(0, path, offset, 0, 0, "", 0, 0))

    def start_at(self, offset: int) -> None:
        """Note that the first record of the range begins at byte `offset` of the file."""
        self._start = self._stop = offset

    def hold(self, start: int, stop: int, *, unpacked: bool = False) -> None:
        """Name the bytes that are about to be handed out; `unpacked` ones are not the file's."""
        self._block = (start, stop)
        self._what = "uncompressed bytes" if unpacked else "bytes"

    def release(self) -> None:
        """Count the bytes of the block handed out last, which has come back."""
        if self._block is not None and self._what == "bytes":
            self._stop = self._block[1]

    def hand_out(self, lines: list[T]) -> Iterator[T]:
        """Iterate over lines; `line` can tell how far, and no line costs anything for it."""
        self._lines = lines
        self._left = iter(lines)
        return self._left

    def take_back(self) -> None:
        """Count all of the lines that were handed out."""
        self.records += len(self._lines)
        self._lines = ()

    @property
    def line(self) -> tuple[int, Any, Range, int] | None:
        """The line handed out last: its number from 1 on, itself, its range, and the byte from which lines
        are counted."""
        taken = len(self._lines) - operator.length_hint(self._left)
        if self._range is None or not self._lines or not taken:
            return None
        number = self.records - self._before + taken
        return number, self._lines[taken - 1], self._range, self._start

    def at(self, place: str) -> None:
        """Name the part of the file that is read next, such as a row group."""
        self._place = place

    def finish(self, start: int | None = None, stop: int | None = None) -> None:
        """Note that the range is read; `start` and `stop` are by default what was counted so far."""
        assert self._range is not None
        range_, self._range = self._range, None
        start = self._start if start is None else start
        stop = self._stop if stop is None else stop
        if (start, stop) != (range_.offset, range_.end):
            self._spans.append(Span(range_.number, start, stop))
        self._bytes += stop - start
        self._start = self._stop = 0
        self.ranges += 1

    @property
    def path(self) -> str:
        """The file being read, or nothing between files."""
        return self._range.path if self._range else ""

    def where(self) -> str:
        """Describe the file and the byte range, row group or item in hand; between files, the shard."""
        if self._range is None:
            return "" if self.shard is None else describe(self.shard)
        item = "" if self.item is None else f"item {self.item}"
        if not self._range.path or (item and self._range.count == 1):
            return ", ".join(filter(None, [self._range.path, item]))
        start, stop = self._block or (self._range.offset, self._range.end)
        place = self._place or item or f"{self._what} {start}-{stop}"
        return f"{self._range.path}, {place}"


def describe(ranges: pa.Table) -> str:
    """Describe a shard by its first range and the number of others."""
    for range_ in planned_ranges(ranges.slice(0, 1)):
        if not range_.path:
            return f"items {range_.first}-{range_.first + range_.count - 1}"
        more = f" and {ranges.num_rows - 1} more ranges" if ranges.num_rows > 1 else ""
        return f"{range_.path}, bytes {range_.offset}-{range_.end}{more}"
    return "an empty shard"


def range_opener(open_: Open, check: Fingerprint | None = None) -> OpenRange:
    """Open ranges, and refuse files that are not what was planned."""
    check = check or _fingerprint

    def open_range(range_: Range) -> BinaryIO:
        file = open_(range_.path, (range_.size, range_.etag))
        try:
            size, etag = check(range_.path, file)
            if size != range_.size:
                raise StaleDatasetError(
                    f"{range_.path} has {size} bytes, but had {range_.size} when it was planned;"
                    " plan again"
                )
            if etag and range_.etag and etag != range_.etag:
                raise StaleDatasetError(
                    f"{range_.path} was changed after it was planned"
                    f" (its tag is {etag}, not {range_.etag}); plan again"
                )
        except BaseException:
            file.close()
            raise
        return file

    return open_range


def _fingerprint(path: str, file: BinaryIO) -> tuple[int, str]:
    try:
        return fingerprint(path, file)
    except (AttributeError, OSError):  # a store's file, which has a size alone
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        return size, ""


class guarded:
    """Turn whatever goes wrong inside into a `DatasetError` that names file and place.

    A class and not a generator: one is entered for every item, and a generator costs more.
    """

    __slots__ = ("_reading",)

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, MapredError | MemoryError):
            raise as_mapred_error(error, self._reading) from error


def as_mapred_error(error: Exception, reading: Reading) -> MapredError:
    """Return an error that was raised while reading as one of this package."""
    if isinstance(error, MapredError):
        return error
    if isinstance(error, FileNotFoundError):
        return StaleDatasetError(f"{reading.path} was removed after it was planned; plan again")
    if isinstance(error, UnicodeDecodeError):
        return bad_text(reading, error)
    detail = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        detail = f"{type(error).__name__}: {error.strerror}"
    return DatasetError(f"cannot read {reading.where()}: {detail}")


def bad_text(reading: Reading, error: UnicodeDecodeError) -> DatasetError:
    """Return the error for bytes of the block in hand that its encoding does not allow."""
    bad = error.object[error.start : error.end]
    what = "uncompressed byte" if "uncompressed" in reading.where() else "byte"
    return DatasetError(
        f"{reading.path}: {what} {reading.block_start + error.start} is not valid"
        f" {error.encoding} ({bytes(bad)!r}: {error.reason}); pass encoding=, or"
        " errors='replace' or errors='ignore'"
    )


class Source:
    """A file as Arrow reads it: `read` never gives less than `size` bytes before the end.

    Arrow takes a short read for the end of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell
        self.close = file.close

    @property
    def closed(self) -> bool:
        return self._file.closed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if len(data) == size or not data:
            return data
        parts = [data]
        missing = size - len(data)
        while size < 0 or missing:
            part = self._file.read(missing if size >= 0 else -1)
            if not part:
                break
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def read_exactly(file: BinaryIO, offset: int, length: int) -> bytes:
    """Read `length` bytes from `offset` on; raise `EOFError` where the file ends before."""
    file.seek(offset)
    data = file.read(length)
    if len(data) < length:
        data += Source(file).read(length - len(data))
    if len(data) < length:
        raise EOFError(f"the file ends {length - len(data)} bytes early")
    return data
