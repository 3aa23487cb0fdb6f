"""`deadline=` counts from the submission, without pauses, on every backend."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.model import layout
from mapred.model.spec import Format, Job
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.starts import Start
from mapred.storage import open_store


def nap(i: int) -> int:
    time.sleep(0.15)
    return i


@pytest.mark.parametrize(
    "backend", ["inline", "local", "threads", pytest.param("dask", marks=pytest.mark.slow)]
)
def test_it_ends_the_run_in_the_same_words(tmp_path: Path, backend: Any) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(mapred.RunError) as caught:
        mapred.run(
            nap, mapred.array(9), per_task=1, deadline=0.3, root=tmp_path, progress="none",
            backend=threads if backend == "threads" else backend,
        )  # fmt: skip
    assert "the run took longer than deadline=0.3 s" in str(caught.value)
    assert caught.value.run.state == "failed"


def job(**more: Any) -> Job:
    """A job that was submitted at 1000."""
    return Job(
        run_id="r", name="n", created="2026-03-01T12:00:00Z", format=Format("items", "item"), stages=(), shards=1,
        items=1, files=0, bytes=0, function="function.pkl", submitted=1000.0, **more,
    )  # fmt: skip


PAUSES = ((1010.0, 2000.0), (2005.0, 2500.0))


@pytest.mark.parametrize(
    ("start", "since", "left"),
    [
        (Start("a", "running", 1001.0), 0.0, 60 - 2000),
        (Start("a", "running", 2500.0, None, PAUSES), 0.0, 60 - 10 - 5 - 500),
        (Start("a", "suspended", 2500.0, 2520.0, PAUSES), 0.0, 60 - 10 - 5 - 20),
        (Start("a", "interrupted", 2500.0, 2999.0, (*PAUSES, (2520.0, 2999.0))), 0.0, 25),
        # Another deadline counts from the resume that brought it.
        (Start("a", "running", 2500.0, None, PAUSES), 2499.0, 60 - 500),
        (Start("a", "running", 2500.0, None, PAUSES), 1990.0, 60 - 5 - 500),
        (Start("a", "suspended", 2500.0, 2400.0, PAUSES), 2499.0, 60),
    ],
)
def test_what_is_left(start: Start, since: float, left: float) -> None:
    assert starts.seconds_left(job(deadline=60, deadline_since=since), start, 3000.0) == left
    assert starts.seconds_left(job(), start, 3000.0) == float("inf")


def test_the_clock_stops_in_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, now, limited = open_store(str(tmp_path)), [1000.0], job(deadline=60)
    monkeypatch.setattr(time, "time", lambda: now[0])
    start, worked = RunFolder(store).note_start("a"), 0.0
    for work, pause in ((5.0, 100.0), (7.0, 3000.0), (0.0, 50.0)):
        now[0] += work
        worked += work
        RunFolder(store).note_stop("a", "suspended")
        now[0] += pause
        start = RunFolder(store).start()
        assert starts.seconds_left(limited, start, now[0]) == 60 - worked
        resumed = starts.add_pause(start, start.ended, now[0])
        assert starts.seconds_left(limited, resumed, now[0]) == 60 - worked
        start = RunFolder(store).note_start("a", resumed.pauses)
    now[0] += 1
    assert starts.seconds_left(limited, start, now[0]) == 60 - worked - 1


def worked(run: mapred.Run, seconds: float) -> None:
    """Have a suspended run look as if it had worked so long, with pauses before and after."""
    ended = time.time() - 500
    begun = ended - 1000 - seconds
    found = Job.from_bytes(run.store.read(layout.JOB))
    run.store.write(layout.JOB, dataclasses.replace(found, submitted=begun).to_bytes())
    pauses = ((begun + 1, begun + 1001),)
    RunFolder(run.store).write_start(Start(None, "suspended", begun + 1001, ended, pauses))


def test_a_resumed_run_counts_on_until_it_gets_another_deadline(tmp_path: Path) -> None:
    run = mapred.submit(nap, mapred.array(5), per_task=1, deadline=60, root=tmp_path)
    run.suspend()
    worked(run, 61)
    for _ in range(2):
        with pytest.raises(mapred.RunError, match="deadline=60 s") as caught:
            run.resume(progress="none")
    assert "deadline=120" in caught.value.hint
    assert run.resume(deadline=30, progress="none").result() == [0, 1, 2, 3, 4]
    assert mapred.open(run.uri).status().state == "succeeded"


def test_a_resumed_run_has_what_is_left(tmp_path: Path) -> None:
    run = mapred.submit(nap, mapred.array(5), per_task=1, deadline=60, root=tmp_path)
    run.suspend()
    worked(run, 30)
    assert run.resume(progress="none").result() == [0, 1, 2, 3, 4]
    first, second = run.status().pauses
    assert (first[1] - first[0], second[1] - second[0]) == pytest.approx((1000, 500), abs=5)


class Refuses:
    name, arguments = "local", {}

    def prepare(self) -> None:
        return

    def submit(self, store: Any, job: Job, digest: str) -> Any:
        raise mapred.BackendError("no cluster here")


def test_a_refused_resume_leaves_the_clock_alone(tmp_path: Path) -> None:
    run = mapred.submit(nap, mapred.array(5), per_task=1, deadline=60, root=tmp_path)
    run.suspend()
    before = RunFolder(run.store).start()
    with pytest.raises(mapred.BackendError, match="no cluster here"):
        run.resume(backend=Refuses(), progress="none")
    assert RunFolder(run.store).start() == before
