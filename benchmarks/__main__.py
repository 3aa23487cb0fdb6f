"""`python -m benchmarks [WORKLOAD …]`: full size, five runs of each contender in turn.

Each workload's figures are kept in a folder below $TMPDIR, so that RESULTS.md, which is
written at the end, can be made piece by piece. `MAPRED_BENCH_ROUNDS` runs fewer,
`MAPRED_BENCH_LARGE_MB` makes the large object of `storage` smaller,
`MAPRED_BENCH_OBJECTS` lists fewer than a million.
`argo` is the three workloads whose names begin with it. They need the cluster of
`make cluster-up`, alone: where none runs, they are left out unless they are asked for.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    bench_items,
    bench_listing,
    bench_memory,
    bench_render,
    bench_start,
    bench_storage,
    bench_words,
    planning,
    report,
)
from benchmarks.argo import bench_run as argo_run
from benchmarks.argo import bench_start as argo_start
from benchmarks.argo import bench_table as argo_table
from benchmarks.argo import reach

WORKLOADS: dict[str, Callable[[Path], report.Section]] = {
    "planning": planning.measure,
    "words": bench_words.measure_python,
    "kernels": bench_words.measure_kernels,
    "items": bench_items.measure_items,
    "tasks": bench_items.measure_tasks,
    "memory": bench_memory.measure,
    "start": bench_start.measure,
    "render": bench_render.measure,
    "storage": bench_storage.measure,
    "listing": bench_listing.measure,
    "argo-run": argo_run.measure,
    "argo-start": argo_start.measure,
    "argo-table": argo_table.measure,
}
ON_CLUSTER = [name for name in WORKLOADS if name.startswith("argo-")]
HEAD = """# Results

Written by `make bench`. Medians of five runs in turn, with the least and the greatest; answers
were checked equal first. [RESULTS-PEERS.md](RESULTS-PEERS.md) has whole programs beside DuckDB,
Polars, Spark, Dask, Ray, Daft, Lithops and mrjob.
"""


def main(names: list[str]) -> None:
    unknown = set(names) - {*WORKLOADS, "argo"}
    if unknown:
        sys.exit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    chosen = [name for name in WORKLOADS if name not in ON_CLUSTER or reach.there()]
    if names:
        chosen = [each for name in names for each in (ON_CLUSTER if name == "argo" else [name])]
    if not reach.there() and not {*ON_CLUSTER}.isdisjoint(chosen):
        sys.exit(f"{' '.join(ON_CLUSTER)}: {reach.NEEDED}")
    folder = Path(tempfile.gettempdir(), "mapred-benchmarks")
    kept = folder / "results"
    for name in chosen:
        print(name, flush=True)
        section = WORKLOADS[name](folder)
        report.save(kept, name, section)
        shutil.rmtree(folder / "runs", ignore_errors=True)
        print(section.markdown(), flush=True)
    sections = [section for name in WORKLOADS if (section := report.load(kept, name))]
    text = "\n".join([HEAD, report.machine() + "\n", *(s.markdown() for s in sections)])
    (Path(__file__).parent / "RESULTS.md").write_text(text)


if __name__ == "__main__":
    # Bytecode is what a user's second start finds.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    main(sys.argv[1:])
