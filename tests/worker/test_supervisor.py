"""A block of tasks on a machine of its own, as a pod runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy
import pytest

import mapred
from mapred import backends
from mapred.client.changes import Changes, plan_revision
from mapred.model import layout
from mapred.model.retries import DONE, FAILED, KILLED, MISMATCH, TRY_AGAIN
from mapred.runfolder.folder import RunFolder
from mapred.testing import Idle, Script, drop_commit, tamper
from mapred.worker.supervisor import LOG_CAP, CapturedOutput


def _worker(
    *arguments: Any, artifacts: Path | None = None, output: bool = True
) -> subprocess.CompletedProcess[str]:
    root = str(Path(mapred.__file__).parents[1])
    more = {} if artifacts is None else {"MAPRED_ARTIFACTS": str(artifacts)}
    return subprocess.run(
        [sys.executable, "-m", "mapred.worker.supervisor", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": root, **more},
        stdout=subprocess.PIPE if output else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
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


@pytest.mark.slow
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
    assert RunFolder(run.store).end() is None
    assert not (artifacts / "result.json").exists()
    done = _worker(run.uri, run.digest, "reduce-1", 0, 1, artifacts=artifacts)
    assert (done.returncode, done.stdout, done.stderr) == (DONE, "", "")
    assert mapred.open(run.uri).result() == 100
    assert (artifacts / "result.json").read_bytes() == run.store.read(layout.MANIFEST)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_root_that_refuses_is_final(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same keys in another pod are refused as well: an engine must not try them for minutes."""
    run = mapred.run(str, mapred.array(2), root=s3_root, progress="none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-and-wrong")
    done = _worker(run.uri, run.digest, "map", 0, 2)
    assert done.returncode == MISMATCH
    assert "SignatureDoesNotMatch" in done.stdout
    assert "check AWS_SECRET_ACCESS_KEY" in done.stdout
    assert done.stdout.count("\n") == 1
    assert "planted-and-wrong" not in done.stdout


