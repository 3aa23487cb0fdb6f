"""Hashes of key columns: the same on every machine, Python and encoding, for ever.

A key's partition is part of what a run writes, and attempts of one run may be on machines of
different kinds, so nothing here may change: a golden test pins the values. A hash depends
on a key's value alone: integers of any width, whole floats, the bytes of text and binary,
days, instants in any unit, decimals of any scale; null is a value too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mapred.arrow.buffers import from_arrow, offsets, values_view
from mapred.errors import FunctionError
from mapred.process.lazy import pa

if TYPE_CHECKING:
    import numpy.typing as npt

Hashes: TypeAlias = "npt.NDArray[np.uint64]"

_U = np.uint64
_NULL = _U(0x7F4A7C15F39CC060)
_STEP = _U(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_NAN = np.array(np.nan).view(_U)[()]
# Rows hashed at once: few enough that what lies in between stays in a processor's cache.
_ROWS = 1 << 15
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def hash_rows(columns: Sequence[pa.ChunkedArray]) -> Hashes:
    """Return a 64-bit hash for every row of equally long key columns."""
    hashes = hash_column(columns[0])
    for column in columns[1:]:
        hashes *= _FIRST
        hashes += hash_column(column)
        _mix(hashes)
    return hashes


def partition_numbers(hashes: Hashes, partitions: int, level: int = 0) -> npt.NDArray[Any]:
    """Return the partition of every row, below `partitions` (at most 65,536).

    Rows of one partition spread evenly over the partitions of another `level`.
    """
    if level:
        hashes = _mix(hashes + _U(level))
    numbers = hashes >> _U(32)
    numbers *= _U(partitions)
    numbers >>= _U(32)
    small: npt.NDArray[Any] = numbers.astype(np.uint8 if partitions <= 256 else np.uint16)
    return small


def hash_column(column: pa.ChunkedArray) -> Hashes:
    """Return a 64-bit hash for every value of a column."""
    hashes = np.empty(len(column), _U)
    start = 0
    for chunk in column.chunks:
        for first in range(0, len(chunk), _ROWS):
            part = chunk[first : first + _ROWS]
            hashes[start : start + len(part)] = _hash_array(part)
            start += len(part)
    return hashes


def _hash_array(array: pa.Array) -> Hashes:
    types = pa.types
    if types.is_dictionary(array.type):
        return _hash_dictionary(array)
    if types.is_null(array.type):
        return np.full(len(array), _NULL)
    hashes = _hash_values(array)
    if array.null_count:
        hashes[from_arrow(array.is_null())] = _NULL
    return hashes


def _hash_dictionary(array: pa.Array) -> Hashes:

    # A null among the indices takes the hash after the last of the dictionary.
    values = np.append(hash_column(pa.chunked_array([array.dictionary])), _NULL)
    indices = from_arrow(array.indices)
    if array.indices.null_count:
        indices = np.where(from_arrow(array.indices.is_null()), len(values) - 1, indices)
    hashes: Hashes = values[indices]
    return hashes


def _hash_values(array: pa.Array) -> Hashes:
    """Hashes of the values; those of nulls are anything."""
    type_ = array.type
    if pa.types.is_boolean(type_) or pa.types.is_integer(type_):
        return _mix(_integers(array))
    if pa.types.is_floating(type_):
        return _mix(_floats(array))
    if pa.types.is_decimal(type_):
        return _hash_decimals(array)
    if pa.types.is_date(type_):
        return _mix(_days(array))
    if pa.types.is_time(type_):
        return _mix(
            _to_nanoseconds(array, np.int64 if type_.bit_width == 64 else np.int32, type_.unit)
        )
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return _hash_instants(values_view(array, np.int64), _UNITS[type_.unit])
    return _hash_bytes(*byte_strings(array))


def _mix(x: Hashes) -> Hashes:
    """Spread every bit of every number over all bits, in place (the steps of SplitMix64)."""
    x += _STEP
    x ^= x >> _U(30)
    x *= _FIRST
    x ^= x >> _U(27)
    x *= _SECOND
    x ^= x >> _U(31)
    return x


def _integers(array: pa.Array) -> Hashes:
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values = from_arrow(array)
    words: Hashes = values.astype(np.int64 if values.dtype.kind == "i" else _U).view(_U)
    return words


def _floats(array: pa.Array) -> Hashes:
    """Whole numbers as integers, so that 5.0 is 5 and -0.0 is 0; one NaN; bits of others."""
    values = values_view(array, f"f{array.type.bit_width // 8}").astype(np.float64)
    bits: Hashes = values.view(_U).copy()
    bits[np.isnan(values)] = _NAN
    whole = values == np.floor(values)
    signed = whole & (np.abs(values) < 2.0**63)
    bits[signed] = values[signed].astype(np.int64).view(_U)
    unsigned = whole & (values >= 2.0**63) & (values < 2.0**64)
    bits[unsigned] = values[unsigned].astype(_U)
    return bits


def _hash_decimals(array: pa.Array) -> Hashes:
    type_ = array.type
    try:
        words = values_view(array.cast(pa.decimal256(76, 38)), np.dtype((_U, 4)))
    except pa.ArrowInvalid as error:
        raise FunctionError(
            f"a key of type {type_} has more than 38 digits before or after its point: "
            f"{error}; cast the column to a smaller decimal or to a string"
        ) from error
    hashes = _mix(words[:, 0].copy())
    for number in range(1, 4):
        hashes *= _FIRST
        hashes += words[:, number]
        _mix(hashes)
    return hashes


def _days(array: pa.Array) -> Hashes:
    if array.type.bit_width == 32:
        values = values_view(array, np.int32).astype(np.int64)
    else:
        values = np.floor_divide(values_view(array, np.int64), 86_400_000)
    days: Hashes = values.view(_U)
    return days


def _to_nanoseconds(array: pa.Array, dtype: Any, unit: str) -> Hashes:
    """Return times of day in nanoseconds."""
    times: Hashes = (values_view(array, dtype).astype(np.int64) * (10**9 // _UNITS[unit])).view(_U)
    return times


def _hash_instants(values: npt.NDArray[np.int64], per_second: int) -> Hashes:
    """Instants by whole seconds and nanoseconds: no unit is too coarse or too fine."""
    seconds = np.floor_divide(values, per_second)
    rest = (values - seconds * per_second) * (10**9 // per_second)
    hashes = _mix(seconds.view(_U))
    hashes += rest.view(_U)
    return _mix(hashes)


def byte_strings(array: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], Hashes]:
    """Return the data of text or binary and eight zeros, and each value's first byte and length in
    it."""
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    buffers = array.buffers()
    if pa.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        ends = np.arange(array.offset, array.offset + len(array) + 1, dtype=np.int64) * width
    else:
        ends = offsets(array).astype(np.int64)
    first, last = int(ends[0]), int(ends[-1])
    data = np.zeros(last - first + 8, np.uint8)
    if buffers[-1] is not None:
        data[: last - first] = np.frombuffer(buffers[-1], np.uint8, last - first, first)
    return data, ends[:-1] - first, np.diff(ends).view(_U)


def _hash_bytes(data: npt.NDArray[Any], starts: npt.NDArray[np.int64], lengths: Hashes) -> Hashes:
    """Hashes of byte strings, eight bytes at a time; `data` continues for 8 bytes past the last.

    Each word is mixed with its place, and the mixed words of a value are added up.
    """
    sizes = lengths.astype(np.int64)
    words = (sizes + 7) >> 3
    ends = np.cumsum(words)
    first = ends - words
    hashes = np.zeros(len(starts), _U)
    if len(ends) and ends[-1]:
        place = np.arange(ends[-1]) - np.repeat(first, words)
        at = np.repeat(starts, words) + 8 * place
        unaligned = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
        values = unaligned[at].astype(_U)
        short = np.flatnonzero(sizes & 7)
        last = ends[short] - 1
        values[last] &= (_U(1) << ((lengths[short] & _U(7)) << _U(3))) - _U(1)
        values += (place.view(_U) + _U(1)) * _FIRST
        _mix(values)
        there = words > 0
        hashes[there] = np.add.reduceat(values, first[there])
    hashes ^= lengths * _SECOND
    return _mix(hashes)
