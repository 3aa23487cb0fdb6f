"""The workloads of `micro` at the smallest size: equal answers, and figures of some kind."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import child, processes
from benchmarks.harness import ContenderError, Sample, Settings
from benchmarks.micro import items, listing, memory, planning, render, s3, start, storage, words
from mapred import planner


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path / "runs"))
    return Settings("small", rounds=1, home=tmp_path)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contenders without a process of their own, which takes a second to start."""

    def contender(module: str, name: str, argument: str, *_: Any) -> Any:
        def call(check: bool) -> Sample:
            of = importlib.import_module(module)
            try:
                answer, seconds, _ = child.run(of.CONTENDERS[name], argument)
            except ImportError as error:
                raise ContenderError(str(error)) from error
            return Sample(seconds or 1.0, rows=of.rows(answer))

        return call

    monkeypatch.setattr(processes, "contender", contender)


REPORTS = [
    planning.measure,
    *[
        pytest.param(measure, marks=pytest.mark.slow)
        for measure in (words.measure_python, words.measure_kernels, items.measure_items)
    ],
]


@pytest.mark.parametrize("measure", REPORTS)
def test_contenders_answer_alike(measure: Any, settings: Settings, in_process: None) -> None:
    report = measure(settings)
    assert any(row.values for row in report.rows)
    assert any(row.met is not None for row in report.rows)
    for row in report.rows:
        assert not row.note or importlib.util.find_spec(row.what.lower()) is None, row


@pytest.mark.slow
@pytest.mark.parametrize("measure", [items.measure_tasks, start.measure])
def test_processes_and_clusters(measure: Any, settings: Settings, in_process: None) -> None:
    report = measure(settings)
    assert {row.note for row in report.rows} <= {"", "No module named 'ray'"}
    assert any(row.met is not None for row in report.rows)


@pytest.mark.parametrize("target_bytes", [None, memory.ONE_SHARD], ids=["default", "one-shard"])
@pytest.mark.parametrize("make", [memory.text, memory.parquet])
def test_memory(make: Any, target_bytes: str | None, tmp_path: Path) -> None:
    mib, tasks = memory.peak(make(tmp_path / "file", 400_000), tmp_path / "runs", target_bytes)
    assert 0 < mib < memory.LIMIT
    assert tasks >= 1


@pytest.mark.parametrize("target", planning.TARGETS.values())
def test_plan(target: str | None) -> None:
    files = planning.listing(10_000)
    plan = planner.plan(files, target_bytes=target)
    assert int(plan.length.sum()) == plan.bytes == int(plan.shard_bytes().sum())
    assert len(np.unique(plan.file)) == 10_000


def test_plan_files(tmp_path: Path) -> None:
    plan = planner.plan(planning.listing(1000))
    planning.write(plan, tmp_path)
    last = plan.shards - 1
    path = tmp_path / f"plan/{last // 1000:05d}.parquet"
    assert planner.PlanFile(path.read_bytes()).shard(last).equals(plan.shard_ranges(last))


def test_lithops_cuts_as_the_planner_does() -> None:
    pytest.importorskip("lithops")
    files = planning.listing(1000)
    sizes = files["size"].to_pylist()
    plan = planner.plan(files, target_bytes="64MiB")
    assert planning.by_lithops(sizes) == plan.ranges - sizes.count(0)


def test_render() -> None:
    assert 'count: "2000"' in render.rendered()


@pytest.mark.slow
def test_driver(tmp_path: Path) -> None:
    assert 0 < start.cpu(start.IMPORTS) < 30
    assert 0 < start.cpu(start.TEN_ITEMS.format(root=str(tmp_path))) < 60


def test_worker(tmp_path: Path) -> None:
    run = start.small_run(tmp_path)
    assert 0 < start.worker(run, tmp_path) < 30
    steps, read = start.traced(run, tmp_path)
    assert next(iter(steps)) == "interpreter"
    assert list(steps)[-1] == "opening the input"
    assert min(steps.values()) >= 0
    assert sum(read.values()) <= 1_000_000


def test_bytes_of_many_shards(tmp_path: Path) -> None:
    run = start.large_run(tmp_path / "runs", tmp_path / "files", 100)
    _, read = start.traced(run, tmp_path, 50)
    assert sum(read.values()) <= 1_000_000


@pytest.mark.slow
def test_listing(settings: Settings) -> None:
    report = listing.measure(settings)
    assert {row.what for row in report.rows} >= set(listing.CONTENDERS)
    assert [row.note for row in report.rows if row.note] == []


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["write_small", "stream_large"])
def test_storage(operation: str, settings: Settings) -> None:
    with s3.server(settings.home) as server:
        source = server.folder / "large"
        storage.large_file(source, 3_000_000)
        results = storage.race(operation, ["mapred", "boto3"], server, source, settings)
    assert [result.failure for result in results.values()] == ["", ""]
