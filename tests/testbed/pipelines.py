"""Small pipelines that succeeded, failed or wait, for tests of what is shown and removed."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import mapred

QUIET: dict[str, Any] = {"progress": "none", "attempts": 1}


def parse(number: int) -> int:
    return 2 * number


def invert(number: int) -> float:
    return 1 / (number - 4)


def report(number: float) -> float:
    return number


@mapred.pipeline
def inner(number: int) -> Any:
    return mapred.run(report, [number], **QUIET).result()


@mapred.pipeline
def asking(question: str) -> Any:
    return mapred.approve("inside", question)


@mapred.pipeline
def nightly(day: str, breaks: bool = False, waits: bool = False, nested: bool = False) -> Any:
    raw = mapred.run(parse, [1, 2, 3], **QUIET)
    bad = mapred.recorded(int, 17, name="bad")
    one = mapred.run(report, raw, name="one", **QUIET)
    two = mapred.submit(invert if breaks else report, raw, name="two", attempts=1)
    inner.run(5)
    limit: dict[str, Any] = {} if waits else {"timeout": "0.001s", "default": True}
    mapred.approve("go", f"{bad} bad rows: continue?", **limit)
    if nested:
        asking.run("Really?")
    if breaks:
        two.wait()
        two.check()
    return mapred.run(report, mapred.outputs(one, two), name="publish", **QUIET).result()


def succeeded(root: Path) -> mapred.PipelineRun:
    """A copy of a pipeline that was run once for all tests of this process."""
    return _copy(breaks=False, root=root)


def failed(root: Path) -> mapred.PipelineRun:
    return _copy(breaks=True, root=root)


def _copy(*, breaks: bool, root: Path) -> mapred.PipelineRun:
    made, run_id = _made(breaks)
    shutil.copytree(made, root, dirs_exist_ok=True)
    return mapred.open(root / run_id)  # type: ignore[return-value]


@functools.cache
def _made(breaks: bool) -> tuple[str, str]:
    base = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, base)
    run_id = "20261103-030000-0000000" + ("1" if breaks else "0")
    with suppress(mapred.RunError):
        nightly.run("2026-11-03", breaks=breaks, backend="inline", root=base, run_id=run_id)
    return base, run_id


def waiting(root: Path, *, nested: bool = False) -> mapred.PipelineRun:
    """A pipeline at work, which waits at a gate; with `nested`, at one of a pipeline in it."""
    run = nightly.submit("2026-11-03", waits=True, nested=nested, backend="inline", root=root)
    await_gates(run)
    if nested:
        run.approve("go", True)
        await_gates(run, "inside")
    return run


def await_gates(run: mapred.PipelineRun, name: str = "go") -> None:
    late = time.monotonic() + 30
    while f"approve('{name}'" not in str(run):
        assert time.monotonic() < late
        assert run.status().live
        time.sleep(0.01)
