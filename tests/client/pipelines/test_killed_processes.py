"""A pipeline in processes that are killed at any time: the same answer, and no run twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.client import lookup
from mapred.errors import StorageError
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import open_store

EXPECTED = [sum((100 + n) ** 2 for n in range(4)), sum((200 + n) ** 2 for n in range(4)), 56]
SEEDS = 6
KILLS = 12
LONGEST = 0.8  # seconds that a driver lives, about half of what the whole takes


def start(root: str, script: Path, sources: Path, calls: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), root, str(calls), "local"],
        env={**os.environ, "PYTHONPATH": str(sources)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_driver(root: str, process: subprocess.Popen[str]) -> None:
    """Wait until a process drives the pipeline, since it takes longer to start than to drive."""
    folder = PipelineFolder(open_store(f"{root}/night"))
    while process.poll() is None:
        with suppress(StorageError):  # of a bucket that the process makes
            if f":{process.pid}:" in (folder.start().ref or ""):
                return
        time.sleep(0.01)


def workers_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "-g", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split() if int(word) != pid]


def kill_one(process: subprocess.Popen[str], chance: random.Random) -> None:
    """Kill the driver with all that it started, or one of its workers alone."""
    workers = workers_of(process.pid)
    try:
        if workers and chance.random() < 0.5:
            os.kill(chance.choice(workers), signal.SIGKILL)
            time.sleep(chance.uniform(0, LONGEST / 2))
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_until_done(
    root: str, script: Path, sources: Path, calls: Path, chance: random.Random
) -> str:
    for _ in range(KILLS):
        process = start(root, script, sources, calls)
        wait_for_driver(root, process)
        try:
            out, _ = process.communicate(timeout=chance.uniform(0, LONGEST))
            if process.returncode == 0:
                return out
        except subprocess.TimeoutExpired:
            kill_one(process, chance)
            process.communicate()
    process = start(root, script, sources, calls)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def claimed(root: str, name: str) -> list[Any]:
    """Return the claims of a pipeline, those of the pipelines inside of it included."""
    found = []
    for claim in PipelineFolder(open_store(f"{root}/{name}")).claims():
        found.append(claim)
        if claim.step.kind == "pipeline":
            found += claimed(root, claim.uri.rpartition("/")[2])
    return found


def check(root: str, out: str, calls: Path) -> None:
    assert out.strip() == str(EXPECTED)
    claims = claimed(root, "night")
    assert sorted(claim.step.kind for claim in claims) == ["pipeline"] * 2 + ["run"] * 4
    runs = {name for _, name in lookup.folders(root) if has_job(f"{root}/{name}")}
    assert runs == {claim.uri.rpartition("/")[2] for claim in claims if claim.step.kind == "run"}
    for name in runs:
        run = mapred.open(f"{root}/{name}")
        assert run.state == "succeeded"
        assert not run.audit().problems
    before = {path.name: path.read_text() for path in calls.iterdir()}
    again: Any = mapred.open(f"{root}/night")
    assert again.resume().result()["sums"] == EXPECTED
    assert {path.name: path.read_text() for path in calls.iterdir()} == before


def has_job(uri: str) -> bool:
    try:
        mapred.open(uri).job  # noqa: B018
    except (mapred.RunError, AttributeError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_again_and_again_in_a_folder(seed: int, tmp_path: Path, root: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    script = root / "tests" / "user_code" / "killed_pipeline.py"
    runs = str(tmp_path / "runs")
    out = run_until_done(runs, script, root, calls, random.Random(seed))
    check(runs, out, calls)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 2))
def test_killed_again_and_again_on_s3(seed: int, tmp_path: Path, root: Path, s3_root: str) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    script = root / "tests" / "user_code" / "killed_pipeline.py"
    out = run_until_done(s3_root, script, root, calls, random.Random(seed))
    check(s3_root, out, calls)
