"""Columns in other types: every value stays what it is, or the file is refused."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.arrow.types import to_plain, type_expression, unify_types
from mapred.formats.casting import Unfit, convert_array, first_unfit
from mapred.formats.schemas import merge_schemas

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
SIGNED = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
UNSIGNED = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
DECIMALS = [pa.decimal128(5, 2), pa.decimal128(10, 0), pa.decimal128(38, 20), pa.decimal256(60, 3)]
TIMES = [
    *(pa.timestamp(unit, zone) for unit in UNITS for zone in (None, "UTC", "Asia/Tokyo")),
    *(pa.duration(unit) for unit in UNITS),
    pa.time32("s"),
    pa.time32("ms"),
    pa.time64("us"),
    pa.time64("ns"),
    pa.date32(),
]
TEXTS = [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
BYTES = [pa.binary(), pa.large_binary(), pa.binary(2)]
# Most pairs are of types that a value may go between.
GROUPS = [[*SIGNED, *UNSIGNED, *FLOATS, *DECIMALS], FLOATS, TIMES, [*TEXTS, *BYTES]]
LEAVES = [*SIGNED, *UNSIGNED, *FLOATS, *DECIMALS, *TIMES, *TEXTS, *BYTES, pa.bool_(), pa.null()]


def numbers(type_: pa.DataType) -> st.SearchStrategy[int]:
    """The whole numbers that a type's values are stored as."""
    if pa.types.is_time(type_):
        unit = UNITS[str(type_).partition("[")[2].rstrip("]")]
        steps = st.integers(0, 86399).map(lambda second: second * unit)
        return steps | st.integers(0, 86400 * unit - 1)
    if pa.types.is_date32(type_):
        return st.integers(-(10**6), 10**6) | st.sampled_from([2**31 - 1, -(2**31)])
    unit = 1 if pa.types.is_integer(type_) else UNITS[type_.unit]
    bits = 64 if unit != 1 or not pa.types.is_integer(type_) else type_.bit_width
    low, high = (0, 2**bits - 1) if type_ in UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    small = st.integers(max(low // unit, -300), min(high // unit, 300)).map(lambda n: n * unit)
    return small | st.integers(low, high) | st.sampled_from([low, high])


def leaf(type_: pa.DataType, draw: Any, size: int) -> pa.Array:
    if pa.types.is_null(type_):
        return pa.nulls(size)
    if pa.types.is_floating(type_):
        width = type_.bit_width
        whole = st.integers(-100, 100).map(float)
        values = st.floats(width=width) | whole | st.sampled_from([0.5, -0.0, 2.0**11])
        return pa.array(draw(lists(values, size)), type_)
    if pa.types.is_decimal(type_):
        digits = min(type_.precision, 38)
        unscaled = st.integers(-300, 300).map(lambda n: n * 10**type_.scale // 2)
        values = unscaled | st.integers(-(10**digits) + 1, 10**digits - 1)
        made = values.map(lambda n: Decimal(f"{n}e{-type_.scale}"))
        return pa.array(draw(lists(made, size)), type_)
    if pa.types.is_dictionary(type_):
        return leaf(pa.string(), draw, size).dictionary_encode().cast(type_)
    if type_ in TEXTS:
        return pa.array(draw(lists(st.sampled_from(["", "ä", "x" * 20]), size)), type_)
    if type_ in BYTES:
        values = [b"ab", b"\xff\0"] if type_ == pa.binary(2) else [b"ab", b"", b"abc"]
        return pa.array(draw(lists(st.sampled_from(values), size)), type_)
    if pa.types.is_boolean(type_):
        return pa.array(draw(lists(st.booleans(), size)), type_)
    stored = type_ if pa.types.is_integer(type_) else pa.int32() if is_32(type_) else pa.int64()
    array = pa.array(draw(lists(numbers(type_), size)), stored)
    return array if stored == type_ else array.view(type_)


def is_32(type_: pa.DataType) -> bool:
    return bool(pa.types.is_date32(type_) or pa.types.is_time32(type_))


def lists(values: Any, size: int) -> Any:
    return st.lists(st.none() | values, min_size=size, max_size=size)


def value(scalar: pa.Scalar) -> Any:
    """What a value is, whatever its type: numbers are exact, times are seconds and what they count."""
    type_ = scalar.type
    if isinstance(scalar, pa.DictionaryScalar):
        return value(scalar.value) if scalar.is_valid else None
    if not scalar.is_valid:
        return None
    if pa.types.is_struct(type_):
        return {field.name: value(scalar[field.name]) for field in type_}
    if pa.types.is_map(type_):
        entries = scalar.values
        return [(value(e["key"]), value(e["value"])) for e in entries]
    if (
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    ):
        return [value(each) for each in scalar.values]
    if pa.types.is_boolean(type_) or type_ in TEXTS or type_ in BYTES:
        return scalar.as_py()
    if pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        found = scalar.as_py()
        if not math.isfinite(found):
            return str(found).lower()
        return "-0" if math.copysign(1, found) < 0 and not found else Fraction(found)
    if pa.types.is_integer(type_):
        return Fraction(scalar.as_py())
    if pa.types.is_date32(type_):
        return ("time", Fraction(scalar.value * 86400))
    kind = "instant" if getattr(type_, "tz", None) else "time"
    kind = "duration" if pa.types.is_duration(type_) else kind
    kind = "clock" if pa.types.is_time(type_) else kind
    return (kind, Fraction(scalar.value, UNITS[str(type_).partition("[")[2][:2].rstrip("],")]))


def nested(type_: pa.DataType, how: str) -> pa.DataType:
    return {
        "plain": lambda: type_,
        "list": lambda: pa.list_(type_),
        "large": lambda: pa.large_list(type_),
        "struct": lambda: pa.struct([("a", type_), ("b", pa.list_(type_))]),
        "turned": lambda: pa.struct([("b", pa.large_list(type_)), ("a", type_)]),
        "map": lambda: pa.map_(pa.string(), type_),
        "fixed": lambda: pa.list_(type_, 2),
    }[how]()


def wrapped(values: pa.Array, how: str) -> pa.Array:
    """Rows that hold the values, one of them null; the first is cut off by a slice."""
    if how == "plain":
        return values
    size = len(values) // 2
    mask = pa.array([row == 1 for row in range(size)])
    if how in ("struct", "turned"):
        kind = pa.ListArray if how == "struct" else pa.LargeListArray
        lists_ = kind.from_arrays([2 * row for row in range(size + 1)], values)
        names = ["a", "b"] if how == "struct" else ["b", "a"]
        parts = {"a": values[:size], "b": lists_}
        array = pa.StructArray.from_arrays([parts[name] for name in names], names, mask=mask)
    elif how == "map":
        keys = pa.array([f"k{n}" for n in range(len(values))])
        offsets = pa.array([2 * row for row in range(size + 1)], pa.int32())
        array = pa.MapArray.from_arrays(offsets, keys, values)
    elif how == "fixed":
        array = pa.FixedSizeListArray.from_arrays(values[: 2 * size], 2, mask=mask)
    else:
        kind = pa.LargeListArray if how == "large" else pa.ListArray
        array = kind.from_arrays([2 * row for row in range(size + 1)], values, mask=mask)
    return array[1:]


HOW = {
    "plain": ["plain"],
    "list": ["list", "large", "fixed"],
    "large": ["list", "large"],
    "fixed": ["fixed", "list"],
    "struct": ["struct", "turned"],
    "turned": ["struct", "turned"],
    "map": ["map"],
}


PAIRS = st.sampled_from([*GROUPS, LEAVES]).flatmap(
    lambda group: st.tuples(st.sampled_from(group), st.sampled_from(group))
)


@settings(max_examples=40, deadline=None)
@given(st.data(), PAIRS, st.sampled_from(sorted(HOW)))
def test_a_conversion_keeps_every_value_or_is_refused(
    data: Any, pair: tuple[pa.DataType, pa.DataType], how: str
) -> None:
    one, two = pair
    array = wrapped(leaf(one, data.draw, 4), how)
    target = nested(two, data.draw(st.sampled_from(HOW[how])))
    expected = [value(each) for each in array]
    try:
        found = convert_array(array, target, nulls=False)
    except Unfit as error:
        refused = error
    else:
        found.validate()
        assert found.type == target
        assert [value(each) for each in found] == expected
        return
    common = unify_types(to_plain(array.type), to_plain(target), union=False)
    assert common != to_plain(target) or "bounds" in str(refused)
    if refused.by_value:
        row = first_unfit(array, target, nulls=False)
        convert_array(array[:row], target, nulls=False)
        with pytest.raises(Unfit):
            convert_array(array[row : row + 1], target, nulls=False)


@settings(max_examples=40, deadline=None)
@given(st.data(), PAIRS)
def test_the_type_of_two_files_holds_the_values_of_both(
    data: Any, pair: tuple[pa.DataType, pa.DataType]
) -> None:
    one, two = pair
    plain = to_plain(one), to_plain(two)
    both = unify_types(*plain, union=False)
    assert both == unify_types(*reversed(plain), union=False) or "tz=" in str(both)
    if both is not None:
        assert to_plain(both) == both
        assert eval(type_expression(both), {"pa": pa}) == both
        for type_ in (one, two):
            array = leaf(type_, data.draw, 4)
            if far(array, both):
                continue
            found = convert_array(array, both, nulls=False)
            assert [value(each) for each in found] == [value(each) for each in array]


def far(array: pa.Array, type_: pa.DataType) -> bool:
    """Whether seconds lie beyond the 292,000 years that finer units reach."""
    if (
        array.type not in TIMES
        or is_32(array.type)
        or getattr(array.type, "unit", "s") == type_.unit
    ):
        return False
    most = 2**63 * UNITS[array.type.unit] // UNITS[type_.unit]
    return any(each.is_valid and abs(each.value) >= most for each in array)


EXACT = [
    (pa.array([0.5, 3.0]), pa.decimal128(10, 2)),
    (pa.array([Decimal("0.50")]), pa.float32()),
    (pa.array([2**40]), pa.decimal128(15, 2)),
    (pa.array([2**64 - 1], pa.uint64()), pa.decimal128(20, 0)),
    (pa.array([Decimal("7.00")]), pa.int8()),
    (pa.array([7.0, None]), pa.uint8()),
    (pa.array([2048], pa.int16()), pa.float16()),
    (pa.array([86400], pa.timestamp("s")), pa.date32()),
    (pa.array([5], pa.date32()), pa.timestamp("us")),
    (pa.array([1.5], pa.float64()), pa.float16()),
    (pa.array([None, {"a": None}]), pa.struct([("a", pa.int8())])),
    (pa.array([[None], None, []]), pa.list_(pa.struct([("a", pa.int8())]))),
    (pa.array([[("k", None)]], pa.map_(pa.string(), pa.null())), pa.map_(pa.string(), pa.int8())),
    (pa.array([[1], [2, 3], None], pa.list_view(pa.int64())), pa.list_(pa.int8())),
    (pa.array(["a"], pa.string_view()), pa.large_string()),
    (pa.array([[Decimal("1.5")]], pa.list_(pa.decimal128(9, 3))), pa.list_(pa.float64())),
]
LOST = [
    (pa.array([0.1]), pa.float32()),
    (pa.array([1e300]), pa.float32()),
    (pa.array([2.675]), pa.decimal128(10, 2)),
    (pa.array([0.1]), pa.decimal128(10, 2)),
    (pa.array([Decimal("0.1")]), pa.float64()),
    (pa.array([Decimal("1234567890123456.123456")]), pa.float64()),
    (pa.array([-0.0]), pa.int64()),
    (pa.array([-0.0]), pa.decimal128(3, 1)),
    (pa.array([float("nan")]), pa.decimal128(3, 1)),
    (pa.array([float("nan")]), pa.int64()),
    (pa.array([2049], pa.int16()), pa.float16()),
    (pa.array([2**53 + 1]), pa.float64()),
    (pa.array([Decimal("1.50")]), pa.int64()),
    (pa.array([1001], pa.timestamp("ns")), pa.timestamp("us")),
    (pa.array([2**55], pa.timestamp("us")), pa.timestamp("ns")),
    (pa.array([5], pa.timestamp("s")), pa.date32()),
    (pa.array([[1], [2, 3]]), pa.list_(pa.int64(), 1)),
    (pa.array([{"a": 0.1}]), pa.struct([("a", pa.float32())])),
]
OTHER = [
    (pa.array(["1"]), pa.int64()),
    (pa.array([True]), pa.int8()),
    (pa.array([5], pa.date32()), pa.timestamp("us", "UTC")),
    (pa.array([5], pa.timestamp("us")), pa.timestamp("us", "UTC")),
    (pa.array([b"a"]), pa.string()),
    (pa.array([[1]]), pa.int64()),
    (pa.array([{"a": 1, "b": 2}]), pa.struct([("a", pa.int64())])),
    (pa.array([{"a": 1}]), pa.struct([("a", pa.int64()), ("b", pa.int64())])),
]


@pytest.mark.parametrize(("array", "type_"), EXACT, ids=str)
def test_values_that_a_type_holds_are_taken(array: pa.Array, type_: pa.DataType) -> None:
    found = convert_array(array, type_, nulls=False)
    assert (found.type, found.to_pylist()) == (type_, converted_by_python(array, type_))


def converted_by_python(array: pa.Array, type_: pa.DataType) -> list[Any]:
    days = pa.types.is_date(array.type) or pa.types.is_date(type_)
    return array.cast(type_).to_pylist() if days else array.to_pylist()


@pytest.mark.parametrize(("array", "type_"), LOST, ids=str)
def test_values_that_would_change_are_refused(array: pa.Array, type_: pa.DataType) -> None:
    with pytest.raises(Unfit) as caught:
        convert_array(array, type_, nulls=False)
    assert caught.value.by_value


@pytest.mark.parametrize(("array", "type_"), OTHER, ids=str)
def test_types_of_another_kind_are_refused(array: pa.Array, type_: pa.DataType) -> None:
    with pytest.raises(Unfit) as caught:
        convert_array(array, type_, nulls=False)
    assert not caught.value.by_value
    assert unify_types(array.type, type_, union=False) is None


def test_fields_that_are_missing_become_nulls_and_others_are_never_dropped() -> None:
    deep = pa.list_(pa.struct([("b", pa.int64()), ("c", pa.struct([("d", pa.string())]))]))
    array = pa.array([[{"c": {}}, {"c": None}]], pa.list_(pa.struct([("c", pa.struct([]))])))
    with pytest.raises(Unfit, match="missing"):
        convert_array(array, deep, nulls=False)
    found = convert_array(array, deep, nulls=True)
    assert found.to_pylist() == [[{"b": None, "c": {"d": None}}, {"b": None, "c": None}]]
    more = pa.array([[{"c": {"d": "x", "e": 1}}]])
    with pytest.raises(Unfit) as caught:
        convert_array(more, deep, nulls=True)
    assert (caught.value.field, caught.value.missing) == ("c.e", True)
    assert unify_types(more.type, deep, union=False) is None
    both = unify_types(more.type, deep, union=True)
    for each in (array, more, pa.array([[{"b": 1}]])):
        assert convert_array(each, both, nulls=True).type == both


def test_files_without_rows_or_values_decide_nothing() -> None:
    a, b = pa.schema([("x", pa.string())]), pa.schema([("x", pa.null()), ("y", pa.int8())])
    c = pa.schema([("y", pa.int32()), ("x", pa.date32()), ("z", pa.bool_())])
    schema = merge_schemas([(a, False), (b, True), (c, True)], union=False)
    assert schema == pa.schema([("x", pa.date32()), ("y", pa.int32())])
    schema = merge_schemas([(a, False), (b, True), (c, True)], union=True)
    assert schema == pa.schema([("x", pa.date32()), ("y", pa.int32()), ("z", pa.bool_())])
    assert merge_schemas([(a, False), (b, False)], union=False) == a
    assert (
        merge_schemas([(b, True), (a, True), (c, True)], union=False).field("x").type == pa.string()
    )
