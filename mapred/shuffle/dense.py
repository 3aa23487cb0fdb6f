"""Sums by whole-number keys that lie close together: added up by place, without hashing.

Identifiers are mostly such numbers, and adding to `totals[key - lowest]` is several times as fast
as a hash table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import dtype_of, from_arrow, to_arrow
from mapred.process.lazy import pa, pc
from mapred.shuffle.sums import Limbs, largest, low_words, surely_fits

if TYPE_CHECKING:
    import numpy.typing as npt

_LEAST = 1 << 10
_SPARSE = 4
# Rows at once: few enough that what lies in between stays in a cache.
_ROWS = 1 << 15


def is_dense(table: pa.Table) -> bool:
    """Whether `sum_by_offset` can sum a table, by its types and its keys."""
    return _range(table) is not None


def _range(table: pa.Table) -> tuple[int, int] | None:
    """Lowest and highest key; None where keys or values are not fit to be added by place."""
    key = table.column(0)
    if "k1" in table.column_names or not pa.types.is_integer(key.type) or len(key) < _LEAST:
        return None
    if any(column.null_count for column in table.columns):
        return None
    if not all(_summable(column.type) for column in table.columns[1:]):
        return None
    ends = pc.min_max(key)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return (low, high) if high - low < _SPARSE * len(key) else None


def sum_by_offset(table: pa.Table) -> pa.Table | None:
    """Return the sums of all `s` columns by the one `k` column, sorted by it; None where it cannot.

    It can where the keys are integers without nulls in a range of at most four times the
    rows, and the values are numbers without nulls.
    """
    ends = _range(table)
    if ends is None:
        return None
    key, *values = table.columns
    low, size = ends[0], ends[1] - ends[0] + 1
    batches = table.to_batches(max_chunksize=_ROWS)
    sums = [_Sum(column, size) for column in values]
    seen = np.zeros(size, bool)
    dtype = dtype_of(key.type)
    wide: Any = np.uint64 if dtype.kind == "u" else np.int64
    for batch in batches:
        places = from_arrow(batch.column(0)).astype(wide) - wide(low)
        places = places.astype(np.intp, copy=False)
        seen[places] = True
        for number, total in enumerate(sums, 1):
            total.add(places, batch.column(number))
    places = np.flatnonzero(seen)
    keys = to_arrow((places + low).astype(dtype))
    columns = [keys, *(total.array(places) for total in sums)]
    return pa.Table.from_arrays(columns, table.column_names)


def _summable(type_: pa.DataType) -> bool:
    types = pa.types
    wide = types.is_int64(type_) or types.is_uint64(type_) or types.is_float64(type_)
    return bool(wide or types.is_decimal128(type_))


class _Sum:
    """Totals by place of one column: 64 bits each, and more from where they may not suffice."""

    def __init__(self, column: pa.ChunkedArray, size: int) -> None:
        self.type, self.size, self.rows = column.type, size, len(column)
        self.decimal = pa.types.is_decimal128(self.type)
        self.totals = np.zeros(size, np.int64 if self.decimal else dtype_of(self.type))
        small = self.decimal or surely_fits(column, self.type)
        self.limbs = None if small else Limbs(self.type, size)

    def add(self, places: npt.NDArray[np.intp], array: pa.Array) -> None:
        """Add a column's values."""
        values: Any = None
        if self.limbs is None:
            values = self._small_decimals(array) if self.decimal else from_arrow(array)
        if values is not None:
            np.add.at(self.totals, places, values)
            return
        if self.limbs is None:
            self.limbs = Limbs(self.type, self.size)
        self.limbs.add(places, array)

    def _small_decimals(self, array: pa.Array) -> npt.NDArray[np.int64] | None:
        """Decimals as 64 bits each; None where sums of such values may take more."""
        low = low_words(array)
        fits = low is not None and largest(low) * self.rows <= np.iinfo(np.int64).max
        return low if fits else None

    def array(self, places: npt.NDArray[np.intp]) -> pa.Array:
        """Return the totals at some places; see `Limbs.array`."""
        if self.limbs is None:
            return self._array(places)
        self.limbs.add(places, self._array(places))
        return self.limbs.array().take(to_arrow(places))

    def _array(self, places: npt.NDArray[np.intp]) -> pa.Array:
        if not self.decimal:
            return to_arrow(self.totals[places], self.type)
        # Arrow's own memory is used again from task to task; numpy's would be new each time.
        data = pa.allocate_buffer(16 * len(places))
        words = np.frombuffer(data, "<i8").reshape(-1, 2)
        for start in range(0, len(places), _ROWS):
            totals, block = self.totals[places[start : start + _ROWS]], words[start:]
            block[: len(totals), 0] = totals
            block[: len(totals), 1] = totals >> 63
        return pa.Array.from_buffers(self.type, len(places), [None, data])
