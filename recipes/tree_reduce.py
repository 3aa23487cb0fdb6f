"""Merge 512 results in a tree, 512 to 64 to 8 to 1, where one reduce would hold too much.

Each sensor saw some of 10,000 places. A merged table has a row for each place, so it
grows from level to level, but with `fan_in=8` no task holds more than eight of them. The
reducer must accept its own results; mapred checks that on a few before it starts the tree.

    mapred run recipes/tree_reduce.py
"""

import pyarrow as pa

import mapred


def observe(sensor: int, task: mapred.Task) -> pa.Table:
    places = task.rng.integers(0, 10_000, 40)
    counts = task.rng.integers(1, 100, 40)
    return merge([pa.table({"place": places, "seen": counts, "sensors": [1] * 40})])


def merge(tables) -> pa.Table:
    by_place = pa.concat_tables(tables).group_by("place")
    merged = by_place.aggregate([("seen", "sum"), ("sensors", "sum")])
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
    run = job.run()
    for stage in run.status().stages:
        print(f"{stage.name}: {stage.total}")
    table = run.to_arrow()
    seen, sensors = sum(table["seen"].to_pylist()), sum(table["sensors"].to_pylist())
    print(f"{len(table):,} places, seen {seen:,} times in {sensors:,} observations")
