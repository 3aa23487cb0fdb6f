"""Schedules over an Argo server: requests are what hera's models of that server say they are."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import mapred
from mapred.backends.argo import crons
from mapred.backends.argo.backend import Argo
from mapred.backends.base import Schedule
from mapred.errors import BackendError
from mapred.resources import Resources

# hera 7 calls pydantic by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:DeprecationWarning")

models = pytest.importorskip("hera.workflows").models


class Server(http.server.HTTPServer):
    """The part of Argo's API that keeps CronWorkflows."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def _name(self) -> tuple[str, dict[str, list[str]]]:
        path = urlsplit(self.path)
        assert path.path.startswith("/api/v1/cron-workflows/jobs")
        return path.path.removeprefix("/api/v1/cron-workflows/jobs").lstrip("/"), parse_qs(
            path.query
        )

    def do_GET(self) -> None:
        name, query = self._name()
        if name:
            self._send(self.server.kept.get(name))
            return
        wanted = dict(part.split("=") for part in query.get("listOptions.labelSelector", []))
        found = [
            cron
            for cron in self.server.kept.values()
            if wanted.items() <= cron["metadata"]["labels"].items()
        ]
        self._send({"items": found, "metadata": {}})
        # As Kubernetes does, with a deletion by "Orphan": it is listed for some time yet.
        for each in self.server.deleted:
            self.server.kept.pop(each, None)

    def do_POST(self) -> None:
        request = models.CreateCronWorkflowRequest.model_validate(self._body())
        self._keep(request.cron_workflow, "1")

    def do_PUT(self) -> None:
        name, _ = self._name()
        request = models.UpdateCronWorkflowRequest.model_validate(self._body())
        known = self.server.kept[name]["metadata"]["resourceVersion"]
        assert request.cron_workflow.metadata.resource_version == known
        self._keep(request.cron_workflow, "2")

    def do_DELETE(self) -> None:
        name, query = self._name()
        assert query["deleteOptions.propagationPolicy"] == ["Orphan"]
        self.server.deleted.add(name)
        self._send(self.server.kept.get(name))

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _keep(self, cron: Any, version: str) -> None:
        cron.metadata.resource_version = version
        kept = json.loads(cron.model_dump_json(by_alias=True, exclude_none=True))
        self.server.kept[kept["metadata"]["name"]] = kept
        self._send(kept)

    def _send(self, content: Any) -> None:
        missing = content is None
        text = json.dumps({"message": "not found"} if missing else content).encode()
        self.send_response(404 if missing else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def argo(server: Server, monkeypatch: pytest.MonkeyPatch) -> Argo:
    monkeypatch.setenv("ARGO_TOKEN", "token")
    return Argo(server=f"http://127.0.0.1:{server.server_port}", namespace="jobs", image="image:1")


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


def test_a_cron_workflow_of_somebody_else_is_left_alone(server: Server, argo: Argo) -> None:
    theirs = crons.validated(crons.manifest(argo, WANTED, Resources(), None))
    del theirs["metadata"]["annotations"]
    server.kept["nightly"] = theirs
    assert mapred.schedules(backend=argo) == []
    with pytest.raises(BackendError, match="that mapred did not make: choose another name="):
        argo.schedule(WANTED, Resources(), ())


@pytest.mark.parametrize("name", ["Nightly", "a" * 41, "a_b", ""])
def test_names_that_a_cluster_does_not_take(argo: Argo, name: str) -> None:
    wanted = Schedule(name, "count", ("0 3 * * *",), "UTC", "s3://team/runs", "d1" * 32)
    with pytest.raises(BackendError, match="the name of a schedule has up to 40"):
        crons.manifest(argo, wanted, Resources(), None)


def test_values_that_argo_would_replace_are_refused(argo: Argo) -> None:
    wanted = Schedule(
        "nightly", "c", ("0 3 * * *",), "UTC", "s3://team/runs", "d1" * 32, {"a": "{{b}}"}
    )
    with pytest.raises(BackendError, match="which Argo would replace"):
        crons.manifest(argo, wanted, Resources(), None)
