"""`python -m benchmarks [WORKLOAD …]`: each part of mapred, into RESULTS.md."""

from __future__ import annotations

import sys

from benchmarks import harness
from benchmarks.argo import reach
from benchmarks.argo import run as argo_run
from benchmarks.argo import start as argo_start
from benchmarks.argo import table as argo_table
from benchmarks.micro import items, listing, memory, planning, render, start, storage, words

WORKLOADS = {
    "planning": planning.measure,
    "words": words.measure_python,
    "kernels": words.measure_kernels,
    "items": items.measure_items,
    "tasks": items.measure_tasks,
    "memory": memory.measure,
    "start": start.measure,
    "render": render.measure,
    "storage": storage.measure,
    "listing": listing.measure,
    "argo-run": argo_run.measure,
    "argo-start": argo_start.measure,
    "argo-table": argo_table.measure,
}
HEAD = """# Results

Written by `make bench`. Medians of runs in turn, with the least and the greatest; answers were
checked equal first. [RESULTS-PEERS.md](RESULTS-PEERS.md) has whole programs beside DuckDB,
Polars, Spark, Dask, Ray, Daft, Lithops and mrjob.
"""


def page() -> harness.Page:
    """The workloads; those on a cluster are left out where none runs, unless they are named."""
    here = tuple(name for name in WORKLOADS if not name.startswith("argo-") or reach.there())
    return harness.Page("python -m benchmarks", "RESULTS.md", HEAD, WORKLOADS, here, rounds=5)


if __name__ == "__main__":
    harness.main(page(), sys.argv[1:])
