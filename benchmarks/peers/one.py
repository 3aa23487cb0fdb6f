"""One engine at one workload, in a process of its own: `one.py WORKLOAD ENGINE ARGUMENT [FILE]`.

Prints how long the call took and when it had ended; with a file, the answer's rows go there.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
import time
from pathlib import Path


def main(workload: str, engine: str, argument: str, answer_file: str = "") -> None:
    module = importlib.import_module(f"benchmarks.peers.{workload}")
    start = time.perf_counter()
    answer = module.ENGINES[engine](argument)
    seconds, ended = time.perf_counter() - start, time.time()
    if answer_file:
        Path(answer_file).write_bytes(pickle.dumps(module.rows(answer)))
    print(json.dumps({"seconds": seconds, "ended": ended}))


if __name__ == "__main__":
    # Spark, Dask and mrjob start processes that import what a function refers to.
    main(*sys.argv[1:])
