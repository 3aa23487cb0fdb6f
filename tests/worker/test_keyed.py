"""Keyed reduces: the answers of a whole `group_by`, by every path and after every accident."""

from __future__ import annotations

import decimal
import math
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shuffle.both_sides import shuffled

import mapred
from mapred.backends.inline import Inline
from mapred.model import layout
from mapred.model.records import Block
from mapred.model.resources import Resources
from mapred.model.shuffle import Shuffle
from mapred.shuffle import map_side
from mapred.shuffle.aggregations import as_aggregates
from mapred.testing import Orders, Script, drop_commit, orders
from mapred.worker import keyed

EXAMPLES = settings(max_examples=20, deadline=None)


def run(fn: Any, dataset: Any, tmp_path: Path, **options: Any) -> Any:
    given_ = {"backend": Inline(), "root": tmp_path / "runs", "progress": "none", **options}
    return mapred.run(fn, dataset, **given_)


def same(table: pa.Table) -> pa.Table:
    return table


def ordered(table: pa.Table) -> list[dict[str, Any]]:
    rows = [
        {
            name: repr(value + 0.0) if isinstance(value, float) else value
            for name, value in row.items()
        }
        for row in table.to_pylist()
    ]
    return sorted(rows, key=repr)


KEYS = {
    "int": st.none() | st.integers(-3, 3),
    "float": st.none() | st.sampled_from([0.0, -0.0, 1.5, math.nan, math.inf]),
    "text": st.none() | st.sampled_from(["", "a", "b", "longer than eight"]),
    "bool": st.none() | st.booleans(),
    "decimal": st.none() | st.sampled_from([decimal.Decimal("1.50"), decimal.Decimal("-2.00")]),
}
TYPES = {
    "int": pa.int32(),
    "float": pa.float64(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "decimal": pa.decimal128(9, 2),
}


@st.composite
def keyed_tables(draw: Any) -> tuple[list[str], pa.Table, list[pa.Table]]:
    """Names of key columns, a table, and the same rows as consecutive tables."""
    kinds = draw(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3, unique=True))
    rows = draw(st.integers(0, 60))
    columns = {
        kind: pa.array(draw(st.lists(KEYS[kind], min_size=rows, max_size=rows)), TYPES[kind])
        for kind in kinds
    }
    numbers = st.none() | st.integers(-1000, 1000)
    values = draw(st.lists(numbers, min_size=rows, max_size=rows))
    table = pa.table({**columns, "v": pa.array(values, pa.int64())})
    cut = draw(st.integers(0, rows))
    return kinds, table, [table.slice(0, cut), table.slice(cut)]


@EXAMPLES
@given(keyed_tables(), st.integers(1, 5), st.sampled_from([2000, 1 << 30]))
def test_a_function_sees_all_rows_of_its_keys_once(case: Any, partitions: int, limit: int) -> None:
    by, table, tables = case
    seen: list[set[str]] = []

    def function(rows: pa.Table) -> pa.Table:
        keys = map_side.one_zero_one_nan(rows.select(by), by)
        seen.append({repr(row) for row in keys.to_pylist()})
        return rows

    answers = shuffled(tables, Shuffle(tuple(by), partitions), function, limit)
    assert ordered(pa.concat_tables(answers)) == ordered(table)
    assert sum(map(len, seen)) == len(set().union(*seen))


AGGREGATES = {"v": ["sum", "count", "min", "max", "mean", "variance", "stddev", "first", "last"]}
SAMPLE = pc.VarianceOptions(ddof=1)


@EXAMPLES
@given(keyed_tables(), st.integers(1, 5), st.sampled_from([2000, 1 << 30]))
@pytest.mark.slow
def test_aggregates_are_those_of_the_whole(case: Any, partitions: int, limit: int) -> None:
    by, table, tables = case
    shuffle = Shuffle(tuple(by), partitions, as_aggregates(AGGREGATES, by))
    found = pa.concat_tables(shuffled(tables, shuffle, None, limit))
    whole = map_side.one_zero_one_nan(table, by).group_by(by, use_threads=False)
    options = {"variance": SAMPLE, "stddev": SAMPLE}
    expected = whole.aggregate([("v", name, options.get(name)) for name in AGGREGATES["v"]])
    assert found.schema == expected.schema
    assert_close(found, expected, by)


