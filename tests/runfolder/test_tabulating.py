"""Results as tables: nothing returned is lost, renamed in silence, or put beside the wrong item."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import pickle
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mapred
from mapred.errors import DatasetError, FunctionError
from mapred.model import layout
from mapred.testing import tamper

RUN: dict[str, Any] = {"progress": "none", "backend": "inline", "attempts": 1}
BIG = 2**60 + 1


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def run(fn: Any, dataset: Any, root: Path, **options: Any) -> mapred.Run:
    return mapred.run(fn, dataset, root=root, **RUN, **options)


def returning(values: list[Any], root: Path, **options: Any) -> mapred.Run:
    """A run whose items return these values."""
    return run(lambda i: values[i], mapred.array(len(values)), root, **options)


def diverge(lr: float) -> dict[str, float]:
    if lr == 0.1:
        raise ValueError("diverged")
    return {"loss": 1 / lr}


def test_the_first_point_may_fail(root: Path) -> None:
    made = run(diverge, mapred.sweep(lr=[0.1, 0.2, 0.5]), root, max_failed=1)
    known = {"lr": [0.1, 0.2, 0.5], "loss": [None, 5.0, 2.0]}
    assert made.to_arrow(details=False).to_pydict() == known
    table = made.to_arrow()
    assert table.column_names == ["lr", "loss", "error", "seconds", "attempt"]
    assert table["error"].to_pylist() == ["ValueError: diverged", None, None]
    assert table["attempt"].to_pylist() == [1, 1, 1]
    assert min(table["seconds"].to_pylist()) > 0
    frame = made.to_pandas()
    assert frame["loss"].tolist() == [pd.NA, 5.0, 2.0]
    assert frame.dtypes.astype(str).tolist() == ["Float64", "Float64", "string", "Float64", "Int64"]
    assert made.to_pandas(details=False).columns.tolist() == ["lr", "loss"]


def test_keys_that_the_first_row_lacks_are_kept(root: Path) -> None:
    rows = [{"a": 0}, None, {"a": 1, "b": 10}]
    made = returning(rows, root)
    expected = {"item": [0, 1, 2], "a": [0, None, 1], "b": [None, None, 10]}
    assert made.to_arrow().to_pydict() == expected
    assert made.to_pandas().columns.tolist() == list(expected)
    reduced = returning(rows, root, reduce=list)
    assert reduced.to_arrow().to_pydict() == {"a": [0, 1], "b": [None, 10]}
    assert reduced.to_pandas()["b"].tolist() == [pd.NA, 10]


def test_values_beside_mappings_have_a_column(root: Path) -> None:
    made = returning([{"a": 1}, 5, None], root)
    expected = {"item": [0, 1, 2], "a": [1, None, None], "result": [None, 5, None]}
    assert made.to_arrow().to_pydict() == expected


@pytest.mark.parametrize("options", [{}, {"reduce": list}])
def test_whole_numbers_keep_their_digits(options: dict[str, Any], root: Path) -> None:
    for values, type_ in (
        ([BIG, None], pa.int64()),
        ([2**63, 2**64 - 1], pa.uint64()),
        ([-1, 2**64], pa.decimal128(20, 0)),
    ):
        rows = [{"id": value} for value in values]
        made = returning(rows, root, **options)
        assert made.to_arrow()["id"].to_pylist() == values
        assert made.to_arrow()["id"].type == type_
        for backend in ("numpy_nullable", "pyarrow"):
            found = made.to_pandas(dtype_backend=backend)["id"].tolist()
            assert [None if value is pd.NA else value for value in found] == values


def test_the_word_for_dtypes(root: Path) -> None:
    made = returning([{"id": BIG, "ok": True}, {"id": 1, "ok": None}], root)
    assert made.to_pandas().dtypes.astype(str).tolist() == ["Int64", "Int64", "boolean"]
    assert made.to_pandas("pyarrow")["id"].dtype == "int64[pyarrow]"
    with pytest.raises(DatasetError, match=r"column 'ok' .*use dtype_backend='numpy_nullable'"):
        made.to_pandas("numpy")
    with pytest.raises(DatasetError, match="dtype_backend='float' is not one of"):
        made.to_pandas("float")
    table = returning([pa.table({"id": [BIG, None]})], root)
    assert table.to_pandas()["id"].tolist() == [BIG, pd.NA]


NAIVE = dt.datetime(2026, 1, 2)  # noqa: DTZ001
ODD: dict[str, list[Any]] = {
    "text and numbers": [1, "a"],
    "zones": [NAIVE.astimezone(dt.timezone.utc), NAIVE],
    "dates and times": [NAIVE.date(), NAIVE],
    "decimals and floats": [Decimal("1234567890123456.123456"), 0.5],
    "too large beside a float": [BIG, 0.5],
    "too large": [10**90, 1],
    "series": [pd.Series([1]), pd.Series([2])],
    "matrices": [np.ones((2, 2)), np.ones((2, 2))],
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("options", [{}, {"reduce": list}])
def test_what_arrow_cannot_hold_is_one_clear_error(
    values: list[Any], options: dict[str, Any], root: Path
) -> None:
    made = returning([{"x": value} for value in values], root, **options)
    first = "row 0" if options else "item 0"
    with pytest.raises(FunctionError, match=rf"column 'x' holds .*\({first}\).* use to_pandas"):
        made.to_arrow()
    found = made.to_pandas()["x"]
    assert found.dtype == object
    for value, back in zip(values, found, strict=True):
        assert type(value) is type(back)
        assert np.all(value == back)


def test_a_parameter_is_never_overwritten(root: Path) -> None:
    made = run(lambda rate: {"rate": rate * 10, "loss": 0.1}, mapred.sweep(rate=[1, 2]), root)
    expected = {"rate": [1, 2], "rate_result": [10, 20], "loss": [0.1, 0.1]}
    assert made.to_arrow(details=False).to_pydict() == expected
    assert made.to_pandas(details=False).to_dict("list") == expected
    both = run(lambda rate: {"rate": 5, "rate_result": 6}, mapred.sweep(rate=[1]), root)
    assert both.to_arrow(details=False).to_pydict() == {
        "rate": [1],
        "rate_result_result": [5],
        "rate_result": [6],
    }
    items = run(lambda i: {"item": -i}, mapred.items([3, 4]), root)
    assert items.to_arrow(details=False).to_pydict() == {"item": [3, 4], "item_result": [-3, -4]}
    scalars = run(lambda result: result + 1, mapred.sweep(result=[1]), root)
    assert scalars.to_arrow(details=False).to_pydict() == {"result": [1], "result_result": [2]}


def curve(a: int) -> pd.DataFrame:
    return pd.DataFrame({"t": [0, 1], "v": [a, 2 * a]})


@pytest.mark.parametrize("per_task", [1, 3])
@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_a_returned_frame_has_its_parameters_beside_it(
    kind: str, per_task: int, root: Path
) -> None:
    def returned(a: int) -> Any:
        frame = curve(a)
        if kind == "pandas":
            return frame
        return pl.from_pandas(frame) if kind == "polars" else pa.Table.from_pandas(frame)

    made = run(returned, mapred.sweep(a=[7, 8]), root, per_task=per_task)
    expected = {"point": [0, 0, 1, 1], "a": [7, 7, 8, 8], "t": [0, 1, 0, 1], "v": [7, 14, 8, 16]}
    assert made.to_arrow(details=False).to_pydict() == expected
    assert made.to_pandas(details=False).to_dict("list") == expected
    assert made.result().to_table().num_rows == 4


def test_names_that_clash_with_those_beside(root: Path) -> None:
    table = pa.table({"point": [9], "a": [8], "x": [7]})
    made = run(lambda a: table, mapred.sweep(a=[1]), root)
    expected = {"point": [0], "a": [1], "point_result": [9], "a_result": [8], "x": [7]}
    assert made.to_arrow(details=False).to_pydict() == expected
    named = run(lambda point: table, mapred.sweep(point=[1]), root)
    assert named.to_arrow(details=False).column_names == [
        "point_number",
        "point",
        "point_result",
        "a",
        "x",
    ]


def test_items_stand_beside_their_tables(root: Path, tmp_path: Path) -> None:
    one = pa.table({"x": [1]})
    items = run(lambda i: one, mapred.items(["a", "b"]), root)
    assert items.to_arrow().to_pydict() == {"point": [0, 1], "item": ["a", "b"], "x": [1, 1]}
    array = run(lambda i: one, mapred.array(2), root)
    assert array.to_arrow().to_pydict() == {"item": [0, 1], "x": [1, 1]}
    (tmp_path / "f.bin").write_bytes(b"")
    files = run(lambda data: one, mapred.read_files(str(tmp_path / "*.bin"), as_="bytes"), root)
    assert files.to_arrow().to_pydict() == {
        "point": [0],
        "item": [str(tmp_path / "f.bin")],
        "x": [1],
    }


def test_parameters_that_are_objects(root: Path) -> None:
    models = [curve, print]
    sizes = [(1, 2), (3,)]
    sweep = mapred.sweep({"model": models, "sizes": sizes, "n": [5, 6]}, mode="zip")
    made = run(lambda model, sizes, n: pa.table({"x": [n]}), sweep, root)
    assert made.to_arrow(details=False).column_names == ["point", "sizes", "n", "x"]
    frame = made.to_pandas(details=False)
    assert frame.columns.tolist() == ["point", "model", "sizes", "n", "x"]
    assert frame["sizes"].tolist() == sizes
    assert frame["model"][1] is print


@pytest.mark.parametrize("per_task", [1, 4])
def test_items_that_returned_none_or_were_given_up(per_task: int, root: Path) -> None:
    def table(i: int) -> Any:
        if i == 1:
            raise ValueError
        return None if i == 0 else pa.table({"x": [10 * i]})

    made = run(table, mapred.array(4), root, per_task=per_task, max_failed=1)
    assert made.to_arrow(details=False).to_pydict() == {"item": [2, 3], "x": [20, 30]}
    table = made.to_arrow()
    assert table.select(["item", "x"]).to_pydict() == {
        "item": [0, 1, 2, 3],
        "x": [None, None, 20, 30],
    }
    assert table["error"].to_pylist() == [None, "ValueError", None, None]
    assert made.result().to_table().to_pydict() == {"x": [20, 30]}
    found = {number: None if value is None else value.num_rows for number, value in made.outputs()}
    assert {key: value for key, value in found.items() if value} == {2: 1, 3: 1}


def test_keys_that_are_not_text(root: Path) -> None:
    for options in ({}, {"reduce": list}):
        made = returning([{1: 5, "a": 6}, {2: 7}], root, **options)
        found = made.to_arrow().to_pydict()
        assert {name: found[name] for name in ("1", "a", "2")} == {
            "1": [5, None],
            "a": [6, None],
            "2": [None, 7],
        }
        assert made.to_pandas()["1"].tolist() == [5, pd.NA]
        twice = returning([{1: 5, "1": 6}], root, **options)
        for call in (twice.to_arrow, twice.to_pandas):
            with pytest.raises(FunctionError, match=r"two keys of \{1: 5, '1': 6\} are one"):
                call()


def test_an_item_that_cannot_be_loaded_is_named(root: Path) -> None:
    made = run(lambda i: 1, mapred.items([4, 5]), root)
    items = pickle.dumps(4) + pickle.dumps(Fragile(1, 2))
    made.store.write("input/items.pkl", items)
    with pytest.raises(FunctionError, match="is not the file that the job names"):
        made.to_arrow()
    digests = {**made.job.digests, "input/items.pkl": hashlib.sha256(items).hexdigest()}
    made.job = dataclasses.replace(made.job, digests=digests)
    with pytest.raises(FunctionError, match="item 1 cannot be loaded here: TypeError"):
        made.to_arrow()
    assert made.result() == [1, 1]


def test_the_number_of_a_shard_is_its_own(root: Path, tmp_path: Path) -> None:
    for number, text in enumerate(["bad\n", "001\n", "   \n", "003\n"]):
        (tmp_path / f"{number}.txt").write_text(text)

    def total(lines: Any) -> Any:
        words = [line.strip() for line in lines]
        return {"sum": sum(map(int, words))} if words != [""] else None

    made = run(total, str(tmp_path / "*.txt"), root, target_bytes=4, max_failed=1)
    assert made.to_arrow().to_pydict() == {"item": [1, 3], "sum": [1, 3]}
    assert made.to_pandas()["item"].tolist() == [1, 3]
    assert list(made.outputs()) == [(1, {"sum": 1}), (2, None), (3, {"sum": 3})]


@pytest.mark.parametrize("per_task", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "frames",
    [
        [pd.DataFrame({"v": [1.0]}, index=pd.RangeIndex(i, i + 1)) for i in range(6)],
        [pd.DataFrame({"v": [1.0]}, index=pd.Index([f"k{i}"], name=f"n{i % 2}")) for i in range(6)],
        [pd.DataFrame({"v": pd.array([i], "Int64" if i % 2 else "int64")}) for i in range(6)],
        [pd.DataFrame([[i]], columns=pd.Index([0], name=f"c{i % 2}")) for i in range(6)],
        [pd.DataFrame({"v": [i]}).iloc[: i % 2] for i in range(6)],
        [pd.DataFrame({f"v{i}": [i]}) for i in range(6)],
    ],
    ids=["slices", "names", "dtypes", "labels", "empty", "columns"],
)
def test_frames_do_not_depend_on_packing(
    frames: list[pd.DataFrame], per_task: int, root: Path
) -> None:
    made = returning(frames, root, per_task=per_task)
    for (_, found), frame in zip(made.outputs(), frames, strict=True):
        pd.testing.assert_frame_equal(found, frame)
    # A reducer gets them as they were, too.
    reduced = returning(frames, root, per_task=per_task, reduce=list)
    for found, frame in zip(reduced.result(), frames, strict=True):
        pd.testing.assert_frame_equal(found, frame)


def test_an_index_that_all_frames_have_comes_back(root: Path, tmp_path: Path) -> None:
    pd.DataFrame({"k": ["a", "a", "b"], "v": [1, 2, 3]}).to_parquet(tmp_path / "0.parquet")
    pd.DataFrame({"k": ["c"], "v": [BIG]}).to_parquet(tmp_path / "1.parquet")
    dataset = mapred.read_parquet(str(tmp_path / "*.parquet"), as_="pandas")

    def sums(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.groupby("k")[["v"]].sum()

    made = run(sums, dataset, root, target_bytes=3000)
    frame = made.to_pandas()
    assert frame.index.tolist() == ["a", "b", "c"]
    assert frame.index.name == "k"
    assert frame["v"].tolist() == [3, 3, BIG]
    unnamed = run(lambda f: sums(f).rename_axis(None), dataset, root, target_bytes=3000).to_pandas()
    assert unnamed.index.tolist() == ["a", "b", "c"]
    assert unnamed.columns.tolist() == ["v"]
    plain = run(lambda f: f, dataset, root, target_bytes=3000).to_pandas()
    assert plain.index.tolist() == [0, 1, 2, 3]


PERIODS = """
import sys, mapred
def months(i):
    import pandas as pd
    return pd.DataFrame({"p": pd.period_range("2026-01", periods=i + 1, freq="M")})
