"""What a run gave up is told the same everywhere: live, from the folder, by every command."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import mapred
from mapred.cli import main
from mapred.model.failure import Failure
from mapred.runfolder import shortfall
from mapred.testing import Script

RUN: dict[str, Any] = {"backend": "inline", "progress": "none", "attempts": 1}


class Flaky:
    """Fails for some items."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad

    def __call__(self, item: int) -> int:
        if item in self.bad:
            raise ValueError(f"cannot deal with {item}")
        return item


class Unreadable:
    """An item that cannot be loaded."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("no such item")


def listed(numbers: Any) -> str:
    numbers = sorted(numbers)
    more = f" and {len(numbers) - 10} more" if len(numbers) > 10 else ""
    return ", ".join(map(str, numbers[:10])) + more


def cli(*arguments: str) -> str:
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(run: mapred.Run, *, clocks: bool = False) -> Any:
    """A status without the clocks, which an opened run knows by its tasks alone."""
    status = run.status()
    return status if clocks else dataclasses.replace(status, started=0.0, finished=None, times=())


def check_items(run: mapred.Run, items: int, bad: set[int]) -> None:
    """Every place that tells of a run of items says how many were given up, and which."""
    opened = mapred.open(run.uri)
    status = run.status()
    assert told(run) == told(opened)
    assert status.given_up.indices == tuple(sorted(bad))
    assert status.records == items - len(bad)
    stage = status.stages[0]
    assert stage.given_up_items == len(bad)
    assert (stage.done + stage.given_up, stage.failed, stage.running) == (stage.total, 0, 0)
    assert {item for failure in status.failures for item in failure.items} == bad
    shards = run.shards
    assert shards["given_up"].sum() == len(bad)
    assert shards["records"].sum() == items - len(bad)
    assert (shards["state"] == "given up").sum() == stage.given_up
    assert (shards["state"] == "done").sum() == stage.done
    for content in (True, False):
        report = opened.audit(content=content)
        assert report.ok, report
        assert (report.records, report.given_up.indices) == (items - len(bad), tuple(sorted(bad)))
    count = f"{len(bad)} item{'s' * (len(bad) != 1)} given up"
    said = [str(run), str(opened), str(report), cli("show", run.uri), cli("audit", run.uri)]
    said.append(cli("ls", "--root", str(Path(run.uri).parent)))
    for text in said:
        assert (count in text) == bool(bad), text
    if bad:
        assert f": whole but for {count}: {listed(bad)}" in str(report)
        assert f"{count}: {listed(bad)}" in str(run)
        assert f"succeeded, {count}: " in str(run).split("\n", 1)[0]
        assert f"succeeded, {count}" in run._repr_mimebundle_()["text/html"]
    document = json.loads(cli("show", run.uri, "--json"))
    assert document["given_up"] == {"what": "item", "indices": sorted(bad)}


@pytest.mark.slow
@given(
    items=st.integers(1, 30),
    bad=st.sets(st.integers(0, 29)),
    per_task=st.integers(1, 31),
    reduced=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_items_given_up_are_told_everywhere(
    items: int,
    bad: set[int],
    per_task: int,
    reduced: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    bad = {item for item in bad if item < items}
    options = {"per_task": per_task, "max_failed": 30, "root": tmp_path_factory.mktemp("runs")}
    options |= {"reduce": list} if reduced else {}
    run = mapred.run(Flaky(bad), mapred.items(range(items)), **options, **RUN)
    check_items(run, items, bad)
    kept = [item for item in range(items) if item not in bad]
    places = [None if item in bad else item for item in range(items)]
    assert run.result() == (kept if reduced else places)


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_the_first_example_of_all(tmp_path: Path, backend: str) -> None:
    bad = {4, 13, 22}
    options = {**RUN, "backend": backend, "max_failed": 10, "root": tmp_path / "runs"}
    run = mapred.run(Flaky(bad), mapred.items(range(30)), **options)
    check_items(run, 30, bad)
    assert run.status().stages[0].given_up == 3
    assert "27/30, 3 items given up" in str(run)
    assert "3 × map: ValueError: cannot deal with 4 (function; items 4, 13, 22)" in str(run)
    assert (
        len(mapred.run(Flaky(bad), mapred.items(range(30)), reduce=list, **options).result()) == 27
    )


@pytest.mark.parametrize("per_task", [1, 3, 9])
def test_items_that_cannot_be_loaded_are_told_alike(tmp_path: Path, per_task: int) -> None:
    items = [0, 1, Unreadable(), 3, 4, 5, Unreadable(), 7, 8]
    options = {"per_task": per_task, "max_failed": 2, "root": tmp_path / "runs"}
    run = mapred.run(lambda item: item, mapred.items(items), **options, **RUN)
    check_items(run, 9, {2, 6})


def test_files_that_cannot_be_read_are_told_alike(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]))
    plan = mapred.plan(mapred.read_files(str(tmp_path / "*.bin"), as_="bytes"))
    (tmp_path / "3.bin").unlink()
    run = mapred.run(len, plan, max_failed=1, root=tmp_path / "runs", **RUN)
    check_items(run, 5, {3})


def test_items_whose_worker_dies_are_named(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {4: ["kill"] * 9})
    options = {**RUN, "backend": "local", "max_failed": 4, "root": tmp_path / "runs"}
    run = mapred.run(script, mapred.items(range(6)), **options)
    assert told(run) == told(mapred.open(run.uri))
    (failure,) = run.failures
    assert failure.where == "item 4: 4"
    assert run.status().given_up.indices == (4,)
    assert "whole but for 1 item given up: 4" in str(run.audit())
    assert run.result() == [0, 10, 20, 30, None, 50]
    # So it is in a task of several items: they share a process, and the others are done.
    packed = mapred.run(script, mapred.items(range(6)), per_task=3, **options)
    assert told(packed) == told(mapred.open(packed.uri))
    assert packed.failures[0].where == "item 4: 4"
    assert packed.status().given_up.indices == (4,)
    assert "whole but for 1 item given up: 4" in str(packed.audit())
    assert packed.result() == [0, 10, 20, 30, None, 50]


def test_shards_given_up_are_told_everywhere(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text(("x\n" if number == 2 else "7\n") * 1000)

    def total(lines: Iterator[str]) -> int:
        return sum(map(int, lines))

    options = {"target_bytes": 2000, "max_failed": 1, "root": tmp_path / "runs"}
    run = mapred.run(total, str(tmp_path / "*.txt"), **options, **RUN)
    opened = mapred.open(run.uri)
    assert told(run) == told(opened)
    assert (run.status().given_up.what, run.status().given_up.indices) == ("shard", (2,))
    assert list(run.shards["state"]) == ["done", "done", "given up", "done", "done"]
    for content in (True, False):
        report = opened.audit(content=content)
        assert report.ok
        assert (report.bytes, report.records) == (8000, 4000)
        assert "4 of 5 shards, 4 of 5 ranges, 8,000 of 10,000 bytes, 4,000 records" in str(report)
        unread = "(2,000 bytes and about 1,000 records not read)"
        assert str(report).endswith(f": whole but for 1 shard given up: 2 {unread}")
        assert (report.unread_bytes, report.unread_records) == (2000, 1000)
        assert not report.complete
    for text in (str(run), str(opened), cli("show", run.uri)):
        assert text.startswith(f"Run {run.id} succeeded, 1 shard given up: 4 of 5 map tasks")
        assert "4/5, 1 shard given up" in text
        assert "2.txt" in text
    assert "4/5, 1 shard given up" in cli("ls", "--root", str(tmp_path / "runs"))
    metrics = cli("metrics", "--root", str(tmp_path / "runs"))
    assert re.search(r'^mapred_last_run_given_up{job="[^"]*total"} 1$', metrics, re.MULTILINE)


def test_a_broken_file_that_was_given_up_is_no_problem(tmp_path: Path) -> None:
    for number in range(4):
        pq.write_table(pa.table({"a": range(100)}), tmp_path / f"{number}.parquet")
    (tmp_path / "1.parquet").write_bytes(os.urandom((tmp_path / "1.parquet").stat().st_size))
    source = mapred.read_parquet(str(tmp_path / "*.parquet"))
    options = {"target_bytes": 1, "root": tmp_path / "runs", "max_tasks": 4, "max_failed": 1}
    run = mapred.run(lambda table: table.num_rows, source, **options, **RUN)
    assert ": whole but for 1 shard given up: 1 (" in str(run.audit())
    assert (run.audit().records, run.audit().unread_records) == (300, 100)


def test_a_resumed_run_tells_what_was_given_up_before(tmp_path: Path) -> None:
    flag = tmp_path / "reduce"

    def total(values: Iterator[int]) -> int:
        if not flag.exists():
            raise OSError("not yet")
        return sum(values)

    options = {"max_failed": 3, "reduce": total, "root": tmp_path / "runs", **RUN}
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(Flaky({1, 5}), mapred.items(range(8)), per_task=3, **options)
    failed = caught.value.run
    assert told(failed) == told(mapred.open(failed.uri))
    assert "failed, 2 items given up" in str(failed)
    flag.touch()
    resumed = mapred.open(failed.uri).resume(backend="inline", progress="none")
    assert told(resumed) == told(mapred.open(failed.uri))
    assert "succeeded, 2 items given up" in str(resumed)
    assert resumed.result() == 22


class Unloadable:
    """Can be stored, and not be loaded again."""

    def __reduce__(self) -> Any:
        return int, ("not a number",)


def moody(item: int) -> Any:
    """Fails for item 1; what it returns for item 2 fails once item 1 was given up."""
    if item == 1:
        raise ValueError("at once")
    return Unloadable() if item == 2 else item


def test_what_fails_after_others_were_given_up_is_told_apart(tmp_path: Path) -> None:
    options = {"per_task": 3, "max_failed": 1, "root": tmp_path / "runs", **RUN}
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(moody, mapred.items(range(3)), **options)
    said = "1 item of map failed, and 1 given up before (max_failed allows 1)"
    assert said in str(caught.value)
    run = caught.value.run
    assert told(run) == told(mapred.open(run.uri))
    assert (run.status().stages[0].failed, run.status().given_up.indices) == (1, (1,))


def test_a_failed_run_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(Flaky({0}), mapred.items(range(8)), root=tmp_path / "runs", **RUN)
    run = caught.value.run
    assert [stage.running for stage in run.status().stages] == [0]
    document = json.loads(cli("show", run.uri, "--json"))
    assert [stage["running"] for stage in document["stages"]] == [0]
    assert set(run.shards["state"]) == {"failed", "waiting"}


def failure(task: int, attempts: int, items: tuple[int, ...] = (), **more: Any) -> Failure:
    known = {"message": f"attempt {attempts}", "time": float(attempts), **more}
    place = "map", task, f"{attempts}-a", "function", "ValueError"
    return Failure(*place, attempts=attempts, items=items, **known)  # type: ignore[arg-type]


TWICE: Any = SimpleNamespace(attempts=2)  # what is asked of a job here


def test_what_failed_for_good_has_the_items_of_all_attempts() -> None:
    tries = [
        failure(4, 1, (7, 8), lost=(7,)),
        failure(4, 2, (8,)),
        failure(1, 1),  # tried again
        failure(0, 1, final=True),
    ]
    found = shortfall.failed_for_good(TWICE, tries)
    told = {task: (failure.items, failure.message) for task, failure in found.items()}
    assert told == {0: ((), "attempt 1"), 4: ((7, 8), "attempt 2")}


@pytest.mark.parametrize(
    ("given_up", "committed", "items"),
    [([7], True, (7,)), ([7], False, (8,)), ([7, 8], False, (7, 8)), (None, False, (7, 8))],
)
def test_what_is_told_of_a_task_is_what_failed_beside_that_given_up(
    given_up: list[int] | None, committed: bool, items: tuple[int, ...]
) -> None:
    tries = [failure(4, 2, (8,)), failure(4, 1, (7, 8, 9), lost=(7,))]
    assert shortfall.last_failure(TWICE, tries, given_up, committed=committed).items == items
    whole = failure(4, 3)
    assert shortfall.last_failure(TWICE, [whole, *tries], given_up, committed=committed) == whole
