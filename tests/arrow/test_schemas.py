"""One schema of many: no value changes, and the order of the tables decides nothing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapred.arrow import schemas as unifying
from mapred.arrow.types import unify_types

SECOND = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001
PAIRS: list[tuple[pa.DataType, Any, pa.DataType, pa.DataType]] = [
    (pa.null(), None, pa.string(), pa.string()),
    (pa.null(), None, pa.list_(pa.int8()), pa.list_(pa.int8())),
    (pa.int32(), 7, pa.int64(), pa.int64()),
    (pa.uint8(), 7, pa.int8(), pa.int16()),
    (pa.uint32(), 2**32 - 1, pa.int8(), pa.int64()),
    (pa.float32(), 0.5, pa.float64(), pa.float64()),
    (pa.string(), "a", pa.large_string(), pa.large_string()),
    (pa.string_view(), "a", pa.string(), pa.large_string()),
    (pa.binary(), b"a", pa.large_binary(), pa.large_binary()),
    (pa.dictionary(pa.int8(), pa.string()), "a", pa.string(), pa.string()),
    (pa.dictionary(pa.int8(), pa.string()), "a", pa.dictionary(pa.int32(), pa.string()), pa.string()),
    (pa.timestamp("s"), SECOND, pa.timestamp("us"), pa.timestamp("us")),
    (pa.duration("s"), dt.timedelta(1), pa.duration("ms"), pa.duration("ms")),
    (pa.time32("s"), dt.time(1), pa.time64("us"), pa.time64("us")),
    (pa.decimal128(4, 2), Decimal("1.25"), pa.decimal128(3, 0), pa.decimal128(5, 2)),
    (pa.decimal128(38, 0), Decimal(10**37), pa.decimal128(10, 5), pa.decimal256(43, 5)),
    (pa.list_(pa.null()), [], pa.list_(pa.int64()), pa.list_(pa.int64())),
    (pa.list_(pa.int8()), [1], pa.large_list(pa.int64()), pa.large_list(pa.int64())),
    (pa.list_(pa.int8(), 1), [1], pa.list_(pa.int8(), 2), pa.list_(pa.int8())),
    (pa.struct({"a": pa.int8()}), {"a": 1}, pa.struct({"a": pa.int64()}), pa.struct({"a": pa.int64()})),
    (
        pa.struct({"a": pa.int8()}),
        {"a": 1},
        pa.struct({"b": pa.string()}),
        pa.struct({"a": pa.int8(), "b": pa.string()}),
    ),
    (pa.map_(pa.string(), pa.int8()), [("a", 1)], pa.map_(pa.string(), pa.int64()), pa.map_(pa.string(), pa.int64())),
]  # fmt: skip
APART = [
    (pa.int64(), pa.uint64()),
    (pa.int64(), pa.float64()),
    (pa.int64(), pa.string()),
    (pa.int64(), pa.bool_()),
    (pa.int64(), pa.decimal128(20, 0)),
    (pa.float64(), pa.decimal128(20, 2)),
    (pa.date32(), pa.timestamp("us")),
    (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    (pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Tokyo")),
    (pa.string(), pa.binary()),
    (pa.list_(pa.int64()), pa.list_(pa.string())),
    (pa.list_(pa.int64()), pa.int64()),
    (pa.struct({"a": pa.int64()}), pa.struct({"a": pa.string()})),
    (pa.dictionary(pa.int8(), pa.string()), pa.int64()),
    (pa.decimal256(76, 0), pa.decimal256(76, 70)),
]


def padded(value: Any, type_: pa.DataType) -> Any:
    """A value as a wider type shows it: a field that it lacks is null."""
    if isinstance(value, dict):
        return {field.name: value.get(field.name) for field in type_}
    return value


@pytest.mark.parametrize(("one", "value", "other", "expected"), PAIRS, ids=str)
def test_changes_that_lose_nothing(
    one: pa.DataType, value: Any, other: pa.DataType, expected: pa.DataType
) -> None:
    assert unify_types(one, other, union=True, finest=True) == expected
    back = unify_types(other, one, union=True, finest=True)
    assert back is not None
    if not pa.types.is_struct(expected):  # whose fields come in the order of their first table
        assert back == expected
    table = pa.table({"x": _array([value, None], one)})
    found = unifying.conform(table, pa.schema({"x": expected}))
    assert found["x"].type == expected
    assert found["x"].to_pylist() == [padded(value, expected), None]


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(type_):
        return pa.array(values, type_.value_type).dictionary_encode().cast(type_)
    return pa.array(values, type_)


@pytest.mark.parametrize(("one", "other"), APART, ids=str)
def test_what_no_type_holds(one: pa.DataType, other: pa.DataType) -> None:
    for first, second in ((one, other), (other, one)):
        assert unify_types(first, second, union=True, finest=True) is None
        with pytest.raises(unifying.ColumnTypeConflict) as caught:
            unifying.unify(pa.schema({"x": first}), pa.schema({"x": second}))
        assert str(caught.value) == f"column 'x' is {first} and {second}"


TYPES = [pair[0] for pair in PAIRS] + [pair[2] for pair in PAIRS] + [pa.int64(), pa.uint64()]


@given(st.sampled_from(TYPES), st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_the_order_decides_nothing(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    def fold(*types: pa.DataType) -> str | None:
        found: pa.DataType | None = pa.null()
        for each in types:
            found = None if found is None else unify_types(found, each, union=True, finest=True)
        return None if found is None else ",".join(sorted(str(found).split(", ")))

    if pa.types.is_struct(a) or pa.types.is_struct(b) or pa.types.is_struct(c):
        assert (fold(a, b, c) is None) == (fold(c, b, a) is None)
    else:
        assert fold(a, b, c) == fold(c, b, a) == fold(b, a, c)


def test_a_column_that_one_table_lacks_is_null_there() -> None:
    one, other = pa.table({"a": [1]}), pa.table({"b": ["x"]})
    schema = unifying.unify(one.schema, other.schema)
    assert unifying.conform(one, schema).to_pylist() == [{"a": 1, "b": None}]
    assert unifying.conform(other, schema).to_pylist() == [{"a": None, "b": "x"}]


def test_a_column_without_values_tells_nothing() -> None:
    table = pa.table({"a": pa.array([None], pa.timestamp("s")), "b": [1]})
    assert unifying.observed_schema(table) == pa.schema({"a": pa.null(), "b": pa.int64()})
    found = unifying.conform(table, pa.schema({"a": pa.list_(pa.int64()), "b": pa.int64()}))
    assert found.to_pylist() == [{"a": None, "b": 1}]


def test_rows_without_columns() -> None:
    assert unifying.make_columnless_table(3).num_rows == 3
    assert unifying.conform(unifying.make_columnless_table(3), pa.schema({})).num_rows == 3
    assert (
        unifying.conform(unifying.make_columnless_table(2), pa.schema({"a": pa.int8()})).num_rows
        == 2
    )


@pytest.mark.parametrize("listed", [False, True])
def test_a_time_beyond_the_finer_unit(listed: bool) -> None:
    far, fine = pa.timestamp("s"), pa.timestamp("ns")
    values: list[Any] = [2**40]
    if listed:
        values, far, fine = [values], pa.list_(far), pa.list_(fine)
    table, schema = pa.table({"t": pa.array(values, far)}), pa.schema({"t": fine})
    assert not unifying.can_cast(table.schema, schema)
    for check in (unifying.conform, unifying.check_times):
        with pytest.raises(
            unifying.ColumnTypeConflict, match=r"'t' is .*timestamp\[s\].* and .*timestamp\[ns\]"
        ):
            check(table, schema)
