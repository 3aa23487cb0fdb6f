"""Starting up: `import mapred`, and a worker from exec to the user's function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mapred
from benchmarks.functions import stamp
from benchmarks.harness import Report, Row, Settings, at_most, in_turn, stopwatch
from benchmarks.processes import ROOT
from mapred.testing import Idle

STARTS = {"small": 2, "full": 21}
SHARDS = {"small": 100, "full": 100_000}
STAMP = "MAPRED_BENCH_STAMP"
IMPORTS = "import numpy, pyarrow"
TEN_ITEMS = """
import mapred

def square(item):
    return item * item

run = mapred.run(square, mapred.items(range(10)), root={root!r}, progress="none")
assert run.result() == [item * item for item in range(10)]
"""


def environment(**more: str) -> dict[str, str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    return variables


def python(code: str) -> float:
    command = [sys.executable, "-c", code]
    return stopwatch(lambda: subprocess.run(command, env=environment(), check=True))


def cpu(code: str) -> float:
    """Seconds of CPU that a fresh process takes for some code, its children left out."""
    used = "import resource\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
    code = f"{code}\n{used}print(used.ru_utime + used.ru_stime)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def worker(run: mapred.Run, folder: Path, task: int = 0) -> float:
    """Seconds from the start of `python -m mapred.worker.supervisor` to the user's function.

    The run's folder is left as if it had not run.
    """
    file = folder / "stamp"
    call = [
        sys.executable,
        "-m",
        "mapred.worker.supervisor",
        run.uri,
        run.digest,
        "map",
        str(task),
        "1",
    ]
    start = time.monotonic()
    subprocess.run(call, env=environment(**{STAMP: str(file)}), check=True)
    Path(run.uri, f"map/commits/{task:06d}.json").unlink()
    return float(file.read_text()) - start


def traced(run: mapred.Run, folder: Path, task: int = 0) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds of each step of a worker's start, and bytes read of each file before its end."""
    call = [sys.executable, "-m", "benchmarks.micro.traced_worker", run.uri, run.digest, "map"]
    start = time.monotonic()
    done = subprocess.run(
        [*call, str(task), "1"],
        env=environment(**{STAMP: str(folder / "stamp")}),
        capture_output=True,
        text=True,
        check=True,
    )
    Path(run.uri, f"map/commits/{task:06d}.json").unlink()
    answer = json.loads(done.stdout.splitlines()[-1])
    steps: dict[str, float] = {}
    for name, moment in answer["steps"]:
        steps[name] = moment - start
        start = moment
    return steps, answer["bytes"]


def small_run(root: Path) -> mapred.Run:
    return mapred.submit(stamp, mapred.array(1), backend=Idle("local"), root=root)


def large_run(root: Path, files: Path, shards: int) -> mapred.Run:
    """A shard for each of many files."""
    for number in range(shards):
        folder = files / f"part-{number // 1000:04d}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"document-{number:06d}.txt").write_text(f"line {number:06d}\n")
    text = mapred.read_text(f"{files}/*/*.txt")
    run = mapred.submit(
        stamp, text, target_bytes=12, max_tasks=shards, backend=Idle("local"), root=root
    )
    assert run.job.shards == shards
    return run


def measure(settings: Settings) -> Report:
    starts, shards = STARTS[settings.size], SHARDS[settings.size]
    root = settings.home / "runs"
    root.mkdir(parents=True, exist_ok=True)
    run = small_run(root)
    rows = [*import_rows(starts), *driver_rows(starts, root)]
    times = in_turn({"worker": lambda: worker(run, root)}, starts)["worker"].seconds
    rows.append(at_most(Row("`python -m mapred.worker.supervisor`, exec to function", times), 0.5))
    steps = [traced(run, root)[0] for _ in range(starts)]
    rows += [Row(f"— {name}", tuple(each[name] for each in steps)) for name in steps[0]]
    rows += large_rows(large_run(root, root / "files", shards), root, settings)
    return Report(
        "Starting",
        f"{starts} starts with bytecode at hand. The steps are those of a worker whose imports "
        "are timed one after the other.",
        tuple(rows),
    )


def import_rows(starts: int) -> list[Row]:
    calls = {"`python -c pass`": "pass", '`python -c "import mapred"`': "import mapred"}
    results = in_turn({name: lambda c=code: python(c) for name, code in calls.items()}, starts)
    bare, ours = results.values()
    rows = [Row(name, result.seconds) for name, result in results.items()]
    return [*rows, at_most(Row("— beyond the bare start", (ours.median - bare.median,)), 0.05)]


def driver_rows(starts: int, root: Path) -> list[Row]:
    ten = TEN_ITEMS.format(root=str(root))
    used = in_turn({"imports": lambda: cpu(IMPORTS), "run": lambda: cpu(ten)}, starts)
    ratio = used["run"].median / used["imports"].median
    driver = Row("CPU of the driver of ten items", used["run"].seconds, ratio=ratio)
    return [Row(f"CPU of `{IMPORTS}`", used["imports"].seconds, ratio=1.0), at_most(driver, 1.4)]


def large_rows(run: mapred.Run, root: Path, settings: Settings) -> list[Row]:
    task = run.job.shards // 2
    calls = {"worker": lambda: worker(run, root, task)}
    times = in_turn(calls, settings.rounds)["worker"].seconds
    _, read = traced(run, root, task)
    files = ", ".join(f"{path} {size:,}" for path, size in read.items())
    return [
        at_most(Row(f"one shard of {run.job.shards:,}, exec to function", times), 0.5),
        at_most(Row(f"— bytes read ({files})", (float(sum(read.values())),), "B"), 1_000_000),
    ]
