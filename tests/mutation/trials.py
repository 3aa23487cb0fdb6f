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

from test_mirror import TESTED_BY, own_file

from mutation.points import Fault

ROOT = Path(__file__).parents[2]
# The tests that are to notice the faults of a module, beside those of its own file.
ALSO = {
    **dict.fromkeys(
        "formats.csv formats.dialect formats.headers formats.parsing "
        "formats.conversion formats.inference".split(),
        "test_dialect test_csv_values test_csv test_csv_dialects",
    ),
    **dict.fromkeys(
        "formats.casting formats.schemas formats.tables".split(), "test_parquet test_csv_values"
    ),
    **dict.fromkeys(
        "formats.parquet formats.pruning formats.filters formats.literals formats.int96".split(),
        "test_filters test_pruning test_parquet",
    ),
    "formats.compression": "test_magic test_csv",
    "formats.base": "test_csv_values test_json test_parquet",
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
    """The tests of a file of mapred, as paths below tests/, those of its own first."""
    module = ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")
    own = own_file(module)
    if own is None:
        listed = [name for name, modules in TESTED_BY.items() if module in modules.split()]
    else:
        listed = [str(own.relative_to(ROOT / "tests"))]
    folder = module.partition(".")[0]
    also = [f"{folder}/{name}.py" for name in ALSO.get(module, "").split()]
    return list(dict.fromkeys([*listed, *also]))


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
