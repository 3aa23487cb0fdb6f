"""Arrow tables as pandas frames: no value changes, and the type alone decides the dtype."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.arrow import to_frames
from mapred.errors import DatasetError

BIG = 2**60 + 1
# pandas 2.2 crashes where it shows earlier times of a zone.
NEAR = st.datetimes(
    dt.datetime(1900, 1, 1),  # noqa: DTZ001
    dt.datetime(9999, 12, 1),  # noqa: DTZ001
    timezones=st.just(dt.timezone.utc),
)
WHOLE = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint64())
VALUES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    *(
        (t, st.integers(*((0, 2**t.bit_width - 1) if str(t)[0] == "u" else (-100, 100))))
        for t in WHOLE
    ),
    (pa.int64(), st.sampled_from([BIG, -BIG, -(2**63), 2**63 - 1])),
    (pa.bool_(), st.booleans()),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.string(), st.text(max_size=3)),
    (pa.large_string(), st.text(max_size=3)),
    (pa.binary(), st.binary(max_size=3)),
    (pa.decimal128(38, 2), st.decimals("-1e30", "1e30", places=2)),
    (pa.date32(), st.dates()),
    (pa.time32("s"), st.times().map(lambda t: t.replace(microsecond=0))),
    (pa.time64("us"), st.times()),
    (pa.timestamp("s"), st.datetimes().map(lambda t: t.replace(microsecond=0))),
    (pa.timestamp("us"), st.datetimes()),
    (pa.timestamp("us", "Asia/Tokyo"), NEAR),
    (pa.duration("us"), st.timedeltas(dt.timedelta(-(10**5)), dt.timedelta(10**5))),
    (pa.list_(pa.int64()), st.lists(st.none() | st.integers(-BIG, BIG), max_size=2)),
    (pa.list_(pa.int8(), 1), st.lists(st.integers(0, 9), min_size=1, max_size=1)),
    (pa.struct({"a": pa.int64()}), st.fixed_dictionaries({"a": st.none() | st.just(BIG)})),
    (pa.dictionary(pa.int32(), pa.int64()), st.sampled_from([BIG, BIG + 1])),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b"])),
    (pa.null(), st.none()),
]


@st.composite
def columns(draw: st.DrawFn) -> pa.ChunkedArray:
    type_, values = draw(st.sampled_from(VALUES))
    chunks = draw(st.lists(st.lists(st.none() | values, max_size=4), max_size=3))
    if pa.types.is_dictionary(type_):
        return pa.chunked_array(
            [pa.array(chunk, type_.value_type).dictionary_encode() for chunk in chunks], type_
        )
    return pa.chunked_array([pa.array(chunk, type_) for chunk in chunks], type_)


def plain(value: Any) -> Any:
    """A value of a frame as Python has it; null is None, NaN is a word of its own."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


@settings(max_examples=30)
@given(columns(), st.sampled_from(["numpy_nullable", "pyarrow"]))
def test_no_value_changes_and_the_type_alone_decides(column: pa.ChunkedArray, backend: str) -> None:
    table = pa.table({"x": column})
    frame = to_frames.to_pandas(table, backend)
    assert plain(frame["x"].tolist()) == plain(column.to_pylist())
    assert frame["x"].dtype == to_frames.to_pandas(table.slice(0, 0), backend)["x"].dtype
    assert frame["x"].dtype == to_frames.to_pandas(table.slice(1, 1), backend)["x"].dtype


@settings(max_examples=30)
@given(columns())
def test_numpy_holds_the_values_or_names_the_column(column: pa.ChunkedArray) -> None:
    table, type_ = pa.table({"x": column}), column.type
    leaf = type_.value_type if "list" in str(type_) or "dict" in str(type_) else type_
    whole = pa.types.is_integer(leaf) or pa.types.is_boolean(leaf)
    in_lists = "list" in str(type_)
    rows = column.drop_null().to_pylist() if in_lists else [column.to_pylist()]
    if whole and any(value is None for row in rows for value in row):
        with pytest.raises(DatasetError, match=r"column 'x' .*dtype_backend='numpy_nullable'"):
            to_frames.to_pandas(table, "numpy")
        return
    found = to_frames.to_pandas(table, "numpy")["x"]
    assert found.dtype == to_frames.to_pandas(table.slice(0, 0), "numpy")["x"].dtype
    expected = column.to_pylist()
    values = [value.tolist() if in_lists and value is not None else value for value in found]
    if pa.types.is_floating(leaf):
        expected = [math.nan if value is None else value for value in expected]
    else:
        # The dtype `str` shows a missing text as NaN.
        values = [None if isinstance(value, float) else value for value in values]
    assert plain(values) == plain(expected)


