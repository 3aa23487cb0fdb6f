"""Reducers that a tree may not use are found, and those that it may use pass."""

from __future__ import annotations

import functools
import itertools
import operator
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapred
from mapred.errors import ReduceError
from mapred.functions.regrouping import check_associative, check_while_reducing, equal
from mapred.model.resources import Resources
from mapred.planner import stages as graph
from mapred.reducers import as_reducer

RUN: dict[str, Any] = {"backend": "inline", "progress": "none", "attempts": 1, "per_task": 1}


def _mean(outputs: Iterable[float]) -> float:
    values = list(outputs)
    return sum(values) / len(values)


def _per_key(function: Callable[[list[Any]], Any]) -> Callable[[Iterable[Any]], Any]:
    def reduce(outputs: Iterable[dict[str, Any]]) -> dict[str, Any]:
        found = list(outputs)
        return {key: function([output[key] for output in found]) for key in found[0]}

    return reduce


def _frame_means(outputs: Iterable[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(list(outputs)).groupby("k", as_index=False).mean()


NUMBERS = [0.0, 1.0, 2.0, 3.0, 4.0]
NOT_ASSOCIATIVE: list[tuple[Callable[..., Any], list[Any]]] = [
    (_mean, NUMBERS),
    (_mean, [1.0, 0.0, 2.0, 1.0, 5.0]),
    (statistics.median, NUMBERS),
    (statistics.median, [5, 1, 4, 2, 3]),
    (lambda outputs: np.mean(list(outputs), axis=0), [np.full(3, x) for x in NUMBERS]),
    (lambda outputs: float(np.var(list(outputs))), NUMBERS),
    (lambda outputs: functools.reduce(operator.sub, outputs), NUMBERS),
    (lambda outputs: float(np.ptp(list(outputs))), NUMBERS),
    (lambda outputs: sum(1 for _ in outputs), NUMBERS),
    (statistics.geometric_mean, [1.0, 2.0, 4.0, 8.0, 9.0]),
    (_per_key(_mean), [{"loss": x} for x in NUMBERS]),
    (_per_key(statistics.median), [{"loss": x, "n": 1} for x in NUMBERS]),
    (_per_key(_mean), [{"n": 1e12, "loss": x} for x in NUMBERS]),
    (_per_key(lambda values: {"deep": _mean([v["deep"] for v in values])}),
     [{"a": {"deep": x}} for x in NUMBERS]),
    (_frame_means, [pd.DataFrame({"k": ["a"], "v": [x]}) for x in NUMBERS]),
    (lambda outputs: pl.concat(outputs).select(pl.col("v").mean()),
     [pl.DataFrame({"v": [x]}) for x in NUMBERS]),
    (lambda outputs: tuple(map(_mean, zip(*outputs, strict=True))), [(x, 2 * x) for x in NUMBERS]),
    (lambda outputs: [sum(outputs)], [1, 2, 3]),
    (_mean, NUMBERS[:3]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(NOT_ASSOCIATIVE)))
def test_other_groups_give_another_answer(number: int) -> None:
    reduce, outputs = NOT_ASSOCIATIVE[number]
    with pytest.raises(ReduceError, match=r"not associative|cannot reduce its own") as refused:
        check_associative(as_reducer(reduce, fan_in=4), outputs)
    assert "leave fan_in out" in str(refused.value)


@dataclass
class Stats:
    n: int
    total: float


class Plain:
    """A result that says nothing of equality."""

    def __init__(self, total: float) -> None:
        self.total = total


class Slotted:
    """The same with slots."""

    __slots__ = ("__weakref__", "total")

    def __init__(self, total: float) -> None:
        self.total = total


@dataclass(slots=True)
class SlottedStats:
    total: float


class Sulky:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("no")


def _in_place(outputs: Iterable[dict[str, float]]) -> dict[str, float]:
    first, *rest = outputs
    for output in rest:
        for key, value in output.items():
            first[key] = first.get(key, 0) + value
    return first


def _nested_in_place(outputs: Iterable[dict[str, list[int]]]) -> dict[str, list[int]]:
    first, *rest = outputs
    for output in rest:
        first["a"] += output["a"]
    return first


TENTHS = [0.1, 0.2, 0.3, 0.7, -1.3]
ASSOCIATIVE: list[tuple[Callable[..., Any], list[Any]]] = [
    (sum, [1, 2, 3]),
    (sum, TENTHS),
    (sum, [1e16, 1.0, -1e16, 3.0, 4.0]),
    (sum, [1]),
    (sum, [1, 2]),
    (sum, [np.float32(x) for x in TENTHS]),
    (sum, [np.array(TENTHS, np.float32) * 1000 * x for x in TENTHS]),
    (sum, [np.array([x, np.nan, np.inf]) for x in TENTHS]),
    (sum, [complex(x, 1) for x in TENTHS]),
    (max, TENTHS),
    ("".join, ["a", "b", "c"]),
    (lambda outputs: list(itertools.chain.from_iterable(outputs)), [[1], [2, 3], [], [4]]),
    (lambda outputs: set().union(*outputs), [{1}, {2}, {1, 3}]),
    (lambda outputs: next(iter(outputs)), [1, 2, 3]),
    (lambda outputs: sum(outputs, Counter()), [Counter("ab"), Counter("b"), Counter("c")]),
    (_in_place, [{"a": x, "b": 1.0} for x in TENTHS]),
    (_nested_in_place, [{"a": [1]}, {"a": [2]}, {"a": [3]}]),
    (lambda outputs: pd.concat(list(outputs)).groupby("k", as_index=False).sum(),
     [pd.DataFrame({"k": ["a", "b"], "v": [x, 1.0]}) for x in TENTHS]),
    (lambda outputs: functools.reduce(operator.add, outputs), [pd.Series([x, 1]) for x in TENTHS]),
    (pa.concat_tables, [pa.table({"v": [x]}) for x in TENTHS]),
    (lambda outputs: pl.concat(outputs).select(pl.col("v").sum()),
     [pl.DataFrame({"v": [x]}) for x in TENTHS]),
    (lambda outputs: functools.reduce(lambda a, b: Stats(a.n + b.n, a.total + b.total), outputs),
     [Stats(1, x) for x in TENTHS]),
    *((lambda outputs, kind=kind: kind(sum(output.total for output in outputs)),
       [kind(x) for x in TENTHS]) for kind in (Plain, Slotted, SlottedStats)),
]  # fmt: skip


@pytest.mark.parametrize("kind", [Plain, Slotted, SlottedStats])
def test_means_in_objects_are_found(kind: Any) -> None:
    with pytest.raises(ReduceError, match="not associative"):
        check_associative(
            as_reducer(lambda outputs: kind(_mean(output.total for output in outputs)), fan_in=4),
            [kind(x) for x in NUMBERS],
        )


@pytest.mark.parametrize("number", range(len(ASSOCIATIVE)))
def test_any_groups_give_one_answer(number: int) -> None:
    reduce, outputs = ASSOCIATIVE[number]
    check_associative(as_reducer(reduce, fan_in=4), outputs)
    assert list(map(repr, check_while_reducing(as_reducer(reduce, fan_in=4), outputs))) == list(
        map(repr, outputs)
    )


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=30), st.integers(2, 5))
def test_a_tree_of_means_is_right_or_refused(values: list[int], fan_in: int) -> None:
    """Whatever the outputs, of those that the first task sees."""
    head = values[:5]
    groups = {tuple(head[:i]) for i in range(1, len(head))}
    wrong = any(
        abs(_mean([_mean(group), _mean(head[len(group) :])]) - _mean(head)) > 1e-6
        for group in groups
        if len(group) in (1, 2, len(head) - 1)
    )
    if wrong:
        with pytest.raises(ReduceError, match="not associative"):
            check_associative(as_reducer(_mean, fan_in=fan_in), head)
    else:
        check_associative(as_reducer(_mean, fan_in=fan_in), head)


