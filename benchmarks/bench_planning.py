"""Planning: ranges and shards in memory, and plan files on disk.

10,000 files as a test; `MAPRED_BENCH_FILES=10000000` is the full size, where the bars are
asserted too. Answers are checked before anything is timed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mapred import planner

FILES = int(os.environ.get("MAPRED_BENCH_FILES", "10000"))
FULL = FILES >= 10_000_000
LITHOPS_FILES = min(FILES, 200_000)


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


@pytest.fixture(scope="module")
def files() -> pa.Table:
    return listing(FILES)


def sort_and_sum(sizes: np.ndarray[Any, Any]) -> None:
    """The yardstick: less work than any sort of packing by size needs."""
    np.cumsum(sizes)
    np.argsort(sizes, kind="stable")


def write(made: planner.Plan, folder: Path) -> int:
    """All plan files in a folder; their bytes."""
    total = 0
    for name, rows in planner.plan_files(made):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            total += file.write(planner.write_plan(rows))
    return total


def best(call: Callable[[], Any], runs: int = 3) -> float:
    """Seconds of the fastest of a few runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize("target", [None, "64MiB"], ids=["default", "64MiB"])
def test_plan(benchmark: Any, files: pa.Table, target: str | None) -> None:
    made = planner.plan(files, target_bytes=target)
    assert int(made.length.sum()) == made.bytes == int(made.shard_bytes().sum())
    assert len(np.unique(made.file)) == FILES
    benchmark.pedantic(planner.plan, (files,), {"target_bytes": target}, rounds=5)
    if FULL:
        sizes = files["size"].to_numpy()
        ours = best(lambda: planner.plan(files, target_bytes=target))
        theirs = best(lambda: sort_and_sum(sizes))
        print(f"\nplan / (cumsum + stable argsort): {ours / theirs:.2f} ({ours:.2f} s)")
        assert ours < theirs


def test_yardstick(benchmark: Any, files: pa.Table) -> None:
    benchmark.pedantic(sort_and_sum, (files["size"].to_numpy(),), rounds=5)


def test_lithops(benchmark: Any) -> None:
    """Lithops' own splitter over the same sizes, cut at the same target."""
    partitioner = pytest.importorskip("lithops.job.partitioner")
    files = listing(LITHOPS_FILES)
    made = planner.plan(files, target_bytes="64MiB")
    sizes = files["size"].to_pylist()

    class Object:
        pass

    def split() -> int:
        count = 0
        for size in sizes:
            parts, _ = partitioner._build_partitions({"obj": ""}, Object, size, 2**26, None, "")
            count += len(parts)
        return count

    assert split() == made.ranges - sizes.count(0)
    benchmark.pedantic(split, rounds=1)
    if FULL:
        everything = listing(FILES)
        ours = best(lambda: planner.plan(everything, target_bytes="64MiB")) / FILES
        theirs = best(split, 1) / LITHOPS_FILES
        print(f"\nLithops / plan, for a file: {theirs / ours:.0f}")
        assert theirs >= 50 * ours


def test_plan_to_files(benchmark: Any, files: pa.Table, tmp_path: Path) -> None:
    made = planner.plan(files)
    write(made, tmp_path)
    last = made.shards - 1
    path = tmp_path / f"plan/{last // 1000:05d}.parquet"
    assert planner.read_shard(path.read_bytes(), last).equals(made.shard_ranges(last))
    benchmark.pedantic(write, (made, tmp_path), rounds=1 if FULL else 3)


@pytest.mark.slow
def test_peak_memory_of_plan_and_files(tmp_path: Path) -> None:
    """The whole of it in a process of its own, against the bytes of the listing."""
    run = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak, size = map(float, run.stdout.split())
    if FULL:
        print(f"\nplan and its files: {seconds:.1f} s, peak / listing: {peak / size:.2f}")
        assert seconds <= 15
        assert peak <= 3 * size


def main(folder: Path) -> None:
    files = listing(FILES)
    start = time.perf_counter()
    write(planner.plan(files), folder)
    seconds = time.perf_counter() - start
    print(seconds, peak_memory(), files.nbytes)


def peak_memory() -> int:
    """Bytes resident at most; Linux's `ru_maxrss` would start from that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(Path(sys.argv[1]))