def assert_close(found: pa.Table, expected: pa.Table, by: list[str]) -> None:
    """Equal rows in any order, floats to ten digits."""
    rows = [
        sorted(table.to_pylist(), key=lambda row: repr([row[name] for name in by]))
        for table in (found, expected)
    ]
    assert len(rows[0]) == len(rows[1])
    for left, right in zip(*rows, strict=True):
        for name, value in right.items():
            if isinstance(value, float) and left[name] is not None:
                close = math.isclose(left[name], value, rel_tol=1e-10, abs_tol=1e-9)
                assert close or (math.isnan(value) and math.isnan(left[name])), (left, right)
            else:
                assert left[name] == value, (left, right)


@pytest.mark.parametrize("groups", [100, 60_000, 10**9], ids=["few", "many", "all"])
@pytest.mark.parametrize("kind", ["int64", "uint16", "text", "composite"])
def test_every_way_of_combining_gives_the_same(groups: int, kind: str) -> None:
    rng = np.random.default_rng(groups)
    keys = rng.integers(0, min(groups, 2**16 - 1) if kind == "uint16" else groups, 100_000)
    quantity = pa.array(rng.integers(0, 10_000, len(keys)))
    table = pa.table(
        {
            "k": pa.array([f"key {key}" for key in keys.tolist()])
            if kind == "text"
            else pa.array(keys.astype("i8" if kind == "composite" else kind)),
            "other": pa.array(keys % 3),
            "d": quantity.cast(pa.decimal128(38, 2)).cast(pa.decimal128(15, 2)),
            "q": quantity,
            "f": pa.array(rng.random(len(keys))),
        }
        if kind != "text"
        else {"k": pa.array([f"key {key}" for key in keys.tolist()]), "q": quantity}
    )
    by = ["k", "other"] if kind == "composite" else ["k"]
    names = [name for name in ("d", "q", "f") if name in table.column_names]
    shuffle = Shuffle(tuple(by), 7, as_aggregates(dict.fromkeys(names, "sum"), by))
    found = pa.concat_tables(shuffled([table.slice(0, 70_000), table.slice(70_000)], shuffle))
    expected = table.group_by(by).aggregate([(name, "sum") for name in names])
    order = [(name, "ascending") for name in by]
    found, expected = found.sort_by(order), expected.sort_by(order)
    for name in found.column_names:
        if name == "f_sum":
            assert np.allclose(found[name], expected[name], rtol=1e-12)
        else:
            assert found[name].equals(expected[name]), name


@pytest.mark.parametrize("big", [2**62, -(2**62)])
def test_decimal_sums_do_not_overflow(big: int) -> None:
    rows = 2000
    values = pa.array([decimal.Decimal(big)] * rows, pa.decimal128(38, 0))
    table = pa.table({"k": np.arange(rows) % 2, "d": values})
    shuffle = Shuffle(("k",), 2, as_aggregates({"d": "sum"}, ["k"]))
    found = pa.concat_tables(shuffled([table], shuffle))
    assert found["d_sum"].to_pylist() == [decimal.Decimal(big) * rows / 2] * 2


@pytest.mark.slow
def test_rows_beyond_the_limit_are_spilled_and_divided() -> None:
    table = pa.table({"k": np.arange(200_000) % 5000, "v": np.arange(200_000)})
    limit = 100_000
    handed: list[int] = []

    def function(rows: pa.Table) -> pa.Table:
        handed.append(rows.nbytes)
        return rows.group_by("k").aggregate([("v", "sum"), ("v", "count")])

    answers = shuffled([table, table], Shuffle(("k",), 2), function, limit)
    found = pa.concat_tables(answers).sort_by("k")
    assert found["k"].to_pylist() == list(range(5000))
    assert set(found["v_count"].to_pylist()) == {80}
    assert max(handed) <= limit
    assert len(handed) > 50


@pytest.mark.slow
def test_a_key_beyond_the_limit_is_handed_over_whole() -> None:
    table = pa.table({"k": ["heavy"] * 50_000 + ["light"] * 10, "v": np.arange(50_010)})
    sizes: dict[str, int] = {}

    def function(rows: pa.Table) -> None:
        for key in rows["k"].unique().to_pylist():
            assert key not in sizes
            sizes[key] = rows.filter(pc.equal(rows["k"], key)).num_rows

    assert shuffled([table], Shuffle(("k",), 3), function, 10_000) == []
    assert sizes == {"heavy": 50_000, "light": 10}


