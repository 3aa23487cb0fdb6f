"""What is taken away from a run's folder while the run is at work ends it with one error."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import mapred
from mapred.engine import watch
from mapred.errors import BackendError, RunError
from mapred.model import layout
from mapred.runfolder.folder import RunFolder

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SECONDS", 0.1)


def test_a_commit_that_is_gone_ends_a_reduce_that_follows(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    root = tmp_path / "runs"

    def wait(item: int) -> int:
        while item == 0 and not gate.exists():
            time.sleep(0.02)
        return item

    run = mapred.submit(
        wait, mapred.items(range(6)), per_task=1, reduce=sum, root=root, backend=mapred.Local(2)
    )
    commit = Path(run.uri, layout.commit("map", 3))
    while not commit.exists():
        time.sleep(0.02)
    commit.unlink()
    gate.touch()
    with pytest.raises(RunError, match=r"commits/000003.json is gone: .*resume the run"):
        run.finish("none")
    assert run.resume(progress="none").result() == 15


def test_a_commit_is_looked_for_while_a_reduce_follows(tmp_path: Path) -> None:
    run = mapred.run(abs, mapred.items(range(4)), per_task=1, root=tmp_path, progress="none")
    made, now = watch.Watch(RunFolder(run.store)), time.monotonic()
    made.await_inputs(run.job.stages[0], range(4))
    made.look(now)
    Path(run.uri, layout.commit("map", 2)).unlink()
    made.look(now)
    with pytest.raises(BackendError, match=r"commits/000002.json is gone"):
        made.look(now + 1)


@pytest.mark.parametrize("backend", ["local", "inline"])
@pytest.mark.parametrize("what", ["folder", "job"])
def test_a_run_whose_folder_is_gone_does_not_succeed(
    tmp_path: Path, backend: str, what: str
) -> None:
    root = tmp_path / "runs"

    def take_away(item: int) -> int:
        if item == 1:
            (folder,) = root.glob("2*")
            if what == "job":
                (folder / layout.JOB).unlink()
            else:
                shutil.rmtree(folder)
        return item

    with pytest.raises(RunError, match=r"job.json is gone: .* start a new run") as caught:
        mapred.run(
            take_away,
            mapred.items(range(3)),
            root=root,
            backend=backend,
            progress="none",
            attempts=1,
        )
    assert "resume" not in str(caught.value)
    assert caught.value.run.state == "interrupted"
    assert not list(root.glob("2*/end.json"))


def test_a_run_whose_folder_goes_while_a_task_is_at_work_ends(tmp_path: Path) -> None:
    at = tmp_path / "at"

    def sleep(item: int) -> None:
        at.touch()
        time.sleep(600)

    run = mapred.submit(sleep, mapred.items([1]), root=tmp_path)
    while not at.exists():
        time.sleep(0.02)
    shutil.rmtree(run.uri)
    with pytest.raises(RunError, match=r"job.json is gone"):
        run.finish("none")
    assert not Path(run.uri).exists()


def test_a_listing_that_lags_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunFolder, "list_committed", lambda folder, stage: [])
    run = mapred.run(
        abs, mapred.items(range(4)), root=tmp_path, backend="inline", progress="none", reduce=sum
    )
    assert run.result() == 6