def test_outputs_that_are_alike_at_first_are_checked_later() -> None:
    outputs: Sequence[float] = [0.0] * 64 + [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    taken = check_while_reducing(as_reducer(_mean, fan_in=256), outputs)
    assert list(itertools.islice(taken, 60)) == [0.0] * 60
    with pytest.raises(ReduceError, match="in groups of 1 and 4"):
        list(taken)


@pytest.mark.parametrize(("items", "fan_in"), [(9, 4), (17, 16), (40, 8), (3, 2), (9, 2), (7, 3)])
@pytest.mark.parametrize("reduce", [_mean, statistics.median])
def test_a_run_refuses_a_tree_of_means(
    items: int, fan_in: int, reduce: Any, tmp_path: Path
) -> None:
    dataset = mapred.items([x * x for x in range(items)])
    with pytest.raises(mapred.RunError, match="not associative"):
        mapred.run(float, dataset, reduce=reduce, fan_in=fan_in, root=tmp_path, **RUN)
    leaf = _per_key(reduce)
    with pytest.raises(mapred.RunError, match="not associative"):
        mapred.run(
            lambda x: {"loss": float(x), "n": 1},
            dataset, reduce=leaf, fan_in=fan_in, root=tmp_path, **RUN,
        )  # fmt: skip


@pytest.mark.parametrize("fan_in", [2, 3, 8])
def test_a_run_trusts_a_tree_of_sums(fan_in: int, tmp_path: Path) -> None:
    dataset = mapred.items(range(11))
    run = mapred.run(lambda x: x / 10, dataset, reduce=sum, fan_in=fan_in, root=tmp_path, **RUN)
    assert run.result() == pytest.approx(5.5)


def test_only_pairs_are_checked_on_their_second_level() -> None:
    def levels(fan_in: int) -> list[bool]:
        stages = graph.stages(100, as_reducer(sum, fan_in=fan_in), resources=Resources())
        return [stage.check for stage in stages[1:]]

    assert levels(2) == [True, True, False, False, False, False, False]
    assert levels(5) == [True, False, False]


def test_values_that_refuse_to_be_compared_pass() -> None:
    check_associative(as_reducer(lambda outputs: Sulky(), fan_in=2), [1, 2, 3])


def test_results_are_compared_to_the_value() -> None:
    assert not equal(1, "1")
    assert not equal([1.0], [1.0, 2.0])
    assert not equal(np.arange(3), np.arange(4))
    assert not equal(float("inf"), 1.0)
    assert equal(float("nan"), float("nan"))
