"""Planning: ranges and shards in memory, and plan files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import harness, processes
from benchmarks.harness import ContenderError, Report, Row, Settings, at_most, stopwatch
from mapred import planner

FILES = {"small": 10_000, "full": 10_000_000}
LITHOPS_FILES = 200_000
TARGETS = {"default target": None, "64 MiB": "64MiB"}


def listing(files: int) -> pa.Table:
    """Files of 160 kB in the median and 7 GB at most, with paths and etags as they are."""
    sizes = np.random.default_rng(0).lognormal(12, 2, files).astype(np.int64)
    paths, etags = [], []
    for start in range(0, files, 2**18):
        numbers = range(start, min(start + 2**18, files))
        paths.append(
            pa.array(
                [f"/data/corpus/part-{i // 1000:05d}/document-{i:09d}.txt" for i in numbers],
                pa.large_string(),
            )
        )
        etags.append(pa.array([f"{1764 * 10**15 + i * 7919977:x}-{10**5 + i:x}" for i in numbers]))
    return pa.table(
        {"path": pa.chunked_array(paths), "size": sizes, "etag": pa.chunked_array(etags)}
    )


def sort_and_sum(sizes: np.ndarray[Any, Any]) -> None:
    """The yardstick: less work than any sort of packing by size needs."""
    np.cumsum(sizes)
    np.argsort(sizes, kind="stable")


def by_lithops(sizes: list[int]) -> int:
    """How many parts Lithops' own splitter makes of files, at a target of 64 MiB."""
    try:
        from lithops.job import partitioner
    except ImportError as error:
        raise ContenderError("not installed") from error

    class Object:
        pass

    count = 0
    for size in sizes:
        parts, _ = partitioner._build_partitions({"obj": ""}, Object, size, 2**26, None, "")
        count += len(parts)
    return count


def write(made: planner.Plan, folder: Path) -> None:
    """Write all plan files into a folder."""
    for name, rows in planner.plan_files(made):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(planner.write_plan(rows))


def plan_and_files(arguments: str) -> Iterator[Callable[[], Any]]:
    count, folder = arguments.split(",", 1)
    files = listing(int(count))
    yield lambda: write(planner.plan(files), Path(folder))
    return files.nbytes


CONTENDERS = {"plan_and_files": plan_and_files}


def rows(answer: int) -> list[list[Any]]:
    return [[answer]]


def measure(settings: Settings) -> Report:
    count = FILES[settings.size]
    files, few = listing(count), listing(min(count, LITHOPS_FILES))
    sizes, few_sizes = files["size"].to_numpy(), few["size"].to_pylist()
    calls = {
        f"plan, {what}": lambda target=target: stopwatch(
            lambda: planner.plan(files, target_bytes=target)
        )
        for what, target in TARGETS.items()
    }
    calls["cumsum + stable argsort"] = lambda: stopwatch(lambda: sort_and_sum(sizes))
    results = harness.in_turn(calls, settings.rounds)
    times = harness.medians(results)
    table = [
        *harness.rows(results, "cumsum + stable argsort"),
        *(
            bar
            for what in TARGETS
            for bar in harness.against(times, f"plan, {what}", ["cumsum + stable argsort"], 1)
        ),
    ]
    table += lithops_rows(few_sizes, times["plan, 64 MiB"] / count)
    table += written_rows(count, settings)
    return Report(
        f"Planning {count:,} files",
        "To ranges and shards in memory, at the default target and at 64 MiB, and to plan files "
        "in a process of its own.",
        tuple(table),
    )


def lithops_rows(sizes: list[int], ours: float) -> list[Row]:
    """The seconds of mapred and of Lithops for one file."""
    try:
        theirs = stopwatch(lambda: by_lithops(sizes)) / len(sizes)
    except ContenderError as error:
        return [Row("Lithops", note=str(error))]
    return [at_most(Row("plan : Lithops, for a file", ratio=ours / theirs), 0.02)]


def written_rows(count: int, settings: Settings) -> list[Row]:
    argument = f"{count},{settings.home / 'runs' / 'plan'}"
    call = processes.contender(__name__, "plan_and_files", argument, settings)
    results, ((size,),) = harness.race({"plan and its files": call}, settings)
    result = results["plan and its files"]
    return [
        at_most(Row("plan and its files", result.seconds, memory=result.peak), 15),
        at_most(Row("— peak memory : listing", ratio=result.peak / size), 3),
    ]
