"""Parquet and Arrow files by several writers: what reaches the function is what was written."""

from __future__ import annotations

import datetime as dt
import math
import operator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import fastparquet
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from differential.agreement import assert_same
from differential.folders import folder
from differential.reading import EVERY_AS, as_given, read

MICROS = st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999))
SECONDS = MICROS.map(lambda when: when.replace(microsecond=0))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
FLOAT = st.floats() | st.sampled_from([0.0, -0.0, math.nan, 1e300, 2.0**53])
POINT = pa.struct([("x", pa.int64()), ("y", pa.string())])
# Type by name, its values, and narrower types that a file may have instead without a loss.
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], list[tuple[pa.DataType, Any]]]] = {
    "int64": (
        pa.int64(),
        st.integers(-(2**63), 2**63 - 1) | st.integers(2**53, 2**53 + 3),
        [(pa.int32(), st.integers(-(2**31), 2**31 - 1)), (pa.uint8(), st.integers(0, 255))],
    ),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1), []),
    "int8": (pa.int8(), st.integers(-128, 127), []),
    "float64": (pa.float64(), FLOAT, [(pa.float32(), st.floats(width=32))]),
    "float32": (pa.float32(), st.floats(width=32), []),
    "bool": (pa.bool_(), st.booleans(), []),
    "text": (
        pa.string(),
        TEXT,
        [(pa.dictionary(pa.int32(), pa.string()), TEXT), (pa.large_string(), TEXT)],
    ),
    "binary": (pa.binary(), st.binary(max_size=5), []),
    "date": (pa.date32(), st.dates(), []),
    "micros": (pa.timestamp("us"), MICROS, [(pa.timestamp("ms"), SECONDS)]),
    "instant": (
        pa.timestamp("us", "UTC"),
        MICROS.map(lambda t: t.replace(tzinfo=dt.timezone.utc)),
        [],
    ),
    "decimal": (pa.decimal128(20, 2), st.decimals(-(10**17), 10**17, places=2), []),
    "numbers": (
        pa.list_(pa.int64()),
        st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=3),
        [(pa.list_(pa.null()), st.lists(st.none(), max_size=2))],
    ),
    "point": (
        POINT,
        st.fixed_dictionaries({"x": st.none() | st.integers(2**53, 2**60), "y": st.none() | TEXT}),
        [],
    ),
    "points": (
        pa.list_(POINT),
        st.lists(st.fixed_dictionaries({"x": st.integers(0, 2**60), "y": TEXT}), max_size=2),
        [],
    ),
}
FLAT = [name for name in TYPES if name not in ("numbers", "point", "points")]
WRITERS = ("pyarrow", "pyarrow 1.0", "int96", "polars", "duckdb", "fastparquet", "arrow", "stream")
COMPARED = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, ">=": operator.ge}


@dataclass(frozen=True)
class Case:
    """Tables, the writer of each, and how they are read."""

    types: dict[str, str]
    tables: list[pa.Table]
    writers: list[str]
    groups: int
    target_bytes: int
    as_: str
    columns: list[str] | None
    condition: tuple[str, str, Any] | None
    missing: bool


