"""Outputs of runs that work, failed or were stopped: each once, and marked as what they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mapred
from mapred.client import completing
from mapred.errors import FunctionError, RunError, StorageError
from mapred.model import layout
from mapred.runfolder.completed import Completed, Reader
from mapred.runfolder.folder import RunFolder

RUN: dict[str, Any] = {"progress": "none", "backend": "inline", "attempts": 1}


def wait_for(path: Path, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} never came"
        time.sleep(0.02)


def value_by_index(found: Iterator[Completed]) -> dict[int, Any]:
    values = [(out.index, out.value) for out in found]
    assert len(dict(values)) == len(values), "one came twice"
    return dict(values)


def test_each_comes_as_it_is_done(tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    gates.mkdir()

    def gated(x: int) -> int:
        wait_for(gates / str(x))
        return 10 * x

    run = mapred.submit(gated, mapred.sweep(x=[0, 1, 2]), per_task=1, root=tmp_path / "runs",
                        backend=mapred.Local(workers=3))  # fmt: skip
    found = run.as_completed()
    assert (found.done, found.total, found.what) == (0, 3, "point")
    for done, x in enumerate([2, 0, 1], 1):
        (gates / str(x)).touch()
        out = next(found)
        assert (out.index, out.task, out.value, out.item) == (x, x, 10 * x, {"x": x})
        assert (out.error, out.attempt, out.seconds is not None) == (None, 1, True)
        assert (found.done, found.partial) == (done, done < 3)
    assert next(found, None) is None
    assert run.state == "succeeded"
    assert repr(found) == "<Outputs: 3 of 3 points>"


def test_partial_tables_of_a_run_at_work(tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def gated(x: int) -> dict[str, int]:
        if x == 1:
            wait_for(gate)
        return {"y": 10 * x}

    run = mapred.submit(gated, mapred.sweep(x=[0, 1, 2]), per_task=1, root=tmp_path / "runs",
                        backend=mapred.Local(workers=2))  # fmt: skip
    found = run.as_completed()
    assert {next(found).index, next(found).index} == {0, 2}
    for known in (run, mapred.open(run.uri)):
        frame = known.to_pandas(partial=True)
        assert frame["x"].tolist() == [0, 2]
        assert frame["y"].tolist() == [0, 20]
        assert frame.attrs["mapred"] == {
            "partial": True, "run": run.id, "state": "running", "what": "point",
            "done": 2, "failed": 0, "total": 3,
        }  # fmt: skip
        assert "2 of 3 points" in repr(frame)
        assert "2 of 3 points" in frame.to_html()
        some = known.outputs(partial=True)
        assert (some.done, some.total, some.partial) == (2, 3, True)
        assert list(some) == [(0, {"y": 0}), (2, {"y": 20})]
        table = known.to_arrow(partial=True)
        assert json.loads(table.schema.metadata[b"mapred"])["done"] == 2
    gate.touch()
    whole = run.to_pandas()
    assert (whole["y"].tolist(), whole.attrs, whole.columns.name) == ([0, 10, 20], {}, None)
    pd.testing.assert_frame_equal(run.to_pandas(partial=True), whole)


def flaky(x: int) -> int | None:
    if x % 3 == 1:
        raise ValueError(f"no {x}")
    return None if x == 0 else x


@pytest.mark.parametrize("per_task", [1, 2, 6])
def test_what_was_given_up_says_so(per_task: int, tmp_path: Path) -> None:
    run = mapred.run(flaky, range(6), per_task=per_task, max_failed=2, root=tmp_path, **RUN)
    found = sorted(run.as_completed(), key=lambda out: out.index)
    assert [(out.index, out.value, out.error) for out in found] == [
        (0, None, None), (1, None, "ValueError: no 1"), (2, 2, None),
        (3, 3, None), (4, None, "ValueError: no 4"), (5, 5, None),
    ]  # fmt: skip
    frame = run.to_pandas()
    assert frame["error"].tolist() == [out.error or pd.NA for out in found]


def test_the_error_of_a_failed_run_comes_last(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        mapred.run(flaky, mapred.sweep(x=range(3)), per_task=1, root=tmp_path, **RUN)
    run = mapred.open(caught.value.run.uri)
    found = []
    with pytest.raises(RunError, match="1 item of map failed"):
        found += [out for out in run.as_completed()]  # noqa: C416
    seen = list(run.as_completed(partial=True))
    assert [(out.index, out.error) for out in seen] == [(0, None), (1, "ValueError: no 1")]
    assert "Completed(index=1, item={'x': 1}, error='ValueError: no 1')" in repr(seen)
    frame = run.to_pandas(partial=True)
    assert frame["x"].tolist() == [0, 1]
    assert frame["error"].tolist() == [pd.NA, "ValueError: no 1"]
    assert frame.attrs["mapred"]["failed"] == frame.attrs["mapred"]["done"] == 1
    assert run.to_pandas(partial=True, details=False).columns.tolist() == ["x", "result"]
    for call in (run.to_pandas, run.to_arrow, run.outputs):
        with pytest.raises(
            RunError, match=rf"done: run\.{call.__name__}\(partial=True\)\nto resume"
        ):
            call()
    resumed = run.resume(lambda x: 7, progress="none")
    assert value_by_index(resumed.as_completed()) == {0: None, 1: 7, 2: 7}
    assert resumed.to_pandas()["error"].count() == 0


def test_a_run_that_was_cancelled(tmp_path: Path) -> None:
    def slow(x: int) -> int:
        time.sleep(0 if x < 2 else 30)
        return x

    run = mapred.submit(slow, range(4), per_task=1, root=tmp_path, backend=mapred.Local(workers=2))
    found = run.as_completed()
    assert {next(found).value, next(found).value} == {0, 1}
    run.cancel()
    with pytest.raises(RunError, match="cancelled"):
        next(found)
    assert (found.done, found.total) == (2, 4)
    again = mapred.open(run.uri)
    assert value_by_index(again.as_completed(partial=True)) == {0: 0, 1: 1}
    frame = again.to_pandas(partial=True)
    assert (frame["result"].tolist(), frame.attrs["mapred"]["state"]) == ([0, 1], "cancelled")


ELSEWHERE = """
import mapred, sys, time
def slow(x):
    time.sleep(0.2 * (x > 1))
    return "v" * 20_000 if x == 3 else {"x": x}
