"""Starting up: `import mapred`, and a worker from exec to the user's function."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import mapred
from benchmarks.functions import stamp
from benchmarks.report import Row, Section, in_turn, spread

STARTS = 21
SHARDS = 100_000
HERE = Path(__file__).parent
STAMP = "MAPRED_BENCH_STAMP"
IMPORTS = "import numpy, pyarrow"
TEN_ITEMS = """
import mapred

def square(item):
    return item * item

run = mapred.run(square, mapred.items(range(10)), root={root!r}, progress="none")
assert run.result() == [item * item for item in range(10)]
"""


class _NotStarted:
    """The handle of a run that nobody works on."""

    ref = "none"
    detaches = True

    def alive(self) -> bool:
        return False


@dataclass(frozen=True)
class FolderOnly:
    """A backend that starts nothing: the run's folder is there, its workers are not."""

    name: str = "local"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        return

    def submit(self, store: Any, job: Any, digest: str) -> Any:
        return _NotStarted()


def environment(**more: str) -> dict[str, str]:
    found = {**os.environ, "PYTHONPATH": str(HERE.parent), **more}
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


def python(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
    return time.perf_counter() - start


def cpu(code: str) -> float:
    """Seconds of CPU that a fresh process takes for some code, its children left out."""
    told = "import resource\nused = resource.getrusage(resource.RUSAGE_SELF)\n"
    code = f"{code}\n{told}print(used.ru_utime + used.ru_stime)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def worker(run: mapred.Run, folder: Path, task: int = 0) -> float:
    """Seconds from the start of `python -m mapred.worker.supervisor` to the user's function.

    The run's folder is left as if it had not run.
    """
    told = folder / "stamp"
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
    subprocess.run(call, env=environment(**{STAMP: str(told)}), check=True)
    Path(run.uri, f"map/commits/{task:06d}.json").unlink()
    return float(told.read_text()) - start


def traced(run: mapred.Run, folder: Path, task: int = 0) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds of each step of a worker's start, and bytes read of each file before its end."""
    call = [sys.executable, "-m", "benchmarks.traced_worker", run.uri, run.digest, "map"]
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
    return mapred.submit(stamp, mapred.array(1), backend=FolderOnly(), root=root)


def large_run(root: Path, files: Path, shards: int) -> mapred.Run:
    """A shard for each of many files."""
    for number in range(shards):
        folder = files / f"part-{number // 1000:04d}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"document-{number:06d}.txt").write_text(f"line {number:06d}\n")
    text = mapred.read_text(f"{files}/*/*.txt")
    run = mapred.submit(
        stamp, text, target_bytes=12, max_tasks=shards, backend=FolderOnly(), root=root
    )
    assert run.job.shards == shards
    return run


def measure(folder: Path) -> Section:
    root = folder / "runs"
    root.mkdir(parents=True, exist_ok=True)
    seconds = in_turn(
        {"python": lambda: python("pass"), "import": lambda: python("import mapred")}, STARTS
    )
    beyond = statistics.median(seconds["import"]) - statistics.median(seconds["python"])
    rows = [
        Row("`python -c pass`", spread(seconds["python"], 1000, "ms", 0)),
        Row(
            '`python -c "import mapred"`',
            spread(seconds["import"], 1000, "ms", 0),
            f"+{beyond * 1000:.0f} ms",
            "≤ 50 ms beyond",
            beyond <= 0.05,
        ),
    ]
    ten = TEN_ITEMS.format(root=str(root))
    used = in_turn({"imports": lambda: cpu(IMPORTS), "run": lambda: cpu(ten)}, STARTS)
    ratio = statistics.median(used["run"]) / statistics.median(used["imports"])
    rows += [
        Row("CPU of `import numpy, pyarrow`", spread(used["imports"], 1000, "ms", 0), "1"),
        Row(
            "CPU of the driver of ten items",
            spread(used["run"], 1000, "ms", 0),
            f"{ratio:.2f}",
            "≤ 1.4",
            ratio <= 1.4,
        ),
    ]
    run = small_run(root)
    times = in_turn({"worker": lambda: worker(run, root)}, STARTS)["worker"]
    rows.append(
        Row(
            "`python -m mapred.worker.supervisor`, exec to function",
            spread(times, 1000, "ms", 0),
            "",
            "≤ 500 ms",
            statistics.median(times) <= 0.5,
        )
    )
    found = [traced(run, root)[0] for _ in range(STARTS)]
    for name in found[0]:
        rows.append(Row(f"— {name}", spread([each[name] for each in found], 1000, "ms", 1)))
    large = large_run(root, folder / "runs" / "files", SHARDS)
    times = in_turn({"worker": lambda: worker(large, root, SHARDS // 2)})["worker"]
    _, read = traced(large, root, SHARDS // 2)
    rows.append(
        Row(
            f"one shard of {SHARDS:,}, exec to function",
            spread(times, 1000, "ms", 0),
            "",
            "≤ 500 ms",
            statistics.median(times) <= 0.5,
        )
    )
    total = sum(read.values())
    each = ", ".join(f"{path} {size:,}" for path, size in read.items())
    rows.append(Row(f"— bytes read ({each})", f"{total:,} B", "", "≤ 1 MB", total <= 1_000_000))
    return Section(
        "Starting",
        f"Medians of {STARTS} starts with bytecode at hand. The steps are those of a worker "
        "whose imports are timed one after the other.",
        tuple(rows),
    )


def test_driver(tmp_path: Path) -> None:
    assert 0 < cpu(IMPORTS) < 30
    assert 0 < cpu(TEN_ITEMS.format(root=str(tmp_path))) < 60


def test_worker(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    assert 0 < worker(run, tmp_path) < 30
    steps, read = traced(run, tmp_path)
    assert next(iter(steps)) == "interpreter"
    assert list(steps)[-1] == "opening the input"
    assert min(steps.values()) >= 0
    assert sum(read.values()) <= 1_000_000


def test_bytes_of_many_shards(tmp_path: Path) -> None:
    run = large_run(tmp_path / "runs", tmp_path / "files", SHARDS // 1000)
    _, read = traced(run, tmp_path, 50)
    assert sum(read.values()) <= 1_000_000


@pytest.mark.parametrize("code", ["pass", "import mapred"])
def test_import(benchmark: Any, code: str) -> None:
    benchmark.pedantic(python, (code,), rounds=5)
