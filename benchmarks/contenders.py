"""The contenders, each in a process of its own: `python -m benchmarks.contenders NAME ARGUMENT`.

Each is a context that sets up what may be warm and gives the call that is timed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.functions import count_by_kernels, count_words, count_words_of, square

Call = Callable[[], Any]


@contextmanager
def words_mapred(folder: str) -> Iterator[Call]:
    import mapred

    def call() -> Any:
        run = mapred.run(count_words, f"{folder}/files/*.txt", reduce=mapred.reducers.merge_counts)
        return run.result()

    yield call


@contextmanager
def words_pool(folder: str) -> Iterator[Call]:
    from collections import Counter

    def call() -> Any:
        pieces = sorted(map(str, Path(folder, "pieces").iterdir()))
        merged: Counter[str] = Counter()
        with ProcessPoolExecutor(2) as pool:
            for counts in pool.map(count_words_of, pieces):
                merged.update(counts)
        return merged

    yield call


@contextmanager
def kernels_mapred(folder: str) -> Iterator[Call]:
    import mapred

    def call() -> Any:
        lines = mapred.read_text(f"{folder}/files/*.txt", as_="arrow")
        run = mapred.run(count_by_kernels, lines, reduce=mapred.reducers.merge_counts)
        return run.to_arrow()

    yield call


@contextmanager
def kernels_polars(folder: str) -> Iterator[Call]:
    import polars as pl

    def call() -> Any:
        return (
            pl.scan_lines(f"{folder}/files/*.txt", name="line")
            .select(
                pl.col("line").str.extract_all(r"[^ \t\r\x0b\x0c]+").list.explode().alias("word")
            )
            .drop_nulls()
            .group_by("word")
            .len("count")
            .collect(engine="streaming")
            .to_arrow()
        )

    yield call


@contextmanager
def kernels_duckdb(folder: str) -> Iterator[Call]:
    import duckdb

    connection = duckdb.connect(config={"preserve_insertion_order": "false"})
    # Faster here than `regexp_extract_all`, and than `string_split` after `translate`.
    query = rf"""
        SELECT word, count(*) AS count FROM (
            SELECT unnest(regexp_split_to_array(line, '[ \t\r\x0b\x0c]+')) AS word
            FROM read_csv('{folder}/files/*.txt', columns = {{'line': 'VARCHAR'}},
                          delim = chr(1), quote = '', escape = '', header = false,
                          auto_detect = false, strict_mode = false, max_line_size = 16777216)
        ) WHERE word <> '' GROUP BY word
    """
    yield lambda: connection.sql(query).to_arrow_table()


@contextmanager
def items_mapred(count: str) -> Iterator[Call]:
    import mapred

    yield lambda: mapred.run(square, mapred.items(range(int(count)))).result()


@contextmanager
def items_pool(arguments: str) -> Iterator[Call]:
    count, chunk = map(int, arguments.split(","))

    def call() -> Any:
        with ProcessPoolExecutor(2) as pool:
            return list(pool.map(square, range(count), chunksize=chunk))

    yield call


@contextmanager
def tasks_mapred(count: str) -> Iterator[Call]:
    import mapred

    yield lambda: mapred.run(square, mapred.items(range(int(count))), per_task=1).result()


@contextmanager
def tasks_ray(count: str) -> Iterator[Call]:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    remote = ray.remote(square)
    try:
        yield lambda: ray.get([remote.remote(item) for item in range(int(count))])
    finally:
        ray.shutdown()


@contextmanager
def tasks_dask(count: str) -> Iterator[Call]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield lambda: client.gather(client.map(square, range(int(count)), pure=False))


CONTENDERS = {
    name: value
    for name, value in globals().items()
    if name.startswith(("words_", "kernels_", "items_", "tasks_"))
}
WARM = ("items_", "tasks_")


@dataclass(frozen=True)
class Timed:
    """Seconds of the call, seconds from the process's start to the answer, its digest."""

    seconds: float
    whole: float
    answer: str


def run(name: str, argument: str, root: Path, *, check: bool = False) -> Timed:
    """One contender in a fresh process; `check` also computes what the answer is."""
    environment = {
        **os.environ,
        "MAPRED_ROOT": str(root),
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.time()
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.contenders", name, argument, str(int(check))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{process.stderr[-4000:]}")
    answer = json.loads(process.stdout.splitlines()[-1])
    return Timed(answer["seconds"], answer["ended"] - start, answer["answer"])


def main(name: str, argument: str, check: str) -> None:
    """Time one call, after two to warm up where the bar is about a warm process."""
    with CONTENDERS[name](argument) as call:
        if name.startswith(WARM):
            call()
            call()
        start = time.perf_counter()
        answer = call()
        seconds = time.perf_counter() - start
        ended = time.time()
    shown = digest(answer) if int(check) else ""
    print(json.dumps({"seconds": seconds, "ended": ended, "answer": shown}))


def digest(answer: Any) -> str:
    """A text by which equal answers of different types are told."""
    if hasattr(answer, "column"):
        words, counts = answer.column("word").to_pylist(), answer.column("count").to_pylist()
        answer = dict(zip(words, counts, strict=True))
    if isinstance(answer, dict):
        sha = hashlib.sha256()
        for word in sorted(answer):
            sha.update(f"{word} {answer[word]}\n".encode())
        return f"{len(answer)} {sum(answer.values())} {sha.hexdigest()[:16]}"
    return hashlib.sha256(repr(list(answer)).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main(*sys.argv[1:])
