"""Filters of Parquet: row groups are ruled out, and no row with them."""

from __future__ import annotations

import io
import math
import operator
from datetime import date, datetime, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapred.errors import DatasetError
from mapred.formats import check
from mapred.model.spec import Format

NAN = float("nan")
NOON, FAR, OLD = (
    datetime.fromisoformat(text) for text in ("2026-01-01T12:00", "9999-12-31T00:00", "1600-01-01")
)
UTC = NOON.replace(tzinfo=timezone.utc)
D = Decimal
# Values of a column, and what they are compared with beside each other.
COLUMNS: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "i8": (pa.int8(), [-128, 0, 5, 127], [-129, 128, 2.5, 5.0, math.inf, NAN, D("4.99")]),
    "i64": (pa.int64(), [-(2**63), 2**53, 2**53 + 1, 2**63 - 1], [2.0**53, 2.0**63, 2**64]),
    "u64": (pa.uint64(), [0, 5, 2**53 + 1, 2**63, 2**64 - 1], [-1, 2**64, 4.5, 2.0**53]),
    "f16": (pa.float16(), [0.5, -0.0, 0.0, NAN, 2048.0], [0.1, 2049, 1]),
    "f32": (pa.float32(), [0.5, -0.0, 0.0, NAN, math.inf, 2.0**24], [0.1, 2**24 + 1, D("0.5")]),
    "f64": (pa.float64(), [0.1, -0.0, 0.0, NAN, -math.inf, 2.0**53], [2**53 + 1, D("0.1"), 10**400]),
    "d2": (pa.decimal128(10, 2), [D("1.60"), D("-0.01"), D("99999999.99")], [1.6, 1, 10**9, D("1.605")]),
    "d38": (pa.decimal128(38, 20), [D("1.5"), D("1e17"), D("-1e-20")], [1.5, D("1e-25"), 2**70]),
    "s": (pa.string(), ["", "a", "\U0001f600" * 40, "\uffff"], ["zz", "\U0001f600"]),
    "day": (pa.date32(), [date(2026, 1, 1), date.max, 2**31 - 1, -(2**31)], [NOON, OLD.date()]),
    "us": (pa.timestamp("us"), [NOON, FAR, OLD], [date(2026, 1, 1), NOON.replace(second=1)]),
    "ns": (pa.timestamp("ns"), [NOON, NOON.replace(microsecond=7)], [FAR, OLD, date.max]),
    "ms": (pa.timestamp("ms"), [NOON, FAR], [NOON.replace(microsecond=7)]),
    "utc": (pa.timestamp("ms", "UTC"), [UTC, UTC.replace(hour=1)], [UTC.replace(microsecond=1)]),
    "i96": (pa.timestamp("us"), [NOON, FAR, OLD], [datetime.fromisoformat("2100-01-01")]),
}  # fmt: skip
COMPARED = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def stored(name: str, values: list[Any]) -> pa.Array:
    type_ = COLUMNS[name][0]
    if name == "day":
        days = [
            v if isinstance(v, int) or v is None else (v - date(1970, 1, 1)).days for v in values
        ]
        return pa.array(days, pa.int32()).cast(type_)
    return pa.array(values, type_)


def comparable(value: Any, type_: pa.DataType, literal: bool = False) -> Any:
    """A value as Python compares it, exactly."""
    if isinstance(value, datetime):
        base = datetime(1970, 1, 1, tzinfo=value.tzinfo)
        return Fraction((value - base) // (datetime.resolution), 10**6)
    if isinstance(value, date):
        return Fraction((value - date(1970, 1, 1)).days * 86400)
    if pa.types.is_date32(type_) and isinstance(value, int):
        return Fraction(value * 86400)
    if isinstance(value, float) and not math.isfinite(value):
        return value
    if literal and pa.types.is_decimal(type_) and isinstance(value, float):
        return Fraction(repr(value))
    if literal and pa.types.is_floating(type_) and isinstance(value, Decimal):
        return Fraction(float(value))
    return Fraction(value) if isinstance(value, int | float | Decimal) else value


def holds(value: Any, how: str, against: Any, type_: pa.DataType) -> bool:
    """What a condition says of a value: nothing is equal to null, and NaN is in a list of NaN."""
    if how == "not in":
        return value is None or not holds(value, "in", against, type_)
    if value is None:
        return False
    value = comparable(value, type_)
    if how == "in":
        found = [comparable(each, type_, True) for each in against]
        return value in found or (value != value and any(each != each for each in found))
    return bool(COMPARED[how](value, comparable(against, type_, True)))


@st.composite
def cases(draw: Any) -> tuple[str, list[Any], Any]:
    name = draw(st.sampled_from(sorted(COLUMNS)))
    _, values, others = COLUMNS[name]
    rows = draw(st.lists(st.sampled_from([*values, None]), min_size=1, max_size=8))
    literals = [each for each in [*values, *others] if name != "day" or not isinstance(each, int)]
    how = draw(st.sampled_from([*COMPARED, "in", "not in"]))
    one = st.sampled_from(literals)
    if "in" in how:
        # Zeros of both signs are apart for Arrow's look-up.
        exact = [v for v in literals if not (isinstance(v, float | int) and v == 0)]
        exact = [v for v in exact if name != "day" or not isinstance(v, datetime)]
        return name, rows, (name, how, draw(st.lists(st.sampled_from(exact), max_size=3)))
    return name, rows, (name, how, draw(one))


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 4))
def test_conditions_keep_the_rows_that_python_keeps(
    lab: Any, case: tuple[str, list[Any], Any], size: int
) -> None:
    name, rows, condition = case
    table = pa.table({name: stored(name, rows), "row": list(range(len(rows)))})
    old = name == "i96"
    data = written(table, row_group_size=size, use_deprecated_int96_timestamps=old)
    files = {"f": data}
    schema = lab.sniff(Format("parquet", "table"), data)
    assert schema == table.schema
    format = Format("parquet", "table", schema, columns=("row",), filter=[condition])
    found = lab.read(format, files, lab.cut(files, [])).value["row"].to_pylist()
    type_ = table.schema.field(name).type
    expected = [row for row, value in enumerate(rows) if holds(value, *condition[1:], type_)]
    assert found == expected