mapred.run(slow, range(4), per_task=1, root=sys.argv[1], progress="none", backend="inline")
"""


def test_a_run_of_another_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path)]
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 20
        while not len(mapred.runs(tmp_path, state="running")):
            assert time.monotonic() < until
            time.sleep(0.02)
        run = mapred.open("last", tmp_path)
        found = {out.index: out.value for out in run.as_completed()}
        assert process.wait(20) == 0
    assert found == {0: {"x": 0}, 1: {"x": 1}, 2: {"x": 2}, 3: "v" * 20_000}


KILLED = """
import os, sys, mapred
def dies(x):
    return x if x < 2 else os.kill(os.getpid(), 9)
mapred.run(dies, range(4), per_task=1, root=sys.argv[1], progress="none", backend="inline")
"""


def test_a_run_that_was_killed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    run = mapred.open("last", tmp_path)
    with pytest.raises(RunError, match="interrupted"):
        list(run.as_completed())
    assert run.to_pandas(partial=True).attrs["mapred"]["state"] == "interrupted"
    assert value_by_index(run.resume(lambda x: -x, progress="none").as_completed()) == {
        0: 0, 1: 1, 2: -2, 3: -3
    }  # fmt: skip


def test_reduced_and_keyed_runs(tmp_path: Path) -> None:
    reduced = mapred.run(lambda x: x, range(3), per_task=1, reduce=sum, root=tmp_path, **RUN)
    assert value_by_index(reduced.as_completed()) == {0: 0, 1: 1, 2: 2}

    def broken(values: Any) -> int:
        raise ValueError("no sum")

    with pytest.raises(RunError) as caught:
        mapred.run(lambda x: x, range(3), per_task=1, reduce=broken, root=tmp_path, **RUN)
    failed = mapred.open(caught.value.run.uri)
    assert list(failed.outputs()) == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(RunError, match="no sum"):
        value_by_index(failed.as_completed())
    assert failed.to_pandas(partial=True)["result"].tolist() == [0, 1, 2]
    table = pa.table({"k": ["a", "b", "a"], "v": [1, 2, 3]})
    keyed = mapred.run(lambda t: t, table, by="k", aggregate={"v": "sum"}, root=tmp_path, **RUN)
    rows = [out.value for out in keyed.as_completed() if out.value is not None]
    assert sum(value.num_rows for value in rows) == 2


def test_shards_and_files(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")
    lines = mapred.run(list, str(tmp_path / "*.txt"), target_bytes=2,
                       root=tmp_path / "runs", **RUN)  # fmt: skip
    outs = list(lines.as_completed())
    assert [(out.index, out.value, out.item) for out in outs] == [
        (0, ["0"], None), (1, ["1"], None), (2, ["2"], None)
    ]  # fmt: skip
    whole = mapred.read_files(str(tmp_path / "*.txt"), as_="bytes")
    run = mapred.run(len, whole, root=tmp_path / "runs", **RUN)
    assert {out.item: out.value for out in run.as_completed()} == {
        str(tmp_path / f"{number}.txt"): 2 for number in range(3)
    }
    assert [out.item for out in mapred.run(abs, mapred.array(2), **RUN).as_completed()] == [0, 1]


class Own:
    def __init__(self, x: int) -> None:
        self.x = x


def test_pickles_and_checksums(tmp_path: Path) -> None:
    run = mapred.run(lambda x: "v" * 20_000, range(2), per_task=1, root=tmp_path, **RUN)
    careful = mapred.open(run.uri, allow_pickle=False)
    assert len(value_by_index(careful.as_completed())) == 2
    own = mapred.run(Own, range(2), per_task=1, root=tmp_path, **RUN)
    assert next(mapred.open(own.uri).as_completed()).value.x == 0
    for call in (
        lambda: list(mapred.open(own.uri, allow_pickle=False).as_completed()),
        lambda: mapred.open(own.uri, allow_pickle=False).to_pandas(partial=True),
    ):
        with pytest.raises(FunctionError, match=r"Own.*allow_pickle=False"):
            call()
    path = next(path for path, _ in run.store.list("map/data/"))
    run.store.write(path, run.store.read(path).replace(b"v", b"w", 1))
    with pytest.raises(StorageError, match=r"checksum|CRC-32"):
        list(mapred.open(run.uri).as_completed())


def test_a_value_that_cannot_be_loaded(tmp_path: Path) -> None:
    class Fragile:
        def __reduce__(self) -> Any:
            return int, ("x",)

    run = mapred.run(lambda x: Fragile() if x else 0, range(2), root=tmp_path, **RUN)
    found = run.as_completed()
    assert next(found).value == 0
    with pytest.raises(FunctionError, match="item 1 returned cannot be loaded: ValueError"):
        next(found)


def test_a_keyed_run_that_failed_gives_the_partitions_that_are_done(tmp_path: Path) -> None:
    def sums(table: pa.Table) -> pa.Table:
        if "b" in table["k"].to_pylist():
            raise ValueError("no b")
        return table

    table = pa.table({"k": list("abcdefgh"), "v": range(8)})
    with pytest.raises(RunError) as caught:
        mapred.run(lambda t: t, table, by="k", reduce=sums, partitions=4, root=tmp_path, **RUN)
    run = mapred.open(caught.value.run.uri)
    frame = run.to_pandas(partial=True)
    some = run.outputs(partial=True)
    assert frame.attrs["mapred"]["what"] == some.what == "task"
    assert frame.attrs["mapred"]["done"] == some.done < 4
    rows = [value.num_rows for _, value in some if value is not None]
    assert len(frame) == sum(rows)
    *done, failed = run.as_completed(partial=True)
    assert (len(done), failed.error) == (some.done, "ValueError: no b")


def test_ctrl_c_says_that_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = mapred.run(abs, range(2), root=tmp_path, **RUN)

    def interrupt(self: mapred.Run, seconds: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(mapred.Run, "_wait_over", interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"to follow it: import mapred"):
        list(run.as_completed())


def test_a_cluster_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = mapred.run(abs, range(2), root=tmp_path, **RUN)

    def away(self: mapred.Run, seconds: float) -> bool:
        raise mapred.BackendError("no route to the cluster")

    monkeypatch.setattr(mapred.Run, "_wait_over", away)
    assert run.to_pandas(partial=True).attrs["mapred"]["state"] == "unknown"
    with pytest.raises(mapred.BackendError, match="no route"):
        next(run.as_completed())


def test_frames_with_labels_of_several_levels(tmp_path: Path) -> None:
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")])

    def frame(lines: Any) -> pd.DataFrame:
        return pd.DataFrame([[1, 2]], columns=columns) if next(iter(lines)) == "0" else 1 / 0

    for number in range(2):
        (tmp_path / f"{number}.txt").write_text(f"{number}\n")
    with pytest.raises(RunError) as caught:
        mapred.run(frame, str(tmp_path / "*.txt"), target_bytes=2, root=tmp_path / "runs", **RUN)
    found = mapred.open(caught.value.run.uri).to_pandas(partial=True)
    assert (found.shape, found.attrs["mapred"]["done"]) == ((1, 2), 1)


def test_wrong_words(tmp_path: Path) -> None:
    run = mapred.run(abs, range(2), root=tmp_path, **RUN)
    with pytest.raises(FunctionError, match="errors='no' is neither 'raise' nor 'skip'"):
        run.outputs(errors="no")
    with pytest.raises(mapred.PlanError, match="partial='yes' must be True or False"):
        run.to_pandas(partial="yes")  # type: ignore[arg-type]
    with pytest.raises(mapred.PlanError, match="no stage 'reduce-1'"):
        run.outputs("reduce-1")


# How it looks for commits


def looked_at(run: mapred.Run, pauses: list[float]) -> Callable[[float], bool]:
    """Something that ends the run after so many looks, and notes how long it was to wait."""
    left = iter(range(12))

    def wait_over(seconds: float) -> bool:
        pauses.append(seconds)
        return next(left) == 11

    return wait_over


class Clock:
    """A clock by which each look takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now = seconds, 0.0

    def monotonic(self) -> float:
        self.now += self.seconds
        return self.now


