"""Runs on S3 whose workers are killed and doubled on purpose: nothing lost, nothing twice."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred import records
from mapred.backends.forkserver import run_logged
from mapred.backends.processes import ProcessExecutor, WorkerLost
from mapred.errors import StorageError

KILLED_EVERY, TURN = 5, 5  # every fifth worker, where one's turn is five tasks
OPERATIONS = ("read", "write", "put_if_absent", "put_file", "list", "open")


class Chaos:
    """Has every fifth worker killed in its turn, at a moment that the seed chooses.

    The calls are counted in `folder`, over all processes, so that a task is not killed for
    ever. A call that is chosen dies at once, or before or after one of its worker's next
    operations on the store, or some milliseconds later, whatever the worker is at then.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder = seed, str(folder)

    def befall(self, what: str) -> None:
        folder = Path(self.folder, what)
        folder.mkdir(exist_ok=True)
        chance = random.Random(f"{self.seed} {what} {len(os.listdir(folder))}")
        doomed = chance.randrange(KILLED_EVERY * TURN) == 0
        Path(folder, f"{'doomed' if doomed else 'spared'}-{time.monotonic_ns()}").touch()
        if not doomed:
            return
        moment = chance.choice(["now", "operation", "operation", "operation", "clock"])
        if moment == "now":
            os.kill(os.getpid(), signal.SIGKILL)
        elif moment == "operation":
            _die_at(chance.randrange(8))
        else:
            die = threading.Timer(chance.uniform(0, 0.03), os.kill, (os.getpid(), signal.SIGKILL))
            die.daemon = True
            die.start()


def _die_at(moment: int) -> None:
    """Have this process killed before or after one of its next operations."""
    from mapred.storage.objects import ObjectStore

    left = moment

    def pass_by() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(call: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            pass_by()
            answer = call(*arguments, **options)
            pass_by()
            return answer

        return wrapper

    for name in OPERATIONS:
        setattr(ObjectStore, name, deadly(getattr(ObjectStore, name)))


class Map(Chaos):
    def __call__(self, item: int, task: mapred.Task) -> dict[int, bytes]:
        self.befall(f"map-{item}")
        task.count("items")
        task.count("sum", item)
        if item % 50 == 0:
            task.output("item.txt").write_text(f"{item}")
        # Some outputs travel in the commit, some are files of their own.
        return {item: bytes(20_000 if item % 10 == 0 else 10)}


class Reduce(Chaos):
    def __call__(self, outputs: Iterable[dict[int, Any]]) -> dict[int, int]:
        counts: Counter[int] = Counter()
        for output in outputs:
            counts.update({item: n if isinstance(n, int) else 1 for item, n in output.items()})
        self.befall(f"reduce-{min(counts)}-{len(counts)}")
        return dict(counts)


@contextlib.contextmanager
def _twins(run: mapred.Run, seed: int) -> Iterator[list[int]]:
    """Blocks of the run's tasks in another worker process, which is killed like all others."""
    chance, over, done = random.Random(seed), threading.Event(), [0]
    executor = ProcessExecutor(1)

    def work() -> None:
        while not over.is_set():
            first = chance.randrange(run.job.shards - 5)
            tasks = tuple(range(first, first + 5))
            future = executor.submit(run_logged, run.uri, run.digest, "map", tasks, 1)
            with contextlib.suppress(WorkerLost, StorageError):
                done[0] += len(future.result(250))

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield done
        finally:
            over.set()
            executor.kill()
    with contextlib.suppress(Exception):
        working.result()


def _command(run: mapred.Run, seed: int) -> subprocess.Popen[str]:
    """The worker as a pod has it, at a block of the same tasks."""
    first = random.Random(seed).randrange(run.job.shards - 20)
    block = [run.uri, run.digest, "map", str(first), "20"]
    return subprocess.Popen(
        [sys.executable, "-m", "mapred.supervisor", *block], stderr=subprocess.PIPE, text=True
    )


def _survive(root: str, folder: Path, seed: int, tasks: int) -> None:
    folder.mkdir()
    job = mapred.job(
        Map(seed, folder),
        mapred.array(tasks),
        per_task=1,
        reduce=Reduce(seed, folder),
        fan_in=25,
        attempts=12,
    )
    run = job.submit(root=root, backend=mapred.Local(workers=2))
    second = mapred.open(run.uri)
    with (
        _twins(run, seed),
        _command(run, seed) as command,
        ThreadPoolExecutor(1) as pool,
    ):
        resumed = pool.submit(second.resume, backend=mapred.Local(workers=1), progress="none")
        run.finish("none")
        assert resumed.result(250).state == "succeeded"
        assert command.wait(250) in (0, -signal.SIGKILL), command.communicate()
    again = mapred.open(run.uri)
    for known in (run, second, again):
        assert known.result() == dict.fromkeys(range(tasks), 1)
        assert known.counters == {"items": tasks, "sum": sum(range(tasks))}
    report = again.audit()
    assert report.ok, report
    assert (report.items, report.commits) == (tasks, tasks + tasks // 25 + 1)
    assert report.outputs >= tasks // 10 + tasks // 50
    attempts = []
    for stage in again.job.stages:
        for task in range(stage.tasks):
            commit = records.read_commit(again.store, stage.name, task)
            assert commit is not None
            attempts.append(commit.attempt)
    assert len(set(attempts)) == len(attempts)
    assert len(list(folder.glob("*/doomed-*"))) >= tasks // 50, "too few were killed"


def test_killed_workers_and_twins_change_nothing(s3_root: str, tmp_path: Path) -> None:
    _survive(s3_root, tmp_path / "calls", seed=1, tasks=200)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 120))
