"""Values one at a time: pickles back to back, or the indices of an array."""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mapred.errors import DatasetError
from mapred.formats.base import OpenRange, Range, Reading, guarded, planned_ranges, read_exactly
from mapred.functions import pickling
from mapred.model.checking import safe_text
from mapred.model.spec import Format

if TYPE_CHECKING:
    import pyarrow as pa

Load = Callable[[Range, int], Any]
LoadAll = Callable[[Range], Sequence[Any] | None]


class Items:
    """Pairs of an item's index and its value.

    An item that cannot be read raises, and the next call continues with the one behind it, so
    that a run may give up single items. `load_all` gives a whole range's values at once, or
    None where one of them does not load: then `load` is asked for each.
    """

    def __init__(
        self,
        ranges: Iterator[Range],
        load_all: LoadAll,
        load: Load,
        reading: Reading,
    ) -> None:
        self._ranges = ranges
        self._load_all, self._load = load_all, load
        self._reading = reading
        self._range: Range | None = None
        self._values: Sequence[Any] | None = None
        self._first = self._next = self._count = 0
        self._held = False

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self

    def __next__(self) -> tuple[int, Any]:
        reading = self._reading
        reading.records += self._held
        self._held = False
        while self._next == self._count:
            self._begin()
        number = self._next
        self._next = number + 1
        index = reading.item = self._first + number
        if self._values is not None:
            value = self._values[number]
        else:
            assert self._range is not None
            with guarded(reading):
                value = self._load(self._range, number)
        self._held = True
        return index, value

    def _begin(self) -> None:
        """Continue to the next range; raise `StopIteration` where there is none."""
        if self._range is not None:
            self._reading.finish(self._range.offset, self._range.end)
        self._range = next(self._ranges, None)
        if self._range is None:
            self._reading.item = None
            self._ranges = iter(())
            self._next = self._count = 0
            raise StopIteration
        self._reading.begin(self._range)
        self._first, self._next, self._count = self._range.first, 0, self._range.count
        self._values = self._load_all(self._range)


def read(format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading) -> Items:
    """Return the items of a shard, or, of an array, the indices themselves."""
    if format.name == "array":
        return Items(
            planned_ranges(ranges),
            lambda range_: range(range_.first, range_.first + range_.count),
            lambda range_, number: range_.first + number,
            reading,
        )
    pickles = _Pickles(open_range)
    return Items(planned_ranges(ranges), pickles.load_all, pickles.load, reading)


class _Pickles:
    """The pickles of one range after the other, each loaded when it is needed."""

    def __init__(self, open_range: OpenRange) -> None:
        self._open_range = open_range
        self._range: Range | None = None
        self._data = io.BytesIO()

    def load_all(self, range_: Range) -> list[Any] | None:
        """Return every value of a range; None where one does not load, or bytes are left over."""
        try:
            self._begin(range_)
            values = [pickling.load(self._data) for _ in range(range_.count)]
        except Exception:
            self._range = None
            return None
        whole = self._data.tell() == range_.length
        self._range = None
        return values if whole else None

    def load(self, range_: Range, number: int) -> Any:
        if self._range is not range_:
            self._begin(range_)
        start = self._data.tell()
        try:
            value = pickling.load(self._data)
        except Exception as error:
            self._skip(start)
            raise DatasetError(
                f"item {range_.first + number} cannot be loaded: {type(error).__name__}: "
                f"{safe_text(str, error)}"
            ) from error
        if number + 1 == range_.count and self._data.tell() != range_.length:
            raise DatasetError(f"{range_.path}: more than {range_.count} items in {range_}")
        return value

    def _begin(self, range_: Range) -> None:
        with self._open_range(range_) as file:
            self._data = io.BytesIO(read_exactly(file, range_.offset, range_.length))
        self._range = range_

    def _skip(self, start: int) -> None:
        """Move to the end of the pickle at `start`, which did not load."""
        self._data.seek(start)
        try:
            for _ in pickletools.genops(self._data):
                pass
        except Exception:  # no pickle at all: those behind it are not to be found
            self._data.seek(0, io.SEEK_END)
