"""What a function gets: the same values whatever its shard holds, as every `as_`."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mapred.errors import DatasetError
from mapred.formats import Place, sniff
from mapred.model.spec import Format

FIRST, LAST = (datetime.fromisoformat(text) for text in ("0001-01-01", "9999-12-31"))


def stored(frame: pd.DataFrame, **options: Any) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink, **options)
    return sink.getvalue()


def arrow_file(table: pa.Table, rows: int) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def read(lab: Any, format: Format, files: dict[str, bytes], cuts: Any = ()) -> list[Any]:
    return [part.value for part in lab.read_each(format, files, lab.cut(files, cuts))]


def pinned(lab: Any, files: dict[str, bytes], as_: str, **options: Any) -> Format:
    format = Format("parquet", as_, **options)
    places = [Place(path, len(data)) for path, data in files.items()]
    return replace(format, schema=sniff(format, places, lab.open(files)).schema)


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_a_dtype_does_not_depend_on_what_a_shard_holds(lab: Any, backend: str) -> None:
    big = 2**53 + 1
    table = pa.table(
        {
            "i": [big, None, big + 2, 4],
            "u": pa.array([2**64 - 1, 1, None, 4], pa.uint64()),
            "b": [None, True, False, None],
            "f": [0.5, None, float("nan"), 1.0],
            "s": ["a", None, "b", "c"],
            "c": pa.array(["x", "y", None, "x"]).dictionary_encode(),
            "t": pa.array([LAST, None, FIRST, LAST], pa.timestamp("us")),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=1)
    files = {"f": sink.getvalue()}
    format = pinned(lab, files, "pandas", dtype_backend=backend)
    assert format.schema.field("c").type == pa.string()
    whole = read(lab, format, files)[0]
    parts = read(lab, format, files, [0.2, 0.4, 0.6, 0.8])
    assert [len(part) for part in parts].count(0) <= 3
    for part in parts:
        assert part.dtypes.equals(whole.dtypes)
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), whole)
    assert whole["i"].dropna().tolist() == [big, big + 2, 4]
    assert whole["u"].dropna().tolist() == [2**64 - 1, 1, 4]


def test_under_numpy_a_null_is_refused_and_never_a_float(lab: Any) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"i": [1, 2, None]}), sink, row_group_size=1)
    files = {"f": sink.getvalue()}
    format = pinned(lab, files, "pandas", dtype_backend="numpy")
    first = lab.read(format, files, lab.cut(files, [0.2]).slice(0, 1)).value
    assert first["i"].dtype == "int64"
    with pytest.raises(DatasetError, match=r"column 'i'.*use dtype_backend='num"):
        read(lab, format, files)


def test_an_index_is_that_of_the_row_and_of_no_other_file(lab: Any) -> None:
    a = pd.DataFrame({"x": range(5)}, index=range(100, 105))
    b = pd.DataFrame({"x": range(5, 10)}, index=range(200, 205))
    files = {"a": stored(a), "b": stored(b)}
    for cuts in ((), (0.2, 0.5)):
        for frame in read(lab, pinned(lab, files, "pandas"), files, cuts):
            assert frame.index.tolist() == list(range(len(frame)))
    table = read(lab, pinned(lab, files, "table"), files)[1]
    assert table.column_names == ["x"]
    assert table.to_pandas().index.tolist() == [0, 1, 2, 3, 4]


def test_a_stored_index_is_the_index_whatever_columns_are_chosen(lab: Any) -> None:
    named = pd.DataFrame({"x": [1, 2], "y": [3, 4]}, index=pd.Index(["p", "q"], name="key"))
    unnamed = pd.DataFrame({"x": [1, 2], "y": [3, 4]}, index=["p", "q"])
    two = named.set_index("y", append=True)
    for frame in (named, unnamed, two):
        files = {"f": stored(frame, row_group_size=1)}
        for columns in (None, ("x",)):
            format = pinned(lab, files, "pandas", columns=columns, dtype_backend="numpy")
            found = pd.concat(read(lab, format, files, [0.5]))
            assert found.equals(frame if columns is None else frame[["x"]])
            assert found.index.names == frame.index.names
        format = pinned(lab, files, "table", columns=("x",))
        assert read(lab, format, files)[0].column_names == ["x"]


def test_a_frame_that_is_the_dataset_keeps_its_dtypes_and_index(lab: Any) -> None:
    given = pd.DataFrame(
        {
            "i": [1, 2, 3, 4],
            "I": pd.array([1, None, 3, 4], "Int64"),
            "o": pd.array([2**53 + 1, None, 3, 4], object),
            "b": pd.array([True, None, False, True], object),
            "f": [0.5, float("nan"), 1.0, 2.0],
            "c": pd.Categorical(["x", "y", None, "x"], ["z", "y", "x"], ordered=True),
            "t": pd.to_datetime(["2026-01-01", None, "2026-01-03", "2026-01-04"]),
            "p": pd.period_range("2026-01", periods=4, freq="M"),
            "a": pd.array([1, None, 3, 4], pd.ArrowDtype(pa.int64())),
        },
        index=["p", "q", "r", "s"],
    )
    table = pa.Table.from_pandas(given)
    files = {"f": arrow_file(table, 1)}
    format = Format("arrow", "pandas", table.schema, dtype_backend="")
    for cuts in ((), (0.25, 0.5, 0.75)):
        parts = read(lab, format, files, cuts)
        pd.testing.assert_frame_equal(pd.concat(parts), given)
        for part in parts:
            assert part.dtypes.equals(given.dtypes)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([5], pa.time32("s")),
        pa.array([5, None], pa.duration("s")),
        pa.array([[5]], pa.list_(pa.timestamp("s", "UTC"))),
        pa.array([Decimal("1.5"), None], pa.decimal256(50, 2)),
        pa.array([Decimal(150)], pa.decimal128(5, -1)),
        pa.array([{"a": [Decimal("1.5")]}], pa.struct([("a", pa.list_(pa.decimal256(40, 1)))])),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([float("nan"), -0.0], pa.float32()),
        pa.array([b"ab"], pa.binary(2)),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([[1], None, [2, 3]], pa.list_view(pa.int64())),
    ],
    ids=lambda array: str(array.type),
)
def test_polars_gets_the_same_values_or_none(lab: Any, array: pa.Array) -> None:
    table = pa.table({"a": array})
    files = {"f": arrow_file(table, 10)}
    format = Format("arrow", "polars", table.schema)
    frame = read(lab, format, files)[0]
    assert isinstance(frame, pl.DataFrame)
    back = frame["a"].to_arrow()
    pairs = zip(back.to_pylist(), array.to_pylist(), strict=True)
    assert all(one == two or str(one) == str(two) for one, two in pairs)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**60], pa.timestamp("s")),
        pa.array([[2**60]], pa.list_(pa.duration("s"))),
        pa.array([Decimal(10**45)], pa.decimal256(50, 2)),
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
    ],
    ids=lambda array: str(array.type),
)
def test_what_polars_has_no_place_for_is_refused(lab: Any, array: pa.Array) -> None:
    table = pa.table({"a": array})
    files = {"f": arrow_file(table, 10)}
    with pytest.raises(DatasetError, match=r"(column 'a'|columns a).*as_='arrow'"):
        read(lab, Format("arrow", "polars", table.schema), files)
