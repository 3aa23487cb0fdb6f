"""`bench_planning.py` at full size, as a section of the report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.report import Row, Section

FILES = 10_000_000
TESTS = (
    ("test_plan", "plan / (cumsum + stable argsort)", "< 1"),
    ("test_lithops", "Lithops / plan, for a file", "≥ 50"),
    ("test_peak_memory_of_plan_and_files", "plan and its files", "≤ 15 s, peak ≤ 3 listings"),
)


def measure(folder: Path) -> Section:
    rows = []
    for test, label, bar in TESTS:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", f"benchmarks/bench_planning.py::{test}"),
                *("-s", "-q", "-m", "", "--benchmark-enable", "--timeout=1800"),
            ],
            env={**os.environ, "MAPRED_BENCH_FILES": str(FILES)},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.findall(rf"{re.escape(label)}: (.+)", run.stdout)
        if not found and "skipped" in run.stdout:
            found = ["not installed"]
        if not found:
            raise RuntimeError(f"{test} printed no figure:\n{(run.stdout + run.stderr)[-3000:]}")
        met = None if found == ["not installed"] else run.returncode == 0
        rows += [Row(label, figure, bar=bar, met=met) for figure in found]
    return Section(
        f"Planning {FILES:,} files",
        "To ranges and shards in memory, at the default target and at 64 MiB, and to plan files.",
        tuple(rows),
    )
