"""Columns of one name and two types in different tasks: brought together, or one clear error."""

from __future__ import annotations

import decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import mapred
from mapred.backends.inline import Inline
from mapred.model.shuffle import Shuffle
from mapred.shuffle import keys, map_side, schemas
from mapred.shuffle.aggregations import as_aggregates


def run(fn: Any, dataset: Any, tmp_path: Path, **options: Any) -> Any:
    given_ = {"backend": Inline(), "root": tmp_path / "runs", "progress": "none", **options}
    return mapred.run(fn, dataset, **given_)


def same(table: pa.Table) -> pa.Table:
    return table


FAR = [253_402_300_799]
# A column of two types in two tasks, what is said of it, and the type that helps.
CLASHES: dict[str, tuple[pa.Array, pa.Array, str, Any]] = {
    "int and float": (
        pa.array([2**53 + 1]),
        pa.array([0.5]),
        "int64 in map task 0 and double in map task 1, which cannot hold 9007199254740993: cast",
        pa.string(),
    ),
    "int and uint": (
        pa.array([2**63 + 5], pa.uint64()),
        pa.array([-1], pa.int64()),
        "uint64 in map task 0 and int64 in map task 1, which cannot hold 9223372036854775813: cast",
        pa.decimal128(38, 0),
    ),
    "far and fine": (
        pa.array(FAR, pa.timestamp("s")),
        pa.array([1], pa.timestamp("ns")),
        r"timestamp\[s\] in map task 0 and timestamp\[ns\] in map task 1, which cannot hold 2534",
        pa.timestamp("us"),
    ),
    "naive and zoned": (
        pa.array([1], pa.timestamp("s")),
        pa.array([1], pa.timestamp("s", "UTC")),
        r"timestamp\[s\] in map task 0 and .* tz=UTC\] in map task 1, which do not go together: cast",
        pa.timestamp("us", "UTC"),
    ),
    "decimal and float": (
        pa.array([decimal.Decimal("0.1")]),
        pa.array([0.1]),
        r"decimal128\(1, 1\) in map task 0 and double in map task 1, which do not go together: cast",
        pa.string(),
    ),
    "bool and int": (
        pa.array([True]),
        pa.array([1]),
        "bool in map task 0 and int64 in map task 1, which do not go together: cast",
        pa.string(),
    ),
}
WAYS = {
    "count": {"by": "k", "aggregate": {"w": "count"}},
    "list": {"by": "w", "aggregate": {"k": "list"}},
    "rows": {"by": "k", "reduce": same},
    "sort": {"sort_by": "k"},
}


class Given:
    """A table for each item."""

    def __init__(self, *tables: Any) -> None:
        self.tables = tables

    def __call__(self, item: int) -> Any:
        return self.tables[item]


def columns(*arrays: pa.Array) -> Given:
    return Given(*(pa.table({"k": array, "w": [1] * len(array)}) for array in arrays))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", CLASHES)
def test_two_types_of_a_column_are_one_error_with_a_remedy(
    kind: str, way: str, tmp_path: Path
) -> None:
    first, second, text, remedy = CLASHES[kind]
    with pytest.raises(mapred.RunError, match=f"column 'k' is {text}") as caught:
        run(columns(first, second), mapred.array(2), tmp_path, attempts=1, **WAYS[way])
    assert "Arrow" not in str(caught.value).partition("\n    at")[0]
    assert str(remedy) in str(caught.value)
    cast = columns(first.cast(remedy), second.cast(remedy, safe=False))
    assert run(cast, mapred.array(2), tmp_path, **WAYS[way]).to_arrow().num_rows


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_text_is_not_made_bytes(depth: int) -> None:
    inside = (lambda type_: type_, pa.list_, lambda type_: pa.struct({"a": type_}))[depth]
    both = [pa.schema([("x", inside(type_))]) for type_ in (pa.string(), pa.binary())]
    for one, other in (both, both[::-1]):
        with pytest.raises(mapred.FunctionError, match=r"column 'x' is .* do not go together"):
            schemas.unify_schemas([one, other], ["k"])


def test_encodings_are_not_shuffled() -> None:
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], [2**60 + 1, None])
    texts = pa.RunEndEncodedArray.from_arrays([3], pa.array(["a"]))
    (table,) = keys.tables(pa.table({"k": texts, "x": runs}))
    assert table.schema.types == [pa.string(), pa.int64()]
    assert table["x"].to_pylist() == [2**60 + 1, 2**60 + 1, None]