FLOATS = pa.table(
    {
        "x": pa.array([3.0, NAN, 3.0, 1.0, 2.0, NAN, 5.0, None, -0.0, 0.0]),
        "f": pa.array([NAN, 1.0, None, 2.0, NAN, NAN, 0.5, 0.5, -0.0, 0.0], pa.float32()),
        "i": [1, 2, 3, 4, 5, None, 7, 8, 9, 10],
        "st": [{"x": NAN}, {"x": 1.0}, None, {"x": 2.0}, *[{"x": float(n)} for n in range(6)]],
        "t": pa.array([NOON, FAR, None, OLD, NOON, NOON, FAR, FAR, OLD, OLD], pa.timestamp("us")),
        "row": list(range(10)),
    }
)
LEAVES = st.sampled_from(
    [
        pc.is_nan(pc.field("x")),
        pc.field("x") != 3.0,
        pc.field("x") == 3.0,
        pc.field("x") < 10,
        pc.field("x") >= 0.0,
        pc.field("x") == -0.0,
        pc.field("f") > 0.5,
        pc.field("x").isin([NAN, 5.0]),
        pc.field("x").is_null(nan_is_null=True),
        pc.field("x").is_null(),
        pc.field("f").is_valid(),
        pc.field("x") < pc.field("f"),
        pc.field("x") + pc.field("f") > 1,
        pc.field("i") > 3,
        pc.field("i") != 4,
        pc.field("i").isin([2, 9]),
        pc.field("st", "x") != 1.0,
        pc.is_nan(pc.field("st", "x")),
        pc.field("t") > datetime.fromisoformat("2100-01-01"),
        pc.field("t") <= NOON,
    ]
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: (
        inner.map(operator.invert)
        | st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1])
        | st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1])
    ),
    max_leaves=4,
)


@settings(max_examples=40, deadline=None)
@given(EXPRESSIONS, st.integers(1, 4), st.booleans())
def test_expressions_keep_the_rows_that_arrow_keeps(
    lab: Any, expression: Any, size: int, old: bool
) -> None:
    files = {"f": written(FLOATS, row_group_size=size, use_deprecated_int96_timestamps=old)}
    format = Format("parquet", "table", FLOATS.schema, columns=("row",), filter=expression)
    found = lab.read(format, files, lab.cut(files, [])).value
    assert found["row"].to_pylist() == FLOATS.filter(expression)["row"].to_pylist()


@pytest.mark.parametrize(
    ("expression", "read"),
    [(pc.field("x") > 4.0, [6, 7]), ((pc.field("i") > 8) & (pc.field("x") < 9), [8, 9])],
)
def test_plain_comparisons_rule_out_row_groups(lab: Any, expression: Any, read: list[int]) -> None:
    data = bytearray(written(FLOATS, row_group_size=2, compression="none", use_dictionary=False))
    metadata = pq.ParquetFile(io.BytesIO(bytes(data))).metadata
    for group in range(5):
        if 2 * group not in read:
            start = metadata.row_group(group).column(0).data_page_offset
            data[start : start + 20] = bytes(20)
    files = {"f": bytes(data)}
    format = Format("parquet", "table", FLOATS.schema, filter=expression)
    part = lab.read(format, files, lab.cut(files, []))
    assert part.value["row"].to_pylist() == FLOATS.filter(expression)["row"].to_pylist()
    assert part.reading.units == 5


def test_a_filter_that_does_not_fit_is_refused_with_the_plan() -> None:
    for filter in ([("u", ">", "text")], [("nowhere", ">", 1)], [("s", ">", 2**70)]):
        schema = pa.schema([("u", pa.uint64()), ("s", pa.string())])
        with pytest.raises(DatasetError, match="filter"):
            check(Format("parquet", "table", schema, filter=filter))


def test_an_expression_that_fails_names_the_place_and_what_works(lab: Any) -> None:
    files = {"f": written(pa.table({"u": pa.array([2**64 - 1], pa.uint64())}))}
    format = Format("parquet", "table", pa.schema([("u", pa.uint64())]))

    def read(filter: Any) -> Any:
        made = Format("parquet", "table", format.schema, filter=filter)
        return lab.read(made, files, lab.cut(files, [])).value.num_rows

    with pytest.raises(DatasetError, match=r"f, row group 0: the filter \(u > 5\) fails.*\(\"u\""):
        read(pc.field("u") > 5)
    assert read(pc.field("u") > pa.scalar(5, pa.uint64())) == read([("u", ">", 5)]) == 1
