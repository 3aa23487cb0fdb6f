"""Runs that were killed go on to the same answer, and only what is missing runs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

import mapred
from mapred.model import layout
from mapred.model.records import Block
from mapred.runfolder.folder import RunFolder
from mapred.testing import Script, drop_commit, tamper

ITEMS = 12

# Forks a child for every operation on the store, has it killed there, and takes its run up.
EVERY_OPERATION = """
    import os, signal, sys
    import mapred
    from mapred.backends.inline import Inline
    from mapred.storage import local
    from mapred.testing import Script

    folder = sys.argv[1]
    script = Script(folder + "/calls", {})
    operations = 0
    limit = None

    def counted(function):
        def wrapper(*arguments, **options):
            global operations
            operations += 1
            if operations == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = function(*arguments, **options)
            operations += 1
            if operations == limit:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        return wrapper

    for name in ("read", "write", "put_if_absent", "list", "delete", "put_file", "open"):
        setattr(local.LocalStore, name, counted(getattr(local.LocalStore, name)))

    def run(root):
        job = mapred.job(script, mapred.array(6), per_task=2, reduce=sum, fan_in=2)
        return job.run(backend=Inline(), root=root, progress="none")

    assert run(folder + "/whole").result() == 150
    total, resumed = operations, 0
    for stop in range(1, total + 1):
        root = f"{folder}/{stop}"
        pid = os.fork()
        if not pid:
            operations, limit = 0, stop
            run(root)
            os._exit(3)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            # The last operations may be the result's, which this child did not ask for.
            assert os.WEXITSTATUS(status) == 3 and stop > total - 20, (stop, total)
            continue
        runs = [n for n in os.listdir(root) if os.path.exists(f"{root}/{n}/job.json")] if (
            os.path.isdir(root)) else []
        for name in runs:
            again = mapred.open(f"{root}/{name}").resume(backend=Inline(), progress="none")
            assert again.result() == 150, stop
            report = again.audit()
            assert report.ok, (stop, report)
            resumed += 1
    print(total, resumed)
"""


@pytest.mark.slow
def test_a_run_killed_at_every_operation_resumes(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(EVERY_OPERATION), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    total, resumed = map(int, done.stdout.split())
    assert total > 60
    assert resumed > total // 2


DRIVER = """
    import sys, time
    import mapred
    from mapred.testing import Script

    script = Script(sys.argv[1] + "/calls", {})

    def slowly(item):
        time.sleep(0.02)
        return script(item)

    print("ready", flush=True)
    mapred.run(slowly, mapred.array(12), per_task=1, reduce=sum, fan_in=4, seed=1,
               root=sys.argv[1] + "/runs", progress="none")
    print("done", flush=True)
"""


def _marked(mark: str) -> list[psutil.Process]:
    """The live processes that a driver with this mark in its environment left."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("MAPRED_TEST_MARK") == mark
            if marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _wait_until_gone(mark: str, seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while left := _marked(mark):
        assert time.monotonic() < limit, f"processes outlive their driver: {left}"
        time.sleep(0.05)


def _kill_and_resume(folder: Path, seed: int) -> str:
    chance = random.Random(seed)
    (folder / "calls").mkdir(parents=True)
    mark = uuid.uuid4().hex
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MAPRED_TEST_MARK": mark},
    )
    assert driver.stdout is not None
    with driver, driver.stdout:
        assert driver.stdout.readline() == "ready\n"
        # A moment before, while or after tasks run, however fast this machine is.
        calls_before = chance.randrange(ITEMS + 1)
        while driver.poll() is None and len(os.listdir(folder / "calls")) < calls_before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.05))
        victims = [psutil.Process(driver.pid)]
        if chance.random() < 0.5:
            # Driver, fork server and workers at once, in any order.
            victims = _marked(mark)
            chance.shuffle(victims)
        for victim in victims:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        driver.wait()
    _wait_until_gone(mark)
    runs = list((folder / "runs").glob("*/job.json"))
    if not runs:
        return "before"
    run = mapred.open(runs[0].parent)
    ended = run.state
    script = Script(folder / "calls", {})
    before = set(RunFolder(run.store).list_committed("map"))
    calls = {item: script.calls(item) for item in before}
    run.resume(progress="none", backend=mapred.Local(workers=2))
    assert run.result() == sum(range(ITEMS)) * 10
    assert {item: script.calls(item) for item in before} == calls, "a committed task ran again"
    assert all(script.calls(item) >= 1 for item in range(ITEMS))
    assert run.audit().ok, run.audit()
    return "after" if ended == "succeeded" else "inside"


