"""The part of an Argo server that keeps CronWorkflows, on loopback.

Requests are what hera's models of that server say they are.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hera.workflows import models


class Server(http.server.HTTPServer):
    """What it `kept`, by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kept: dict[str, dict[str, Any]] = {}
        self.deleted: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


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
        body = self._body()
        models.CreateCronWorkflowRequest.model_validate(body)
        self._keep(body["cronWorkflow"], "1")

    def do_PUT(self) -> None:
        name, _ = self._name()
        body = self._body()
        request = models.UpdateCronWorkflowRequest.model_validate(body)
        known = self.server.kept[name]["metadata"]["resourceVersion"]
        assert request.cron_workflow.metadata.resource_version == known
        self._keep(body["cronWorkflow"], "2")

    def do_DELETE(self) -> None:
        name, query = self._name()
        assert query["deleteOptions.propagationPolicy"] == ["Orphan"]
        self.server.deleted.add(name)
        self._send(self.server.kept.get(name))

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _keep(self, cron: dict[str, Any], version: str) -> None:
        kept = {**cron, "metadata": {**cron["metadata"], "resourceVersion": version}}
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


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the block ends."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