def all_parts(rows: map_side.MapOutputBuffer, tables: list[pa.Table]) -> list[pa.Table]:
    for table in tables:
        rows.add(table)
    return list(rows.parts()[1])


@pytest.mark.parametrize("kind", CLASHES)
def test_two_types_of_a_column_in_one_task_are_named(kind: str, monkeypatch: Any) -> None:
    table = [columns(*CLASHES[kind][:2])(item) for item in (0, 1)]
    for piece in (1, 1 << 20):
        monkeypatch.setattr(map_side, "_PIECE", piece)
        rows = map_side.MapOutputBuffer(
            Shuffle(("k",), 1, as_aggregates({"w": "sum"}, "k")), 1 << 30
        )
        with pytest.raises(mapred.FunctionError, match=r"column 'k' is .* in one table and .*cast"):
            all_parts(rows, table)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40])),
        (pa.array([1], pa.uint64()), pa.array([1])),
        (pa.array([1], pa.int64()), pa.array([0.5])),
        (pa.array([0.5], pa.float32()), pa.array([0.1])),
        (pa.array([1], pa.date32()), pa.array([86_400_000]).cast(pa.date64())),
        (pa.array([1], pa.timestamp("s")), pa.array([1], pa.timestamp("us"))),
        (pa.array([decimal.Decimal("0.1")]), pa.array([decimal.Decimal("12.25")])),
        (pa.array(["a"]), pa.array(["b"], pa.large_string())),
        (pa.array([None]), pa.array([1])),
        (pa.array([None]), pa.array(["a"])),
    ],
    ids=lambda array: str(array.type),
)
def test_types_that_lose_nothing_are_brought_together(
    first: pa.Array, second: pa.Array, way: str, tmp_path: Path
) -> None:
    for arrays in ((first, second), (second, first)):
        found = run(columns(*arrays), mapred.array(2), tmp_path, **WAYS[way]).to_arrow()
        values = found["k_list"].to_pylist()[0] if way == "list" else found[found.column_names[0]]
        if way != "count":
            shown = pa.array(values if way == "list" else values.to_pylist()).to_pylist()
            given_ = [value for array in arrays for value in array.to_pylist()]
            assert sorted(shown, key=repr) == sorted(given_, key=repr)


def test_whole_numbers_and_decimals_are_summed_together(tmp_path: Path) -> None:
    fn = columns(pa.array([decimal.Decimal("0.25")]), pa.array([2**62]))
    found = run(fn, mapred.array(2), tmp_path, by="w", aggregate={"k": ["sum", "list"]}).to_arrow()
    assert found["k_sum"].to_pylist() == [decimal.Decimal("4611686018427387904.25")]


EMPTY = pd.DataFrame({"k": [], "v": []})
FULL = pd.DataFrame({"k": ["a"], "v": [7]})


@pytest.mark.parametrize("per_task", [1, 4])
def test_tables_without_rows_decide_no_type(per_task: int, tmp_path: Path) -> None:
    for tables in ([EMPTY, FULL, pd.DataFrame(), FULL], [FULL, EMPTY, FULL, pd.DataFrame()]):
        options = {"by": "k", "aggregate": {"v": "sum"}, "per_task": per_task}
        found = run(Given(*tables), mapred.array(4), tmp_path, **options).to_arrow()
        assert found.to_pylist() == [{"k": "a", "v_sum": 14}]
        assert found.schema.field("v_sum").type == pa.int64()


def test_every_aggregate_takes_a_column_without_values_in_one_task(tmp_path: Path) -> None:
    numbers = ["sum", "mean", "variance", "stddev", "median", "nunique", "list", "first", "min"]
    for wanted, values, there in (
        (numbers, pa.array([3]), [3, 3.0, None, None, 3.0, 1, [None, 3], 3, 3]),
        (["any", "all"], pa.array([True]), [True, True]),
    ):
        fn = columns(pa.array([None]), values)
        found = run(fn, mapred.array(2), tmp_path, by="w", aggregate={"k": wanted}).to_arrow()
        assert list(found.drop_columns(["w"]).to_pylist()[0].values()) == there
