"""One trial: a copy of mapred with a fault, and what its tests say of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mutation.points import Fault

ROOT = Path(__file__).parents[2]
# The tests that are to notice the faults of a file or a folder of mapred; those of others lie in
# a file or folder of the same name.
_CSV = "formats/test_csv.py formats/test_dialect.py formats/test_csv_values.py formats/test_csv_dialects.py"
_TABLES = "formats/test_casting.py formats/test_parquet.py formats/test_csv_values.py"
_TEXT = "formats/test_text.py formats/test_magic.py"
_PARQUET = "formats/test_parquet.py formats/test_pruning.py formats/test_filters.py"
TESTS = {
    "planner": "planner",
    **dict.fromkeys(
        "formats/csv formats/dialect formats/headers formats/literals formats/parsing "
        "formats/inference".split(),
        _CSV,
    ),
    **dict.fromkeys(
        "formats/casting formats/conversion formats/schemas formats/tables".split(), _TABLES
    ),
    **dict.fromkeys("formats/text formats/lines formats/compression".split(), _TEXT),
    **dict.fromkeys(
        "formats/parquet formats/pruning formats/filters formats/int96".split(), _PARQUET
    ),
    "formats/ipc": "formats/test_ipc.py",
    "formats": "formats",
}


@dataclass(frozen=True)
class Mutant:
    """A fault in a file of mapred; without a fault the file as it is."""

    file: str
    fault: Fault | None

    @property
    def name(self) -> str:
        if self.fault is None:
            return f"{self.file} as it is"
        old, new = (" ".join(text.split()) for text in (self.fault.old, self.fault.new))
        return f"{self.file}:{self.fault.line}:{self.fault.start}: {old} -> {new}"


def suite_of(file: str) -> list[str]:
    """The tests of a file of mapred, as paths below tests/."""
    path = Path(file).with_suffix("")
    for place in (path, *path.parents):
        if str(place) in TESTS:
            return TESTS[str(place)].split()
        mirrored = place.with_name(f"test_{place.name}.py") if place.name else place
        for candidate in (mirrored, place):
            if place.name and (ROOT / "tests" / candidate).exists():
                return [str(candidate)]
    raise LookupError(f"no tests are known for mapred/{file}")


@dataclass(frozen=True)
class Verdict:
    """Of a mutant the first test that failed, or another end; empty: it survived."""

    mutant: str
    killed_by: str
    seconds: float


def judge(mutant: Mutant, limit: float) -> Verdict:
    """Run the tests of a mutant until one fails, within so many seconds."""
    tests = [str(ROOT / "tests" / name) for name in suite_of(mutant.file)]
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        package = Path(folder, "mapred")
        shutil.copytree(ROOT / "mapred", package, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant.fault is not None:
            source = (package / mutant.file).read_bytes()
            (package / mutant.file).write_bytes(mutant.fault.put_into(source))
        began = time.monotonic()
        killed_by = _first_failure(Path(folder), tests, limit)
        return Verdict(mutant.name, killed_by, round(time.monotonic() - began, 1))


def _first_failure(folder: Path, tests: list[str], limit: float) -> str:
    command = [
        sys.executable, "-m", "pytest", "-q", "-x", "--tb=no",
        "-p", "no:cacheprovider", "-p", "mutation.no_shrinking", "--hypothesis-profile", "no-shrinking",
        "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *tests,
    ]  # fmt: skip
    path = os.pathsep.join([str(folder), str(ROOT / "tests")])
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = process.wait(limit)
    except subprocess.TimeoutExpired:
        return f"more than {limit:.0f} s"
    finally:
        _end_session(process)
    if status == 0:
        return ""
    printed = (folder / "output.txt").read_text(errors="replace")
    failed = re.search(r"^(?:FAILED|ERROR) \S*?(tests/\S+)", printed, re.M)
    return failed[1] if failed else f"exit status {status}"


def _end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it left in its session."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()
