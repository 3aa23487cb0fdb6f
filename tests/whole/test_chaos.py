"""Runs on S3 whose workers are killed and doubled on purpose: nothing lost, nothing twice."""

from __future__ import annotations

import _thread
import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.engine import fork_client
from mapred.engine.fork_server import run_logged
from mapred.engine.process_pool import ProcessExecutor
from mapred.engine.worker_process import WorkerLost
from mapred.errors import StorageError
from mapred.model.records import Block
from mapred.model.retries import DONE, KILLED
from mapred.runfolder import outputs
from mapred.runfolder.folder import RunFolder

KILLED_EVERY = 5
LIFE = 8  # tasks, then a worker that may live makes room for another one
KILLS_OF_A_TASK = 2  # as a run tries each task three times
FATE = "MAPRED_TEST_FATE"  # in a worker's environment: its pool, number, and how it is to die
OPERATIONS = ("read", "write", "put_if_absent", "put_file", "list", "open")


class Fates:
    """Numbers the worker processes as they are started, and dooms every fifth of them.

    When it dies the seed chooses: in the call of one of its tasks, before or after one of its
    operations on the store, or some milliseconds later, whatever it is at then.
    """

    def __init__(self, seed: int) -> None:
        self.seed, self.started = seed, 0
        self._lock = threading.Lock()

    def next(self) -> dict[str, str]:
        """The variables of another worker, for the thread that starts those of a pool."""
        with self._lock:
            number = self.started
            self.started += 1
        chance = random.Random(f"{self.seed} {number}")
        kind = chance.choice(["call", "operation", "operation", "operation", "clock"])
        moment = {
            "call": chance.randrange(LIFE),
            "operation": chance.randrange(2 * LIFE),
            "clock": chance.uniform(0, 0.03 * LIFE),
        }[kind]
        if number % KILLED_EVERY != KILLED_EVERY - 1:
            kind = "spared"
        return {FATE: f"{threading.get_ident()} {number} {kind} {moment}"}


class Chaos:
    """What befalls a worker in its tasks, of which the first waits for the file `go`.

    Calls and kills leave a file each in `folder`, for all processes to count. A task is not
    killed more often than a run with the default attempts withstands: who is to die in such a
    one dies in the next.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls, self.task = str(folder), 0, ""

    def befall(self, task: str) -> None:
        pool, number, kind, moment = os.environ[FATE].split()
        self.task = task
        Path(self.folder, "calls", f"{task} {pool} {number} {time.monotonic_ns()}").touch()
        _wait_until(Path(self.folder, "go").exists)
        self.calls += 1
        if kind == "spared" and self.calls == LIFE:
            # A process that was left with a thread takes no further task.
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        elif kind == "call" and self.calls > int(moment):
            self.die()
        elif kind == "operation" and self.calls == 1:
            self.die_at(int(moment))
        elif kind == "clock" and self.calls == 1:
            _thread.start_new_thread(self.die_after, (float(moment),))

    def die(self) -> None:
        killed = Path(self.folder, "killed")
        if sum(1 for _ in killed.glob(f"{self.task} *")) < KILLS_OF_A_TASK:
            (killed / f"{self.task} {os.getpid()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def die_after(self, seconds: float) -> None:
        while True:
            time.sleep(seconds)
            self.die()

    def die_at(self, moment: int) -> None:
        """Have this process killed before or after one of its next operations."""
        from mapred.storage.object_store import ObjectStore

        left = moment

        def pass_by() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                self.die()

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
    def __call__(self, item: int, task: mapred.Task) -> dict[int, list[str]]:
        self.befall(f"map-{item}")
        time.sleep(0.004)  # shorter tasks are sent in blocks of many, and workers would be few
        task.count("items")
        task.count("sum", item)
        if item % 50 == 0:
            task.output("item.txt").write_text(f"{item}")
        # What tells this attempt from its twins. Some travel in the commit, some are files.
        return {item: [uuid.uuid4().hex * (600 if item % 10 == 0 else 1)]}


class Reduce(Chaos):
    def __call__(self, outputs: Iterable[dict[int, list[str]]]) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for output in outputs:
            if not found:
                self.befall(f"reduce-{len(output)}-{min(output)}")
            for item, tokens in output.items():
                found.setdefault(item, []).extend(tokens)
        return found


def _wait_until(there: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not there():
        if time.monotonic() > limit:  # no assert: workers would load pytest for it
            raise TimeoutError("nobody came")
        time.sleep(0.01)


@contextlib.contextmanager
def _twins(run: mapred.Run, seed: int) -> Iterator[None]:
    """Blocks of the run's tasks in another worker process, which is killed like all others."""
    chance, over = random.Random(seed), threading.Event()
    executor = ProcessExecutor(1)

    def work() -> None:
        while not over.wait(0.1):
            first = chance.randrange(run.job.shards - 5)
            tasks = tuple(range(first, first + 5))
            future = executor.submit(run_logged, Block(run.uri, run.digest, "map", tasks))
            with contextlib.suppress(WorkerLost, StorageError):
                future.result(250)

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield
        finally:
            over.set()
            executor.kill()
    with contextlib.suppress(CancelledError, RuntimeError):  # of what was asked as it ended
        working.result()


