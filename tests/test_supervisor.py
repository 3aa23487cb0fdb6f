"""A block of tasks on a machine of its own, as a pod runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred import layout, records
from mapred.supervisor import DONE, FAILED, MISMATCH, TRY_AGAIN
from mapred.testing import Script, drop_commit, tamper


def _worker(*arguments: Any, artifacts: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(mapred.__file__).parents[1])
    more = {} if artifacts is None else {"MAPRED_ARTIFACTS": str(artifacts)}
    return subprocess.run(
        [sys.executable, "-m", "mapred.supervisor", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": root, **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def script(tmp_path: Path) -> Script:
    (tmp_path / "calls").mkdir()
    return Script(tmp_path / "calls", {})


@pytest.fixture
def run(tmp_path: Path, script: Script) -> Any:
    """A run whose map tasks are to be done again."""
    run = mapred.run(
        script, mapred.array(5), reduce=sum, root=tmp_path, progress="none", attempts=2
    )
    for task in range(5):
        drop_commit(run, task)
    drop_commit(run, 0, "reduce-1")
    return run


def test_a_block_of_tasks(run: Any) -> None:
    done = _worker(run.uri, run.digest, "map", 1, 3)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")
    assert [path for path, _ in run.store.list("map/commits/")] == [
        layout.commit("map", task) for task in (3, 4)
    ]
    assert _worker(run.uri, run.digest, "map", 0, 3).returncode == DONE
    assert _worker(run.uri, run.digest, "reduce-1", 0, 1).returncode == DONE
    assert run.audit().ok


def _reopened(run: Any) -> None:
    """Take back the last word, as if the driver had died before it."""
    run.store.delete(layout.END)
    run.store.delete(layout.MANIFEST)


def test_the_last_task_closes_the_run(run: Any, tmp_path: Path) -> None:
    _reopened(run)
    artifacts = tmp_path / "artifacts"
    assert _worker(run.uri, run.digest, "map", 0, 5, artifacts=artifacts).returncode == DONE
    commits = json.loads((artifacts / "commits.json").read_bytes())
    assert [commit["task"] for commit in commits] == [0, 1, 2, 3, 4]
    assert records.read_end(run.store) is None
    assert not (artifacts / "result.json").exists()
    done = _worker(run.uri, run.digest, "reduce-1", 0, 1, artifacts=artifacts)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")
    assert mapred.open(run.uri).result() == 100
    assert (artifacts / "result.json").read_bytes() == run.store.read(layout.MANIFEST)


def test_a_twin_that_lost_leaves_the_winners_commit(run: Any, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    assert _worker(run.uri, run.digest, "map", 0, 1).returncode == DONE
    assert _worker(run.uri, run.digest, "map", 0, 1, artifacts=artifacts).returncode == DONE
    winner = run.store.read(layout.commit("map", 0))
    assert (artifacts / "commits.json").read_bytes() == b"[" + winner + b"]\n"


def test_a_map_alone_is_closed_by_whoever_asks_and_nothing_is_overlooked(tmp_path: Path) -> None:
    run = mapred.run(str, mapred.array(5), root=tmp_path, progress="none")
    _reopened(run)
    drop_commit(run, 2)  # the engine skipped it
    done = _worker(run.uri, run.digest, "result", 0, 1)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")
    assert mapred.open(run.uri).result() == list("01234")


def test_artifacts_that_cannot_be_written_are_tried_again(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _worker(run.uri, run.digest, "map", 0, 1, artifacts=tmp_path / "file")
    assert done.returncode == TRY_AGAIN
    assert "MAPRED_ARTIFACTS" in done.stdout


def test_a_function_that_fails_is_tried_again_in_a_fresh_process(
    run: Any, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    failing = Script(tmp_path / "more", {2: ["raise"]})
    run._mend(failing)
    assert _worker(run.uri, run.digest, "map", 2, 1).returncode == DONE
    assert failing.calls(2) == 2
    drop_commit(run, 2)
    run._mend(Script(tmp_path / "more", {2: ["raise"] * 9}))
    done = _worker(run.uri, run.digest, "map", 2, 1)
    assert done.returncode == FAILED
    assert "ValueError: item 2" in done.stdout


def test_a_job_that_was_changed_is_refused(run: Any) -> None:
    digest = run.digest
    tamper(run, layout.JOB, lambda job: {**job, "seed": 7})
    done = _worker(run.uri, digest, "map", 0, 1)
    assert done.returncode == MISMATCH
    assert "someone changed it" in done.stdout


def test_another_python_is_refused(run: Any) -> None:
    tamper(run, layout.JOB, lambda job: {**job, "python": "3.9"})
    done = _worker(run.uri, run.digest, "map", 0, 1)
    assert done.returncode == MISMATCH
    assert "made by Python 3.9" in done.stdout


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    done = _worker(tmp_path, "0" * 64, "map", 0, 1)
    assert done.returncode == FAILED
    assert "holds no run" in done.stdout


def test_wrong_usage_shows_how(tmp_path: Path) -> None:
    assert "RUN_URI DIGEST STAGE" in _worker("x").stderr