@pytest.mark.parametrize(
    ("type_", "nullable", "numpy"),
    [
        (pa.int8(), "Int8", "int8"),
        (pa.uint64(), "UInt64", "uint64"),
        (pa.bool_(), "boolean", "bool"),
        (pa.float16(), "Float32", "float16"),
        (pa.float32(), "Float32", "float32"),
        (pa.float64(), "Float64", "float64"),
        (pa.timestamp("s"), "datetime64[s]", "datetime64[s]"),
        (pa.timestamp("ns", "UTC"), "datetime64[ns, UTC]", "datetime64[ns, UTC]"),
        (pa.duration("ms"), "timedelta64[ms]", "timedelta64[ms]"),
        (pa.date32(), "date32[day][pyarrow]", "object"),
        (pa.decimal128(5, 2), "decimal128(5, 2)[pyarrow]", "object"),
        (pa.list_(pa.int64()), "list<item: int64>[pyarrow]", "object"),
        (pa.null(), "object", "object"),
    ],
)
def test_dtypes(type_: pa.DataType, nullable: str, numpy: str) -> None:
    table = pa.table({"x": pa.array([], type_)})
    assert str(to_frames.to_pandas(table)["x"].dtype) == nullable
    assert str(to_frames.to_pandas(table, "numpy")["x"].dtype) == numpy
    assert to_frames.to_pandas(table, "pyarrow")["x"].dtype == pd.ArrowDtype(type_)


def test_whole_numbers_beside_a_null_keep_their_digits() -> None:
    table = pa.table({"id": [BIG, None]})
    assert to_frames.to_pandas(table)["id"].tolist() == [BIG, pd.NA]
    with pytest.raises(DatasetError, match=r"column 'id' \(int64\) holds a null.*'numpy_nullable'"):
        to_frames.to_pandas(table, "numpy")


def test_nan_is_not_null() -> None:
    frame = to_frames.to_pandas(pa.table({"x": [math.nan, None, 1.0]}))
    assert frame["x"].isna().tolist() == [False, True, False]
    assert pa.Table.from_pandas(frame)["x"].null_count == 1


@pytest.mark.parametrize(
    ("column", "backend"),
    [
        (pa.array([10**7], pa.date32()), "numpy"),
        (pa.array([1001], pa.time64("ns")), "numpy"),
        (pa.array([{"t": 1001}], pa.struct({"t": pa.time64("ns")})), "numpy"),
        (pa.array([-(2**63)], pa.int64()).cast(pa.timestamp("us")), "numpy"),
        (pa.array([-(2**63)], pa.int64()).cast(pa.timestamp("us")), "numpy_nullable"),
        (pa.array([0], pa.timestamp("us", "Nowhere/Land")), "numpy_nullable"),
    ],
)
def test_what_a_dtype_cannot_hold_is_refused_with_advice_that_helps(
    column: pa.Array, backend: str
) -> None:
    table = pa.table({"x": column})
    with pytest.raises(DatasetError, match=r"column 'x' .*use dtype_backend='pyarrow'"):
        to_frames.to_pandas(table, backend)
    found = to_frames.to_pandas(table, "pyarrow")["x"]
    assert pa.array(found).cast(column.type).equals(column)


def test_times_beyond_nanoseconds_stay() -> None:
    far = dt.datetime(9999, 12, 31)  # noqa: DTZ001
    table = pa.table({"t": pa.array([far, None], pa.timestamp("us"))})
    for backend in to_frames.BACKENDS:
        assert to_frames.to_pandas(table, backend)["t"][0] == far


def test_nested_numbers_stay_whole() -> None:
    table = pa.table({"v": [[BIG, 1]], "s": [{"a": None, "b": [BIG, None]}]})
    for backend in to_frames.BACKENDS:
        frame = to_frames.to_pandas(table, backend)
        assert list(frame["v"][0]) == [BIG, 1]
        assert frame["s"][0] == {"a": None, "b": [BIG, None]}


def test_rows_without_columns_and_names_that_come_twice() -> None:
    rows = pa.table({"x": [1, 2, 3]}).select([])
    assert to_frames.to_pandas(rows).shape == (3, 0)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array(["a"])], ["x", "x"])
    frame = to_frames.to_pandas(twice)
    assert list(frame.columns) == ["x", "x"]
    assert frame.iloc[0].tolist() == [1, "a"]


def test_pandas_metadata_decides_nothing() -> None:
    frame = pd.DataFrame({"x": pd.Categorical(["b"])}, index=pd.RangeIndex(7, 8))
    found = to_frames.to_pandas(pa.Table.from_pandas(frame))
    assert found.index.tolist() == [0]
    assert found["x"].dtype == "string"


def test_periods_stay_periods() -> None:
    frame = pd.DataFrame({"p": pd.period_range("2026-01", periods=2, freq="M")})
    for backend in to_frames.BACKENDS:
        assert to_frames.to_pandas(pa.Table.from_pandas(frame), backend)["p"].equals(frame["p"])


def test_frames_can_be_written_to() -> None:
    table = pa.table({"t": pa.array([1, 2], pa.timestamp("us")), "x": [1, 2], "f": [0.5, 1.5]})
    for backend in to_frames.BACKENDS:
        frame = to_frames.to_pandas(table, backend)
        for name in table.column_names:
            frame.loc[0, name] = frame.loc[1, name]
            assert frame[name].nunique() == 1
            assert frame[name].to_numpy(copy=False) is not None


def test_another_word_is_refused() -> None:
    with pytest.raises(DatasetError, match="dtype_backend='arrow' is not one of 'numpy_nullable'"):
        to_frames.to_pandas(pa.table({}), "arrow")


def test_decimals_keep_their_digits() -> None:
    value = Decimal("1234567890123456.123456")
    for backend in to_frames.BACKENDS:
        assert to_frames.to_pandas(pa.table({"d": [value]}), backend)["d"][0] == value
