"""Arrow arrays as numpy's and back, by their buffers: Arrow's own ways import pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.process.lazy import pa

if TYPE_CHECKING:
    import numpy.typing as npt


def values_view(array: pa.Array, dtype: Any) -> npt.NDArray[Any]:
    """Return the values as they lie in memory, whatever lies where they are null."""
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), dtype)
    width = np.dtype(dtype).itemsize
    return np.frombuffer(data, dtype, len(array), array.offset * width)


def from_arrow(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return numbers or booleans without nulls as a numpy array."""
    if pa.types.is_boolean(column.type):
        chunks = [column] if isinstance(column, pa.Array) else column.chunks
        return np.concatenate([np.empty(0, bool), *map(_unpack_bits, chunks)])
    dtype = dtype_of(column.type)
    if isinstance(column, pa.Array):
        return values_view(column, dtype)
    parts = [values_view(chunk, dtype) for chunk in column.chunks]
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def dtype_of(type_: pa.DataType) -> np.dtype[Any]:
    """Return how numpy holds numbers of a type; times are whole numbers of their unit."""
    letter = "f" if pa.types.is_floating(type_) else "i"
    letter = "u" if pa.types.is_unsigned_integer(type_) else letter
    return np.dtype(f"{letter}{type_.bit_width // 8}")


def _unpack_bits(array: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    bits = np.frombuffer(array.buffers()[1] or b"", np.uint8)
    end = array.offset + len(array)
    return np.unpackbits(bits, count=end, bitorder="little")[array.offset :].view(np.bool_)


def offsets(array: pa.Array) -> npt.NDArray[Any]:
    """Return where each string or binary value begins, and where the last one ends."""
    dtype = np.dtype(_offset_type(array.type))
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array) + 1, dtype)
    return np.frombuffer(data, dtype, len(array) + 1, array.offset * dtype.itemsize)


def _offset_type(type_: pa.DataType) -> type[np.int32 | np.int64]:
    large = pa.types.is_large_string(type_) or pa.types.is_large_binary(type_)
    return np.int64 if large else np.int32


def to_arrow(values: npt.NDArray[Any], type_: pa.DataType | None = None) -> pa.Array:
    """Return numbers as Arrow without a copy, in their own type or another of the same width."""
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(
        type_ or pa.from_numpy_dtype(values.dtype), len(values), [None, data]
    )


def take_sorted(table: pa.Table, places: npt.NDArray[np.int64]) -> pa.Table:
    """Return the rows at `places`, which are few and sorted, in one piece.

    Arrow's own `take` makes one piece of all of a column's chunks first.
    """
    batches = table.to_batches()
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    bounds = np.searchsorted(places, starts)
    parts = [
        batch.take(to_arrow(places[first:last] - start))
        for batch, start, first, last in zip(batches, starts, bounds, bounds[1:], strict=False)
        if last > first
    ]
    return pa.Table.from_batches(parts, table.schema).combine_chunks()


def as_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return strings of 1, 2, 4 or 8 bytes each as the integers that these bytes are.

    None for any others. Codes and flags are such, and Arrow groups by numbers much faster than by
    strings; `as_strings` is the way back.
    """
    is_string = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not is_string or column.null_count or not len(column):
        return None
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    width = len(chunks[0][0].as_buffer())
    if width not in (1, 2, 4, 8):
        return None
    ends = [offsets(chunk) for chunk in chunks]
    if any(int(starts[-1]) - int(starts[0]) != width * (len(starts) - 1) for starts in ends):
        return None
    equal = _fixed_width_offsets(max(map(len, chunks)), width, column.type)
    numbers = []
    for chunk, starts in zip(chunks, ends, strict=True):
        if not np.array_equal(starts - starts[0] if starts[0] else starts, equal[: len(starts)]):
            return None
        values = np.frombuffer(chunk.buffers()[2], f"u{width}", len(chunk), int(starts[0]))
        numbers.append(to_arrow(np.require(values, requirements="A")))
    return pa.chunked_array(numbers)


def as_strings(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """Return the strings of `type_` of which `as_numbers` made `column`."""
    width = column.type.bit_width // 8
    chunks = []
    for chunk in column.chunks:
        ends = pa.py_buffer(_fixed_width_offsets(len(chunk), width, type_))
        data = pa.py_buffer(values_view(chunk, f"u{width}"))
        chunks.append(pa.Array.from_buffers(type_, len(chunk), [None, ends, data]))
    return pa.chunked_array(chunks, type_)


def _fixed_width_offsets(count: int, width: int, type_: pa.DataType) -> npt.NDArray[Any]:
    return np.arange(0, count * width + 1, width, dtype=_offset_type(type_))


def decode_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a dictionary-encoded column of strings as plain strings.

    Where all of them are equally long, as codes and flags are, by numpy: Arrow copies one by one.
    """
    return pa.chunked_array([_decode_chunk(chunk) for chunk in column.chunks], pa.string())


def _decode_chunk(array: pa.DictionaryArray) -> pa.Array:
    values, codes = array.dictionary, array.indices
    if not len(values) or values.null_count or codes.null_count:
        return array.cast(pa.string())
    ends = offsets(values)
    width = int(ends[1] - ends[0])
    if not 0 < width * len(codes) < 2**31 or (np.diff(ends) != width).any():
        return array.cast(pa.string())
    numbers = values_view(codes, np.dtype(f"i{codes.type.bit_width // 8}"))
    if width == 1 and len(values) <= 256:
        letters = values.buffers()[2][ends[0] : ends[-1]].to_pybytes().ljust(256)
        data: Any = numbers.astype(np.uint8).tobytes().translate(letters)
    else:
        words = np.frombuffer(values.buffers()[2], f"V{width}", len(values), int(ends[0]))
        data = words[numbers].view(np.uint8)
    starts = pa.py_buffer(_fixed_width_offsets(len(codes), width, pa.string()))
    return pa.StringArray.from_buffers(len(codes), starts, pa.py_buffer(data))


def scalar(value: str | int | bool) -> pa.Scalar:
    """Return one value as Arrow, a string as `string`."""
    if isinstance(value, bool):
        return flags([value])[0]
    if isinstance(value, int):
        return to_arrow(np.array([value], np.int64))[0]
    return strings([value])[0]


def nullable(values: Sequence[Any], kind: type) -> pa.Array:
    """Return values that are all of `kind` (`bool`, `int`, `float` or `str`) or None; integers as int64."""
    present = [value is not None for value in values]
    filled = [kind() if value is None else value for value in values]
    if kind is str:
        array = strings(filled)
    elif kind is bool:
        array = flags(filled)
    else:
        array = to_arrow(np.array(filled, np.int64 if kind is int else np.float64))
    if all(present):
        return array
    buffers = [flags(present).buffers()[1], *array.buffers()[1:]]
    return pa.Array.from_buffers(array.type, len(array), buffers)


def flags(values: Sequence[bool]) -> pa.BooleanArray:
    bits = pa.py_buffer(np.packbits(np.array(values, bool), bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])


def strings(values: Sequence[str]) -> pa.StringArray:
    """Return strings of less than 2 GiB together."""
    return _build_text_array(values, pa.string())


def large_strings(values: Sequence[str]) -> pa.LargeStringArray:
    return _build_text_array(values, pa.large_string())


def _build_text_array(values: Sequence[str], type_: pa.DataType) -> Any:
    data = [value.encode() for value in values]
    ends = np.zeros(len(data) + 1, _offset_type(type_))
    np.cumsum([len(value) for value in data], out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(type_, len(data), buffers)
