"""A run over an Argo server: every request is what hera's models of that server say it is."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred.backends.argo import client as clients
from mapred.backends.argo import render
from mapred.backends.argo.yaml import from_yaml
from mapred.errors import BackendError

# hera 7 calls pydantic by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:The `json` method:DeprecationWarning")

models = pytest.importorskip("hera.workflows").models

TOKEN = "planted-token"
_REQUESTS = {
    "terminate": models.WorkflowTerminateRequest,
    "suspend": models.WorkflowSuspendRequest,
    "resume": models.WorkflowResumeRequest,
}


class Server(http.server.ThreadingHTTPServer):
    """The part of Argo's API that runs need, over Workflows that never start."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.workflows: dict[str, dict[str, Any]] = {}
        self.trouble = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    do_PUT = do_POST

    def _answer(self, body: bytes | None) -> None:
        known = self.server.workflows
        path = re.fullmatch(r"/api/v1/workflows/jobs(?:/([^/]+))?(?:/([^/]+))?", self.path)
        name, act = path.groups() if path else (None, None)
        if "/apis/argoproj.io/" in self.path:  # by the Kubernetes API
            self._send(200, known[self.path.rpartition("/")[2]])
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._send(401, {"message": "token not valid"})
        elif self.server.trouble:
            self.server.trouble -= 1
            self._send(503, {"message": "no leader"})
        elif body is not None and name is None:
            made = models.WorkflowCreateRequest.model_validate_json(body).workflow
            known[made.metadata.name] = json.loads(body)["workflow"]
            self._send(200, known[made.metadata.name])
        elif name not in known:
            self._send(404, {"message": f'workflows.argoproj.io "{name}" not found'})
        else:
            if act is not None:
                request = _REQUESTS[act].model_validate_json(body or b"{}")
                assert (request.name, request.namespace) == (name, "jobs")
                change = {"terminate": ("shutdown", "Terminate"), "suspend": ("suspend", True)}
                key, value = change.get(act, ("suspend", None))
                known[name]["spec"][key] = value
                self._controlled(known[name])
            self._send(200, known[name])

    def do_PATCH(self) -> None:
        """What Kubernetes does with a merge patch of a Workflow."""
        workflow = self.server.workflows[self.path.rpartition("/")[2]]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        workflow["spec"] |= body["spec"]
        self._controlled(workflow)
        self._send(200, workflow)

    def _controlled(self, workflow: dict[str, Any]) -> None:
        """What the controller does then: nothing to a Workflow that is suspended."""
        if workflow["spec"].get("shutdown") and not workflow["spec"].get("suspend"):
            workflow["status"] = {"phase": "Failed", "message": "Stopped"}

    def _send(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        return


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("ARGO_TOKEN", f"Bearer {TOKEN}")
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def run(server: Server, s3_root: str) -> mapred.Run:
    argo = mapred.Argo(
        server=server.url,
        namespace="jobs",
        image="ours:1",
        endpoint="http://inside:9000",
        root_secret="keys",
    )
    return mapred.submit(abs, mapred.array(3), backend=argo, root=s3_root)


def test_what_a_run_submits_is_what_render_prints(
    server: Server, s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = render.build_cleanup_spec
    monkeypatch.setattr(
        render, "build_cleanup_spec", lambda argo: {**settled(argo), "nextArgo": {"mode": "new"}}
    )
    argo = mapred.Argo(
        server=server.url,
        namespace="jobs",
        image="ours:1",
        endpoint="http://inside:9000",
        root_secret="keys",
        pod_spec_patch={"nextKubernetes": True},
    )
    run = mapred.submit(abs, mapred.array(3), backend=argo, root=s3_root)
    ((name, submitted),) = server.workflows.items()
    printed = argo.render(run.job, uri=run.uri, digest=run.digest, name=name)
    assert from_yaml(printed) == [submitted]
    assert submitted["spec"]["nextArgo"] == {"mode": "new"}
    assert "nextKubernetes: true" in submitted["spec"]["podSpecPatch"]


@pytest.mark.slow
def test_a_run_is_submitted_followed_and_stopped(run: mapred.Run, server: Server) -> None:
    ((name, workflow),) = server.workflows.items()
    assert workflow["metadata"]["annotations"]["mapred-uri"] == run.uri
    assert run.state == "running"
    run.suspend()
    assert workflow["spec"]["suspend"] is True
    assert mapred.open(run.uri).state == "suspended"
    run._handle.resume()
    assert workflow["spec"]["suspend"] is None
    again = mapred.open(run.uri)
    assert again.state == "running"
    again.cancel()
    assert workflow["spec"]["shutdown"] == "Terminate"
    assert mapred.open(run.uri).state == "cancelled"
    assert name.endswith(run.id)
    assert TOKEN not in json.dumps(workflow) + run.store.read("job.json").decode()


def test_a_run_that_is_suspended_ends_when_it_is_cancelled(run: mapred.Run, server: Server) -> None:
    (workflow,) = server.workflows.values()
    run.suspend()
    again = mapred.open(run.uri)
    assert again.state == "suspended"
    again.cancel()
    assert workflow["spec"]["shutdown"] == "Terminate"
    assert not workflow["spec"]["suspend"]
    assert mapred.open(run.uri).state == "cancelled"


@pytest.mark.slow
def test_a_suspended_workflow_ends_by_the_kubernetes_api_too(
    server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    place = {"cluster": "c", "user": "u", "namespace": "jobs"}
    named = {
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": place}],
    }
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "x", **named}
    file.write_text(json.dumps(config))
    client = clients.connect(mapred.Argo(kubeconfig=str(file)))
    server.workflows["w"] = {"metadata": {"name": "w"}, "spec": {}}
    client.suspend("w")
    assert client.get("w")["spec"]["suspend"] is True  # type: ignore[index]
    client.terminate("w")
    assert client.get("w")["status"]["phase"] == "Failed"  # type: ignore[index]


def test_whoever_only_watches_sees_that_it_was_cancelled(run: mapred.Run, server: Server) -> None:
    (workflow,) = server.workflows.values()
    workflow["spec"]["shutdown"] = "Terminate"
    workflow["status"] = {"phase": "Failed", "message": "Stopped with strategy 'Terminate'"}
    assert run.wait().state == "cancelled"


def test_a_workflow_that_is_gone_ends_the_run(run: mapred.Run, server: Server) -> None:
    server.workflows.clear()
    assert run.wait().state == "failed"
    with pytest.raises(mapred.RunError, match="is gone from 'jobs'"):
        run.result()


@pytest.mark.slow
def test_a_server_in_trouble_is_asked_again(run: mapred.Run, server: Server) -> None:
    server.trouble = 2
    run.wait(timeout=3)
    assert server.trouble == 0
    assert run.state == "running"


def test_a_token_that_is_refused_is_said_so_at_once(
    run: mapred.Run, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARGO_TOKEN", "Bearer planted-other")
    again = mapred.open(run.uri)
    with pytest.raises(BackendError, match=r"401.*log in again") as caught:
        again.wait()
    assert "planted" not in str(caught.value)


def test_without_a_token_the_variable_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ARGO_TOKEN")
    with pytest.raises(BackendError, match="environment variable ARGO_TOKEN"):
        clients.connect(mapred.Argo(server=server.url))
