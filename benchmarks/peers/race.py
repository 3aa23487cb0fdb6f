"""Runs engines as processes: their answers compared, their time in turn, their peak memory."""

from __future__ import annotations

import json
import math
import os
import pickle
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
LIMIT_SECONDS = float(os.environ.get("MAPRED_PEERS_LIMIT", "1800"))
TOLERANCE = 1e-9


class EngineError(Exception):
    """An engine that is not installed, fails, takes too long, or answers differently."""


@dataclass(frozen=True)
class Checked:
    """The rows of an answer, and the most memory that the engine's processes held at once.

    `peak` is in bytes: pages that several processes share count once.
    """

    rows: list[list[Any]]
    peak: int


def checked(workload: str, engine: str, argument: str, home: Path) -> Checked:
    """One run that is not timed."""
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        process = _start(workload, engine, argument, home, file.name)
        with _Peak(process.pid) as peak:
            _finish(process, engine)
        return Checked(pickle.loads(Path(file.name).read_bytes()), peak.bytes)


def timed(workload: str, engine: str, argument: str, home: Path) -> float:
    """Seconds from the start of the program to its answer."""
    start = time.time()
    return float(_finish(_start(workload, engine, argument, home), engine)["ended"]) - start


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
    environment = {
        **os.environ,
        "MAPRED_ROOT": f"{home}/runs",
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


def _finish(process: subprocess.Popen[str], engine: str) -> dict[str, Any]:
    try:
        printed, errors = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process.pid)
        process.communicate()
        raise EngineError(f"{engine} took more than {LIMIT_SECONDS:g} s") from None
    if process.returncode:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        raise EngineError(f"{engine} ended with status {process.returncode}: {last[:300]}")
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return answer


def _kill(pid: int) -> None:
    for each in _tree(pid):
        try:
            each.kill()
        except psutil.Error:
            continue


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


class _Peak:
    """Looks at the memory of a process and its descendants ten times a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.bytes = pid, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.1):
            self.bytes = max(self.bytes, sum(map(_held, _tree(self.pid))))


def _held(process: psutil.Process) -> int:
    measure: Callable[[], Any] = process.memory_full_info
    try:
        known = measure()
        return int(getattr(known, "pss", 0) or known.rss)
    except psutil.Error:
        return 0
