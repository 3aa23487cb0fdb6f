from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapred
from mapred import reducers
from mapred.errors import ReduceError
from mapred.model.resources import Resources
from mapred.planner import stages as graph
from mapred.reducers import Reducer, as_reducer


def reduce_tree(reducer: Reducer, outputs: list[Any], fan_in: int) -> Any:
    """What a run does with `outputs`, level by level."""
    step, level = reducer.step, list(outputs)
    while True:
        groups = [level[i : i + fan_in] for i in range(0, len(level), fan_in)] or [[]]
        level, step = [step(iter(group)) for group in groups], reducer.merge
        if len(level) == 1:
            return reducer.finish(level[0]) if reducer.finish else level[0]


numbers = st.lists(st.integers(-1000, 1000), min_size=1, max_size=40)


def test_whole_numbers_of_numpy_do_not_wrap_around() -> None:
    large = [np.int64(2**62)] * 4
    assert reduce_tree(reducers.sum, large, 2) == 2**64
    assert reduce_tree(reducers.mean, large, 3) == 2**62
    assert reduce_tree(reducers.sum, [np.uint8(200), np.uint8(200), 1], 2) == 401
    small = [np.array([100], np.int8)] * 2
    for values in (small, [np.array([2**63], np.uint64)] * 2, [np.array([-100], np.int8)] * 2):
        with pytest.raises(
            ReduceError, match=r"beyond what u?int.* holds; return arrays of a wider"
        ):
            reduce_tree(reducers.sum, values, 2)
        wide = reduce_tree(reducers.sum, [value.astype(object) for value in values], 2)
        assert wide.tolist() == [2 * int(values[0][0])]
    mixed = [np.array([2**63], np.uint64), np.array([1], np.int64)]
    with pytest.raises(ReduceError, match="beyond what float64 holds"):
        reduce_tree(reducers.sum, mixed, 2)
    assert reduce_tree(reducers.sum, [np.array([1, -2], np.int8)] * 3, 2).tolist() == [3, -6]


@given(numbers, st.integers(2, 7))
def test_numbers_do_not_depend_on_the_tree(values: list[int], fan_in: int) -> None:
    assert reduce_tree(reducers.sum, values, fan_in) == sum(values)
    assert reduce_tree(reducers.mean, values, fan_in) == sum(values) / len(values)
    assert reduce_tree(reducers.min, values, fan_in) == min(values)
    assert reduce_tree(reducers.max, values, fan_in) == max(values)
    assert reduce_tree(reducers.count, values, fan_in) == len(values)


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=8), max_size=20), st.integers(2, 5))
def test_collections_do_not_depend_on_the_tree(parts: list[list[str]], fan_in: int) -> None:
    everything = [letter for part in parts for letter in part]
    assert reduce_tree(reducers.concat, parts, fan_in) == everything
    counts = [Counter(part) for part in parts]
    assert reduce_tree(reducers.merge_counts, counts, fan_in) == Counter(everything)
    best = reduce_tree(reducers.top_k(3), parts, fan_in)
    assert best == sorted(everything, reverse=True)[:3]


def test_tables_are_merged_by_their_first_column() -> None:
    tables = [pa.table({"w": ["a", "b"], "n": [1, 2]}), pa.table({"w": ["b"], "n": [5]})]
    merged = reduce_tree(reducers.merge_counts, tables, 2).sort_by("w")
    assert merged.to_pydict() == {"w": ["a", "b"], "n": [1, 7]}
    assert reduce_tree(reducers.count, tables, 2) == 3
    assert reduce_tree(reducers.concat, tables, 2).num_rows == 3


@pytest.mark.parametrize("key", [pa.string(), pa.large_string()])
@given(st.lists(st.lists(st.sampled_from(["", "a", "b", "é"]), max_size=8), min_size=1, max_size=6))
def test_tables_of_counts_are_summed(key: pa.DataType, parts: list[list[str]]) -> None:
    tables = [
        pa.table(
            {
                "w": pa.array(list(Counter(part)), key),
                "n": pa.array(list(Counter(part).values()), pa.int64()),
            }
        )
        for part in parts
    ]
    merged = reduce_tree(reducers.merge_counts, tables, 2)
    assert merged.schema == tables[0].schema
    expected = Counter(word for part in parts for word in part)
    assert dict(zip(merged["w"].to_pylist(), merged["n"].to_pylist(), strict=True)) == expected


def test_counts_of_other_keys_are_summed_too() -> None:
    tables = [pa.table({"k": [1, None], "n": [1.5, 2.0]}), pa.table({"k": [1], "n": [1.0]})]
    merged = reduce_tree(reducers.merge_counts, tables, 2).sort_by("k")
    assert merged.to_pydict() == {"k": [1, None], "n": [2.5, 2.0]}


def test_frames_arrays_and_text_are_concatenated() -> None:
    frames = [pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})]
    assert reduce_tree(reducers.concat, frames, 2)["x"].tolist() == [1, 2]
    arrays = [np.arange(2), np.arange(3)]
    assert reduce_tree(reducers.concat, arrays, 2).tolist() == [0, 1, 0, 1, 2]
    assert reduce_tree(reducers.concat, ["ab", "c"], 2) == "abc"
    assert reduce_tree(reducers.concat, [{"a": 1}, {"b": 2}], 2) == {"a": 1, "b": 2}


KEYED = [pd.DataFrame({"k": ["a", "a", "b"], "v": [1, 2, 3]}).groupby("k").sum()] * 3
SLICES = [pd.DataFrame({"x": range(9)}).iloc[i : i + 3] for i in (0, 3, 6)]
PLAIN = [pd.DataFrame({"x": [1, 2]})] * 3