def test_answers_are_in_order_of_their_partition_then_key(tmp_path: Path) -> None:
    table = pa.table({"k": [f"{i % 50}" for i in range(1000)], "v": np.arange(1000)})
    options = {"by": "k", "aggregate": {"v": "sum"}, "partitions": 4}
    once, again = (
        run(same, table, tmp_path, max_tasks=tasks, target_bytes="1k", **options)
        for tasks in (1, 7)
    )
    assert [stage.tasks for stage in again.job.stages] == [7, 1, 4]
    assert again.to_arrow().equals(once.to_arrow())
    keys = [part["k"].to_pylist() for (part,) in map(again.debug, range(4), ["shuffle"] * 4)]
    assert keys == [sorted(part) for part in keys]
    assert [key for part in keys for key in part] == again.to_arrow()["k"].to_pylist()
    assert again.audit().ok
    assert again.result().count_rows() == 50


def frames(item: int) -> Any:
    kind = (pa.table, pd.DataFrame, pl.DataFrame, pa.RecordBatch.from_pydict)[item % 4]
    return kind({"k": [item % 3, 7], "v": [1.0 * item, 1.0]})


def test_tables_batches_and_frames_are_taken(tmp_path: Path) -> None:
    found = run(frames, mapred.array(12), tmp_path, by="k", aggregate={"v": ["sum", "count"]})
    assert ordered(found.to_arrow()) == ordered(
        pa.table({"k": [0, 1, 2, 7], "v_sum": [18.0, 22.0, 26.0, 12.0], "v_count": [4, 4, 4, 12]})
    )


def batches(item: int) -> Any:
    for number in range(3):
        yield pa.table({"k": [number], "v": [item]})


def test_an_iterator_of_tables_is_taken(tmp_path: Path) -> None:
    found = run(batches, mapred.array(4), tmp_path, by="k", aggregate={"v": "sum"})
    assert found.to_arrow()["v_sum"].to_pylist() == [6, 6, 6]


def number(item: int) -> Any:
    return item or {"k": 1}


def other_types(item: int) -> Any:
    return pa.table({"k": pa.array([5], pa.int16() if item else pa.float64()), "v": [item]})


def odd_types(item: int) -> Any:
    return pa.table({"k": ["5"] if item else [5]})


def odd_columns(item: int) -> Any:
    return pa.table({"k": [5], f"v{item}": [5]})


def test_types_of_one_value_meet_in_one_key(tmp_path: Path) -> None:
    found = run(other_types, mapred.array(3), tmp_path, by="k", aggregate={"v": "sum"})
    assert found.to_arrow().to_pylist() == [{"k": 5.0, "v_sum": 3}]


@pytest.mark.parametrize(
    ("fn", "options", "text"),
    [
        (number, {"by": "k", "aggregate": {"k": "sum"}}, "the function returned a dict: with by="),
        (frames, {"by": "x", "aggregate": {"v": "sum"}}, "no key column 'x' in the output"),
        (frames, {"by": "k", "aggregate": {"x": "sum"}}, "names column 'x'; the output has k, v"),
        (frames, {"by": "k", "aggregate": {"v": "any"}}, "there is no any of double"),
        (
            odd_types,
            {"by": "k", "reduce": same},
            "'k' is int64 in map task 0 and string in map task 1",
        ),
        (odd_columns, {"by": "k", "reduce": same}, "column 'v[01]' is in the output of map task"),
        (frames, {"by": "k", "reduce": len}, "returned a int: with by="),
    ],
)
def test_what_does_not_fit_is_one_clear_error(
    fn: Any, options: Any, text: str, tmp_path: Path
) -> None:
    with pytest.raises(mapred.RunError, match=text):
        run(fn, mapred.array(2), tmp_path, attempts=1, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"aggregate": {"v": "sum"}}, "need by="),
        ({"by": "k"}, "by= needs aggregate="),
        ({"by": "k", "aggregate": {}}, "must be a mapping"),
        ({"by": "k", "aggregate": {"v": "mode"}}, "there is no 'mode'.*; there are sum"),
        ({"by": "k", "aggregate": {"v": ["sum", "sum"]}}, "two columns of the answer 'v_sum'"),
        ({"by": ["k", "k"], "reduce": same}, "names a column twice"),
        ({"by": [], "reduce": same}, "must be a column's name"),
        ({"by": "k", "reduce": same, "aggregate": {"v": "sum"}}, "either reduce= or aggregate="),
        ({"by": "k", "reduce": mapred.reducers.sum}, "merges whole outputs"),
        ({"by": "k", "reduce": same, "partitions": 0}, "partitions=0 must be"),
        ({"by": "k", "reduce": same, "fan_in": 3}, "pass partitions="),
        ({"by": "k", "sort_by": "k"}, "pass one of both"),
        ({"sort_by": [("k", "up")]}, "must be a column's name, or a pair"),
    ],
)
def test_arguments_are_checked_at_once(options: Any, text: str) -> None:
    with pytest.raises(mapred.MapredError, match=text):
        mapred.job(frames, mapred.array(2), **options)


