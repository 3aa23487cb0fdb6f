"""A pipeline whose driver and workers are killed: `killed_pipeline.py ROOT CALLS BACKEND`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import mapred


def note(folder: str, n: int) -> int:
    """Say in a file that the function was called, and take some time."""
    with open(os.path.join(folder, f"{n}"), "a") as file:
        file.write(".")
    time.sleep(0.01)
    return n


def squares(folder: str, n: int) -> int:
    return note(folder, n) ** 2


@mapred.pipeline
def part(folder: str, base: int) -> int:
    run = mapred.run(
        lambda n: squares(folder, base + n), range(4), per_task=1, reduce=sum, progress="none"
    )
    return int(run.result())


@mapred.pipeline
def whole(folder: str) -> dict[str, Any]:
    started = mapred.recorded(time.time)
    first = [part.submit(folder, 100 * k) for k in range(1, 3)]
    side = mapred.submit(lambda n: note(folder, n), range(8), per_task=2, name="side")
    sums = [run.result() for run in first]
    if mapred.approve("go", timeout="0.1s", default=True):
        doubled = mapred.run(lambda n: 2 * n, side, name="doubled", progress="none")
        sums.append(sum(doubled.result()))
    return {"sums": sums, "started": started}


if __name__ == "__main__":
    root, calls, kind = sys.argv[1:]
    backend: Any = kind if kind == "inline" else mapred.Local(workers=2)
    run = whole.run(calls, root=root, run_id="night", backend=backend)
    print(run.result()["sums"])
