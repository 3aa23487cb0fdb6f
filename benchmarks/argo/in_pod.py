"""Starts in a pod, in turn: `python -c` of this text, given a run's URI, its digest and a number.

Prints one JSON object: seconds of a bare import of pyarrow, and seconds from the start of a
worker to the user's function, each so many times. Each start takes a task of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

STAMP = "/tmp/stamp"


def bare() -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import pyarrow"], check=True)
    return time.monotonic() - start


def worker(uri: str, digest: str, task: int) -> float:
    call = [sys.executable, "-m", "mapred.worker.supervisor", uri, digest, "map", str(task), "1"]
    start = time.monotonic()
    subprocess.run(call, check=True, env={**os.environ, "MAPRED_BENCH_STAMP": STAMP})
    with open(STAMP) as file:
        return float(file.read()) - start


def main(uri: str, digest: str, starts: str) -> None:
    # The first of each reads its files into the page cache.
    bare()
    worker(uri, digest, 0)
    seconds: dict[str, list[float]] = {"import": [], "worker": []}
    for task in range(1, int(starts) + 1):
        seconds["import"].append(bare())
        seconds["worker"].append(worker(uri, digest, task))
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
