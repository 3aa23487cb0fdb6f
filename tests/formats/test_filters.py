"""Conditions as Arrow expressions, as masks, and against statistics."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapred
from mapred import formats
from mapred.errors import DatasetError
from mapred.formats import filters
from mapred.storage import source_opener

NOON = datetime.fromisoformat("2026-01-01T12:00:00")
TABLE = pa.table(
    {
        "i": [3, None, -5, 10**6],
        "f": [0.5, float("nan"), -0.0, None],
        "s": ["ä", "", None, "zz"],
        "d": [date(2026, 1, 1), None, date(1969, 12, 31), date(2030, 5, 5)],
        "t": pa.array([NOON, None, None, None], pa.timestamp("us")),
        "n": pa.array([Decimal("1.50"), None, Decimal("-2.25"), None], pa.decimal128(15, 2)),
        "b": [True, None, False, True],
    }
)
VALUES: dict[str, Any] = {
    "i": [3, -5, 2.5, 10**6],
    "f": [0.0, 0.5, 1],
    "s": ["ä", "", "z"],
    "d": [date(2026, 1, 1), date(1970, 1, 1)],
    "t": [NOON],
    "n": [Decimal("1.5"), Decimal("0.25")],
    "b": [True],
}
COMPARED = ["=", "==", "!=", "<", "<=", ">", ">="]


@st.composite
def conditions(draw: Any) -> tuple[str, str, Any]:
    name = draw(st.sampled_from(sorted(VALUES)))
    one = st.sampled_from(VALUES[name])
    if name in "isdn" and draw(st.booleans()):
        values = draw(st.lists(one, min_size=1, unique=True))
        return name, draw(st.sampled_from(["in", "not in"])), values
    return name, draw(st.sampled_from(COMPARED[:3] if name == "b" else COMPARED)), draw(one)


GROUPS = st.lists(st.lists(conditions(), min_size=1, max_size=3), min_size=1, max_size=2)


@given(GROUPS)
def test_conditions_mean_what_arrow_says(groups: list[list[Any]]) -> None:
    theirs = pq.filters_to_expression(groups)
    ours = filters.expression_of(groups, TABLE.schema)
    numbered = TABLE.append_column("row", pa.array(range(4)))
    expected = numbered.filter(theirs)["row"].to_pylist()
    assert numbered.filter(ours)["row"].to_pylist() == expected
    assert [row for row, holds in enumerate(filters.mask(TABLE, ours).to_pylist()) if holds] == (
        expected
    )


@given(GROUPS, st.lists(st.integers(0, 3), min_size=1, unique=True))
def test_statistics_rule_out_no_row_that_passes(groups: list[list[Any]], rows: list[int]) -> None:
    some = TABLE.take(rows)

    def ends(name: str) -> tuple[Any, Any] | None:
        known = [each for each in some[name].to_pylist() if each is not None and each == each]
        return (min(known), max(known)) if known else None

    if some.filter(filters.expression_of(groups, TABLE.schema)).num_rows:
        assert filters.may_hold(groups, ends)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (("i", "<", 10), False),
        (("i", "<=", 10), True),
        (("i", ">", 20), False),
        (("i", ">=", 20), True),
        (("i", "=", 9), False),
        (("i", "in", [1, 15]), True),
        (("i", "in", [1, 21]), False),
        (("i", "!=", 15), True),
        (("i", "<", "text"), True),  # Arrow's to refuse
    ],
)
def test_statistics_rule_out_what_lies_outside(condition: Any, expected: bool) -> None:
    assert filters.may_hold([[condition]], lambda name: (10, 20)) is expected


@pytest.mark.parametrize(
    ("how", "value", "rows"),
    [
        ("<", 1, [2]),
        (">", -3, [0, 2]),
        (">=", 12345, []),
        ("in", [1, -2], []),
        ("not in", [0], [0, 1, 2, 3]),
        ("<", Decimal("1.5"), [2]),
        ("<", 1.6, [0, 2]),
    ],
)
def test_decimals_are_compared_with_numbers(how: str, value: Any, rows: list[int]) -> None:
    expression = filters.expression_of([("n", how, value)], TABLE.schema)
    holds = filters.mask(TABLE, expression).to_pylist()
    assert [row for row, each in enumerate(holds) if each] == rows


@pytest.mark.parametrize("zero", [0.0, -0.0, 0, [0.0], [-0.0, 7.5], [0, None], [1.5, 0]])
@pytest.mark.parametrize("type_", [pa.float64(), pa.float32()])
def test_both_zeros_are_zero(zero: Any, type_: pa.DataType) -> None:
    table = pa.table({"x": pa.array([0.0, -0.0, 3.0], type_)})
    hows = (
        [("in", True), ("not in", False)]
        if isinstance(zero, list)
        else [("=", True), ("!=", False)]
    )
    for how, there in hows:
        expression = filters.expression_of([("x", how, zero)], table.schema)
        assert filters.mask(table, expression).to_pylist() == [there, there, not there]


def test_decimals_beside_nan_rule_out_nothing() -> None:
    for how in ("<", "<=", ">", ">=", "="):
        condition = ("x", how, float("nan"))
        assert filters.may_hold([[condition]], lambda name: (Decimal(1), Decimal(2)))


def test_decimals_are_looked_up_by_numbers() -> None:
    table = pa.table({"n": pa.array([Decimal(24), Decimal("7.5"), None], pa.decimal128(15, 2))})
    for value, rows in [(24, [True, False, None]), (7, [False, False, None])]:
        expression = filters.expression_of([("n", "=", value)], table.schema)
        assert filters.mask(table, expression).to_pylist() == rows
    expression = filters.expression_of([("n", "in", [7, 24])], table.schema)
    assert filters.mask(table, expression).to_pylist() == [True, False, False]


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(DatasetError, match="'like' is not an operator; there are =, ==, !=,"):
        filters.expression_of([("s", "like", "a")], TABLE.schema)


def test_what_gives_no_truth_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid, match="it gives int64, and must be true or false"):
        filters.mask(TABLE, pc.field("i") + 1)


LEAN = """
import sys
import mapred

