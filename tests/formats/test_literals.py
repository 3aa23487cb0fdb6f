"""Comparisons with values that lie between those of a column's type, or beyond them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mapred.formats.literals import build_comparison, comparable

HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TENTH = np.float32(0.1)
COLUMNS = {
    "int64": pa.array([-3, -2, -1, 0, 1, 2, 3, None], pa.int64()),
    "uint8": pa.array([0, 1, 2, 3, 254, 255, None], pa.uint8()),
    "float32": pa.array(
        [np.nextafter(TENTH, np.float32(0)), TENTH, np.nextafter(TENTH, np.float32(1)), 0.5, None],
        pa.float32(),
    ),
    "decimal": pa.array(
        [Decimal(text) for text in ("-0.13", "-0.12", "0.12", "0.13", "99.99", "-99.99")],
        pa.decimal128(4, 2),
    ),
}
VALUES = [
    -4, -2, -1, 0, 2, 3, 255, 256, 10**30, -(10**30),
    -2.5, -0.5, 0.1, 0.5, 2.5, 254.5, 255.5, float("inf"), -float("inf"),
    Decimal("0.125"), Decimal("-0.125"), Decimal("0.12"), Decimal("99.995"), Decimal("100"),
]  # fmt: skip


@pytest.mark.parametrize("how", HOLDS)
@pytest.mark.parametrize("column", COLUMNS)
def test_rows_are_those_that_python_keeps(column: str, how: str) -> None:
    table = pa.table({"x": COLUMNS[column]})
    rows = [row for row in table["x"].to_pylist() if row is not None]
    for value in comparable(VALUES, table["x"].type):
        expression = build_comparison("x", how, value, table["x"].type)
        kept = table.filter(expression)["x"].to_pylist()
        assert kept == [row for row in rows if HOLDS[how](row, value)], (how, value)


@pytest.mark.parametrize("column", COLUMNS)
def test_members_are_those_that_the_type_has(column: str) -> None:
    table = pa.table({"x": COLUMNS[column]})
    rows = [row for row in table["x"].to_pylist() if row is not None]
    values = comparable(VALUES, table["x"].type)
    inside = table.filter(build_comparison("x", "in", values, table["x"].type))["x"].to_pylist()
    assert inside == [row for row in rows if row in values]
