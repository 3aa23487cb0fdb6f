"""`python -m benchmarks.peers [WORKLOAD …]`: whole programs beside mapred, into RESULTS-PEERS.md."""

from __future__ import annotations

import importlib
import sys
from functools import partial

from benchmarks import harness, processes
from benchmarks.harness import Report, Result, Row, Settings

WORKLOADS = ("words", "tpch_q1", "tpch_q6", "partkey", "terasort", "sweep", "files")
GROUP_BYS = ("tpch_q1", "tpch_q6", "partkey")
CLUSTERS = ("dask", "ray", "spark")
PYTHON = ("dask", "ray", "lithops", "mrjob", "spark rdd", "spark pandas", "spark grouped")
ONCE_SECONDS = 30
HEAD = f"""# mapred beside its peers

Written by `make bench-peers`: whole programs, from their start to the answer, on one machine with
two cores for each engine; its cluster's start is part of it. Answers were checked equal first;
medians of runs in turn, with the least and the greatest, and one run alone of what took more than
{ONCE_SECONDS} s. Memory is the most that all processes of an engine held at once, shared pages
counted once. Ratios are to mapred: above 1 is slower, or more memory; those with a bar are of
mapred to the best of some engines. `pool` is the base line, a `multiprocessing.Pool` with
ready-made pieces; `spark pandas` is `mapInPandas` before Spark's own group-by, `spark grouped` a
pandas UDF for each group.
"""


def measure(workload: str, settings: Settings) -> Report:
    """All engines at one workload."""
    module = importlib.import_module(f"benchmarks.peers.{workload}")
    argument, what = module.make(settings.home, settings.size)
    calls = {
        name: processes.contender(module.__name__, name, argument, settings)
        for name in module.CONTENDERS
    }
    results, answer = harness.race(calls, settings, ONCE_SECONDS)
    absent = {} if settings.contenders else getattr(module, "ABSENT", {})
    return Report(
        module.TITLE,
        f"Size `{settings.size}`: {what}; {len(answer):,} rows in the answer.",
        (
            *harness.rows(results, "mapred"),
            *(Row(name, note=why) for name, why in absent.items()),
            *bars(results, group_by=workload in GROUP_BYS),
        ),
    )


def bars(results: dict[str, Result], *, group_by: bool) -> list[Row]:
    """What is to be reached: against engines of Python functions, and of queries in a group-by."""
    times, peaks = harness.medians(results), {name: r.peak for name, r in results.items() if r.peak}
    python = [name for name in times if name.startswith(PYTHON)]
    clusters = [name for name in peaks if name.startswith(CLUSTERS)]
    queries = ["duckdb", "polars"] if group_by else []
    return [
        *harness.against(times, "mapred", python, 1, "an engine of Python functions, "),
        *harness.against(times, "mapred", queries, 2, "a query engine, "),
        *harness.against(peaks, "mapred", clusters, 1, "memory, "),
    ]


def page() -> harness.Page:
    workloads = {name: partial(measure, name) for name in WORKLOADS}
    return harness.Page(
        "python -m benchmarks.peers", "RESULTS-PEERS.md", HEAD, workloads, WORKLOADS, 3
    )


if __name__ == "__main__":
    harness.main(page(), sys.argv[1:])
