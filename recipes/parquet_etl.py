"""A Parquet ETL: raw orders are checked, converted and written in partitions, by day and country.

The workers write the files themselves; readers see all of them or none. A second run replaces
the partitions that it writes to, so that a nightly job may be repeated (docs/writing.md).

    mapred run recipes/parquet_etl.py
    python recipes/parquet_etl.py --backend dask    # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
import os
import tempfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import mapred

# Pods read from a bucket: RECIPES=s3://bucket/recipes mapred run … --backend argo
BASE = os.environ.get("RECIPES", tempfile.gettempdir() + "/mapred-recipes")
RAW, CLEAN = f"{BASE}/orders-raw", f"{BASE}/orders"


def make_sample(files: int = 4, rows: int = 20_000) -> None:
    for number in range(files):
        rng = np.random.default_rng(number)
        orders = {
            "id": np.arange(rows) + number * rows,
            "at": np.datetime64("2026-03-01T00:00:00", "s") + rng.integers(0, 3 * 86_400, rows),
            "country": rng.choice(["de", "DE", "fr", "pt", ""], rows),
            "cents": rng.integers(-50, 10_000, rows),
        }
        with fsspec.open(f"{RAW}/{number}.parquet", "wb") as file:
            pq.write_table(pa.table(orders), file, row_group_size=5_000)


def clean(orders: pa.Table, task: mapred.Task) -> pa.Table:
    valid = pc.and_(pc.greater(orders["cents"], 0), pc.not_equal(orders["country"], ""))
    task.count("rows refused", len(orders) - (pc.sum(valid).as_py() or 0))
    orders = orders.filter(valid)
    price = pc.divide(orders["cents"].cast(pa.float64()), 100)
    day = orders["at"].cast(pa.date32())
    return pa.table(
        {
            "id": orders["id"],
            "day": day,
            "country": pc.utf8_upper(orders["country"]),
            "price": price,
        }
    )


if not fsspec.url_to_fs(RAW)[0].exists(f"{RAW}/3.parquet"):
    make_sample()
target = mapred.write_parquet(CLEAN, partition_by=["day", "country"])
job = mapred.job(clean, f"{RAW}/*.parquet", write=target, target_bytes="256Ki")

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    run = job.run(backend=parser.parse_args().backend)
    written, refused = run.result(), run.counters["rows refused"]
    print(f"{written.rows:,} rows in {len(written.partitions)} partitions, {refused:,.0f} refused")