for read, name in ((mapred.read_csv, "csv"), (mapred.read_json, "jsonl")):
    assert mapred.run(len, read(f"a.{name}"), reduce=sum, backend="inline").result()
items = mapred.read_parquet("a.parquet", filters=[("i", ">", 1), ("s", "=", "b")])
found = mapred.run(lambda t: t, items, by="s", aggregate={"i": "sum"}, backend="inline").to_arrow()
print(found.num_rows, found["i_sum"][0].as_py(), "pandas" in sys.modules)
"""


@pytest.mark.slow
def test_whole_runs_import_no_pandas(tmp_path: Path) -> None:
    pq.write_table(pa.table({"i": [1, 2, 3], "s": ["a", "b", "b"]}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("i,s\n1,a\n2,b\n")
    (tmp_path / "a.jsonl").write_text('{"i": 1}\n')
    done = subprocess.run(
        [sys.executable, "-c", LEAN],
        check=False,
        capture_output=True,
        text=True,
        env={"MAPRED_ROOT": str(tmp_path / "runs"), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "5", "False"]


@pytest.mark.parametrize("value", ["😀" * 40, "é" * 500, "a" + "é" * 500])
def test_long_texts_in_filters_are_compared(tmp_path: Path, value: str) -> None:
    """Arrow cuts what it prints of an expression, within a character if need be."""
    pq.write_table(pa.table({"s": ["", value], "n": [1, 2]}), tmp_path / "a.parquet")
    for given_ in ([("s", "in", [value])], [("s", "==", value)], pc.field("s").isin([value])):
        made = mapred.read_parquet(tmp_path / "a.parquet", filters=given_, columns=["n"])
        plan = mapred.plan(made)
        ranges, open_ = plan.ranges.shard_ranges(0), source_opener(None)
        assert formats.read(plan.format, ranges, open_, formats.Reading()).to_pylist() == [{"n": 2}]