def nothing(item: int) -> Any:
    return None


def none_of_it(item: int) -> Any:
    return pa.table({"k": pa.array([], pa.string()), "v": pa.array([], pa.int64())})


def test_nothing_at_all_is_an_empty_result(tmp_path: Path) -> None:
    empty = run(none_of_it, mapred.array(3), tmp_path, by="k", aggregate={"v": "sum"})
    expected = pa.schema([("k", pa.string()), ("v_sum", pa.int64())])
    assert empty.to_arrow().equals(expected.empty_table())
    assert run(nothing, mapred.array(3), tmp_path, by="k", reduce=same).to_arrow().num_rows == 0
    final = run(none_of_it, mapred.array(3), tmp_path, by="k", reduce=same, finalize=len)
    assert final.result() == 0


def test_the_whole_is_finalized_once(tmp_path: Path) -> None:
    found = run(frames, mapred.array(12), tmp_path, by="k", reduce=same, finalize=len, partitions=3)
    assert found.result() == 24
    assert [stage.name for stage in found.job.stages][-2:] == ["shuffle", "reduce-1"]


def skewed(item: int) -> Any:
    keys = np.where(np.arange(30_000) % 3, 7, np.arange(30_000) + item * 30_000)
    return pa.table({"k": keys, "v": keys})


def of_shares(shares: Sequence[float]) -> Callable[[int], pa.Table]:
    """A map of 3,000 rows, of which the keys have these shares; the rest are keys of their own."""

    def rows(item: int) -> pa.Table:
        common = np.repeat(np.arange(len(shares)), [round(3000 * share) for share in shares])
        own = np.arange(3000 - len(common)) + 10_000 * (item + 1)
        return pa.table({"k": np.concatenate([common, own])})

    return rows


@pytest.mark.parametrize(
    ("shares", "heavy"),
    [
        ([0.1] * 10, []),
        ([0.5, 1 / 3, 1 / 6], []),
        ([1 / 3] * 3, []),
        ([0.01] * 100, []),
        ([0.05] * 2, []),
        ([], []),
        ([1.0], [0]),
        ([0.9, 0.1], [0]),
        ([0.6, 0.2, 0.2], [0]),
        ([0.45, 0.45], [0, 1]),
        ([0.2, *[0.02] * 40], [0]),
    ],
)
def test_keys_that_stand_out_are_estimated_beside_the_counters(
    tmp_path: Path, shares: list[float], heavy: list[int]
) -> None:
    found = run(of_shares(shares), mapred.array(2), tmp_path, by="k", reduce=same, partitions=2)
    assert found.counters == {}
    assert found.status().heavy == {f"k={key}": round(6000 * shares[key]) for key in heavy}
    assert mapred.open(found.uri).status().heavy == found.status().heavy
    for key in heavy:
        assert f"≈ {6000 * shares[key]:,.0f} rows of k={key}" in str(found)


def test_what_is_estimated_is_marked_and_rounded(tmp_path: Path) -> None:
    found = run(skewed, mapred.array(3), tmp_path, by="k", reduce=same, partitions=3)
    assert found.counters == {}
    ((key, rows),) = found.status().heavy.items()
    assert (key, rows) == ("k=7", pytest.approx(60_000, rel=0.05))
    assert re.search(r"≈ (5|6)\d,\d00 rows of k=7\n", str(found))
    assert "rows of k=7" in found._repr_mimebundle_()["text/html"]