run = mapred.run(months, mapred.array(2), root=sys.argv[1], per_task=int(sys.argv[2]), progress="none")
print(run.result().schema.types[0], run.to_arrow()["p"].type)
print(run.to_pandas()["p"].astype(str).tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("per_task", ["1", "2"])
def test_periods_stay_periods_in_a_process_that_had_none(per_task: str, tmp_path: Path) -> None:
    script = tmp_path / "periods.py"
    script.write_text(PERIODS)
    command = [sys.executable, str(script), str(tmp_path / "runs"), per_task]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("pandas.period") == 2, done.stdout
    assert "['2026-01', '2026-01', '2026-02']" in done.stdout


def test_rows_without_columns_stay(root: Path) -> None:
    def table(i: int) -> pa.Table:
        return pa.table({"x": list(range(2 - i))}).select([])

    made = run(table, mapred.array(2), root)
    assert made.result().count_rows() == 3
    assert made.to_arrow().to_pydict() == {"item": [0, 0, 1]}
    assert [value.num_rows for _, value in made.outputs()] == [2, 1]


class Fragile:
    """Can be pickled, and not loaded. (Of exceptions, Dask changes how they are pickled.)"""

    def __init__(self, one: int, two: int) -> None:
        self.one, self.two = one, two

    def __reduce__(self) -> tuple[Any, ...]:
        return Fragile, (self.one,)


@pytest.mark.parametrize("per_task", [1, 2, 5])
def test_a_value_that_cannot_be_loaded_is_named(per_task: int, root: Path) -> None:
    def value(i: int) -> Any:
        return Fragile(1, 2) if i == 2 else {"a": 4} if i == 4 else i

    made = run(value, mapred.array(5), root, per_task=per_task)
    task = 2 // per_task
    message = rf"map task {task}, item 2 returned cannot be loaded: TypeError: .*errors='skip'"
    for call in (made.result, made.to_arrow, made.to_pandas, lambda: list(made.outputs())):
        with pytest.raises(FunctionError, match=message):
            call()
    assert list(made.outputs(errors="skip")) == [(0, 0), (1, 1), (3, 3), (4, {"a": 4})]


def test_outputs_of_a_failed_run(root: Path) -> None:
    def fail(i: int) -> int:
        if i == 2:
            raise ValueError
        return 10 * i

    with pytest.raises(mapred.RunError) as caught:
        run(fail, mapred.array(4), root, per_task=1)
    failed = mapred.open(caught.value.run.uri)
    with pytest.raises(mapred.RunError, match=r"done: run.outputs\(partial=True\)\n.*resume"):
        failed.outputs()
    some = failed.outputs(partial=True)
    assert (some.done, some.total, some.partial) == (2, 4, True)
    assert repr(some) == "<Outputs: 2 of 4 items>"
    assert list(some) == [(0, 0), (1, 10)]
    reduced = run(lambda i: i, mapred.array(3), root, per_task=1, reduce=sum)
    assert list(reduced.outputs()) == [(0, 0), (1, 1), (2, 2)]
    assert list(reduced.outputs(stage="reduce-1")) == [(0, 3)]


def test_outputs_of_a_keyed_reduce(root: Path) -> None:
    table = pa.table({"k": ["a", "b", "a"], "v": [1, 2, 3]})
    made = run(lambda t: t, table, root, by="k", aggregate={"v": "sum"})
    assert sum(value.num_rows for _, value in made.outputs() if value is not None) == 2
    with pytest.raises(FunctionError, match="leave stage= out"):
        list(made.outputs(stage="map"))


def test_reduced_frames_and_tables(root: Path) -> None:
    frame = pd.DataFrame({"x": [BIG, 2]}, index=["a", "b"])
    made = returning([1], root, reduce=lambda _: frame)
    pd.testing.assert_frame_equal(made.to_pandas(), frame)
    assert made.to_arrow()["x"].to_pylist() == [BIG, 2]
    table = returning([1], root, reduce=lambda _: pa.table({"x": [BIG, None]}))
    assert table.to_pandas()["x"].tolist() == [BIG, pd.NA]
    batch = returning([1], root, reduce=lambda _: pa.record_batch({"x": [BIG]}))
    assert batch.to_pandas()["x"].tolist() == [BIG]
    assert batch.to_arrow()["x"].to_pylist() == [BIG]
    counts = returning([1], root, reduce=lambda _: {"a": BIG, "b": None})
    assert counts.to_arrow().to_pydict() == {"key": ["a", "b"], "value": [BIG, None]}
    with pytest.raises(FunctionError, match=r"the result is a Series, not a table"):
        returning([1], root, reduce=lambda _: pd.Series([1])).to_arrow()


def test_an_older_run_of_two_schemas_is_one_error(root: Path) -> None:
    made = returning([pa.table({"x": [1]}), pa.table({"x": [2]})], root, per_task=1)
    other = returning([0, pa.table({"x": ["a"]})], root, per_task=1)
    source = next(path for path, _ in other.store.list("map/data/"))
    target = next(path for path, _ in made.store.list("map/data/") if "/000001-" in path)
    made.store.write(target, other.store.read(source))
    made.store.write(layout.END, json.dumps({"state": "succeeded", "message": ""}).encode())
    without = {"size": 0, "crc32": 0}

    def older(manifest: dict[str, Any]) -> dict[str, Any]:
        tasks = [[task, {**output, **without}, files] for task, output, files in manifest["tasks"]]
        return {**manifest, "tasks": tasks}

    tamper(made, layout.MANIFEST, older)
    message = r"shards 0 and 1 returned tables of two schemas: column 'x' is int64 and string; .*run.outputs\(\)"
    for call in (made.result, made.to_pandas, made.to_arrow):
        with pytest.raises(DatasetError, match=message.replace("shards", "(shards|items)")):
            call()