def test_twenty_seeds_in_a_row(s3_root: str, tmp_path: Path, seed: int) -> None:
    _survive(s3_root, tmp_path / "calls", seed, tasks=500)


# Forks a child for each moment at which it is to die, and another that takes its run up. The
# parent uses no store itself: the client does not survive a fork.
EVERY_OPERATION = """
    import hashlib, json, os, pickle, signal, sys
    import mapred
    from mapred import layout, outputs, records
    from mapred.backends.inline import Inline
    from mapred.storage import objects, open_store

    root, first, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    moments, limit = 0, None

    def pass_by():
        global moments
        moments += 1
        if moments == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def deadly(function):
        def wrapper(*arguments, **options):
            pass_by()
            answer = function(*arguments, **options)
            pass_by()
            return answer
        return wrapper

    for name in ("read", "write", "put_if_absent", "list", "delete", "put_file", "open"):
        setattr(objects.ObjectStore, name, deadly(getattr(objects.ObjectStore, name)))

    def work(item, task: mapred.Task):
        task.output("item.txt").write_text(str(item))
        return [(item, task.rng.random(3).tolist(), "x" * (20_000 if item == 1 else 5))]

    def concatenate(parts):
        return [value for part in parts for value in part]

    def run(where):
        job = mapred.job(work, mapred.array(3), reduce=concatenate, fan_in=2, seed=7)
        return job.run(backend=Inline(), root=where, progress="none")

    # All bytes that a reader may see, without the names of attempts and the times.
    def shown(run):
        found = [pickle.dumps(run.result()), run.store.read(layout.END)]
        for stage in run.job.stages:
            for task in range(stage.tasks):
                commit = records.read_commit(run.store, stage.name, task)
                found.append(pickle.dumps(list(outputs.decode(run.store, commit.output))))
                found += [run.store.read(file.path) for file in commit.files]
                if commit.output.path:
                    found.append(run.store.read(commit.output.path))
        manifest = records.read_manifest(run.store)
        assert [index for index, *_ in manifest] == [0]
        assert run.audit().ok, run.audit()
        return hashlib.sha256(repr(found).encode()).hexdigest()

    # What `act` gives in a process of its own; None if that was killed.
    def child(act):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(write, json.dumps(act()).encode()) and os._exit(0)
        os.close(write)
        with open(read) as answer:
            text = answer.read()
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        return json.loads(text) if text else None

    def whole():
        done = run(root + "/whole")
        total = moments
        return total, shown(done)

    def killed(moment):
        global moments, limit
        moments, limit = 0, moment
        run(f"{root}/{moment}")
        return "alive"

    def taken_up(moment):
        names = {path.split("/")[0] for path, _ in open_store(f"{root}/{moment}").list("")}
        found = []
        for name in names:
            uri = f"{root}/{moment}/{name}"
            try:
                again = mapred.open(uri)
            except mapred.RunError:
                continue  # it had not begun
            again.resume(backend=Inline(), progress="none")
            found.append(shown(again))
        return found

    total, bytes_ = child(whole)
    resumed = tried = 0
    for moment in range(first, total + 1, step):
        tried += 1
        if child(lambda: killed(moment)) is not None:
            continue
        for found in child(lambda: taken_up(moment)):
            assert found == bytes_, f"moment {moment}: other bytes"
            resumed += 1
    print(total, tried, resumed)
"""


def _kill_and_resume(root: str, first: int, step: int) -> tuple[int, int, int]:
    """Moments of a run, those at which one was killed, and the runs that were taken up."""
    script = textwrap.dedent(EVERY_OPERATION)
    done = subprocess.run(
        [sys.executable, "-c", script, root, str(first), str(step)],
        capture_output=True,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    total, tried, resumed = map(int, done.stdout.split())
    return total, tried, resumed


@pytest.mark.slow
@pytest.mark.timeout(1100)
@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_run_killed_at_every_operation_resumes_to_the_same_bytes(
    s3_root: str, first: int
) -> None:
    total, tried, resumed = _kill_and_resume(s3_root, first, step=3)
    assert tried >= total // 3 > 20
    assert resumed >= tried // 2
