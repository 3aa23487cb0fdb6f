"""Contenders as processes of their own: their time, their memory, and their end."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import Call, ContenderError, Sample, Settings, TooSlowError

ROOT = Path(__file__).parents[1]


def contender(
    module: str, name: str, argument: str, settings: Settings, more: Mapping[str, str] | None = None
) -> Call:
    """`CONTENDERS[name]` of a module as a call; each run is a process, with `more` in its environment."""

    def call(check: bool) -> Sample:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rows.pickle")
            command = [sys.executable, "-m", "benchmarks.child", module, name, argument]
            os.sync()  # what the run before wrote is not written back during this one
            start = time.time()
            process = _start([*command, *([str(file)] if check else [])], settings.home, more or {})
            with watched(process.pid) if check else contextlib.nullcontext([]) as seen:
                printed = _finish(process, settings)
            rows = pickle.loads(file.read_bytes()) if check else None
        ended = printed["ended"]
        # Making the answer comparable may take more memory than the answer did.
        peak = max((held for when, held in seen if when <= ended), default=0)
        seconds = ended - start if printed["seconds"] is None else printed["seconds"]
        return Sample(seconds, peak, rows)

    return call


def _start(command: list[str], home: Path, more: Mapping[str, str]) -> subprocess.Popen[str]:
    (home / "runs").mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        **more,
        "MAPRED_ROOT": str(home / "runs"),
        "PYTHONPATH": str(ROOT),
        # Lithops starts whatever `python` comes first.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONWARNINGS": "ignore",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start finds bytecode
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _finish(process: subprocess.Popen[str], settings: Settings) -> dict[str, Any]:
    """What the process printed. Whatever it started is ended, what it wrote is deleted."""
    try:
        printed, errors = process.communicate(timeout=settings.limit)
    except subprocess.TimeoutExpired:
        raise TooSlowError(settings.limit) from None
    finally:
        _kill(process)
        shutil.rmtree(settings.home / "runs", ignore_errors=True)
    if process.returncode:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        raise ContenderError(f"ended with status {process.returncode}: {last[:300]}")
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return answer


def _kill(process: subprocess.Popen[str]) -> None:
    """End the process and all its descendants, also those that lost their parent."""
    for each in _tree(process.pid):
        with contextlib.suppress(psutil.Error):
            each.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
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


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[tuple[float, int]]]:
    """Times, and the bytes that a process and its descendants hold then; ten times a second."""
    seen: list[tuple[float, int]] = []
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.1):
            held = sum(map(_held, _tree(pid)))
            seen.append((time.time(), held))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def _held(process: psutil.Process) -> int:
    """Resident bytes; pages that several processes share count once, where the system tells."""
    measure: Callable[[], Any] = process.memory_full_info
    try:
        info = measure()
        return int(getattr(info, "pss", 0) or info.rss)
    except psutil.Error:
        return 0
