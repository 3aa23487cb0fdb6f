"""Runs engines as processes: their answers compared, their time in turn, their peak memory."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = float(os.environ.get("MAPRED_PEERS_LIMIT", "300"))
TOLERANCE = 1e-9


class EngineError(Exception):
    """An engine that is not installed, fails, takes too long, or answers differently."""


class TooSlowError(EngineError):
    """An engine that was ended at the limit, `LIMIT_SECONDS`."""


@dataclass(frozen=True)
class Checked:
    """The rows of an answer, how long it took, and the most memory that was held meanwhile.

    `peak` is in bytes, of all processes of the engine at once; pages that several of them share
    count once. `seconds` are somewhat long: looking at the memory costs time.
    """

    rows: list[list[Any]]
    peak: int
    seconds: float


def checked(workload: str, engine: str, argument: str, home: Path) -> Checked:
    """One run that is not timed."""
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        start = time.time()
        process = _start(workload, engine, argument, home, file.name)
        with _Peak(process.pid) as peak:
            ended = _finish(process, engine, home)
        rows = pickle.loads(Path(file.name).read_bytes())
    return Checked(rows, peak.until(ended), ended - start)


def timed(workload: str, engine: str, argument: str, home: Path) -> float:
    """Seconds from the start of the program to its answer."""
    os.sync()  # what the run before wrote is not written back during this one
    start = time.time()
    return _finish(_start(workload, engine, argument, home), engine, home) - start


def compare(rows: list[list[Any]], other: list[list[Any]]) -> None:
    """Raise `EngineError` unless both are the same rows, floats within a relative 1e-9."""
    if len(rows) != len(other):
        raise EngineError(f"{len(other):,} rows in place of {len(rows):,}")
    for left, right in zip(rows, other, strict=True):
        if len(left) != len(right) or not all(map(_same, left, right)):
            raise EngineError(f"{right} in place of {left}")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=TOLERANCE)
    return bool(left == right)


def _start(*arguments: str | Path) -> subprocess.Popen[str]:
    workload, engine, argument, home, *file = map(str, arguments)
    runs = Path(home, "runs")
    runs.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "MAPRED_ROOT": str(runs),
        "PYTHONPATH": str(ROOT),
        # Lithops starts whatever `python` comes first.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.peers.one", workload, engine, argument, *file]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _finish(process: subprocess.Popen[str], engine: str, home: Path) -> float:
    """When the answer was there; what the engine wrote is deleted."""
    try:
        printed, errors = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise TooSlowError(f"{engine} took more than {LIMIT_SECONDS:g} s") from None
    finally:
        _kill(process)
        shutil.rmtree(home / "runs", ignore_errors=True)
    if process.returncode:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        raise EngineError(f"{engine} ended with status {process.returncode}: {last[:300]}")
    return float(json.loads(printed.splitlines()[-1])["ended"])


def _kill(process: subprocess.Popen[str]) -> None:
    """All that the engine started, also what lost its parent meanwhile, as far as it is known."""
    for each in _tree(process.pid):
        try:
            each.kill()
        except psutil.Error:
            continue
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


class _Peak:
    """Looks at the memory of a process and its descendants ten times a second."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._seen: list[tuple[float, int]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def until(self, ended: float) -> int:
        """The peak in bytes before the answer was there; making it comparable counts for none."""
        return max((held for when, held in self._seen if when <= ended), default=0)

    def _look(self) -> None:
        while not self._end.wait(0.1):
            held = sum(map(_held, _tree(self.pid)))
            self._seen.append((time.time(), held))


def _held(process: psutil.Process) -> int:
    measure: Callable[[], Any] = process.memory_full_info
    try:
        known = measure()
        return int(getattr(known, "pss", 0) or known.rss)
    except psutil.Error:
        return 0
