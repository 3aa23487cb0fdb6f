"""512 inputs merged in a tree, 512 to 64 to 8 to 1, by reducers whose results grow.

Every sensor saw some of 10,000 places; a partial result has a row for each place that was seen,
so it grows from level to level, and no task ever holds more than eight of them. `fan_in=` needs
a function whose result may be its own input; mapred compares two groupings of a few before it
trusts it. The last task gets more memory than the maps.

    mapred run recipes/tree_reduce.py
    python recipes/tree_reduce.py --backend dask    # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import pyarrow as pa

import mapred

PLACES = 10_000


def observe(sensor: int, task: mapred.Task) -> pa.Table:
    places = task.rng.integers(0, PLACES, 40)
    counts = task.rng.integers(1, 100, 40)
    return merge([pa.table({"place": places, "seen": counts, "sensors": [1] * 40})])


def merge(partials: Iterable[pa.Table]) -> pa.Table:
    whole = pa.concat_tables(partials).group_by("place")
    merged = whole.aggregate([("seen", "sum"), ("sensors", "sum")])
    return merged.rename_columns(["place", "seen", "sensors"]).sort_by("place")


job = mapred.job(
    observe,
    mapred.array(512),
    reduce=merge,
    fan_in=8,
    seed=3,
    reduce_resources=mapred.Resources(memory="2Gi"),
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    run = job.run(backend=parser.parse_args().backend)
    for stage in run.status().stages:
        print(f"{stage.name:<9} {stage.total:>4} tasks")
    table = run.to_arrow()
    seen, sensors = sum(table["seen"].to_pylist()), sum(table["sensors"].to_pylist())
    print(f"{len(table):,} places, seen {seen:,} times in {sensors:,} observations")