@pytest.mark.slow
def test_a_driver_killed_at_random_moments_resumes(tmp_path: Path) -> None:
    seen = [_kill_and_resume(tmp_path / str(seed), seed) for seed in range(3)]
    assert "inside" in seen, "no kill came while tasks ran: mend the moments"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_random_kills(tmp_path: Path) -> None:
    seen = [_kill_and_resume(tmp_path / str(seed), seed) for seed in range(100, 130)]
    assert seen.count("inside") >= 9, seen


def _failing_run(tmp_path: Path, **options: Any) -> tuple[Any, Script]:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {3: ["raise"] * 9})
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(script, mapred.array(6), root=tmp_path, progress="none", attempts=2, **options)
    return caught.value.run, script


def test_a_fixed_function_does_what_is_missing(tmp_path: Path) -> None:
    run, script = _failing_run(tmp_path)
    before = set(RunFolder(run.store).list_committed("map"))
    again = mapred.open(run.uri).resume(lambda item: item * 10, progress="none")
    assert again.result() == [item * 10 for item in range(6)]
    assert script.calls(3) == 2
    digests = {}
    for task in range(6):
        commit = RunFolder(again.store).commit("map", task)
        assert commit is not None
        digests[task] = commit.function
    old = again.job.digests[layout.FUNCTION]
    assert {task for task, digest in digests.items() if digest == old} == before
    assert len(set(digests.values())) == (2 if before else 1)
    assert again.audit().ok


def test_a_succeeded_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {})
    run = mapred.run(script, mapred.array(3), root=tmp_path, progress="none")
    assert mapred.open(run.uri).resume(progress="none").result() == [0, 10, 20]
    assert [script.calls(item) for item in range(3)] == [1, 1, 1]


def test_a_suspended_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {5: ["hang"]})
    run = mapred.submit(script, mapred.array(6), root=tmp_path)
    while not script.calls(5):
        time.sleep(0.02)
    run.suspend()
    assert run.state == "suspended"
    assert mapred.open(run.uri).state == "suspended"
    assert run.resume(progress="none").result() == [item * 10 for item in range(6)]


def test_a_cancelled_run_says_so_and_can_be_taken_up(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    script = Script(tmp_path / "calls", {1: ["hang"]})
    run = mapred.submit(script, mapred.array(2), root=tmp_path)
    while not script.calls(1):
        time.sleep(0.02)
    run.cancel()
    assert run.state == "cancelled"
    with pytest.raises(mapred.RunError, match="cancelled"):
        run.result()
    assert mapred.open(run.uri).resume(progress="none").result() == [0, 10]


def test_an_interrupt_leaves_no_process_and_a_resumable_run(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    mark = uuid.uuid4().hex
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER).replace("none", "plain"), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MAPRED_TEST_MARK": mark},
    )
    while not list((tmp_path / "calls").iterdir()):
        time.sleep(0.02)
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=30)
    assert "\nstopped; to resume: import mapred; run = mapred.open(" in err
    assert "Traceback" not in err
    assert "resume()" in out + err
    assert "interrupted" in err
    assert "running" not in err
    assert "done" not in out
    _wait_until_gone(mark)
    (record,) = (tmp_path / "runs").glob("*/job.json")
    assert mapred.open(record.parent).resume(progress="none").result() == 660


