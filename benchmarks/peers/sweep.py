"""A sweep over 2,000 points: a small least-squares fit by gradient descent at each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import engines

TITLE = "A parameter sweep"
QUERY = "a query engine: it runs its own expressions, not a Python function per point"
ABSENT = {"duckdb": QUERY, "polars": QUERY, "daft": QUERY, "spark sql": QUERY}
SIZES = {"small": (10, 4, 2), "full": (50, 10, 4)}


def make(folder: Path, size: str) -> tuple[str, str]:
    shape = SIZES[size]
    return ",".join(map(str, shape)), f"{np.prod(shape):,} points of some 10 ms each"


def fit(lr: float, depth: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    data, goal, weights = rng.random((400, 20)), rng.random(400), np.zeros(20)
    for _ in range(200 + 20 * depth):
        weights -= lr * data.T @ (data @ weights - goal) / 400
    return float(np.square(data @ weights - goal).mean())


def grid(shape: str) -> dict[str, list[Any]]:
    rates, depths, seeds = map(int, shape.split(","))
    return {
        "lr": [0.001 * (i + 1) for i in range(rates)],
        "depth": list(range(depths)),
        "seed": list(range(seeds)),
    }


def points(shape: str) -> list[tuple[Any, ...]]:
    return list(itertools.product(*grid(shape).values()))


def with_mapred(shape: str) -> Any:
    import mapred

    return mapred.run(fit, mapred.sweep(grid(shape))).result()


def with_pool(shape: str) -> Any:
    return engines.pool(fit_point, points(shape))


def fit_point(point: tuple[Any, ...]) -> float:
    return fit(*point)


def with_dask(shape: str) -> Any:
    with engines.dask() as client:
        return client.gather(client.map(fit, *zip(*points(shape), strict=True)))


def with_ray(shape: str) -> Any:
    with engines.ray() as ray:
        remote = ray.remote(fit)
        return ray.get([remote.remote(*point) for point in points(shape)])


def with_spark_rdd(shape: str) -> Any:
    with engines.spark() as spark:
        todo = points(shape)
        rdd = spark.sparkContext.parallelize(todo, min(len(todo), 100))
        return rdd.map(lambda point: fit(*point)).collect()


def with_lithops(shape: str) -> Any:
    with engines.lithops() as executor:
        executor.map(fit, points(shape))
        return executor.get_result()


def with_mrjob(shape: str) -> Any:
    from benchmarks.peers.mr_jobs import Sweep

    lines = Path(engines.output(), "points.txt")
    numbered = enumerate(points(shape))
    lines.write_text("".join(json.dumps([index, *point]) + "\n" for index, point in numbered))
    return [value for _, value in sorted(engines.mrjob(Sweep, [str(lines)], "--workload", "sweep"))]


CONTENDERS: dict[str, Callable[[str], Any]] = {
    "mapred": with_mapred,
    "pool": with_pool,
    "dask": with_dask,
    "ray": with_ray,
    "spark rdd": with_spark_rdd,
    "lithops": with_lithops,
    "mrjob": with_mrjob,
}


def rows(answer: list[Any]) -> list[list[Any]]:
    return [[float(value)] for value in answer]
