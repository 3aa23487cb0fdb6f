"""Runs that failed or were interrupted, continued by a command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli.commands import call, run, start


def test_a_failed_run_exits_with_1_and_can_be_fixed(job_file: str) -> None:
    failed = run(job_file, "--job", "failing", code=1)
    assert "ValueError: one is wrong" in failed.stderr
    assert "to resume, once fails is fixed:\nmapred resume 2" in failed.stderr
    reference = shlex.quote(f"{os.path.relpath(job_file)}:fails")
    assert failed.stderr.rstrip().endswith(f"--fn {reference}")
    document = json.loads(run(job_file, "--job", "failing", "--json", code=1).stdout)
    assert document["state"] == "failed"
    assert document["result"] is None
    assert [failure["task"] for failure in document["failures"]] == [1]
    assert "one is wrong" in call("show", "last").stdout
    assert "one is wrong" in call("resume", "last", code=1).stderr
    resumed = call("resume", "last", "--fn", f"{job_file}:fixed", "--json")
    assert json.loads(resumed.stdout)["result"][1] == -1
    assert call("resume", "last").stdout.splitlines()[0] == document["uri"], "left alone"


@pytest.mark.slow
def test_an_interrupt_leaves_no_process_and_a_run_to_go_on_with(job_file: str, runs: Path) -> None:
    with start("run", job_file, "--job", "waiting", start_new_session=True) as process:
        driver = psutil.Process(process.pid)
        _until(lambda: len(list(runs.glob("*/map/commits/*"))) > 2)
        workers = driver.children(recursive=True)
        assert workers
        assert json.loads(call("ls", "--json").stdout)[0]["state"] == "running"
        # As a terminal does: the signal goes to every process of the group.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    run_id = next(iter(runs.glob("2*"))).name
    assert f"Interrupted; to resume:\nmapred resume {run_id}" in err
    assert "Traceback" not in err
    (entry,) = json.loads(call("ls", "--json").stdout)
    assert entry["state"] in ("interrupted", "suspended")
    assert 2 < entry["done"] < 100
    document = json.loads(call("resume", "last", "--workers", "8", "--json").stdout)
    assert document["result"] == list(range(100))


@pytest.mark.slow
def test_resume_follows_a_run_that_is_driven_elsewhere(job_file: str, runs: Path) -> None:
    with start("run", job_file, "--job", "waiting", "--workers", "16") as process:
        _until(lambda: list(runs.glob("*/map/commits/*")))
        assert "is running" in call("resume", "last", "--fn", "math:sqrt", code=2).stderr
        document = json.loads(call("resume", "last", "--json").stdout)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert document["result"] == list(range(100))
    assert not list(runs.glob("*/map/errors/*"))


def _until(condition: Any, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)
