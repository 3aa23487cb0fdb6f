"""The part of an Argo server and of Kubernetes that keeps WorkflowTemplates and starts Workflows.

Both serve the same objects, on loopback, in the namespace `jobs`. Requests to the Argo server are
what hera's models of it say they are; a version that is not the present one is a conflict.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hera.workflows import models

CREATED = "2026-03-01T02:00:00Z"
_PATH = re.compile(
    r"/api/v1/(?P<argo>workflow-templates|workflows)/jobs(?:/(?P<a>[^/]+))?"
    r"|/apis/argoproj.io/v1alpha1/namespaces/jobs/(?P<kube>workflowtemplates|workflows)(?:/(?P<b>[^/]+))?"
)
_BODIES = {
    ("POST", "workflow-templates"): ("template", models.WorkflowTemplateCreateRequest),
    ("PUT", "workflow-templates"): ("template", models.WorkflowTemplateUpdateRequest),
    ("POST", "workflows"): ("workflow", models.WorkflowCreateRequest),
}


class Server(http.server.ThreadingHTTPServer):
    """What it keeps by name, and what it does `before` it writes a template."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.templates: dict[str, dict[str, Any]] = {}
        self.workflows: dict[str, dict[str, Any]] = {}
        self.before: Callable[[], None] = lambda: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def kubeconfig(self, folder: Path) -> str:
        """The path of a kubeconfig that reaches it."""
        file = folder / "kubeconfig"
        place = {"cluster": "c", "user": "u", "namespace": "jobs"}
        named = {
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": place}],
        }
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "x", **named}
        file.write_text(json.dumps(config))
        return str(file)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        kept, name = self._place()
        if name is not None:
            self._send(*self._found(kept, name))
            return
        query = parse_qs(urlsplit(self.path).query)
        selectors = [*query.get("labelSelector", []), *query.get("listOptions.labelSelector", [])]
        wanted = [part.split("=") for part in ",".join(selectors).split(",") if part]
        items = [item for item in kept.values() if _fits(item, wanted)]
        self._send(200, {"items": items, "metadata": {}})

    def do_POST(self) -> None:
        kept, _ = self._place()
        made = self._body("POST")
        self.server.before()
        name = made["metadata"]["name"]
        if name in kept:
            self._send(409, {"message": f'"{name}" already exists'})
            return
        own = {"resourceVersion": "1", "uid": f"uid-of-{name}", "creationTimestamp": CREATED}
        kept[name] = {**made, "metadata": {**made["metadata"], **own}}
        self._send(201 if self.path.startswith("/apis/") else 200, kept[name])

    def do_PUT(self) -> None:
        kept, name = self._place()
        assert name is not None
        made = self._body("PUT")
        self.server.before()
        before = kept.get(name)
        if before is None:
            self._send(*self._found(kept, name))
        elif before["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]:
            self._send(409, {"message": f'"{name}": the object has been modified'})
        else:
            version = str(int(before["metadata"]["resourceVersion"]) + 1)
            kept[name] = {**made, "metadata": {**made["metadata"], "resourceVersion": version}}
            self._send(200, kept[name])

    def do_DELETE(self) -> None:
        kept, name = self._place()
        assert name is not None
        status, answer = self._found(kept, name)
        kept.pop(name, None)
        self._send(status, answer if status == 404 else {})

    def _place(self) -> tuple[dict[str, dict[str, Any]], str | None]:
        match = _PATH.fullmatch(urlsplit(self.path).path)
        assert match is not None, self.path
        is_template = "template" in (match["argo"] or match["kube"])
        kept = self.server.templates if is_template else self.server.workflows
        return kept, match["a"] or match["b"]

    def _found(self, kept: dict[str, dict[str, Any]], name: str) -> tuple[int, Any]:
        missing = {"message": f'"{name}" not found', "details": {"name": name}}
        return (200, kept[name]) if name in kept else (404, missing)

    def _body(self, verb: str) -> dict[str, Any]:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        match = _PATH.fullmatch(urlsplit(self.path).path)
        assert match is not None
        if match["argo"] is None:
            return dict(body)
        key, model = _BODIES[verb, match["argo"]]
        model.model_validate(body)
        return dict(body[key])

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        return


def _fits(item: dict[str, Any], wanted: list[list[str]]) -> bool:
    labels = item["metadata"].get("labels") or {}
    return all(labels.get(key) in value or (not value and key in labels) for key, *value in wanted)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the block ends."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
