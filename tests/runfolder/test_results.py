"""What comes back: values, tables, frames, files, in plan order."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import mapred
from mapred import reducers
from mapred.errors import FunctionError
from mapred.model import layout
from mapred.model.records import Commit, Output, Span, StoredFile
from mapred.model.resources import Resources
from mapred.model.spec import Format, Job, Stage
from mapred.runfolder import outputs
from mapred.runfolder.folder import RunFolder
from mapred.storage.local import LocalStore
from mapred.testing import tamper

RUN: dict[str, Any] = {"progress": "none"}


@dataclasses.dataclass(frozen=True)
class Point:
    x: int


VALUES: dict[str, list[Any]] = {
    "numbers": [1, 2, 3],
    "none between": [1, None, 3],
    "arrays": [np.arange(3), np.arange(2)],
    "objects": [Point(1), Point(2)],
    "large": ["x" * 100_000, "y"],
    "tables": [pa.table({"a": [1, 2]}), pa.table({"a": [3]})],
    "other tables": [pa.table({"a": [1]}), pa.table({"b": ["x"]})],
    "empty table": [pa.table({"a": pa.array([], pa.int64())})],
    "dictionaries": [
        pa.table({"a": pa.array(["x", "y"]).dictionary_encode()}),
        pa.table({"a": pa.array(["z"]).dictionary_encode()}),
    ],
    "batches": [pa.record_batch({"a": [1]})],
    "frames": [pd.DataFrame({"a": [1]}, index=["i"]), pd.DataFrame({"a": [2]}, index=["j"])],
    "polars": [pl.DataFrame({"a": [1]})],
    "tables and None": [pa.table({"a": [1]}), None, pa.table({"a": [2, 3]})],
    "tables and frames": [pa.table({"a": [1]}), pd.DataFrame({"a": [1]}), None],
    "frames of two schemas": [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": ["x"]})],
    "only None": [None, None],
    "rows without columns": [pa.table({"a": [1, 2]}).select([]), pa.table({"a": [1]}).select([])],
    "a batch without columns": [pa.record_batch({"a": [1, 2]}).select([])],
    "frames without columns": [pd.DataFrame(index=range(3)), pd.DataFrame(index=range(2))],
    "own metadata": [
        pa.table({"a": [1]}, metadata={"from": "one"}),
        pa.table({"a": [1]}, metadata={"from": "other"}),
        pa.table({"a": [1]}),
    ],
    "indexes": [
        pd.DataFrame({"a": [1]}, index=pd.RangeIndex(7, 8)),
        pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(4, 8, 2, name="i")),
        pd.DataFrame({"a": [1]}),
    ],
    "names of indexes": [
        pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="k")),
        pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="l")),
        pd.DataFrame({"a": [1]}, index=pd.Index(["x"])),
    ],
    "names of columns": [
        pd.DataFrame([[1, 2]]),
        pd.DataFrame([[1, 2]], columns=["0", "1"]),
        pd.DataFrame([[1, 2]], columns=pd.Index(["0", "1"], name="n")),
    ],
    "dtypes": [
        pd.DataFrame({"a": pd.array([1], "Int64")}),
        pd.DataFrame({"a": [1]}),
        pd.DataFrame({"a": pd.array([1], pd.ArrowDtype(pa.int64()))}),
    ],
    "whole numbers as objects": [pd.DataFrame({"a": pd.Series([2**60 + 1, None], dtype=object)})],
    "categories": [
        pd.DataFrame({"a": pd.Categorical(["x"], ["y", "x"])}),
        pd.DataFrame({"a": pd.Categorical(["z"], ["z"])}),
    ],
    "many counts": [Counter({f"word {i}": i for i in range(20_000)}), {"a": 1}],
    "nothing": [],
}


@pytest.mark.parametrize("values", list(VALUES.values()), ids=list(VALUES))
def test_values_come_back_as_they_were(values: list[Any], tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    output, payload = outputs.encode(values)
    if payload is not None:
        store.write("data", payload)
        output = dataclasses.replace(output, path="data")
    back = list(outputs.decode(store, output))
    assert [type(value) for value in back] == [type(value) for value in values]
    for before, after in zip(values, back, strict=True):
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(before, after)
        elif isinstance(before, pa.Table):
            assert before.to_pydict() == after.to_pydict()
            assert before.schema.equals(after.schema)
            assert (before.schema.metadata or {}) == (after.schema.metadata or {})
            assert before.num_rows == after.num_rows
        elif isinstance(before, pd.DataFrame):
            pd.testing.assert_frame_equal(before, after)
            assert before.index.equals(after.index)
        elif hasattr(before, "equals"):
            assert before.equals(after)
            assert before.shape == after.shape
        else:
            assert before == after


def test_a_frame_that_arrow_refuses_names_the_column() -> None:
    with pytest.raises(FunctionError, match="mixed"):
        outputs.encode([pd.DataFrame({"mixed": [1, "a"]})])


def test_records_survive_json() -> None:
    schema = pa.schema({"a": pa.int64(), "day": pa.string()})
    job = Job(
        run_id="r",
        name="n",
        created="2026-03-01T12:00:00Z",
        format=Format("parquet", "table", schema, columns=("a",), partitions=("day",)),
        stages=(Stage("map", "map", 3, resources=Resources(2, "4Gi")),),
        shards=3,
        items=0,
        files=1,
        bytes=10,
        function="function.pkl",
    )
    again = Job.from_bytes(job.to_bytes())
    assert again.to_bytes() == job.to_bytes()
    assert again.format.schema == schema
    commit = Commit(
        "map", 1, "1-a", "f", Output("none"), (StoredFile("n", "p", 1, 2),), spans=(Span(0, 1, 2),)
    )
    assert Commit.from_bytes(commit.to_bytes()) == commit


def _parquet(folder: Path, files: int = 3) -> str:
    for number in range(files):
        table = pa.table({"x": range(number * 10, number * 10 + 10), "k": ["a", "b"] * 5})
        pq.write_table(table, folder / f"{number}.parquet")
    return str(folder / "*.parquet")


def _double(table: pa.Table) -> pa.Table:
    return table.append_column("y", pa.array([2 * x for x in table["x"].to_pylist()]))


def _frame(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(y=frame["x"] * 2)


def _polars(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(y=pl.col("x") * 2)


@pytest.mark.parametrize("function", [_double, _frame, _polars])
def test_tables_are_a_lazy_dataset_in_plan_order(function: Any, tmp_path: Path) -> None:
    run = mapred.run(function, _parquet(tmp_path), root=tmp_path / "runs", target_bytes=100, **RUN)
    result = run.result()
    assert isinstance(result, ds.Dataset)
    assert run.job.shards > 3
    assert result.to_table()["x"].to_pylist() == list(range(30))
    assert run.to_pandas()["y"].tolist() == list(range(0, 60, 2))
    assert run.to_arrow().num_rows == 30


def test_batches_stream(tmp_path: Path) -> None:
    def total(batches: Iterator[pa.RecordBatch]) -> int:
        return sum(sum(batch["x"].to_pylist()) for batch in batches)

    run = mapred.run(total, _parquet(tmp_path), reduce=reducers.sum, root=tmp_path / "runs", **RUN)
    assert run.result() == sum(range(30))


def test_columns_and_filters_reach_the_reader(tmp_path: Path) -> None:
    dataset = mapred.read_parquet(_parquet(tmp_path), columns=["x"], filters=[("k", "=", "b")])
    run = mapred.run(lambda t: t, dataset, root=tmp_path / "runs", **RUN)
    assert run.to_arrow().column_names == ["x"]
    assert run.to_arrow()["x"].to_pylist() == list(range(1, 30, 2))
    assert mapred.open(run.uri).audit().ok


def test_rows_and_row_groups_are_audited(tmp_path: Path) -> None:
    table = pa.table({"x": range(10_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    run = mapred.run(
        len, str(tmp_path / "a.parquet"), root=tmp_path / "runs", target_bytes=9000, **RUN
    )
    assert sum(run.result()) == 10_000
    assert run.job.shards > 2
    assert run.audit().ok
    path = layout.commit("map", 1)
    units = RunFolder(run.store).commit("map", 1).units
    tamper(run, path, lambda commit: {**commit, "records": commit["records"] - 1})
    assert f"cut off: map task 1: read {units * 1000 - 1} of {units * 1000} rows" in str(
        run.audit()
    )
    tamper(run, path, lambda commit: {**commit, "units": 0})
    assert f"read 0 of {units} row groups" in str(run.audit())


def test_frames_in_memory(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(1000)})
    run = mapred.run(len, frame, reduce=sum, root=tmp_path, target_bytes=1000, **RUN)
    assert run.result() == 1000


def _score(lr: float, depth: int) -> dict[str, float]:
    return {"score": lr * depth}


def _save(lr: float, task: mapred.Task) -> float:
    task.output("model.txt").write_text(str(lr))
    return lr


def test_a_sweep_is_a_table_of_parameters_and_results(tmp_path: Path) -> None:
    run = mapred.run(_score, mapred.sweep(lr=[0.1, 0.2], depth=[1, 2, 3]), root=tmp_path, **RUN)
    frame = run.to_pandas()
    assert frame.columns.tolist() == ["lr", "depth", "score", "error", "seconds", "attempt"]
    assert frame["score"].tolist() == (frame["lr"] * frame["depth"]).tolist()
    assert len(frame) == 6


def test_a_sweep_repeats_with_draws_of_its_own(tmp_path: Path) -> None:
    def draw(p: float, task: mapred.Task) -> float:
        return float(task.rng.random())

    run = mapred.run(draw, mapred.sweep(p=[0.5], repeats=4, seed=3), root=tmp_path, **RUN)
    frame = run.to_pandas()
    assert frame["repeat"].tolist() == [0, 1, 2, 3]
    assert frame["result"].nunique() == 4
    assert run.job.seed == 3


def test_a_sweep_keeps_its_files(tmp_path: Path) -> None:
    run = mapred.run(_save, mapred.sweep(lr=[0.1, 0.2]), root=tmp_path, **RUN)
    assert [Path(path).read_text() for path in run.files["path"]] == ["0.1", "0.2"]


def _counts(lines: Iterator[str]) -> Counter[str]:
    return Counter(word for line in lines for word in line.split())


def _all(outputs_: Iterable[Counter[str]]) -> Counter[str]:
    merged: Counter[str] = Counter()
    for output in outputs_:
        merged.update(output)
    return merged


@pytest.mark.parametrize("reduce", [_all, reducers.merge_counts], ids=["own", "ready"])
@pytest.mark.parametrize("fan_in", [None, 2])
@pytest.mark.slow
def test_counts_of_a_tree_and_of_one_task(reduce: Any, fan_in: int | None, tmp_path: Path) -> None:
    text = "".join(f"a b{i % 7} c\n" for i in range(500))
    (tmp_path / "a.txt").write_text(text)
    run = mapred.run(
        _counts,
        str(tmp_path / "a.txt"),
        reduce=reduce,
        fan_in=fan_in,
        finalize=lambda counts: counts.most_common(2),
        root=tmp_path / "runs",
        target_bytes=500,
        **RUN,
    )
    assert run.result() == [("a", 500), ("c", 500)]


def test_a_tree_that_is_not_associative_is_refused(tmp_path: Path) -> None:
    def mean(values: Iterable[float]) -> float:
        values = list(values)
        return sum(values) / len(values)

    with pytest.raises(mapred.RunError, match="not associative"):
        mapred.run(
            lambda i: float(i**2), mapred.array(9), reduce=mean, fan_in=3, root=tmp_path, **RUN
        )
    run = mapred.run(lambda i: float(i**2), mapred.array(9), reduce=mean, root=tmp_path, **RUN)
    assert run.result() == pytest.approx(204 / 9)


def test_shards_given_up_within_max_failed(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("bad\n" if number == 2 else "7\n")

    def total(lines: Iterator[str]) -> int:
        return sum(map(int, lines))

    options = {"reduce": sum, "target_bytes": 1, "attempts": 1, "root": tmp_path / "runs", **RUN}
    with pytest.raises(mapred.RunError, match=r"2\.txt"):
        mapred.run(total, str(tmp_path / "*.txt"), **options)
    run = mapred.run(total, str(tmp_path / "*.txt"), max_failed=0.2, **options)
    assert run.result() == 35
    (failure,) = run.failures
    assert "2.txt" in failure.where
    assert run.audit().ok


def test_files_that_cannot_be_read_are_given_up_like_items(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]))
    plan = mapred.plan(mapred.read_files(str(tmp_path / "*.bin"), as_="bytes"))
    (tmp_path / "3.bin").unlink()
    run = mapred.run(lambda data: data[0], plan, max_failed=1, root=tmp_path / "runs", **RUN)
    assert run.result() == [0, 1, 2, None, 4]


def test_debug_replays_the_same_record_here(tmp_path: Path) -> None:
    def check(item: int) -> int:
        if item == 3:
            raise ZeroDivisionError(f"at {item}")
        return item

    with pytest.raises(mapred.RunError) as caught:
        mapred.run(check, mapred.array(5), attempts=1, root=tmp_path, **RUN)
    run = mapred.open(caught.value.run.uri)
    with pytest.raises(ZeroDivisionError, match="at 3"):
        run.debug(3)
    assert run.debug(2) == [2]


def _noisy(item: int, task: mapred.Task) -> int:
    print(f"printed {item}")
    task.log.info("logged %d", item)
    task.count("seen")
    return item


def test_logs_and_counters_are_kept(tmp_path: Path) -> None:
    run = mapred.run(_noisy, mapred.array(3), root=tmp_path, **RUN)
    assert "printed 1" in run.logs(1)
    assert "logged 1" in run.logs(1)
    assert "printed 2" not in run.logs(1)
    assert mapred.open(run.uri).counters == {"seen": 3}
    assert run.shards["records"].tolist() == [1, 1, 1]


def test_the_folder_is_as_documented(tmp_path: Path) -> None:
    run = mapred.run(_save, mapred.sweep(lr=[1.0]), reduce=sum, root=tmp_path, **RUN)
    paths = {str(path.relative_to(run.uri)) for path in Path(run.uri).rglob("*") if path.is_file()}
    (file,) = [path for path in paths if path.startswith("map/files/")]
    assert paths - {file} == {
        "job.json",
        "function.pkl",
        "reduce.pkl",
        "modules.pkl",
        "input/items.pkl",
        "plan/00000.parquet",
        "map/commits/000000.json",
        "reduce-1/commits/000000.json",
        "result/manifest.json",
        "handle.json",
        "end.json",
    }
