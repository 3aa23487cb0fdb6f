"""Jobs that live in a cluster: what is stored, what a start does with it, what is refused."""

from __future__ import annotations

import datetime as dt
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from testbed.shelf import Shelf

import mapred
from mapred.backends.deployments import Record
from mapred.client.deploying import Deployment, starting
from mapred.errors import BackendError, MapredError, PlanError, RunError
from mapred.functions import transport
from mapred.model import layout
from mapred.model.retries import FAILED, MISMATCH, TRY_AGAIN
from mapred.storage import open_store


class Side(Enum):
    LEFT = "left"
    RIGHT = "right"


def told(
    lines: Any,
    city: Literal["Bern", "Oslo"],
    date: dt.date,
    side: Side = Side.RIGHT,
    days: int = 7,
    note: str | None = None,
) -> str:
    """Tell.

    Args:
        days: How many.
    """
    return f"{city} {date} {side} {days!r} {note!r}: {' '.join(lines)}"


def fails(lines: Any) -> None:
    raise ValueError("bad day")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(root=str(tmp_path / "runs"))


@pytest.fixture
def logs(tmp_path: Path) -> str:
    for day in ("2026-03-01", "2026-03-02"):
        (tmp_path / f"{day}.txt").write_text(f"line of {day}\n")
    return f"{tmp_path}/{{date:%Y-%m-%d}}.txt"


@pytest.fixture
def deployment(shelf: Shelf, logs: str) -> Deployment:
    return mapred.job(told, logs).deploy("told", backend=shelf, params={"days": 3})


def runs(shelf: Shelf) -> list[str]:
    assert shelf.root is not None
    return [p for p, _ in open_store(shelf.root).list("") if p.endswith(layout.JOB)]


def test_a_start_gives_values_and_defaults_to_the_function(
    shelf: Shelf, deployment: Deployment
) -> None:
    run = deployment.start(city="Bern", date=dt.date(2026, 3, 1))
    assert run.result() == [f"Bern 2026-03-01 {Side.RIGHT} 3 None: line of 2026-03-01"]
    assert run.job.parameters == {
        "city": "Bern",
        "date": {"date": "2026-03-01"},
        "side": "right",
        "days": 3,
    }
    more = {"city": "Oslo", "date": "2026-03-02", "side": Side.LEFT, "days": "5", "note": "x"}
    run = mapred.deployed("told", backend=shelf).start(**more)
    assert run.result() == [f"Oslo 2026-03-02 {Side.LEFT} 5 'x': line of 2026-03-02"]


