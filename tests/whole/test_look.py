"""A look at a run at work: what its workers are at, and only what is new of its tasks."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import mapred
from mapred.engine.progress import Progress
from mapred.model.records import Commit, Output
from mapred.model.spec import Job


def stop_at_seven(path: str) -> int:
    number = int(path[-1])
    print("at", number)
    if number == 3:
        raise ValueError("three")
    gate = Path(path).parent / "gate"
    while number > 3 and not gate.exists():
        time.sleep(0.01)
    return number


def test_a_look_says_what_each_worker_is_at(tmp_path: Path) -> None:
    items = [str(tmp_path / str(number)) for number in range(9)]
    run = mapred.submit(
        stop_at_seven,
        mapred.items(items),
        per_task=1,
        max_failed=1,
        attempts=1,
        backend=mapred.Local(workers=2),
    )
    handle = run._handle
    limit, seen, ended = time.monotonic() + 30, 0, []
    while True:
        look = handle.look(seen)
        seen = look.seen
        ended += [task.task for task in look.news]
        workers = {worker.task: worker for worker in look.workers or ()}
        if {4, 5} <= workers.keys() and all("at" in w.log for w in workers.values()):
            break
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert sorted(ended) == [0, 1, 2]
    assert look.status.times == ()
    # 3 was given up, two are at work, and nobody has begun the others.
    assert look.status.waiting == {"map": 3}
    assert [worker.item for worker in workers.values()] == list(workers)
    assert workers[4].log == "at 4\n"
    assert workers[4].memory > 1_000_000
    assert 0 <= time.time() - workers[4].since < 60
    assert look.attempts[-1][0] == "map"
    (tmp_path / "gate").touch()
    run.wait(timeout=60)
    last = handle.look(seen)
    assert not last.workers
    assert last.status.waiting == {"map": 0}
    assert sorted(task.task for task in last.news) == [3, 4, 5, 6, 7, 8]
    status = run.status()
    assert status.items == 9
    assert [(retry.task, retry.message) for retry in status.tries] == [(3, "three")]


@pytest.fixture
def job() -> Job:
    return mapred.submit(abs, mapred.items(range(3)), backend="inline").job


def test_a_look_costs_as_much_as_there_is_news(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(job, "/runs/1")

    class Counting(list):
        """A list that counts what is taken from it."""

        taken = 0

        def __iter__(self):
            Counting.taken += len(self)
            return super().__iter__()

        def __getitem__(self, key):
            found = super().__getitem__(key)
            Counting.taken += len(found) if isinstance(key, slice) else 1
            return found

    progress._tally.times = Counting()
    for task in range(100_000):
        progress.add(Commit("map", task, "1-a", "f", Output("none")))
    first = progress.look(0, lambda: None)
    assert (Counting.taken, first.seen) == (100_000, 100_000)
    Counting.taken = 0
    progress.add(Commit("map", 100_000, "1-a", "f", Output("none")))
    second = progress.look(first.seen, lambda: None)
    assert (Counting.taken, [time.task for time in second.news]) == (1, [100_000])
    began = time.perf_counter()
    for _ in range(100):
        progress.look(second.seen, lambda: None)
    assert time.perf_counter() - began < 1.0
