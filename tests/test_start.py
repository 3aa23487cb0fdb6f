"""A run in a fresh process loads neither pandas nor what it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
import mapred
def double(value): return value * 2 if isinstance(value, int) else len(list(value))
if __name__ == "__main__":
    root, kind = sys.argv[1:]
    for name in "ab":
        with open(f"{root}/{name}.txt", "w") as file:
            file.write("1\\n2\\n")
    data = {
        "items": lambda: mapred.items([1, 2, 3]),
        "uris": lambda: [f"{root}/a.txt", f"{root}/b.txt", f"{root}/a.txt"],
        "glob": lambda: f"{root}/*.txt",
    }[kind]()
    mapred.run(double, data, root=root + "/runs", progress="none", max_tasks=2).result()
    print(*sorted(set("ABSENT".split()) & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        (
            "items",
            "pandas psutil html mapred.audit "
            "mapred.tabulating mapred.display.text mapred.display.html mapred.display.live",
        ),
        ("uris", "pandas"),
        ("glob", "pandas"),
    ],
)
def test_a_run_loads_little(tmp_path: Path, root: Path, kind: str, absent: str) -> None:
    file = tmp_path / "job.py"
    file.write_text(SCRIPT.replace("ABSENT", absent))
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path), kind],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
