"""Rows of Arrow arrays whose floats may stand for other numbers than the text has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from mapred.arrow.buffers import values_view
from mapred.process.lazy import pa

if TYPE_CHECKING:
    import numpy.typing as npt

# From here on not every whole number is a float of so many bits; infinity is above, too.
_LIMITS = {64: 2.0**53, 32: 2.0**24}


def holds(type_: pa.DataType, is_such: Callable[[pa.DataType], bool]) -> bool:
    """Whether a test holds for a type or one inside it."""
    inner = (type_.field(number).type for number in range(type_.num_fields))
    return is_such(type_) or any(holds(part, is_such) for part in inner)


def doubtful(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return the rows with a float so large that it may differ from what was written."""
    rows, start = [np.empty(0, np.int64)], 0
    for chunk in column.chunks:
        rows.append(_rows(chunk) + start)
        start += len(chunk)
    return np.concatenate(rows)


def _rows(array: pa.Array) -> npt.NDArray[np.int64]:
    if pa.types.is_floating(array.type):
        values = values_view(array, np.dtype(f"f{array.type.bit_width // 8}"))
        return np.flatnonzero(np.abs(values) >= _LIMITS[array.type.bit_width])
    none = np.empty(0, np.int64)
    if pa.types.is_struct(array.type):
        fields = [_rows(array.field(number)) for number in range(array.type.num_fields)]
        return np.unique(np.concatenate([none, *fields]))
    if pa.types.is_list(array.type) and holds(array.type, pa.types.is_floating):
        offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
        return np.unique(np.searchsorted(offsets, _rows(array.values), side="right") - 1)
    return none
