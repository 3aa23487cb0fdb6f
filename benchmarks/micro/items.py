"""Trivial items: what a run, its folder and its commits cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks import harness, processes
from benchmarks.functions import square
from benchmarks.harness import Report, Settings

ITEMS = {"small": 100, "full": 10_000}
TASKS = {"small": 20, "full": 1_000}
CHUNKS = {"small": (64,), "full": (64, 256, 625, 1250, 5000)}
WARM = 3  # the calls in one process, of which the last is timed
Calls = Iterator[Callable[[], Any]]


def items_mapred(count: str) -> Calls:
    import mapred

    for _ in range(WARM):
        yield lambda: mapred.run(square, mapred.items(range(int(count)))).result()


def items_pool(arguments: str) -> Calls:
    count, chunk = map(int, arguments.split(","))

    def call() -> Any:
        with ProcessPoolExecutor(2) as pool:
            return list(pool.map(square, range(count), chunksize=chunk))

    for _ in range(WARM):
        yield call


def tasks_mapred(count: str) -> Calls:
    import mapred

    for _ in range(WARM):
        yield lambda: mapred.run(square, mapred.items(range(int(count))), per_task=1).result()


def tasks_ray(count: str) -> Calls:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    remote = ray.remote(square)
    try:
        for _ in range(WARM):
            yield lambda: ray.get([remote.remote(item) for item in range(int(count))])
    finally:
        ray.shutdown()


def tasks_dask(count: str) -> Calls:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        for _ in range(WARM):
            yield lambda: client.gather(client.map(square, range(int(count)), pure=False))


CONTENDERS = {
    "items_mapred": items_mapred,
    "items_pool": items_pool,
    "tasks_mapred": tasks_mapred,
    "tasks_ray": tasks_ray,
    "tasks_dask": tasks_dask,
}


def rows(answer: list[int]) -> list[list[Any]]:
    return [[value] for value in answer]


def measure_items(settings: Settings) -> Report:
    count = ITEMS[settings.size]
    calls = {"mapred": processes.contender(__name__, "items_mapred", str(count), settings)}
    for chunk in CHUNKS[settings.size]:
        argument = f"{count},{chunk}"
        call = processes.contender(__name__, "items_pool", argument, settings)
        calls[f"pool with chunks of {chunk}"] = call
    results, _ = harness.race(calls, settings)
    times = harness.medians(results)
    pools = [times[name] for name in times if name != "mapred"]
    beyond = [(times["mapred"] - min(pools),)] if pools else []
    return Report(
        f"{count:,} trivial items",
        f"`mapred.run(square, mapred.items(range({count}))).result()`, the folder included, beside "
        "`ProcessPoolExecutor(2).map`, the pool's start included; each in a process that did it "
        "twice before.",
        (
            *harness.rows(results, "mapred"),
            *(
                harness.at_most(harness.Row("mapred beyond the pool", value), 0.3)
                for value in beyond
            ),
        ),
    )


def measure_tasks(settings: Settings) -> Report:
    count = TASKS[settings.size]
    calls = {
        name: processes.contender(__name__, f"tasks_{name}", str(count), settings)
        for name in ("mapred", "ray", "dask")
    }
    results, _ = harness.race(calls, settings)
    times = harness.medians(results)
    return Report(
        f"{count:,} tasks of one item",
        "Time for a task, all results fetched; each in a process that did it twice before, with "
        "two workers that were started before. mapred runs with `per_task=1`, each commit on disk.",
        (
            *harness.rows(results, "mapred", per=count),
            harness.at_most(harness.Row("mapred, for a task", (times["mapred"] / count,)), 0.0005),
            *harness.against(times, "mapred", ["ray", "dask"], 1),
        ),
    )
