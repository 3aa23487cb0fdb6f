"""Runs as datasets: the outputs of one are the items of another, and none passes this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mapred
from mapred.errors import DatasetError, PlanError, RunError
from mapred.model import layout
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store
from mapred.testing import drop_commit

INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}


def run(fn: Callable[..., Any], dataset: Any, **options: Any) -> mapred.Run:
    return mapred.run(fn, dataset, **{**INLINE, **options})


def same(value: Any) -> Any:
    return value


def values_of(*runs: mapred.Run) -> list[Any]:
    return [value for each in runs for _, value in each.outputs()]


def mixed(n: int) -> Any:
    """None, small values, which lie in commits, and large ones, which lie in files."""
    return (None, n, {"text": "x" * 9_000 * n})[n % 3]


@pytest.mark.parametrize("first", [{"per_task": 1}, {"per_task": 4}, {"max_tasks": 2}])
@pytest.mark.parametrize("second", [{}, {"per_task": 3}, {"max_tasks": 2}, {"target_bytes": "20k"}])
def test_the_items_are_the_outputs_in_plan_order(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    one, two = run(mixed, range(9), **first), run(mixed, range(4), **first)
    both = run(same, mapred.outputs(one, two), **second)
    assert both.result() == values_of(one, two)
    assert both.audit().ok
    assert both.job.items == 13
    assert (both.job.shards == 13) == (not second)
    assert run(same, one, **second).result() == values_of(one)


def test_the_limits_of_a_plan_of_outputs() -> None:
    one = run(lambda n: b"x" * 1_000, range(10), per_task=5)
    assert [mapred.plan(one, per_task=n).shards for n in (1, 3, 100)] == [10, 4, 1]
    plan = mapred.plan(one, target_bytes=2_100)
    assert (plan.shards, plan.summary().limit) == (5, "target_bytes=2100")
    with pytest.raises(PlanError, match="give target_bytes=5 or per_task=2, not both"):
        mapred.plan(one, target_bytes=5, per_task=2)
    assert str(mapred.plan(mapred.outputs(one, run(same, [1])))).splitlines()[:2] == [
        "Plan of outputs of 2 runs: 11 items (outputs)",
        "  11 items in 11 shards, 11 tasks",
    ]
    assert plan.run(len, **INLINE).result() == [1_000] * 10


def test_given_up_items_and_shards_are_left_out(tmp_path: Path) -> None:
    def inverse(n: int) -> float:
        return 12 / (n % 4)

    one = run(inverse, range(10), per_task=5, max_failed=3, attempts=1)
    assert one.result() == [None, 12, 6, 4, None, 12, 6, 4, None, 12]
    assert run(same, one, per_task=2).result() == [12, 6, 4, 12, 6, 4, 12]
    all_of_some = run(inverse, range(5), per_task=1, max_failed=2, attempts=1)
    assert run(same, all_of_some).result() == [12, 6, 4]
    for name in ("1", "zero", "3"):
        (tmp_path / f"{name}.txt").write_text(name)
    shards = run(lambda lines: [int(line) for line in lines], str(tmp_path), max_failed=1,
                 target_bytes=1, attempts=1)  # fmt: skip
    assert run(same, shards).result() == values_of(shards)
    assert [n for values in values_of(shards) for n in values] == [1, 3]


def test_the_value_of_a_reduce_is_one_item() -> None:
    total = run(abs, range(-4, 4), reduce=sum)
    tree = run(abs, range(-4, 4), reduce=mapred.reducers.sum, fan_in=2)
    nothing = run(abs, range(3), reduce=lambda outputs: None)
    assert run(same, mapred.outputs(total, tree)).result() == [16, 16]
    assert run(repr, nothing).result() == ["None"]


def test_outputs_of_outputs_and_of_a_sweep() -> None:
    squares = run(lambda x: x * x, mapred.sweep(x=[1, 2, 3]))
    more = run(lambda n: n + 1, squares)
    assert run(same, mapred.outputs(mapred.outputs(squares), more)).result() == [1, 4, 9, 2, 5, 10]


# Tables


def rows(n: int) -> pa.Table:
    return pa.table({"n": [n, n + 10], "key": ["a", "ab"[n % 2]]})


def to_list(table: pa.Table) -> list[dict[str, Any]]:
    return table.to_pylist()


def kind(value: Any) -> str:
    return f"{type(value).__module__.split('.')[0]}.{type(value).__name__}"


def test_tables_are_what_the_function_asks_for() -> None:
    def as_pandas(frame: pd.DataFrame) -> str:
        return kind(frame)

    def as_table(table: pa.Table) -> str:
        return f"{kind(table)} {table.column_names}"

    tables = run(rows, range(3), per_task=2)
    frames = run(lambda n: rows(n).to_pandas().iloc[1:], range(2))
    both = mapred.outputs(tables, frames)
    assert run(kind, both).result() == ["pyarrow.Table"] * 3 + ["pandas.DataFrame"] * 2
    assert run(as_pandas, both).result() == ["pandas.DataFrame"] * 5
    assert run(as_table, both).result() == ["pyarrow.Table ['n', 'key']"] * 5
    polars = mapred.outputs(tables, frames, as_="polars")
    assert run(kind, polars).result() == ["polars.DataFrame"] * 5
    batches = mapred.outputs(tables, as_="batches")
    assert run(lambda each: sum(b.num_rows for b in each), batches).result() == [2, 2, 2]
    some = run(lambda n: rows(n) if n else None, range(3))
    assert run(lambda frame: frame is None, mapred.outputs(some, as_="pandas")).result() == [
        True,
        False,
        False,
    ]


def test_of_other_values_an_annotation_says_nothing() -> None:
    def of_frame(value: pd.DataFrame) -> Any:
        return value

    assert run(of_frame, run(abs, [-1, -2])).result() == [1, 2]
    with pytest.raises(DatasetError, match=r"as_='pandas' is for tables, and outputs of .* has"):
        mapred.plan(mapred.outputs(run(abs, [-1]), as_="pandas"))
    with pytest.raises(DatasetError, match="as_='lines' is not for outputs; choose one of 'item'"):
        mapred.outputs(run(abs, [-1]), as_="lines")


@pytest.mark.parametrize(
    "keyed",
    [
        {"by": "key", "aggregate": {"n": "sum"}},
        {"by": "key", "reduce": lambda table: table.slice(0, 1)},
        {"sort_by": "n"},
    ],
    ids=["aggregate", "reduce", "sort"],
)
def test_the_parts_of_a_keyed_reduce_are_tables(keyed: dict[str, Any]) -> None:
    one = run(rows, range(4), partitions=5, **keyed)
    parts = run(to_list, one).result()
    assert [row for part in parts for row in part] == one.result().to_table().to_pylist()
    assert all(parts), "empty parts are left out"
    assert run(kind, mapred.outputs(one, as_="pandas")).result() == ["pandas.DataFrame"] * len(
        parts
    )


def test_a_keyed_reduce_without_rows_has_a_table_with_columns() -> None:
    one = run(lambda n: rows(n).slice(0, 0), range(2), sort_by="n", partitions=3)
    assert run(lambda table: (table.num_rows, table.column_names), one).result() == [
        (0, ["n", "key"])
    ]


# What was written


def lake_of(folder: Path | str, kind: str, mode: str = "append") -> Any:
    write = mapred.write_parquet if kind == "parquet" else mapred.write_delta
    return write(f"{folder}/lake", partition_by="key", mode=mode)


def sorted_rows(shards: list[list[dict[str, Any]]]) -> list[tuple[Any, ...]]:
    return sorted((row["n"], row["key"]) for shard in shards for row in shard)


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_of_what_was_written_the_files_of_that_very_run(tmp_path: Path, kind: str) -> None:
    if kind == "delta":
        pytest.importorskip("deltalake")
    target = lake_of(tmp_path, kind)
    before, one, two, after = (run(rows, [n], write=target) for n in range(4))
    read = run(to_list, mapred.outputs(one, two))
    assert sorted_rows(read.result()) == [(1, "a"), (2, "a"), (11, "b"), (12, "a")]
    assert (read.job.format.name, read.job.files) == ("parquet", 3)
    assert read.job.dataset == "outputs of 2 runs: 3 files"
    assert [each.run_id for each in read.job.format.runs] == [one.id, two.id]
    assert read.audit().ok

    def of_frame(frame: pd.DataFrame) -> str:
        return type(frame).__name__

    assert set(run(of_frame, before).result()) == {"DataFrame"}
    plan = mapred.plan(after, target_bytes=1)
    assert plan.shards > 1
    assert plan.summary().files == 2


def test_types_of_partitions_are_those_that_were_written(tmp_path: Path) -> None:
    target = mapred.write_parquet(tmp_path / "x=1" / "lake", partition_by="day")
    one = run(lambda n: pa.table({"n": [n], "day": ["07"]}), [1], write=target)
    assert run(lambda table: table.schema.names, one).result() == [["n", "x", "day"]]
    assert run(to_list, one).result() == [[{"n": 1, "x": 1, "day": "07"}]]


def test_files_that_a_later_run_replaced(tmp_path: Path) -> None:
    first = run(rows, range(2), write=lake_of(tmp_path, "parquet"))
    run(rows, [1], write=lake_of(tmp_path, "parquet", "overwrite_partitions"))
    with pytest.raises(DatasetError) as raised:
        mapred.plan(first)
    text = str(raised.value)
    assert f"3 of the 3 files that run {first.id} wrote to" in text
    advice = text.rpartition("read what is there now: ")[2]
    assert len(mapred.run(lambda t: t, eval(advice), **INLINE).result().to_table()) == 2


def test_a_delta_table_is_read_as_it_was_published(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    first = run(rows, range(2), write=lake_of(tmp_path, "delta"))
    run(rows, [5], write=lake_of(tmp_path, "delta", "overwrite"))
    assert sorted_rows(run(to_list, first).result()) == [(0, "a"), (1, "a"), (10, "a"), (11, "b")]


def test_runs_that_write_and_runs_that_return_do_not_mix(tmp_path: Path) -> None:
    wrote, returned = run(rows, [1], write=lake_of(tmp_path, "parquet")), run(abs, [-1])
    with pytest.raises(DatasetError) as raised:
        mapred.plan(mapred.outputs(returned, wrote))
    assert wrote.uri in str(raised.value)
    assert returned.uri in str(raised.value)


# What is refused


def test_anything_but_runs_is_refused() -> None:
    one = run(abs, [-1])
    for given, text in (
        ((), "got no runs: it takes runs"),
        ((one.uri,), "it takes runs, as mapred.run, submit and open return them"),
        (([one],), "pass them one by one, outputs"),
        ((mapred.items([1]),), "<Dataset 1 item>: it takes runs"),
        ((one, one), "the same run twice"),
    ):
        with pytest.raises(DatasetError, match=text):
            mapred.outputs(*given)
    with pytest.raises(DatasetError, match=r"a list of runs: pass mapred.outputs\(\*runs\)"):
        mapred.plan([one])


def test_a_run_that_returned_nothing(tmp_path: Path) -> None:
    nothing = run(lambda n: 1 / 0, [1], max_failed=1, attempts=1)
    with pytest.raises(DatasetError, match=f"outputs of {nothing.id}: nothing was returned"):
        mapred.plan(nothing)
    target = mapred.write_parquet(tmp_path / "lake")
    with pytest.raises(DatasetError, match="nothing was written"):
        mapred.plan(run(lambda n: None, [1], write=target))
    some = run(abs, [-1])
    assert run(same, mapred.outputs(nothing, some)).result() == [1]


def test_a_run_without_pickles_is_refused() -> None:
    careful = mapred.open(run(abs, [-1]).uri, allow_pickle=False)
    for take in (mapred.plan, mapred.outputs):
        with pytest.raises(RunError, match=r"with allow_pickle=False; if you trust everyone"):
            take(careful)


def test_planning_waits_for_the_runs_and_a_failure_is_raised(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def slow(n: int) -> int:
        import time

        while not gate.exists():
            time.sleep(0.01)
        return n

    at_work = mapred.submit(slow, [1, 2], backend=mapred.Local(workers=1))
    dataset = mapred.outputs(at_work)
    assert str(dataset) == f"outputs of {at_work.id}"
    gate.touch()
    assert run(same, dataset).result() == [1, 2]
    with pytest.raises(RunError) as raised:
        run(lambda n: 1 / n, [0], attempts=1)
    failed = raised.value.run
    with pytest.raises(RunError, match="ZeroDivisionError") as again:
        run(same, mapred.outputs(at_work, failed))
    assert again.value.run.id == failed.id


def test_a_dataset_names_its_runs_and_can_be_copied_to_another_process() -> None:
    import pickle

    one = run(abs, [-1, -2])
    dataset = pickle.loads(pickle.dumps(mapred.outputs(one)))
    assert [(each.uri, each.run_id) for each in dataset.runs] == [(one.uri, one.id)]
    assert run(same, dataset).result() == [1, 2]
    mapred.rm(one.uri)
    with pytest.raises(RunError, match=r"holds no run: there is no job.json"):
        mapred.plan(dataset)


# What lies in the folders, and what becomes of it


class Traced:
    """A value that notes in which process it is loaded."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        with open(self.file, "a") as file:
            file.write(f"{os.getpid()}\n")


