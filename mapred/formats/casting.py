"""Columns in another type without a changed value: what does not fit is an error."""

from __future__ import annotations

import decimal
import math
from typing import Any

from mapred.arrow.buffers import from_arrow
from mapred.arrow.types import is_list, kind
from mapred.process.lazy import np, pa, pc

_CROSSED = {
    ("int", "float"),
    ("float", "int"),
    ("int", "decimal"),
    ("decimal", "int"),
    ("date", "local"),
    ("local", "date"),
}


class Unfit(ValueError):
    """Another type cannot hold a value; `field` names the part of a struct that it is in.

    `by_value` tells a value from a type of which no value fits; `missing` that structs have
    other fields.
    """

    def __init__(
        self, message: str, field: str, *, by_value: bool = False, missing: bool = False
    ) -> None:
        super().__init__(message)
        self.field = field
        self.by_value = by_value
        self.missing = missing


def convert_array(array: pa.Array, type_: pa.DataType, *, nulls: bool, field: str = "") -> pa.Array:
    """Return an array in another type with equal values; raises `Unfit` where one would change.

    Structs are matched by the names of their fields: none is dropped, and with `nulls` those
    that are missing become nulls. Times keep the instant, also in another zone.
    """
    if array.type == type_:
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), type_)
    if isinstance(type_, pa.BaseExtensionType):
        stored = convert_array(array, type_.storage_type, nulls=nulls, field=field)
        return pa.ExtensionArray.from_storage(type_, stored)
    if isinstance(array.type, pa.BaseExtensionType):
        return convert_array(array.storage, type_, nulls=nulls, field=field)
    if pa.types.is_dictionary(array.type):
        return convert_array(array.dictionary_decode(), type_, nulls=nulls, field=field)
    if pa.types.is_run_end_encoded(array.type):
        return convert_array(pc.run_end_decode(array), type_, nulls=nulls, field=field)
    if pa.types.is_dictionary(type_):
        array = convert_array(array, type_.value_type, nulls=nulls, field=field)
        return _cast(array.dictionary_encode(), type_, field)
    if pa.types.is_struct(array.type) and pa.types.is_struct(type_):
        return _convert_structs(array, type_, nulls, field)
    if pa.types.is_map(array.type) and pa.types.is_map(type_):
        return _convert_maps(array, type_, nulls, field)
    if is_list(array.type) and is_list(type_):
        return _convert_lists(array, type_, nulls, field)
    return _convert_leaves(array, type_, field)


def _convert_structs(array: pa.Array, type_: pa.DataType, nulls: bool, field: str) -> pa.Array:
    names = [part.name for part in array.type]
    wanted = [part.name for part in type_]
    for name in names:
        if name not in wanted:
            path = f"{field}.{name}".lstrip(".")
            raise Unfit("is not in the schema", path, missing=True)
    children = array.flatten()
    parts = []
    for part in type_:
        path = f"{field}.{part.name}".lstrip(".")
        if part.name in names:
            if names.count(part.name) > 1:
                raise Unfit("there is more than one field of this name", path)
            child = children[names.index(part.name)]
            parts.append(convert_array(child, part.type, nulls=nulls, field=path))
        elif nulls:
            parts.append(pa.nulls(len(array), part.type))
        else:
            raise Unfit("of the schema is missing", path, missing=True)
    return pa.Array.from_buffers(type_, len(array), [_validity(array)], children=parts)


def _convert_lists(array: pa.Array, type_: pa.DataType, nulls: bool, field: str) -> pa.Array:
    values = convert_array(array.flatten(), type_.value_type, nulls=nulls, field=field)
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    if pa.types.is_large_list(type_):
        return _build_lists(array, lengths, values, type_)
    between = _build_lists(array, lengths, values, pa.list_(type_.value_field))
    return between if between.type == type_ else _cast(between, type_, field)


def _convert_maps(array: pa.Array, type_: pa.DataType, nulls: bool, field: str) -> pa.Array:
    was = array.type
    entries = pa.struct([("key", was.key_type), ("value", was.item_type)])
    lists = array.cast(pa.list_(entries))
    keys, items = lists.flatten().flatten()
    fields = [type_.key_field, type_.item_field]
    parts = [
        convert_array(keys, type_.key_type, nulls=nulls, field=f"{field}.key".lstrip(".")),
        convert_array(items, type_.item_type, nulls=nulls, field=f"{field}.value".lstrip(".")),
    ]
    values = pa.StructArray.from_arrays(parts, fields=fields)
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    return _build_lists(array, lengths, values, type_)


