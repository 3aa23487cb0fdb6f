"""One name, one job: what a second submission under a `run_id` finds, and leaves as it was."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred.client import naming
from mapred.errors import MapredError
from mapred.model import layout
from mapred.storage import open_store


def double(item: int) -> int:
    return 2 * item


def triple(item: int) -> int:
    return 3 * item


def submit(job: mapred.Job, root: Path, **options: Any) -> mapred.Run:
    return job.submit(root=root, run_id="nightly", **{"backend": "inline", **options})


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def day_of(item: int) -> pa.Table:
    return pa.table({"day": ["monday"], "n": [item]})


@pytest.mark.parametrize(
    "options",
    [
        {"by": ["day"], "aggregate": {"n": ["sum", ("stddev", {"ddof": 0})]}},
        {"sort_by": [("n", "descending"), "day"]},
        {"retry_on": [ConnectionError], "no_retry_on": [ValueError]},
        {"resources": mapred.Resources(tolerations=("gpu:NoSchedule",), instance_types=("c7i",))},
        {"write": ["day"]},
    ],
    ids=lambda options: next(iter(options)),
)
def test_the_same_job_is_the_run_of_its_name(tmp_path: Path, options: dict[str, Any]) -> None:
    if "write" in options:
        lake = str(tmp_path / "lake")
        target = mapred.write_parquet(lake, partition_by=["day"], replace={"day": ["monday"]})
        options = {"write": target}
    job = mapred.job(day_of, mapred.items(range(3)), **options)
    first = submit(job, tmp_path).wait()
    again = submit(job, tmp_path)
    assert again.status().finished == first.status().finished is not None


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (lambda: mapred.job(triple, mapred.items(range(3))), "function"),
        (lambda: mapred.job(double, mapred.items(range(10, 15))), "dataset"),
        (lambda: mapred.job(double, mapred.items(range(3)), reduce=sum), "reduce"),
        (lambda: mapred.job(double, mapred.items(range(3)), seed=7), "seed="),
    ],
)
def test_another_job_of_the_name_is_refused(
    tmp_path: Path, other: Callable[[], mapred.Job], what: str
) -> None:
    first = submit(mapred.job(double, mapred.items(range(3))), tmp_path)
    before = contents(tmp_path / "nightly")
    with pytest.raises(mapred.RunError) as caught:
        submit(other(), tmp_path)
    assert what in str(caught.value)
    assert first.uri in str(caught.value)
    assert caught.value.run.result() == [0, 2, 4]
    assert contents(tmp_path / "nightly") == before


def test_what_the_refusal_advises_helps(tmp_path: Path) -> None:
    def refused() -> list[str]:
        with pytest.raises(mapred.RunError) as caught:
            submit(mapred.job(triple, mapred.items(range(3))), tmp_path)
        return [line for line in str(caught.value).splitlines() if line.startswith("import")]

    def flaky(item: int) -> int:
        if not (tmp_path / "ready").exists():
            raise ValueError(item)
        return item

    first = submit(mapred.job(flaky, mapred.items(range(3)), attempts=1), tmp_path)
    assert first.state == "failed"
    resume, remove = refused()
    (tmp_path / "ready").touch()
    exec(resume, {})
    assert mapred.open(first.uri).result() == [0, 1, 2]
    exec(remove, {})
    assert submit(mapred.job(triple, mapred.items(range(3))), tmp_path).result() == [0, 3, 6]


def test_the_same_job_is_the_same_run(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()

    def noted(item: int) -> int:
        (calls / f"{item}-{time.monotonic_ns()}").touch()
        return item

    def same() -> mapred.Run:
        return submit(mapred.job(noted, mapred.items(range(3))), tmp_path / "runs")

    first = same()
    created = first.job.submitted
    again = same()
    assert again.result() == [0, 1, 2]
    assert again.job.submitted == created
    assert len(list(calls.iterdir())) == 3
    again.store.delete(layout.END)
    again.store.delete(layout.MANIFEST)
    again.store.delete(layout.commit("map", 1))
    assert same().result() == [0, 1, 2]
    assert len(list(calls.iterdir())) == 4


def test_the_same_job_that_is_at_work_is_followed(tmp_path: Path) -> None:
    def slow(item: int) -> int:
        while not (tmp_path / "go").exists():
            time.sleep(0.01)
        return item

    def same() -> mapred.Run:
        job = mapred.job(slow, mapred.items(range(2)))
        return submit(job, tmp_path / "runs", backend=mapred.Local(workers=1))

    first, second = same(), same()
    assert second.state == "running"
    (tmp_path / "go").touch()
    assert first.wait(timeout=20).result() == second.result() == [0, 1]


def test_remains_of_a_removed_run_are_not_taken_over(tmp_path: Path) -> None:
    first = submit(mapred.job(double, mapred.items(range(3))), tmp_path)
    first.store.delete(layout.JOB)
    before = contents(tmp_path / "nightly")
    with pytest.raises(mapred.RunError, match=r"no job\.json"):
        submit(mapred.job(triple, mapred.items(range(3))), tmp_path)
    assert contents(tmp_path / "nightly") == before
    shutil.rmtree(tmp_path / "nightly")
    assert submit(mapred.job(triple, mapred.items(range(3))), tmp_path).result() == [0, 3, 6]


def test_a_submission_that_was_cut_off_goes_on_with_the_same_job(tmp_path: Path) -> None:
    job = mapred.job(double, mapred.items(range(3)))
    store = submit(job, tmp_path).store
    for path, _ in store.list(""):
        if not path.startswith((layout.PLAN, layout.FUNCTION)):
            store.delete(path)
    with pytest.raises(MapredError, match="another submission under this run_id"):
        submit(mapred.job(triple, mapred.items(range(3))), tmp_path)
    assert submit(job, tmp_path).result() == [0, 2, 4]


def test_a_claim_that_fails_takes_back_its_own_files_alone(tmp_path: Path) -> None:
    job = submit(mapred.job(double, mapred.items(range(3))), tmp_path).job
    folder = tmp_path / "claimed"
    store = open_store(str(folder))
    store.write("plan/0", b"another's")
    files = [("function.pkl", b"mine"), ("plan/0", b"mine too")]
    with pytest.raises(MapredError, match="plan/0 is of another submission"):
        naming.claim(store, files, job)
    assert contents(folder) == {"plan/0": b"another's"}


def _race(root: str, number: int, gate: Any, answers: Any) -> None:
    job = mapred.job(double if number % 2 else triple, mapred.items(range(5)))
    gate.wait(60)
    try:
        answers.put((number, submit(job, Path(root)).result()))
    except mapred.RunError as error:
        answers.put((number, str(error)))
    except MapredError as error:
        answers.put((number, f"cut {error}"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_of_racing_submissions_one_job_wins(tmp_path: Path, seed: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    gate, answers = spawn.Barrier(4), spawn.Queue()
    racers = [
        spawn.Process(target=_race, args=(str(tmp_path), number, gate, answers))
        for number in range(4)
    ]
    for racer in racers:
        racer.start()
    found = dict(answers.get(timeout=60) for _ in racers)
    for racer in racers:
        racer.join()
    run = mapred.open(tmp_path / "nightly")
    doubles = run.result() == [0, 2, 4, 6, 8]
    assert doubles or run.result() == [0, 3, 6, 9, 12]
    for number, answer in found.items():
        mine = (number % 2 == 1) == doubles
        assert (answer == run.result()) is mine, found
        assert mine or "run_id" in answer
    assert run.audit().ok
    assert json.loads(run.store.read(layout.JOB))["run_id"] == "nightly"
