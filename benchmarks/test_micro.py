"""The workloads of `micro` at the smallest size: equal answers, and figures of some kind."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import child
from benchmarks.corpus import corpus
from benchmarks.harness import Settings
from benchmarks.micro import items, listing, memory, planning, render, s3, start, storage, words
from benchmarks.peers import words as whole_words
from mapred import planner


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path / "runs"))
    return Settings("small", rounds=1, home=tmp_path)


def answers(module: Any, contenders: dict[str, str]) -> list[Any]:
    """What contenders answer in this process, as rows."""
    return [
        module.rows(child.run(module.CONTENDERS[name], argument)[0])
        for name, argument in contenders.items()
    ]


def test_items(settings: Settings) -> None:
    ours, theirs = answers(items, {"items_mapred": "10", "items_pool": "10,2"})
    assert ours == theirs == [[n * n] for n in range(10)]
    assert answers(items, {"tasks_mapred": "2"}) == [[[0], [1]]]


def test_words(settings: Settings) -> None:
    folder = str(corpus(settings.home, 200_000).folder)
    ours, theirs = answers(whole_words, {"mapred": folder, "pool": folder})
    assert ours == theirs
    peers = {name for name in ("polars", "duckdb") if importlib.util.find_spec(name)}
    ours, *theirs = answers(words, {"mapred": folder, **dict.fromkeys(peers, folder)})
    assert ours
    assert theirs == [ours] * len(peers)


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
    assert planner.read_shard(path.read_bytes(), last).equals(plan.shard_ranges(last))


def test_lithops_cuts_as_the_planner_does() -> None:
    pytest.importorskip("lithops")
    files = planning.listing(1000)
    sizes = files["size"].to_pylist()
    plan = planner.plan(files, target_bytes="64MiB")
    assert planning.by_lithops(sizes) == plan.ranges - sizes.count(0)


def test_render() -> None:
    assert 'count: "2000"' in render.rendered()


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
@pytest.mark.parametrize(
    "measure",
    [planning.measure, words.measure_kernels, items.measure_tasks, start.measure],
    ids=lambda measure: measure.__module__.rpartition(".")[2],
)
def test_whole_reports(measure: Any, settings: Settings) -> None:
    report = measure(settings)
    assert all(statistics.median(row.values) for row in report.rows if row.values)
    assert len([row for row in report.rows if row.met is not None]) >= 1


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