def _build_lists(array: pa.Array, lengths: Any, values: pa.Array, type_: pa.DataType) -> pa.Array:
    """Build lists of `lengths` from the values; null where `array` is."""
    ends = np.zeros(len(array) + 1, np.int64)
    np.cumsum(from_arrow(lengths), out=ends[1:])
    if not pa.types.is_large_list(type_):
        if ends[-1] >= 2**31:
            raise Unfit("more than 2^31 values in the lists of one piece", "")
        ends = ends.astype(np.int32)
    buffers = [_validity(array), pa.py_buffer(ends)]
    return pa.Array.from_buffers(type_, len(array), buffers, children=[values])


def _validity(array: pa.Array) -> Any:
    return array.is_valid().buffers()[1] if array.null_count else None


def _convert_leaves(array: pa.Array, type_: pa.DataType, field: str) -> pa.Array:
    """Convert values of types that are not nested."""
    one, two = kind(array.type), kind(type_)
    if {one, two} == {"float", "decimal"}:
        return _convert_in_python(array, type_, field)
    if one != two and (one, two) not in _CROSSED:
        raise Unfit("", field)
    if (one, two) == ("int", "decimal"):
        array = array.cast(pa.decimal128(38, 0))
    there = _cast(array, type_, field)
    # Arrow checks for overflow and lost digits elsewhere, but not in these.
    unchecked = "float" in (one, two) or (one, two) == ("local", "date")
    if unchecked and not _equal(array, _cast(there, array.type, field)):
        raise Unfit("", field, by_value=True)
    return there


def _cast(array: pa.Array, type_: pa.DataType, field: str) -> pa.Array:
    try:
        return array.cast(type_)
    except pa.ArrowException as error:
        raise Unfit(str(error), field, by_value=True) from error


def _equal(one: pa.Array, two: pa.Array) -> bool:
    """Whether arrays of one type have the same values: NaN is NaN, and -0.0 is not 0.0."""
    if pa.types.is_float16(one.type):  # Arrow does not compare these
        one, two = one.cast(pa.float32()), two.cast(pa.float32())
    if pa.types.is_floating(one.type):
        bits = pa.int64() if one.type == pa.float64() else pa.int32()
        both_nan = pc.and_(pc.is_nan(one), pc.is_nan(two))
        same = pc.or_(pc.equal(one.view(bits), two.view(bits)), both_nan)
    else:
        same = pc.equal(one, two)
    return bool(pc.all(same, min_count=0).as_py())


def _convert_in_python(array: pa.Array, type_: pa.DataType, field: str) -> pa.Array:
    """Convert decimals and floats to each other where both are the same number."""
    values = array.to_pylist()
    to: Any = decimal.Decimal if kind(type_) == "decimal" else float
    try:
        other = pa.array([None if value is None else to(value) for value in values], type_)
        pairs = zip(values, other.to_pylist(), strict=True)
        same = all(a is b or (a == b and _sign(a) == _sign(b)) for a, b in pairs)
    except (pa.ArrowException, ArithmeticError, ValueError) as error:
        raise Unfit(str(error), field, by_value=True) from error
    if not same:
        raise Unfit("", field, by_value=True)
    return other


def _sign(value: float | decimal.Decimal) -> float:
    return math.copysign(1, value)


def first_unfit(array: pa.Array, type_: pa.DataType, *, nulls: bool) -> int:
    """Return the first row of an array that does not fit the type, found by bisection."""
    good, bad = 0, len(array)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            convert_array(array.slice(good, middle - good), type_, nulls=nulls)
        except Unfit:
            bad = middle
        else:
            good = middle
    return good


def show_value(value: pa.Scalar) -> str:
    """Return a value for an error, as Python shows it where Python has such a value."""
    try:
        text = repr(value.as_py())
    except (ValueError, OverflowError):
        text = str(getattr(value, "value", "a value outside of Python's"))
    return text if len(text) <= 100 else f"{text[:100]}…"