@dataclass(frozen=True)
class Elsewhere:
    """A backend for workers that shall have what a made-up client has."""

    versions: dict[str, str]
    name: str = "inline"
    arguments: dict[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        return

    def expected(self, used: dict[str, str]) -> dict[str, str]:
        self.versions.update({name: version for name, version in used.items() if name == "numpy"})
        return self.versions

    def submit(self, store: Any, job: Any, digest: str) -> Any:
        return backends.resolve("inline").submit(store, job, digest)


def _made_with(root: Path, versions: dict[str, str]) -> Any:
    """A run whose only map task is to be done again."""
    run = mapred.run(
        lambda i: int(numpy.int64(i)), mapred.array(1), root=root, progress="none",
        backend=Elsewhere(versions),
    )  # fmt: skip
    drop_commit(run, 0)
    _reopened(run)
    return run


def test_all_packages_that_do_not_match_are_one_error(tmp_path: Path) -> None:
    other = {"click": "6.7", "no-such-package": "1.2.3+cu121"}
    run = _made_with(tmp_path, other)
    assert run.job.packages["numpy"] == numpy.__version__
    done = _worker(run.uri, run.digest, "map", 0, 1)
    assert done.returncode == MISMATCH
    shown = [line.split() for line in done.stdout.splitlines()]
    assert shown[1:4] == [
        ["package", "submitted", "with", "in", "the", "image"],
        ["click", "6.7", metadata.version("click")],
        ["no-such-package", "1.2.3+cu121", "none"],
    ]
    assert "packages=['click==6.7', 'no-such-package==1.2.3']" in done.stdout
    assert run.store.list("map/errors") == run.store.list("map/commits") == []


def test_another_patch_of_a_package_is_a_warning(tmp_path: Path) -> None:
    major, minor = metadata.version("click").split(".")[:2]
    run = _made_with(tmp_path, {"click": f"{major}.{minor}.99"})
    done = _worker(run.uri, run.digest, "map", 0, 1)
    assert done.returncode == DONE
    said = f"click {metadata.version('click')} for {major}.{minor}.99"
    assert f"WARNING mapred: the image has other patch releases: {said}" in done.stdout


def _revise(run: Any, fn: Any) -> None:
    revision = plan_revision(RunFolder(run.store), run.job, Changes(fn=fn))
    revision.write(RunFolder(run.store))
    run.job = revision.job


@pytest.mark.slow
def test_a_function_that_fails_is_tried_again_in_a_fresh_process(
    run: Any, script: Script, tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    failing = Script(tmp_path / "more", {2: ["raise"]})
    _revise(run, failing)
    assert _worker(run.uri, run.digest, "map", 2, 1).returncode == DONE
    assert failing.calls(2) == 2
    drop_commit(run, 2)
    failing = Script(tmp_path / "more", {2: ["raise"] * 9})
    _revise(run, failing)
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
    _revise(run, lambda item: item)
    tamper(run, layout.JOB, lambda job: {**job, "python": "3.9", "code": {}})
    done = _worker(run.uri, run.digest, "map", 0, 1)
    assert done.returncode == MISMATCH
    assert "made by Python 3.9" in done.stdout


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    done = _worker(tmp_path, "0" * 64, "map", 0, 1)
    assert done.returncode == FAILED
    assert "holds no run" in done.stdout


def test_wrong_usage_shows_how(tmp_path: Path) -> None:
    assert "RUN_URI DIGEST STAGE" in _worker("x").stderr


def _fresh(fn: Any, dataset: Any, root: Path, **options: Any) -> Any:
    """A run that was written and never started."""
    return mapred.submit(fn, dataset, backend=Idle("folder"), root=root, **options)


@pytest.mark.slow
def test_what_ends_a_process_is_recorded_and_repeated(script: Script, tmp_path: Path) -> None:
    dying = Script(Path(script.folder), {0: ["_exit", "raise"], 1: ["exit"], 2: ["segfault"]})
    run = _fresh(Says(dying), mapred.array(4), tmp_path, per_task=1, attempts=3)
    done = _worker(run.uri, run.digest, "map", 0, 4)
    assert done.returncode == DONE, done.stdout
    assert [dying.calls(item) for item in range(4)] == [3, 2, 2, 1]
    assert len(dying.processes(0)) == 3
    # What was printed is seen as it comes, and kept with the attempt that printed it.
    assert done.stdout.count("item 0 speaks") == 3
    assert run.logs(0).count("item 0 speaks") == 3
    assert run.logs(3).splitlines()[1:] == ["item 3 speaks"]
    (path,) = [path for path, _ in run.store.list("map/errors/") if layout.index_of(path) == 2]
    assert json.loads(run.store.read(path))["kind"] == "lost"
    assert "SIGSEGV" in done.stderr
    assert "Fatal Python error" in run.logs(2)


@pytest.mark.slow
def test_an_attempt_that_hangs_is_ended(script: Script, tmp_path: Path) -> None:
    hanging = Script(Path(script.folder), {0: ["hang"]})
    run = _fresh(Says(hanging), mapred.array(2), tmp_path, per_task=1, timeout=2)
    assert _worker(run.uri, run.digest, "map", 0, 2).returncode == DONE
    ((path, _),) = run.store.list("map/errors/")
    failure = json.loads(run.store.read(path))
    assert (failure["task"], failure["kind"], failure["attempts"]) == (0, "timeout", 1)
    assert failure["message"] == "the attempt took longer than timeout=2 s"
    assert failure["log"] == "item 0 speaks\n"


@pytest.mark.slow
def test_a_flood_of_output_stops_no_clock(tmp_path: Path) -> None:
    run = _fresh(floods, mapred.array(1), tmp_path, timeout=2, attempts=1)
    assert _worker(run.uri, run.digest, "map", 0, 1, output=False).returncode == FAILED
    (failure,) = mapred.open(run.uri).failures
    assert failure.kind == "timeout"
    assert len(run.store.read(layout.log("map", layout.stem(0, failure.attempt)))) < 4 * LOG_CAP


@pytest.mark.slow
def test_what_the_system_kills_is_left_to_the_engine(script: Script, tmp_path: Path) -> None:
    killed = Script(Path(script.folder), {1: ["kill"]})
    run = _fresh(killed, mapred.array(3), tmp_path, per_task=1, attempts=1)
    assert _worker(run.uri, run.digest, "map", 0, 3).returncode == KILLED
    (failure,) = run.failures
    assert (failure.task, failure.attempts) == (1, 0)
    assert "out-of-memory" in failure.message
    # It cost the user no attempt.
    assert _worker(run.uri, run.digest, "map", 0, 3).returncode == DONE
    assert [killed.calls(item) for item in range(3)] == [1, 2, 1]


@pytest.mark.slow
def test_a_failure_for_good_ends_the_run(script: Script, tmp_path: Path) -> None:
    failing = Script(Path(script.folder), {1: ["raise"] * 9})
    run = _fresh(failing, mapred.array(4), tmp_path, per_task=1, reduce=sum, attempts=2)
    done = _worker(run.uri, run.digest, "map", 0, 2)
    assert done.returncode == FAILED
    assert done.stdout.endswith("1 item of map failed\n")
    again = mapred.open(run.uri)
    assert again.state == "failed"
    with pytest.raises(mapred.RunError, match="1 item of map failed"):
        again.result()
    # Other blocks, and whoever was to read the outputs, find out at once.
    for stage in ("map", "reduce-1"):
        late = _worker(run.uri, run.digest, stage, 1 if stage == "map" else 0, 2)
        assert late.returncode == FAILED
        assert "the run is over: failed" in late.stdout
    assert failing.calls(2) == 0


@pytest.mark.slow
@pytest.mark.parametrize("fan_in", [None, 2])
def test_failures_within_max_failed_are_given_up_by_who_reads(
    script: Script, tmp_path: Path, fan_in: int | None
) -> None:
    failing = Script(Path(script.folder), {1: ["raise"] * 9, 6: ["_exit"] * 9})
    options: dict[str, Any] = {"per_task": 2, "attempts": 2, "max_failed": 4}
    run = _fresh(failing, mapred.array(8), tmp_path, reduce=total, fan_in=fan_in, **options)
    statuses = [_worker(run.uri, run.digest, "map", block, 1).returncode for block in (0, 1, 3)]
    assert statuses == [FAILED, DONE, FAILED]
    for stage in run.job.stages[1:]:
        for block in range(stage.tasks):
            done = _worker(run.uri, run.digest, stage.name, block, 1)
            assert done.returncode == DONE, done.stdout
    # Block 2 was skipped by the engine, and run here; item 6 took no other item along.
    assert RunFolder(run.store).given_up_tasks() == {0: [1], 3: [6]}
    assert mapred.open(run.uri).result() == 0 + 20 + 30 + 40 + 50 + 70
    assert [failing.calls(item) for item in range(8)] == [1, 2, 1, 1, 1, 1, 2, 1]
    assert mapred.open(run.uri).audit().ok


@pytest.mark.slow
def test_one_failure_more_than_max_failed_ends_the_run(script: Script, tmp_path: Path) -> None:
    failing = Script(Path(script.folder), {1: ["raise"] * 9, 2: ["raise"] * 9})
    run = _fresh(failing, mapred.array(4), tmp_path, per_task=1, attempts=1, max_failed=1)
    for block in range(4):
        _worker(run.uri, run.digest, "map", block, 1)
    assert RunFolder(run.store).end() is None
    done = _worker(run.uri, run.digest, "result", 0, 1)
    assert done.returncode == FAILED
    end = RunFolder(run.store).end()
    assert end is not None
    message = "2 items of map failed (max_failed allows 1)"
    assert (end.state, end.message) == ("failed", message)
    assert {failure.task for failure in mapred.open(run.uri).failures} == {1, 2}


@pytest.mark.slow
def test_a_map_of_one_task_gives_up_by_itself(script: Script, tmp_path: Path) -> None:
    failing = Script(Path(script.folder), {1: ["raise"] * 9})
    run = _fresh(failing, mapred.array(3), tmp_path, per_task=3, attempts=2, max_failed=1)
    assert _worker(run.uri, run.digest, "map", 0, 1).returncode == DONE
    assert mapred.open(run.uri).result() == [0, None, 20]


@pytest.mark.slow
def test_what_succeeded_is_not_called_again(script: Script, tmp_path: Path) -> None:
    outcomes = {1: ["raise"] * 9, 2: ["ok", "raise"], 3: ["_exit"], 4: ["raise", "raise"]}
    failing = Script(Path(script.folder), outcomes)
    run = _fresh(failing, mapred.array(6), tmp_path, per_task=6, max_failed=1)
    done = _worker(run.uri, run.digest, "map", 0, 1)
    assert done.returncode == DONE, done.stdout
    assert mapred.open(run.uri).result() == [0, None, 20, 30, 40, 50]
    # What the process took along that item 3 ended is called once more.
    assert failing.calls(3) == 2
    assert failing.calls(4) == 3


@pytest.mark.slow
def test_a_block_does_its_other_tasks_during_a_pause(script: Script, tmp_path: Path) -> None:
    failing = Script(Path(script.folder), {0: ["raise", "raise"]})
    run = _fresh(Says(failing), mapred.array(4), tmp_path, per_task=1)
    done = _worker(run.uri, run.digest, "map", 0, 4)
    assert done.returncode == DONE
    spoken = re.findall("item ([0-9]) speaks", done.stdout)
    assert "".join(spoken) == "001230"


def test_a_long_log_keeps_head_and_tail() -> None:
    printed = CapturedOutput()
    for number in range(100_000):
        printed.add(f"line {number}\n".encode())
    text = printed.take()
    assert text.startswith("line 0\n")
    assert text.endswith("line 99999\n")
    assert "bytes left out" in text
    assert len(text) < 4 * LOG_CAP
    assert printed.take() == ""


class Says:
    """A scripted function that prints before it acts."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def __call__(self, item: int) -> int:
        print(f"item {item} speaks")
        if self.script.outcomes.get(item) == ["segfault"] and not self.script.calls(item):
            Path(self.script.folder, f"{item}-segfault-0").touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        return self.script(item)


def floods(item: int) -> None:
    while True:
        os.write(1, b"line\n" * 1000)


def total(values: Any) -> int:
    return sum(filter(None, values))