def test_a_script_without_a_main_guard(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        textwrap.dedent(f"""
        import mapred
        print("starting")
        OFFSET = 7
        def shifted(item):
            return item + OFFSET
        print(mapred.run(shifted, mapred.array(3), root={str(tmp_path / "runs")!r},
                         progress="none").result())
        """)
    )
    root = str(Path(mapred.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "starting\n[7, 8, 9]\n", done.stderr


def test_a_dropped_commit_is_named(tmp_path: Path) -> None:
    run = mapred.run(lambda i: i, mapred.array(5), root=tmp_path, progress="none")
    assert run.audit().ok
    drop_commit(run, 3)
    (problem,) = run.audit().problems
    assert (problem.kind, problem.where) == ("missing", "map task 3")


def test_a_doubled_commit_is_named(tmp_path: Path) -> None:
    run = mapred.run(lambda i: i, mapred.array(5), root=tmp_path, progress="none")
    run.store.write(layout.commit("map", 3), run.store.read(layout.commit("map", 2)))
    assert "doubled: map task 3: the commit is that of map task 2" in str(run.audit())


def test_a_reader_that_stops_early_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    (tmp_path / "b.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    run = mapred.run(next, str(tmp_path / "*.txt"), root=tmp_path / "runs", progress="none")
    report = run.audit()
    assert {problem.kind for problem in report.problems} >= {"cut off"}
    assert "a.txt" in str(report)


def test_a_commit_that_hides_a_gap_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"line {i}\n" for i in range(1000)))
    run = mapred.run(
        lambda lines: sum(1 for _ in lines),
        str(tmp_path / "a.txt"),
        root=tmp_path / "runs",
        progress="none",
        target_bytes=1000,
    )
    assert sum(run.result()) == 1000
    assert run.audit().ok

    def shift(commit: dict[str, Any]) -> dict[str, Any]:
        ((number, start, stop),) = commit["spans"]
        return {**commit, "spans": [[number, start + 7, stop]]}

    tamper(run, layout.commit("map", 2), shift)
    assert "gap" in {problem.kind for problem in run.audit().problems}


def test_a_changed_output_and_a_changed_function_are_named(tmp_path: Path) -> None:
    run = mapred.run(lambda i: "x" * 100_000, mapred.array(2), root=tmp_path, progress="none")
    commit = RunFolder(run.store).commit("map", 1)
    assert commit is not None
    assert commit.output.path is not None
    run.store.write(commit.output.path, b"y")
    run.store.write(layout.FUNCTION, b"other")
    kinds = [(problem.kind, problem.where) for problem in run.audit().problems]
    assert kinds == [("changed", "function.pkl"), ("changed", "map task 1")]


def test_a_changed_payload_is_refused(tmp_path: Path) -> None:
    run, _ = _failing_run(tmp_path)
    run.store.write(layout.FUNCTION, b"other")
    with pytest.raises(mapred.MapredError, match="not the file that the job names"):
        mapred.open(run.uri).resume(progress="none")


def test_a_task_that_an_engine_skipped_is_run_by_the_reduce(tmp_path: Path) -> None:
    from mapred.worker import tasks

    run = mapred.run(
        lambda i: i, mapred.array(8), reduce=sum, fan_in=4, root=tmp_path, progress="none"
    )
    drop_commit(run, 5)
    drop_commit(run, 1, "reduce-1")
    drop_commit(run, 0, "reduce-2")
    outcomes = tasks.run_block(Block(run.uri, run.digest, "reduce-2", [0]))
    assert outcomes[0].failure is None
    assert run.audit().ok


def test_a_losing_twin_leaves_the_winner_alone(tmp_path: Path) -> None:
    from mapred.worker import tasks

    run = mapred.run(lambda i: i, mapred.array(2), root=tmp_path, progress="none")
    before = run.store.read(layout.commit("map", 1))
    (outcome,) = tasks.run_block(Block(run.uri, run.digest, "map", [1], attempt=7))
    assert outcome.commit is not None
    assert outcome.commit.attempt.startswith("1-")
    assert run.store.read(layout.commit("map", 1)) == before