def test_values_are_loaded_by_workers_alone(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    one = mapred.run(lambda n: Traced(trace), range(3), progress="none")
    assert not trace.exists()
    two = mapred.run(lambda value: os.getpid(), one, progress="none")
    loaded = {int(line) for line in trace.read_text().split()}
    assert loaded <= set(two.result())
    assert os.getpid() not in loaded
    inputs = [path for path, _ in two.store.list("") if path.startswith(layout.INPUT)]
    assert inputs == [], "the plan names the values, and nothing has them"


def test_a_run_that_is_removed_before_it_is_read_is_one_error(tmp_path: Path) -> None:
    one = run(lambda n: "x" * 30_000, range(2))
    plan = mapred.plan(one, per_task=1)
    mapred.rm(one.uri)
    with pytest.raises(RunError) as raised:
        plan.run(same, **INLINE)
    failures = raised.value.failures
    assert {failure.error for failure in failures} == {"StaleDatasetError"}
    assert {failure.attempts for failure in failures} == {1}
    text = f"{one.uri}, a run whose outputs this one reads, was removed; run that again, and this"
    assert text in failures[0].message
    assert failures[0].where == f"item 0: from map task 0 of {one.id}"


def test_values_that_are_not_those_of_the_plan_are_refused() -> None:
    one = run(lambda n: "x" * 30_000, range(3), per_task=1)
    plan = mapred.plan(one)
    commit = RunFolder(one.store).commit("map", 1)
    assert commit is not None
    assert commit.output.path is not None
    data = one.store.read(commit.output.path)
    one.store.write(commit.output.path, data[:-9] + b"y" + data[-8:])
    drop_commit(one, 2)
    found = plan.run(len, **INLINE, max_failed=2)
    assert found.result() == [30_000, None, None]
    changed, gone = found.failures
    assert "is not what was written" in changed.message
    assert f"{one.uri}/map/commits/000002.json is gone" in gone.message
    text = f"to have its task run again, delete map/commits/000001.json in {one.uri} and resume the"
    assert text in changed.message
    drop_commit(one, 1)
    one.resume(progress="none", fn=lambda n: "y" * 40_000)
    with pytest.raises(
        RunError, match=r"map/commits/000001.json was replaced after it was planned"
    ):
        plan.run(len, **INLINE)
    assert run(len, one).result() == [30_000, 40_000, 40_000]


def test_a_value_that_cannot_be_loaded_costs_its_item_alone() -> None:
    class Odd:
        def __init__(self, n: int) -> None:
            self.n = n

        def __setstate__(self, state: dict[str, int]) -> None:
            vars(self).update(state)
            if self.n == 1:
                raise ValueError("too odd")

    one = mapred.run(Odd, range(3), per_task=3, progress="none")
    two = run(lambda odd: odd.n, one, per_task=3, max_failed=1)
    assert two.result() == [0, None, 2]
    text = f"what map task 0 of {one.id} returned cannot be loaded: ValueError: too odd"
    assert [failure.message for failure in two.failures] == [text]


SHOP = "class Price:\n    def __init__(self, n):\n        self.n = n\n"
MAKE = """
import mapred, shop_of_outputs
if __name__ == "__main__":
    run = mapred.run(lambda n: shop_of_outputs.Price(n), [3, 4], progress="none")
    print(run.uri)
"""


def test_classes_of_the_other_runs_own_modules_are_found(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "shop_of_outputs.py").write_text(SHOP)
    (project / "make.py").write_text(MAKE)
    made = subprocess.run(
        [sys.executable, "make.py"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(mapred.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    project.rename(tmp_path / "gone")
    one = mapred.open(made.stdout.strip())
    two = mapred.run(lambda price: (price.n, type(price).__module__), one, progress="none")
    assert two.result() == [(3, "shop_of_outputs"), (4, "shop_of_outputs")]
    assert "shop_of_outputs" not in sys.modules
    open_store(one.uri).write(layout.MODULES, b"something else")
    with pytest.raises(RunError, match=r"modules.pkl is not the file that the job names"):
        mapred.Plan.run(mapred.plan(one), lambda price: price.n, progress="none")


def test_random_numbers_follow_from_where_a_value_comes_from() -> None:
    def draw(value: Any, task: mapred.Task) -> float:
        return float(task.rng.random())

    one, two = run(abs, [-7, -7], per_task=1), run(abs, [-7, -7], per_task=2)
    drawn = [run(draw, mapred.outputs(one, two), per_task=n).result() for n in (1, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4
    assert run(draw, two, seed=0).result() == drawn[0][2:]


def test_a_run_of_outputs_resumes_and_tells_of_itself() -> None:
    one = run(abs, range(-4, 0), per_task=2)
    with pytest.raises(RunError) as raised:
        run(lambda n: 12 // (n - 2), one, per_task=2, attempts=1)
    failed = mapred.open(raised.value.run.uri)
    assert [each.where for each in failed.failures] == [f"item 2: from map task 1 of {one.id}"]
    assert failed.resume(lambda n: n, progress="none").result()[2] == 2
    assert failed.job.dataset == f"outputs of {one.id}: 4 items"
    assert [(each.uri, each.run_id) for each in failed.job.format.runs] == [(one.uri, one.id)]
    assert "4 items" in str(failed)
    assert failed.audit().ok
    assert failed.to_arrow(details=False)["item"].to_pylist() == [0, 1, 2, 3]
    assert failed.debug(0) == [4, 3]


def test_a_named_run_of_outputs_is_the_same_job_for_the_same_runs() -> None:
    one, two = run(abs, [-1, -2]), run(abs, [-1, -2])
    first = mapred.job(same, one).submit(run_id="of-one", backend="inline")
    again = mapred.job(same, one).submit(run_id="of-one", backend="inline")
    assert (again.uri, again.result()) == (first.uri, [1, 2])
    with pytest.raises(RunError, match="with another dataset"):
        mapred.job(same, two).submit(run_id="of-one", backend="inline")


# Other roots


def test_runs_in_a_bucket_and_on_a_disk(s3_root: str) -> None:
    far = run(mixed, range(9), root=s3_root, per_task=3)
    near = run(mixed, range(3))
    both = run(same, mapred.outputs(far, near), root=s3_root, per_task=6)
    assert both.result() == values_of(far, near)
    plan = mapred.plan(far, max_tasks=1)
    mapred.rm(far.uri)
    with pytest.raises(RunError, match="a run whose outputs this one reads, was removed"):
        plan.run(same, **INLINE)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_what_was_written_to_a_bucket(s3_root: str, kind: str) -> None:
    if kind == "delta":
        pytest.importorskip("deltalake")
    target = lake_of(s3_root, kind)
    one, _ = (run(rows, [n], root=s3_root, write=target) for n in (1, 2))
    assert sorted_rows(run(to_list, one).result()) == [(1, "a"), (11, "b")]


@pytest.mark.slow
def test_workers_of_dask_read_the_outputs_of_other_runs(dask_scheduler: str) -> None:
    one = run(mixed, range(6))
    two = mapred.run(same, one, backend=mapred.Dask(dask_scheduler), progress="none")
    assert two.result() == values_of(one)


def test_a_workflow_over_outputs_and_what_its_pods_cannot_see(tmp_path: Path) -> None:
    one = run(np.sqrt, [4.0], root=tmp_path / "nas" / "runs")
    volume = mapred.Volume(str(tmp_path / "nas"), claim="nas")
    job = mapred.job(same, one)
    cluster: dict[str, Any] = {"image": "team/jobs:1", "namespace": "jobs", "packages": ()}
    text = job.render(backend=mapred.Argo(**cluster, volumes=[volume]), root="s3://team/runs")
    assert "kind: Workflow" in text
    with pytest.raises(mapred.BackendError, match=f"{one.uri}.*whose outputs"):
        job.render(backend=mapred.Argo(**cluster), root="s3://team/runs")
