"""Pipelines that start by the clock."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from client.pipelines.turns import Workflows, cluster, opened

import mapred
from mapred.client.pipelines.handle import drive
from mapred.client.scheduling import firing
from mapred.errors import FunctionError, PlanError, RunError
from mapred.model.retries import DONE, FAILED, MISMATCH, WAITING

Argo = tuple[Workflows, mapred.Argo]
PLANNED = "2026-03-01T02:00:00Z"
WHEN = datetime(2026, 3, 1, 2, tzinfo=timezone.utc)


@pytest.fixture
def argo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Argo:
    return cluster(tmp_path, monkeypatch)


@mapred.pipeline
def nightly(date: datetime, city: str) -> Any:
    words = mapred.items([city, f"{date:%d %H %Z}"])
    run = mapred.run(str.upper, words, backend="inline", progress="none")
    if not mapred.approve("publish", timeout="1d", default=False):
        raise ValueError("nobody wants it")
    return run.result()


def scheduled(argo: Argo, tmp_path: Path) -> tuple[Workflows, str]:
    workflows, backend = argo
    wanted = nightly.schedule(
        "0 3 * * *",
        timezone="Europe/Berlin",
        params={"city": "Bern"},
        backend=backend,
        root=tmp_path / "runs",
    )
    assert mapred.schedules(backend=backend) == [wanted]
    assert (wanted.name, wanted.job, wanted.pipeline) == ("nightly", "nightly", True)
    workflows.fire("nightly", "nightly-1", PLANNED)
    return workflows, f"{wanted.root}/{firing.run_id('nightly', WHEN)}"


def test_a_firing_drives_its_pipeline_by_pods_that_leave(argo: Argo, tmp_path: Path) -> None:
    workflows, uri = scheduled(argo, tmp_path)
    assert workflows.turn("nightly-1") == WAITING
    assert workflows.turn("nightly-1", 1) == WAITING
    run = opened(uri)
    assert run.state == "waiting"
    assert run.record.parameters["city"] == "'Bern'"
    run.approve("publish", True)
    assert workflows.annotations("nightly-1")["mapred-pause"] == "1s"
    assert workflows.turn("nightly-1", 2) == DONE
    assert run.result() == ["BERN", "01 03 CET"]
    assert workflows.names() == ["nightly-1"]


def test_a_pipeline_that_failed_fails_its_firing_and_can_be_resumed(
    argo: Argo, tmp_path: Path
) -> None:
    workflows, uri = scheduled(argo, tmp_path)
    workflows.turn("nightly-1")
    run = opened(uri)
    run.approve("publish", False)
    assert workflows.turn("nightly-1", 1) == FAILED
    with pytest.raises(RunError, match="nobody wants it"):
        run.check()
    run._prepare_resumption(None)
    drive(run, None, None)
    (again,) = [name for name in workflows.names() if name != "nightly-1"]
    assert workflows.turn(again) == FAILED, "the first answer stands"


def test_what_was_stored_since_is_not_called(argo: Argo, tmp_path: Path) -> None:
    workflows, uri = scheduled(argo, tmp_path)
    (stored,) = (tmp_path / "runs" / ".schedules" / "nightly").iterdir()
    stored.write_bytes(stored.read_bytes() + b" ")
    assert workflows.turn("nightly-1") == MISMATCH
    assert not Path(uri).exists()


def test_parameters_that_do_not_fit_are_refused_at_once(argo: Argo, tmp_path: Path) -> None:
    given: dict[str, Any] = {"backend": argo[1], "root": tmp_path}
    with pytest.raises(FunctionError, match="missing a required argument: 'city'"):
        nightly.schedule("0 3 * * *", **given)
    with pytest.raises(PlanError, match="date is the time for which"):
        nightly.schedule("0 3 * * *", params={"city": "Bern", "date": "today"}, **given)
    with pytest.raises(PlanError, match="five fields"):
        nightly.schedule("daily", params={"city": "Bern"}, **given)
    assert argo[0].scheduled == {}
