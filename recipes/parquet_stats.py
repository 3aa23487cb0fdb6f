"""Statistics of a Parquet dataset by group: partial aggregates, merged by one reduce.

Only two columns are read, and row groups that the filter rules out are never decoded.

    mapred run recipes/parquet_stats.py
    python recipes/parquet_stats.py --backend dask  # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import mapred

# Pods read from a bucket: RECIPES=s3://bucket/recipes mapred run … --backend argo
DATA = f"{os.environ.get('RECIPES', tempfile.gettempdir() + '/mapred-recipes')}/trips"


def make_sample(files: int = 4, rows: int = 50_000) -> None:
    for number in range(files):
        rng = np.random.default_rng(number)
        city = rng.choice(["Lima", "Oslo", "Pune"], rows)
        trips = {
            "city": city,
            "fare": rng.gamma(2.0, 8.0, rows),
            "driver": rng.integers(0, 99, rows),
        }
        with fsspec.open(f"{DATA}/{number}.parquet", "wb") as file:
            pq.write_table(pa.table(trips), file, row_group_size=10_000)


def partial(trips: pa.Table) -> pa.Table:
    return trips.group_by("city").aggregate([("fare", "sum"), ("fare", "count"), ("fare", "max")])


def combine(partials: Iterable[pa.Table]) -> pa.Table:
    columns = ["city", "fare", "trips", "highest"]
    merged = pa.concat_tables(partials).group_by("city")
    how = [("fare_sum", "sum"), ("fare_count", "sum"), ("fare_max", "max")]
    return merged.aggregate(how).rename_columns(columns).sort_by("city")


if not fsspec.url_to_fs(DATA)[0].exists(f"{DATA}/3.parquet"):
    make_sample()
trips = mapred.read_parquet(
    f"{DATA}/*.parquet", columns=["city", "fare"], filters=[("fare", ">", 1)]
)
job = mapred.job(partial, trips, reduce=combine)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    for row in job.run(backend=parser.parse_args().backend).to_arrow().to_pylist():
        print(f"{row['city']}: {row['trips']:,} trips, mean {row['fare'] / row['trips']:.2f}")
