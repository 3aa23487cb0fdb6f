"""Schedules over an Argo server: requests are what hera's models of that server say they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testbed.servers.argo_server import Server, serving

import mapred
from mapred.backends.argo import cron, render
from mapred.backends.argo.backend import Argo
from mapred.backends.schedules import Schedule
from mapred.errors import BackendError
from mapred.model.resources import Resources

# hera 7 calls pydantic by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:DeprecationWarning")

pytest.importorskip("hera.workflows")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def argo(server: Server, monkeypatch: pytest.MonkeyPatch) -> Argo:
    monkeypatch.setenv("ARGO_TOKEN", "token")
    return Argo(server=server.url, namespace="jobs", image="image:1")


WANTED = Schedule("nightly", "count", ("0 3 * * *",), "UTC", "s3://team/runs", "d1" * 32)


def test_schedules_are_put_replaced_listed_and_removed(server: Server, argo: Argo) -> None:
    argo.schedule(WANTED, Resources(), ())
    assert mapred.schedules(backend=argo) == [WANTED]
    argo.schedule(WANTED, Resources(env={"A": "b"}), ())
    assert server.kept["nightly"]["metadata"]["resourceVersion"] == "2"
    server.kept["nightly"]["status"] = {"lastScheduledTime": "2026-03-01T03:00:00Z"}
    (found,) = mapred.schedules(backend=argo)
    assert found.last is not None
    assert found.last.startswith("2026-03-01T03:00:00")
    mapred.unschedule("nightly", backend=argo)
    assert server.kept == {}
    with pytest.raises(BackendError, match="no schedule 'nightly' in 'jobs'; there are: none"):
        mapred.unschedule("nightly", backend=argo)


def test_a_schedule_is_sent_with_fields_that_hera_does_not_know(
    server: Server, argo: Argo, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = render.build_cleanup_spec
    monkeypatch.setattr(
        render, "build_cleanup_spec", lambda argo: {**settled(argo), "nextArgo": True}
    )
    for _ in range(2):  # created, then replaced
        argo.schedule(WANTED, Resources(), ())
        sent = server.kept["nightly"]
        assert sent["metadata"].pop("resourceVersion")
        assert sent == cron.manifest(argo, WANTED, Resources(), None)
        assert sent["spec"]["workflowSpec"]["nextArgo"] is True
        sent["metadata"]["resourceVersion"] = "1"


def test_a_cron_workflow_of_somebody_else_is_left_alone(server: Server, argo: Argo) -> None:
    theirs = cron.manifest(argo, WANTED, Resources(), None)
    del theirs["metadata"]["annotations"]
    server.kept["nightly"] = theirs
    assert mapred.schedules(backend=argo) == []
    with pytest.raises(BackendError, match="that mapred did not make: choose another name="):
        argo.schedule(WANTED, Resources(), ())


@pytest.mark.parametrize("name", ["Nightly", "a" * 41, "a_b", ""])
def test_names_that_a_cluster_does_not_take(argo: Argo, name: str) -> None:
    wanted = Schedule(name, "count", ("0 3 * * *",), "UTC", "s3://team/runs", "d1" * 32)
    with pytest.raises(BackendError, match="the name of a schedule has up to 40"):
        cron.manifest(argo, wanted, Resources(), None)


def test_values_that_argo_would_replace_are_refused(argo: Argo) -> None:
    wanted = Schedule(
        "nightly", "c", ("0 3 * * *",), "UTC", "s3://team/runs", "d1" * 32, {"a": "{{b}}"}
    )
    with pytest.raises(BackendError, match="which Argo would replace"):
        cron.manifest(argo, wanted, Resources(), None)
