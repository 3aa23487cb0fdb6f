"""Rows of a sweep: whatever the function returns is in the table, as it was."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import mapred
from mapred.errors import FunctionError
from mapred.runfolder import tabular
from mapred.runfolder.flattening import to_cells

RUN: dict[str, Any] = {"progress": "none", "backend": "inline", "attempts": 1}
BIG = 2**60 + 1


@dataclasses.dataclass
class Fit:
    loss: float
    steps: int = 3


@dataclasses.dataclass
class Trained:
    train: Fit
    name: str = "a"


class Pair(NamedTuple):
    low: int
    high: int


Old = namedtuple("Old", "a b")


class Model:
    """Not a record, but a value like any other."""

    def __init__(self, weight: int) -> None:
        self.weight = weight

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.weight == other.weight

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        ({"a": 1, 2: "x"}, {"a": 1, "2": "x"}),
        ({"a": {"b": 1, "c": {"d": None}}, "e": 2}, {"a.b": 1, "a.c.d": None, "e": 2}),
        ({"a": {}}, {"a": {}}),
        ({"counts": {1: 2, 3: 4}}, {"counts": {1: 2, 3: 4}}),
        ({"x": [1, {"a": 2}]}, {"x": [1, {"a": 2}]}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (Fit(0.5), {"loss": 0.5, "steps": 3}),
        (Trained(Fit(0.5)), {"train.loss": 0.5, "train.steps": 3, "name": "a"}),
        ({"fit": Fit(0.5), "range": Pair(1, 2)}, {"fit.loss": 0.5, "fit.steps": 3, "range.low": 1, "range.high": 2}),
        (Pair(1, 2), {"low": 1, "high": 2}),
        (Old(1, [2]), {"a": 1, "b": [2]}),
        (pd.Series({"loss": 0.5, "acc": 1.0}), {"loss": 0.5, "acc": 1.0}),
        (pd.Series([1, 2], index=pd.MultiIndex.from_tuples([("x", "mean"), ("x", "max")])), {"x.mean": 1, "x.max": 2}),
        ({}, {}),
    ],
)  # fmt: skip
def test_records_become_cells(value: Any, cells: dict[str, Any]) -> None:
    found = to_cells(value)
    assert found == cells
    assert list(found or ()) == list(cells)


@pytest.mark.parametrize(
    "value", [1, 0.5, "ab", b"x", None, True, (1, 2), [1], {1, 2}, np.float32(1), np.arange(2), Fit, Model(1), print]
)  # fmt: skip
def test_what_is_no_record_is_one_cell(value: Any) -> None:
    assert to_cells(value) is None


@pytest.mark.parametrize(
    "value", [{1: 0, "1": 1}, {"a": {"b": 1}, "a.b": 2}, pd.Series([1, 2], index=["a", "a"])]
)
def test_two_cells_of_one_name_are_an_error(value: Any) -> None:
    with pytest.raises(FunctionError, match=r"two keys of .* are one as the name of a column"):
        to_cells(value)


def test_models_of_other_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    class Base:
        model_fields = MappingProxyType({"loss": float, "inner": Pair})
        model_extra = MappingProxyType({"more": 3})

        def __init__(self, loss: float, inner: Any = None) -> None:
            self.loss, self.inner, self.more = loss, inner, 3

    fake = type(sys)("pydantic")
    fake.BaseModel = Base  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydantic", fake)
    assert to_cells(Base(0.5, Pair(1, 2))) == {
        "loss": 0.5, "inner.low": 1, "inner.high": 2, "more": 3
    }  # fmt: skip
    monkeypatch.delitem(sys.modules, "pydantic")
    assert to_cells(Base(0.5)) is None


# Whole tables. Cells of a column have one kind of value, so that Arrow holds it as well.

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "f": st.floats(allow_nan=False),
    "s": st.text(max_size=5),
    "b": st.booleans(),
    "l": st.lists(st.integers(0, 9), max_size=3),
}
MAPPINGS = st.fixed_dictionaries({}, optional=SCALARS)
NESTED = st.fixed_dictionaries(
    {}, optional={**SCALARS, "n": st.fixed_dictionaries({"i": SCALARS["i"]})}
)


def frame_of(rows: list[dict[str, Any]], kind: str) -> Any:
    table = pa.table(
        {name: pa.array([row.get(name) for row in rows], type_) for name, type_ in TYPES.items()}
    )
    if kind == "pandas":
        return table.to_pandas(
            types_mapper={pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}.get
        )
    if kind == "batch":
        return (
            table.combine_chunks().to_batches()[0]
            if rows
            else pa.RecordBatch.from_pylist([], table.schema)
        )
    return pl.from_arrow(table) if kind == "polars" else table


TYPES = {"i": pa.int64(), "s": pa.string(), "b": pa.bool_()}
ROWS = st.lists(
    st.fixed_dictionaries({"i": SCALARS["i"], "s": SCALARS["s"], "b": SCALARS["b"]}), max_size=3
)
FRAMES = st.builds(frame_of, ROWS, st.sampled_from(["pandas", "polars", "table", "batch"]))
RECORDS = st.builds(Pair, SCALARS["i"], SCALARS["i"])
VALUES = st.one_of(
    st.none(), MAPPINGS, NESTED, FRAMES, RECORDS, st.floats(allow_nan=False), st.just("fails")
)

LISTS = st.lists(VALUES, min_size=1, max_size=5)


def expected_rows(value: Any) -> list[dict[str, Any]]:
    """What a value should be in the table, written down in another way than the package has it."""
    if tabular.kind_of(value):
        return tabular.to_table(value).to_pylist()  # type: ignore[union-attr]
    if isinstance(value, Pair):
        return [{"low": value.low, "high": value.high}]
    if isinstance(value, dict):
        flat = {name: cell for name, cell in value.items() if name != "n"}
        return [flat | ({"n.i": value["n"]["i"]} if "n" in value else {})]
    return [{}] if value is None or value == "fails" else [{"result": value}]


@settings(max_examples=8)
@given(LISTS, st.sampled_from([1, 2, 5]))
@example([{"error": 1.0, "seconds": 2, "attempt": 3}, "fails", {"point": 4, "x": 5}], 1)
@example([None, "fails"], 1)
@example([frame_of([], "table"), None], 2)
def test_every_value_comes_back(values: list[Any], per_task: int) -> None:
    check_table(values, per_task)


@pytest.mark.slow
@settings(max_examples=100)
@given(LISTS, st.sampled_from([1, 2, 5]))
def test_every_value_of_many_sweeps_comes_back(values: list[Any], per_task: int) -> None:
    check_table(values, per_task)


def check_table(values: list[Any], per_task: int) -> None:
    """Run a sweep that returns these values, and compare each cell of its table."""

    def returned(x: int) -> Any:
        if isinstance(values[x], str):
            raise ValueError(f"no {x}")
        return values[x]

    made = mapred.run(
        returned, mapred.sweep(x=list(range(len(values)))), per_task=per_task, max_failed=5, **RUN
    )
    frame = made.to_pandas()
    rows = [(x, row) for x, value in enumerate(values) for row in expected_rows(value)]
    assert frame["x"].tolist() == [x for x, _ in rows]
    own = {"x", "point"} if any(map(tabular.kind_of, values)) else {"x"}
    details = list(frame.columns[-3:])
    for (x, row), (_, found) in zip(rows, frame.iterrows(), strict=True):
        for name, value in row.items():
            column = f"{name}_result" if name in own else name
            back = found[column]
            if value is None:
                assert back is None or back is pd.NA
            else:
                assert np.all(back == value)
                assert isinstance(back, type(value)) or np.isscalar(back) or isinstance(value, list)
        others = (
            set(frame.columns) - own - {f"{n}_result" if n in own else n for n in row} - {*details}
        )
        assert all(found[name] is None or found[name] is pd.NA for name in others)
        error, seconds, attempt = (found[name] for name in details)
        failed = isinstance(values[x], str)
        assert error == f"ValueError: no {x}" if failed else error is pd.NA or error is None
        assert (seconds >= 0, attempt) == (True, 1)
    table = made.to_arrow()
    assert table.column_names == frame.columns.tolist()
    assert table.num_rows == len(frame)
    opened = mapred.open(made.uri).to_pandas()
    pd.testing.assert_frame_equal(opened, frame)


def test_whole_numbers_beside_what_is_missing(tmp_path: Path) -> None:
    values: list[Any] = [{"n": BIG}, None, Pair(BIG, 2)]
    made = mapred.run(lambda x: values[x], mapred.sweep(x=[0, 1, 2]), root=tmp_path, **RUN)
    frame = made.to_pandas()
    assert frame.dtypes.astype(str).to_dict() == {
        "x": "Int64", "n": "Int64", "low": "Int64", "high": "Int64",
        "error": "string", "seconds": "Float64", "attempt": "Int64",
    }  # fmt: skip
    assert frame["n"].tolist() == [BIG, pd.NA, pd.NA]
    assert frame["low"].tolist() == [pd.NA, pd.NA, BIG]


def test_names_that_are_taken_lose_nothing(tmp_path: Path) -> None:
    def score(error: float, seconds: int) -> dict[str, float]:
        return {"error": -error, "attempt": 7, "error_task": 8}

    frame = mapred.run(
        score, mapred.sweep(error=[1.5], seconds=[2]), root=tmp_path, **RUN
    ).to_pandas()
    names = ["error", "seconds", "error_result", "attempt", "error_task"]
    assert frame.columns.tolist() == [*names, "error_task_task", "seconds_task", "attempt_task"]
    assert frame[names].iloc[0].tolist() == [1.5, 2, -1.5, 7, 8]


def test_numbers_and_arrays_of_numpy(tmp_path: Path) -> None:
    values = [
        {
            "n": np.float32(0.5),
            "i": np.int8(3),
            "v": np.arange(3),
            "when": np.datetime64("2026-03-01"),
        }
    ]
    made = mapred.run(lambda x: values[x], mapred.sweep(x=[0]), root=tmp_path, **RUN)
    (row,) = made.to_pandas(details=False).to_dict("records")
    assert (row["n"], row["i"], list(row["v"])) == (0.5, 3, [0, 1, 2])
    assert pd.Timestamp(row["when"]) == pd.Timestamp("2026-03-01")


def test_objects_stay_objects(tmp_path: Path) -> None:
    values = [Model(1), {"model": Model(2), "x": 1}]
    made = mapred.run(lambda x: values[x], mapred.sweep(x=[0, 1]), root=tmp_path, **RUN)
    frame = made.to_pandas()
    assert frame["result"][0] == Model(1)
    assert frame["model"][1] == Model(2)
    assert frame["x_result"].tolist() == [pd.NA, 1]


def test_items_and_shards_have_details_if_you_ask(tmp_path: Path) -> None:
    made = mapred.run(lambda i: i * 2, mapred.items([5, 6]), root=tmp_path, **RUN)
    assert made.to_pandas().columns.tolist() == ["item", "result"]
    assert made.to_pandas(details=True).columns.tolist() == [
        "item",
        "result",
        "error",
        "seconds",
        "attempt",
    ]
    for number, text in enumerate(["001\n", "bad\n", "003\n"]):
        (tmp_path / f"{number}.txt").write_text(text)

    def total(lines: Any) -> int:
        return sum(int(line) for line in lines)

    shards = mapred.run(
        total, str(tmp_path / "*.txt"), target_bytes=4, max_failed=1, root=tmp_path / "runs", **RUN
    )
    assert shards.to_pandas()["item"].tolist() == [0, 2]
    told = shards.to_pandas(details=True)
    assert told["item"].tolist() == [0, 1, 2]
    assert told["result"].tolist() == [1, pd.NA, 3]
    assert told["error"][1].startswith("ValueError: invalid literal")
    assert told["error"].count() == 1


def test_each_of_several_failures_has_its_own_error(tmp_path: Path) -> None:
    def fail(x: int) -> int:
        if x % 2:
            raise (ValueError if x == 1 else KeyError)(f"no\n{x}")
        return x

    sweep = mapred.sweep(x=range(5))
    made = mapred.run(fail, sweep, per_task=5, max_failed=2, root=tmp_path, **RUN)
    expected = [None, "ValueError: no 1", None, "KeyError: 'no\\n3'", None]
    assert made.to_arrow()["error"].to_pylist() == expected
    seconds = set(made.to_arrow()["seconds"].to_pylist())
    assert len(seconds) == 1, "items that share a task share its time"


def test_an_error_with_half_of_a_surrogate_pair_fits_into_the_table(tmp_path: Path) -> None:
    def fail(x: int) -> int:
        if x:
            raise ValueError("half \ud800")
        return x

    made = mapred.run(fail, mapred.sweep(x=[0, 1]), max_failed=1, root=tmp_path, **RUN)
    expected = [None, "ValueError: half \\ud800"]
    assert made.to_arrow()["error"].to_pylist() == expected
    assert [completed.error for completed in made.as_completed()] == expected