def test_a_skipped_map_task_is_run_by_the_reduce_that_notices(tmp_path: Path) -> None:
    expected = run(frames, mapred.array(12), tmp_path, by="k", reduce=same, partitions=2)
    again = run(frames, mapred.array(12), tmp_path, by="k", reduce=same, partitions=2)
    again.store.delete(layout.END)
    for stage, task in (("map", 3), ("manifest", 0), ("shuffle", 0), ("shuffle", 1)):
        drop_commit(again, task, stage)
    from mapred.worker.tasks import run_block

    (outcome,) = run_block(Block(again.uri, again.digest, "shuffle", [1]))
    assert outcome.commit is not None
    assert again.store.list(layout.commits("manifest"))
    assert len(again.store.list(layout.commits("map"))) == 12
    resumed = mapred.open(again.uri).resume(backend=Inline(), progress="none")
    assert ordered(resumed.to_arrow()) == ordered(expected.to_arrow())
    assert resumed.audit().ok


def test_a_twin_leaves_the_winner_alone(tmp_path: Path) -> None:
    from mapred.worker.context import context
    from mapred.worker.tasks import run_task

    found = run(frames, mapred.array(6), tmp_path, by="k", aggregate={"v": "sum"}, partitions=2)
    job = context(found.uri, found.digest)
    for stage in found.job.stages:
        commit = layout.commit(stage.name, 0)
        before = found.store.read(commit)
        found.store.delete(commit)
        first = run_task(job, stage, 0).commit
        found.store.delete(commit)
        second = run_task(job, stage, 0).commit
        assert first is not None
        assert second is not None
        assert first.output.crc32 == second.output.crc32
        assert found.store.read(commit) != before
    assert found.audit().ok


class Failing:
    """Fails for one item."""

    def __call__(self, item: int) -> Any:
        if item == 3:
            raise ValueError("three")
        return frames(item)


def test_given_up_items_are_left_out(tmp_path: Path) -> None:
    options = {"by": "k", "aggregate": {"v": "count"}, "max_failed": 1, "attempts": 1}
    for per_task in (1, 4):
        found = run(Failing(), mapred.array(12), tmp_path, per_task=per_task, **options)
        assert found.state == "succeeded"
        assert sum(found.to_arrow()["v_count"].to_pylist()) == 22


@pytest.mark.slow
def test_killed_workers_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {1: ["kill"], 4: ["_exit", "raise"]})
    options = {"by": ["customer", "item"], "aggregate": {"price": "sum"}, "partitions": 2}
    found = run(Orders(script), mapred.array(6), tmp_path, backend="local", **options)
    expected = run(orders, mapred.array(6), tmp_path, **options)
    assert found.to_arrow().equals(expected.to_arrow())
    assert [script.calls(item) for item in (1, 4)] == [2, 3]
    assert found.audit().ok


class Mortal:
    """Ends its process at the first call for some partition, and hands on the rows later."""

    def __init__(self, folder: Path) -> None:
        self.flag = folder / "died"

    def __call__(self, rows: pa.Table) -> pa.Table:
        if not self.flag.exists():
            self.flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return rows


@pytest.mark.slow
def test_a_partition_whose_worker_dies_is_reduced_again(tmp_path: Path) -> None:
    options = {"by": "customer", "partitions": 3, "backend": "local"}
    found = run(orders, mapred.array(6), tmp_path, reduce=Mortal(tmp_path), **options)
    assert (tmp_path / "died").exists()
    whole = pa.concat_tables(map(orders, range(6)))
    assert ordered(found.to_arrow()) == ordered(whole)
    assert found.audit().ok


@pytest.mark.filterwarnings("ignore:backend='inline'")
@pytest.mark.slow
def test_memory_of_the_task_is_the_limit(tmp_path: Path) -> None:
    options = {"by": "k", "reduce": same, "partitions": 2}
    whole = run(skewed, mapred.array(3), tmp_path, **options)
    small = run(
        skewed,
        mapred.array(3),
        tmp_path,
        **options,
        resources=Resources(memory="1M"),
        reduce_resources=Resources(memory="1M"),
    )
    assert keyed.memory_limit(small.job.stages[0]) == 250_000
    assert ordered(small.to_arrow()) == ordered(whole.to_arrow())
    assert small.audit().ok
