"""Trivial items: what a run, its folder and its commits cost."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks import contenders
from benchmarks.report import Row, Section, in_turn, spread

ITEMS, TASKS = 10_000, 1_000
CHUNKS = (64, 256, 625, 1250, 5000)


def measure_items(folder: Path) -> Section:
    root = folder / "runs"
    chunk = best_chunk(root)
    arguments = {"items_mapred": str(ITEMS), "items_pool": f"{ITEMS},{chunk}"}
    answers = {n: contenders.run(n, a, root, check=True).answer for n, a in arguments.items()}
    if len(set(answers.values())) > 1:
        raise AssertionError(f"answers differ: {answers}")
    seconds = in_turn(
        {n: lambda n=n, a=a: contenders.run(n, a, root).seconds for n, a in arguments.items()}
    )
    median = {name: statistics.median(times) for name, times in seconds.items()}
    above = median["items_mapred"] - median["items_pool"]
    return Section(
        f"{ITEMS:,} trivial items",
        "`mapred.run(square, mapred.items(range(10_000))).result()`, the folder included, beside "
        f"`ProcessPoolExecutor(2).map` with its best chunk size ({chunk}), the pool's start "
        "included; each in a process that did it twice before.",
        (
            Row(
                "`mapred.run`",
                spread(seconds["items_mapred"], digits=3),
                f"+{above:.3f} s",
                "≤ 0.3 s above",
                above <= 0.3,
            ),
            Row("`ProcessPoolExecutor.map`", spread(seconds["items_pool"], digits=3)),
        ),
    )


def best_chunk(root: Path) -> int:
    """The chunk size with which the pool is fastest, by the median of three."""

    def median(chunk: int) -> float:
        times = [contenders.run("items_pool", f"{ITEMS},{chunk}", root).seconds for _ in range(3)]
        return statistics.median(times)

    return min(CHUNKS, key=median)


def measure_tasks(folder: Path) -> Section:
    root = folder / "runs"
    packages = {"ray": "ray", "dask": "distributed"}
    peers = [peer for peer, package in packages.items() if importlib.util.find_spec(package)]
    names = ["tasks_mapred", *(f"tasks_{peer}" for peer in peers)]
    count = str(TASKS)
    answers = {name: contenders.run(name, count, root, check=True).answer for name in names}
    if len(set(answers.values())) > 1:
        raise AssertionError(f"answers differ: {answers}")
    seconds = in_turn({n: lambda n=n: contenders.run(n, count, root).seconds for n in names})
    ours = statistics.median(seconds["tasks_mapred"])
    per_task = 1000 / TASKS
    rows = [
        Row(
            "`mapred.run(…, per_task=1)`, each commit on disk",
            spread(seconds["tasks_mapred"], per_task, "ms"),
            "",
            "< Ray and Dask here; < 0.5 ms",
            all(ours < statistics.median(times) for n, times in seconds.items() if n != names[0])
            and ours * per_task < 0.5,
        )
    ]
    for peer in packages:
        if peer in peers:
            times = seconds[f"tasks_{peer}"]
            shown = f"{statistics.median(times) / ours:.2f}"
            rows.append(Row(f"{peer}, two workers", spread(times, per_task, "ms"), shown))
        else:
            rows.append(Row(peer, "not installed"))
    return Section(
        f"{TASKS:,} tasks of one item",
        "Time for a task, all results fetched; each in a process that did it twice before, with "
        "workers that were started before.",
        tuple(rows),
    )


@pytest.mark.parametrize("name", ["items_mapred", "tasks_mapred"])
def test_items(benchmark: Any, name: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("MAPRED_ROOT", str(tmp_path))
    count = ITEMS // 1000 if name == "items_mapred" else TASKS // 1000 + 1
    with contenders.CONTENDERS["items_pool"](f"{count},2") as call:
        expected = call()
    with contenders.CONTENDERS[name](str(count)) as call:
        assert benchmark.pedantic(call, rounds=5) == expected