def test_the_date_of_a_start_is_that_of_the_cluster(shelf: Shelf, tmp_path: Path) -> None:
    today = dt.datetime.now(dt.timezone.utc).date()
    for day in (today, today + dt.timedelta(days=1)):  # midnight may be near
        (tmp_path / f"{day}.txt").write_text("x\n")
    job = mapred.job(told, f"{tmp_path}/{{date:%Y-%m-%d}}.txt")
    run = job.deploy(backend=shelf).start(city="Bern")
    (start,) = shelf.started
    assert run.result()[0].startswith(f"Bern {start.created.date()}")
    assert run.id.startswith(f"{start.created:%Y%m%d-%H%M%S}-")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "parameter city needs a value: one of Bern, Oslo"),
        ({"city": "Rom"}, "parameter city='Rom' must be one of Bern, Oslo"),
        ({"city": "Bern", "days": "many"}, "days='many' must be a whole number"),
        ({"city": "Bern", "days": [1]}, "parameter days=.1. must be a text, a number"),
        ({"city": "Bern", "town": "x"}, "nothing takes the parameter 'town'; there are: city: "),
    ],
)
def test_what_does_not_fit_starts_nothing(
    shelf: Shelf, deployment: Deployment, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(PlanError, match=said):
        deployment.start(**values)
    assert shelf.started == []


def test_a_text_that_does_not_fit_is_final_in_the_pod(
    shelf: Shelf, deployment: Deployment, capsys: Any
) -> None:
    """As `argo submit --from` gives it, which knows no types."""
    words = (deployment.digest, deployment.digest, "uid", "2026-03-01T02:00:00Z", "-")
    assert shelf.root is not None
    code = starting.main(shelf.root, "told", *words, "city=Bern", "days=many")
    assert code == MISMATCH
    assert "parameter days='many' must be a whole number" in capsys.readouterr().err
    assert (
        starting.main(shelf.root, "told", *words, "city=Bern", "note=a=b", "date=2026-03-01") == 0
    )
    (path,) = runs(shelf)
    assert (
        mapred.open(f"{shelf.root}/{path.rpartition('/')[0]}")
        .result()[0]
        .startswith(f"Bern 2026-03-01 {Side.RIGHT} 3 'a=b'")
    )


def test_a_pod_that_is_started_again_continues_its_run(
    shelf: Shelf, deployment: Deployment
) -> None:
    run = deployment.start(city="Bern", date=dt.date(2026, 3, 1))
    (start,) = shelf.started
    before = run.store.list("")
    assert start.again() == 0
    assert run.store.list("") == before
    # A pod that was lost before the end: what is missing is done, under the same name.
    run.store.delete(layout.END)
    run.store.delete(layout.commit("map", 0))
    assert start.again() == 0
    assert mapred.open(run.uri).result() == run.result()
    assert len(runs(shelf)) == 1


def test_a_run_that_failed_is_returned_and_fails_its_pod(shelf: Shelf, logs: str) -> None:
    job = mapred.job(fails, logs, attempts=1)
    run = job.deploy(backend=shelf).start(date="2026-03-01")
    assert shelf.started[0].code == FAILED
    with pytest.raises(RunError, match="bad day"):
        run.result()


def test_a_start_that_made_no_run_says_what_its_pod_said(
    shelf: Shelf, deployment: Deployment
) -> None:
    with pytest.raises(BackendError, match=r"the pod said: DatasetError: .*2020-01-01\.txt"):
        deployment.start(city="Bern", date="2020-01-01")
    shelf.idle = True
    with pytest.raises(BackendError, match=r"nothing has begun for 0 s.*mapred\.open\("):
        deployment.start(city="Bern")


def test_a_handle_starts_its_own_version_or_nothing(
    shelf: Shelf, deployment: Deployment, logs: str
) -> None:
    newer = mapred.job(fails, logs).deploy("told", backend=shelf)
    assert newer.digest != deployment.digest
    with pytest.raises(BackendError, match=f"version {deployment.digest[:12]} was to start, and"):
        deployment.start(city="Bern")
    assert shelf.started[0].code == MISMATCH
    assert runs(shelf) == []
    # What began as the earlier version still finds it.
    start = shelf.started[0]
    start.words[2] = deployment.digest
    start.words += ["date=2026-03-01"]
    assert start.again() == 0


def test_a_stored_job_that_someone_changed_is_refused(
    shelf: Shelf, deployment: Deployment, logs: str
) -> None:
    other = transport.dump(mapred.job(fails, logs))
    assert shelf.root is not None
    open_store(shelf.root).write(layout.deployment("told", deployment.digest), other)
    with pytest.raises(BackendError, match="its SHA-256 differs"):
        deployment.start(city="Bern")
    open_store(shelf.root).delete(layout.deployment("told", deployment.digest))
    with pytest.raises(BackendError, match="is gone: deploy the job again"):
        deployment.start(city="Bern")
    assert shelf.started[-1].code == MISMATCH


def test_a_root_that_does_not_answer_is_tried_again(
    shelf: Shelf, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise mapred.StorageError("no answer")

    monkeypatch.setattr(starting, "load", away)
    with pytest.raises(BackendError, match="no answer"):
        deployment.start(city="Bern", date="2026-03-01")
    assert shelf.started[0].code == TRY_AGAIN


def test_a_deployment_that_cannot_be_read_starts_nothing(shelf: Shelf) -> None:
    shelf.kept["x"] = Record("x", "unreadable: the annotation of x is not a record", "", "")
    with pytest.raises(BackendError, match=r"'x' is unreadable: .*; deploy the job again"):
        mapred.deployed("x", backend=shelf).start()
    assert shelf.started == []


def test_deployments_are_listed_as_a_table_and_removed(
    shelf: Shelf, deployment: Deployment
) -> None:
    other = mapred.job(abs, [-1]).deploy("signs", backend=shelf, description="to try")
    found = mapred.deployments(backend=shelf)
    assert list(found) == [other, deployment]
    assert found[1] == deployment
    assert list(found[:1]) == [other]
    text = repr(found)
    for part in ("told", "city [date] [side] [days] [note]", deployment.digest[:12]):
        assert part in text
    assert text.splitlines()[0].split() == "name job parameters version owner deployed root".split()
    assert "<table" in found._repr_html_()
    assert other.description == "to try"
    (days,) = [each for each in deployment.parameters if each.name == "days"]
    assert days.description == "How many."
    with pytest.raises(BackendError, match="no deployment 'x'; there are: signs, told"):
        mapred.deployed("x", backend=shelf)
    mapred.undeploy("signs", backend=shelf)
    mapred.undeploy("told", backend=shelf)
    assert repr(mapred.deployments(backend=shelf)) == "no deployments"
    with pytest.raises(BackendError, match="no deployment 'x'; there are: none"):
        mapred.deployed("x", backend=shelf)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "Told"}, "has up to 40 letters"),
        ({"name": "a" * 41}, "has up to 40 letters"),
        ({"name": "../told"}, "has up to 40 letters"),
        ({"params": {"town": "x"}}, "nothing takes the parameter 'town'"),
        ({"params": {"days": "many"}}, "days='many' must be a whole number"),
        ({"params": {"city": "Rom"}}, "city='Rom' must be one of Bern, Oslo"),
        ({"params": {"city": ["x"]}}, "must be a text, a number"),
        ({"backend": "local"}, "'local' keeps no jobs; 'argo' does"),
    ],
)
def test_what_cannot_be_deployed_leaves_nothing(
    shelf: Shelf, logs: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(MapredError, match=said):
        mapred.job(told, logs).deploy(**{"backend": shelf, **arguments})
    assert shelf.kept == {}
    assert shelf.root is not None
    assert not Path(shelf.root).exists()


def test_what_is_bound_is_no_parameter_any_more(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "Bern.txt").write_text("x\n")
    job = mapred.job(told, f"{tmp_path}/{{city}}.txt")
    deployment = job.bind(city="Bern", days=3).deploy(backend=shelf)
    assert [each.name for each in deployment.parameters] == ["date", "side", "note"]
    run = deployment.start(date="2026-03-01")
    assert run.result() == [f"Bern 2026-03-01 {Side.RIGHT} 3 None: x"]
    assert {"city", "days"} < run.job.parameters.keys()


def test_the_name_is_the_jobs_unless_it_is_given(shelf: Shelf, logs: str) -> None:
    assert mapred.job(told, logs, name="Told of_Days").deploy(backend=shelf).name == "told-of-days"
    long = mapred.job(told, logs, name="x" * 60).deploy(backend=shelf)
    assert (long.name, long.job) == ("x" * 40, "x" * 60)


def test_an_annotated_input_is_kept_where_annotations_are_lost(shelf: Shelf, logs: str) -> None:
    deployment = mapred.job(size, logs).deploy(backend=shelf)
    assert deployment.start(date="2026-03-01").result() == [19]
    assert shelf.root is not None
    stored = starting.load(shelf.root, "size", deployment.digest)
    assert stored.job.dataset.as_ == "bytes"  # type: ignore[attr-defined]


def size(content: bytes) -> int:
    return len(content)