def pauses_by(clock: Clock, run: mapred.Run, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(completing, "time", clock)
    pauses: list[float] = []
    reader = Reader(RunFolder(run.store), run.job)
    found = completing.iter_completed(reader, looked_at(run, pauses), run.check, partial=False)
    assert len(list(found)) == 3
    return pauses


def test_looks_become_rarer_while_nothing_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mapred.run(abs, range(3), per_task=1, root=tmp_path, **RUN)
    first, *rest = pauses_by(Clock(0.001), run, monkeypatch)
    assert (first, rest[0], rest[-1]) == (0, 0.05, 0.5)
    assert rest == sorted(rest)


def test_a_slow_listing_is_asked_for_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mapred.run(abs, range(3), per_task=1, root=tmp_path, **RUN)
    first, *rest = pauses_by(Clock(3.0), run, monkeypatch)
    assert (first, set(rest)) == (0, {30.0})


def test_a_look_reads_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = mapred.run(abs, range(30), per_task=1, root=tmp_path, **RUN)
    read: list[int] = []
    before = RunFolder.commit
    monkeypatch.setattr(
        RunFolder,
        "commit",
        lambda self, stage, index: read.append(index) or before(self, stage, index),
    )
    reader = Reader(RunFolder(run.store), run.job)
    list(completing.iter_completed(reader, looked_at(run, []), run.check, partial=False))
    assert read == list(range(30)), "each commit once, in eleven looks"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, mapred.Run]:
    """Runs over six items, by how many of them a task has."""
    root = tmp_path_factory.mktemp("packed")
    return {n: mapred.run(abs, range(6), per_task=n, root=root, **RUN) for n in (1, 2, 6)}