@pytest.mark.parametrize(
    ("frames", "index"),
    [
        (KEYED, ["a", "b"] * 3),
        (SLICES, list(range(9))),
        (PLAIN, list(range(6))),
        ([*PLAIN, SLICES[2]], [0, 1] * 3 + [6, 7, 8]),
        ([SLICES[2], *PLAIN], [6, 7, 8] + [0, 1] * 3),
        ([KEYED[0].iloc[:0], KEYED[0]], ["a", "b"]),
        ([pd.DataFrame({"v": []}), KEYED[0]], ["a", "b"]),
    ],
    ids=["keys", "slices", "plain", "mixed", "mixed again", "no rows", "empty"],
)
def test_concat_keeps_indexes_whatever_the_tree(frames: list[pd.DataFrame], index: Any) -> None:
    for fan_in in (2, 3, 9):
        found = reduce_tree(reducers.concat, frames, fan_in)
        assert found.index.tolist() == index
        name = frames[0].index.name if frames[0].index.name == frames[-1].index.name else None
        assert found.index.name == name or len(frames) == 2
    series = [frame.iloc[:, 0] for frame in frames]
    assert reduce_tree(reducers.concat, series, 2).index.tolist() == index


BIG = 2**60 + 1


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([pd.DataFrame({"x": [BIG]}), pd.DataFrame({"x": [0.5]})], "column 'x' is int64"),
        ([pd.DataFrame({"x": [BIG]}), pd.DataFrame({"y": [1]})], "column 'x' is int64"),
        ([pd.Series([BIG]), pd.Series([0.5])], "the series is int64"),
        ([np.array([BIG]), np.array([0.5])], "the array is int64"),
        ([np.array([2**63 - 1]), np.array([1], np.uint64)], "the array is int64"),
        ([pa.table({"x": [1]}), pa.table({"x": ["a"]})], "column 'x' is int64 and string"),
        ([pa.table({"x": [1]}), pa.table({"x": [0.5]})], "column 'x' is int64 and double"),
        ([pl.DataFrame({"x": [1]}), pl.DataFrame({"x": ["a"]})], "column 'x' is int64 and"),
        ([np.ones((2, 2)), np.ones((2, 3))], "concat of arrays"),
    ],
)
def test_concat_loses_nothing_in_silence(outputs: list[Any], message: str) -> None:
    with pytest.raises(ReduceError, match=message):
        reduce_tree(reducers.concat, outputs, 2)


def test_concat_of_what_fits() -> None:
    ints, floats = pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [0.5]})
    assert reduce_tree(reducers.concat, [ints, floats], 2)["x"].tolist() == [1.0, 0.5]
    tables = [pa.table({"x": pa.nulls(1)}), pa.table({"x": [1]}), pa.table({"y": ["a"]})]
    merged = reduce_tree(reducers.concat, tables, 2)
    assert merged.to_pydict() == {"x": [None, 1, None], "y": [None, None, "a"]}
    empty = pa.table({"x": pa.array([], pa.string())})
    assert reduce_tree(reducers.concat, [empty, *tables[1:2]], 2).to_pydict() == {"x": [1]}
    batches = [pa.record_batch({"x": [1]}), pa.record_batch({"x": [2]})]
    assert reduce_tree(reducers.concat, batches, 2).to_pydict() == {"x": [1, 2]}
    polars = [pl.DataFrame({"x": [None]}), pl.DataFrame({"x": [1]})]
    assert reduce_tree(reducers.concat, polars, 2)["x"].to_list() == [None, 1]


@pytest.mark.parametrize(
    ("reducer", "empty"),
    [
        (reducers.sum, 0),
        (reducers.count, 0),
        (reducers.concat, []),
        (reducers.merge_counts, {}),
        (reducers.top_k(2), []),
    ],
)
def test_no_outputs_at_all(reducer: Reducer, empty: Any) -> None:
    assert reduce_tree(reducer, [], 2) == empty


@pytest.mark.parametrize("reducer", [reducers.mean, reducers.min, reducers.max])
def test_no_outputs_where_nothing_is_defined(reducer: Reducer) -> None:
    with pytest.raises(ReduceError, match="of no outputs is not defined"):
        reduce_tree(reducer, [], 2)


def test_finalize_runs_after_the_reducers_own_finish() -> None:
    reducer = as_reducer(reducers.mean, finalize=lambda value: f"{value:.1f}")
    assert reduce_tree(reducer, [1, 2], 2) == "1.5"


@pytest.mark.parametrize("fan_in", [0, 1, -3, True])
def test_a_tree_needs_at_least_two(fan_in: int) -> None:
    with pytest.raises(ReduceError, match="fan_in="):
        mapred.job(abs, [1], reduce=sum, fan_in=fan_in)


@given(st.integers(0, 5000), st.integers(2, 300))
def test_every_output_is_reduced_once(shards: int, fan_in: int) -> None:
    stages = graph.stages(shards, as_reducer(sum, fan_in=fan_in), resources=Resources())
    assert [stage.last for stage in stages] == [False] * (len(stages) - 1) + [True]
    for before, stage in itertools.pairwise(stages):
        taken = [i for index in range(stage.tasks) for i in stage.input_range(index)]
        assert taken == list(range(before.tasks))
    assert stages[-1].tasks == 1


def test_without_a_tree_one_task_takes_all() -> None:
    stages = graph.stages(1000, as_reducer(sum), resources=Resources())
    assert [(stage.name, stage.tasks) for stage in stages] == [("map", 1000), ("reduce-1", 1)]
    assert stages[1].input_range(0) == range(1000)
    assert graph.stages(7, None, resources=Resources())[-1].last
