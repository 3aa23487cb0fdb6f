"""Web server logs to a table of status and path: hits and bytes of each pair.

Lines are parsed as one Arrow array, without a loop; `by=` and `aggregate=` sum up each shard
where it is read, and then by hash of the key. Lines that are no log lines are counted.

    mapred run recipes/log_count.py
    python recipes/log_count.py --backend dask      # or a name from mapred.toml
"""

from __future__ import annotations

import argparse
import os
import tempfile

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import mapred

# Pods read from a bucket: RECIPES=s3://bucket/recipes mapred run … --backend argo
DATA = f"{os.environ.get('RECIPES', tempfile.gettempdir() + '/mapred-recipes')}/logs"
LINE = r'" (?P<status>\d{3}) (?P<bytes>\d+)'
REQUEST = r'"[A-Z]+ (?P<path>[^ ?"]+)[^"]*'


def make_sample(days: int = 5, lines: int = 20_000) -> None:
    for day in range(1, days + 1):
        rng = np.random.default_rng(day)
        paths = rng.choice(["/", "/search?q=x", "/items/7", "/login", "/favicon.ico"], lines)
        status, sizes = (
            rng.choice([200, 200, 200, 304, 404, 500], lines),
            rng.integers(0, 9999, lines),
        )
        with fsspec.open(f"{DATA}/2026-03-0{day}.log", "w") as file:
            for path, code, size in zip(paths, status, sizes, strict=True):
                stamp = f"[0{day}/Mar/2026:10:00:00 +0000]"
                file.write(f'10.0.0.9 - - {stamp} "GET {path} HTTP/1.1" {code} {size} "-" "curl"\n')
            file.write("a line that the server never finish\n")


def parse(lines: pa.Array, task: mapred.Task) -> pa.Table:
    fields = pc.extract_regex(lines, REQUEST + LINE)
    task.count("lines not understood", fields.null_count)
    columns = {name: pc.struct_field(fields, name) for name in ("status", "path", "bytes")}
    table = pa.table({**columns, "hits": pa.repeat(1, len(lines))}).drop_null()
    return table.set_column(2, "bytes", table["bytes"].cast(pa.int64()))


if not fsspec.url_to_fs(DATA)[0].exists(f"{DATA}/2026-03-05.log"):
    make_sample()
job = mapred.job(
    parse,
    mapred.read_text(f"{DATA}/*.log"),
    by=["status", "path"],
    aggregate={"hits": "sum", "bytes": "sum"},
    target_bytes="1Mi",
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", default="local")
    run = job.run(backend=parser.parse_args().backend)
    for row in (
        run.to_arrow().sort_by([("hits_sum", "descending"), ("path", "ascending")]).to_pylist()
    ):
        print(f"{row['status']} {row['path']:<14} {row['hits_sum']:>7,} {row['bytes_sum']:>13,}")
    print(f"{run.counters['lines not understood']:.0f} lines not understood")