@given(st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=5), st.sampled_from([1, 2, 6]))
def test_each_comes_once_whatever_order(
    packed: dict[int, mapred.Run], orders: list[list[int]], per_task: int
) -> None:
    """Commits appear in any order, vanish for a moment as listings lag, and appear twice."""
    run = packed[per_task]
    tasks = run.job.shards
    listed = [[task for task in order if task < tasks] for order in orders]
    reader = Reader(_Lagging(run.store, iter(listed)), run.job)
    looks = iter([False] * len(orders))
    found = completing.iter_completed(
        reader, lambda seconds: next(looks, True), run.check, partial=False
    )
    assert value_by_index(found) == {x: x for x in range(6)}


class _Lagging(RunFolder):
    """A folder whose listings show what they please."""

    def __init__(self, store: Any, listed: Iterator[list[int]]) -> None:
        super().__init__(store)
        self._listed = listed

    def list_committed(self, stage: str) -> list[int]:
        return next(self._listed, [])


def test_a_commit_that_cannot_be_read_is_read_again(tmp_path: Path) -> None:
    run = mapred.run(abs, range(2), per_task=1, root=tmp_path, **RUN)
    path = layout.commit("map", 1)
    sound = run.store.read(path)
    run.store.write(path, sound[: len(sound) // 2])
    reader = Reader(RunFolder(run.store), run.job)
    looks = iter([False, False])
    found = completing.iter_completed(
        reader, lambda seconds: next(looks, True), run.check, partial=False
    )
    assert next(found).index == 0
    run.store.write(path, sound)
    assert next(found).index == 1
    run.store.write(path, sound[: len(sound) // 2])
    with pytest.raises(mapred.RunError, match=r"map/commits/000001\.json"):
        list(mapred.open(run.uri).as_completed())


@pytest.mark.slow
def test_a_run_in_a_bucket(s3_root: str) -> None:
    run = mapred.submit(_slow, mapred.sweep(x=range(6)), per_task=1, root=s3_root)
    assert run.to_pandas(partial=True).attrs["mapred"]["total"] == 6
    opened = mapred.open(run.uri)
    assert value_by_index(opened.as_completed()) == dict.fromkeys(range(6), "v" * 20_000)
    frame = opened.to_pandas(partial=True)
    assert (len(frame), frame.attrs) == (6, {})


def _slow(x: int) -> str:
    time.sleep(0.3)
    return "v" * 20_000


@pytest.mark.slow
def test_killed_workers_and_retries_bring_no_doubles(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def dies_once(x: int) -> int:
        mark = marks / str(x)
        if x % 3 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        return x

    run = mapred.submit(dies_once, range(12), per_task=2, root=tmp_path / "runs",
                        backend=mapred.Local(workers=3))  # fmt: skip
    assert value_by_index(run.as_completed()) == {x: x for x in range(12)}