def _pod(run: mapred.Run, seed: int, fates: Fates) -> int:
    """A block of the same tasks by the command of a pod, which is started anew when it is killed.

    Returns how it ended.
    """
    number = random.Random(seed).randrange(run.job.shards // 20)
    block = [run.uri, run.digest, "map", str(number), "20"]
    while True:
        command = [sys.executable, "-m", "mapred.worker.supervisor", *block]
        done = subprocess.run(command, env={**os.environ, **fates.next()}, timeout=250)
        if done.returncode != KILLED:
            return done.returncode


def _survive(
    root: str, folder: Path, seed: int, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("calls", "killed"):
        (folder / name).mkdir(parents=True)
    fates, start = Fates(seed), fork_client.ForkServer.start

    def started(
        server: Any, descriptors: Sequence[int], env: Mapping[str, str], modules: Sequence[str]
    ) -> int:
        return start(server, descriptors, {**env, **fates.next()}, modules)

    monkeypatch.setattr(fork_client.ForkServer, "start", started)
    job = mapred.job(Map(folder), mapred.array(tasks), per_task=1, reduce=Reduce(folder), fan_in=25)
    run = job.submit(root=root, backend=mapred.Local(workers=2))
    second = mapred.open(run.uri)
    with _twins(run, seed), ThreadPoolExecutor(1) as pool:
        driver = mapred.Local(workers=1).submit(run.store, run.job, run.digest)
        # Both are at work, and the twins; nothing is committed, so all is done twice.
        _wait_until(lambda: len({c.name.split()[1] for c in folder.glob("calls/*")}) == 3)
        (folder / "go").touch()
        pod = pool.submit(_pod, run, seed, fates)
        run.finish("none")
        assert driver.wait(250)
        driver.raise_error()
        assert pod.result(250) == DONE
    again = mapred.open(run.uri)
    # Of each item once, of all its twins the one that is committed.
    exact: dict[int, list[str]] = {}
    for commit in RunFolder(again.store).commits("map", range(tasks)):
        assert commit is not None
        (value,) = outputs.decode(again.store, commit.output)
        exact.update(value)
    assert exact.keys() == set(range(tasks))
    for known in (run, second, again):
        assert known.result() == exact
        assert known.counters == {"items": tasks, "sum": sum(range(tasks))}
    report = again.audit()
    assert report.ok, report
    assert (report.items, report.commits) == (tasks, tasks + tasks // 25 + 1)
    assert report.outputs >= tasks // 10 + tasks // 50
    attempts = []
    for stage in again.job.stages:
        for task in range(stage.tasks):
            commit = RunFolder(again.store).commit(stage.name, task)
            assert commit is not None
            attempts.append(commit.attempt)
    assert len(set(attempts)) == len(attempts)
    killed, calls = len(list(folder.glob("killed/*"))), len(list(folder.glob("calls/map-*")))
    doomed = fates.started // KILLED_EVERY
    # A pool ends those that wait for another task: at most 3 in each stage, and the last twin.
    assert tasks // 25 <= killed <= doomed <= killed + 3 * len(again.job.stages) + 2
    # A kill costs one more call, of the task that it was at; every other one is a twin's.
    assert calls - killed - tasks >= tasks // 2, "too few twins"


@pytest.mark.slow
def test_killed_workers_and_twins_change_nothing(
    s3_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _survive(s3_root, tmp_path / "chaos", 1, 200, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(100, 103))
def test_seeds_in_a_row(
    s3_root: str, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _survive(s3_root, tmp_path / "chaos", seed, 500, monkeypatch)


# Forks a child for each moment at which it is to die, and another that takes its run up. The
# parent uses no store itself: the client does not survive a fork.
EVERY_OPERATION = """
    import hashlib, json, os, pickle, signal, sys
    import mapred
    from mapred.model import layout; from mapred.runfolder import outputs
    from mapred.runfolder.folder import RunFolder
    from mapred.backends.inline import Inline
    from mapred.storage import object_store as objects, open_store

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
        end = json.loads(run.store.read(layout.END))
        found = [pickle.dumps(run.result()), end["state"], end["message"]]
        for stage in run.job.stages:
            for task in range(stage.tasks):
                commit = RunFolder(run.store).commit(stage.name, task)
                found.append(pickle.dumps(list(outputs.decode(run.store, commit.output))))
                found += [run.store.read(file.path) for file in commit.files]
                if commit.output.path:
                    found.append(run.store.read(commit.output.path))
        manifest = RunFolder(run.store).outputs(run.job)
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