@st.composite
def cases(draw: Any) -> Case:
    names = draw(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True))
    types = {name: draw(st.sampled_from(sorted(TYPES))) for name in names}
    columnar = draw(st.booleans())
    missing = draw(st.integers(0, 3)) == 0
    tables, writers = [], []
    for number in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(0, 6))
        kept = names if not missing or number == 0 else draw(st.permutations(names))[:2]
        columns = {}
        for name in draw(st.permutations(kept)):
            type_, values, others = TYPES[types[name]]
            # The first table has every column in its widest type.
            if number and others and draw(st.booleans()):
                type_, values = draw(st.sampled_from(others))
            cells = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
            columns[name] = pa.array(cells, type_)
        table = pa.table(columns)
        tables.append(table)
        writers.append(draw(st.sampled_from(_writers_of(table, columnar))))
    flat = [name for name in names if types[name] in ("int64", "uint64", "float64", "text", "date")]
    condition = None
    if flat and draw(st.booleans()):
        name = draw(st.sampled_from(flat))
        seen = [
            value
            for table in tables
            if name in table.column_names
            for value in table[name].to_pylist()
        ]
        values = [value for value in seen if value is not None]
        if values:
            how = draw(st.sampled_from([*COMPARED, "in", "not in"]))
            value = draw(st.sampled_from(values))
            condition = (name, how, [value] if "in" in how else value)
    return Case(
        types=types,
        tables=tables,
        writers=writers,
        groups=draw(st.integers(1, 4)),
        target_bytes=draw(st.sampled_from([500, 3000, 1 << 20])),
        as_=draw(st.sampled_from(EVERY_AS)),
        columns=draw(st.none() | st.permutations(names).map(lambda p: p[: max(1, len(p) // 2)])),
        condition=condition,
        missing=missing,
    )


def _writers_of(table: pa.Table, columnar: bool) -> list[str]:
    """The writers that write a table of these types as it is."""
    if not columnar:
        return ["arrow", "stream"]
    found = ["pyarrow", "pyarrow 1.0"]
    times = [type_ for type_ in table.schema.types if pa.types.is_timestamp(type_)]
    if times and all(type_.tz is None for type_ in times):
        found.append("int96")
    nested = any(pa.types.is_nested(t) or pa.types.is_null(t) for t in table.schema.types)
    plain = not any(pa.types.is_dictionary(type_) for type_ in table.schema.types)
    if plain and not nested:
        found.append("polars")
        if not any(
            pa.types.is_timestamp(t) or pa.types.is_large_string(t) for t in table.schema.types
        ):
            found.append("duckdb")
    simple = {pa.int64(), pa.float64(), pa.bool_()}
    if (
        set(table.schema.types) <= simple
        and table.num_rows
        and not any(c.null_count for c in table.columns)
    ):
        found.append("fastparquet")
    return found


def write(table: pa.Table, writer: str, path: Path, groups: int) -> None:
    size = max(1, -(-table.num_rows // groups))
    if writer in ("pyarrow", "pyarrow 1.0", "int96"):
        version: Any = "1.0" if writer == "pyarrow 1.0" else "2.6"
        unsigned = any(pa.types.is_uint32(type_) for type_ in table.schema.types)
        assert not unsigned
        pq.write_table(
            table,
            path,
            row_group_size=size,
            version=version,
            use_deprecated_int96_timestamps=writer == "int96",
        )
    elif writer == "polars":
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        frame.write_parquet(path, row_group_size=size)
    elif writer == "duckdb":
        duckdb.from_arrow(table).write_parquet(str(path))
    elif writer == "fastparquet":
        fastparquet.write(str(path), table.to_pandas(), row_group_offsets=size)
    else:
        new = pa.ipc.new_stream if writer == "stream" else pa.ipc.new_file
        with new(str(path), table.schema) as sink:
            sink.write_table(table, max_chunksize=size)


def expected(case: Case) -> list[dict[str, Any]]:
    """The rows by Python alone."""
    rows = [
        {name: row.get(name) for name in case.types}
        for table in case.tables
        for row in table.to_pylist()
    ]
    if case.condition is not None:
        name, how, value = case.condition
        rows = [row for row in rows if _passes(row[name], how, value)]
    if case.columns is None:
        return rows
    return [{name: row[name] for name in case.columns} for row in rows]


def _passes(value: Any, how: str, wanted: Any) -> bool:
    if "in" in how:
        # NaN is among values that hold NaN; null is among none, and `not in` keeps it.
        among = value is not None and any(
            value == each or (value != value and each != each) for each in wanted
        )
        return among if how == "in" else not among
    return value is not None and bool(COMPARED[how](value, wanted))


def holds(case: Case) -> None:
    suffix = "parquet" if case.writers[0] not in ("arrow", "stream") else "arrow"
    with folder() as here:
        for number, (table, writer) in enumerate(zip(case.tables, case.writers, strict=True)):
            write(table, writer, here / f"{number}.{suffix}", case.groups)
        reader = mapred.read_parquet if suffix == "parquet" else mapred.read_arrow
        dataset = reader(
            str(here / f"*.{suffix}"),
            schema=pa.schema({name: TYPES[kind][0] for name, kind in case.types.items()}),
            columns=case.columns,
            filters=case.condition and [case.condition],
            missing_columns="null" if case.missing else "error",
        )
        found = read(as_given(dataset, case.as_), case.target_bytes)
        assert_same(found, expected(case))
        if not case.missing and any(table.num_rows for table in case.tables):
            inferred = reader(
                str(here / f"*.{suffix}"),
                columns=case.columns,
                filters=case.condition and [case.condition],
            )
            assert_same(read(inferred, 1 << 20), expected(case))


@given(cases())
@settings(max_examples=100, deadline=None)
@pytest.mark.slow
def test_what_is_read_is_what_was_written(case: Case) -> None:
    holds(case)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@given(cases())
@settings(max_examples=500, deadline=None)
def test_what_is_read_is_what_was_written_at_length(case: Case) -> None:
    holds(case)


LOSSES = [
    (pa.float32(), pa.float64(), [0.1, 16777217.0, 1e300]),
    (pa.decimal128(10, 2), pa.float64(), [0.125, 1.005]),
    (pa.float64(), pa.decimal128(22, 6), [Decimal("1234567890123456.123456")]),
    (pa.float64(), pa.int64(), [2**53 + 1]),
    (pa.int64(), pa.uint64(), [2**64 - 1]),
    (pa.int32(), pa.int64(), [2**40]),
    (pa.int64(), pa.float64(), [1.5]),
    (pa.timestamp("s"), pa.timestamp("ms"), [dt.datetime(2024, 1, 1, 0, 0, 0, 1000)]),
    (pa.timestamp("ns"), pa.timestamp("us"), [dt.datetime(9999, 12, 31)]),
    (pa.string(), pa.int64(), [1]),
    (pa.int64(), pa.string(), ["1"]),
    (pa.date32(), pa.timestamp("us"), [dt.datetime(2024, 1, 1, 1)]),
]


@pytest.mark.parametrize(("first", "second", "values"), LOSSES, ids=str)
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("reader", ["parquet", "arrow"])
def test_types_that_would_lose_are_exact_or_named(
    first: pa.DataType, second: pa.DataType, values: list[Any], deep: bool, reader: str
) -> None:
    """Two files in either order give the values as they stand, or an error with the column's name."""
    tables = [pa.table({"x": pa.array([None], first)}), pa.table({"x": pa.array(values, second)})]
    if deep:
        tables = [
            pa.table(
                {
                    "x": pa.array(
                        [[value] for value in table["x"].to_pylist()], pa.list_(table["x"].type)
                    )
                }
            )
            for table in tables
        ]
    answers = []
    for order in (tables, tables[::-1]):
        with folder() as here:
            for number, table in enumerate(order):
                write(
                    table,
                    "pyarrow" if reader == "parquet" else "arrow",
                    here / f"{number}.{reader}",
                    1,
                )
            for target in (500, 1 << 20):
                made = getattr(mapred, f"read_{reader}")(str(here / f"*.{reader}"))
                try:
                    rows = read(made, target)
                except mapred.DatasetError as error:
                    assert "'x'" in str(error)
                    continue
                assert_same(rows, [row for table in order for row in table.to_pylist()])
                answers.append(rows)
    assert len({str(sorted(map(str, rows))) for rows in answers}) <= 1


def test_a_frame_reads_back(tmp_path: Path) -> None:
    """What pandas wrote keeps its values and its missing values."""
    frame = pd.DataFrame({"i": pd.array([2**60 + 1, None], "Int64"), "s": ["a", None]})
    frame.to_parquet(tmp_path / "a.parquet")
    rows = read(mapred.read_parquet(str(tmp_path / "a.parquet"), as_="pandas"), None)
    assert_same(rows, [{"i": 2**60 + 1, "s": "a"}, {"i": None, "s": None}])
