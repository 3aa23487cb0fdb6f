"""Workflows as files, and their pods as processes of this machine, which a test starts one by one."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mapred
from mapred.backends.argo import client as clients
from mapred.client.pipelines import waiting
from mapred.model.resources import Volume

_SCHEDULED = "workflows.argoproj.io/scheduled-time"
_FORKS = multiprocessing.get_context("fork")


class Workflows:
    """A client whose Workflows are files, so that forked pods have them as well."""

    namespace = "jobs"
    moves_deadlines = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduled: dict[str, dict[str, Any]] = {}
        folder.mkdir()

    def create(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        assert self.get(name) is None
        self._write({**manifest, "status": {"phase": "Running"}})

    def get(self, name: str) -> dict[str, Any] | None:
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None

    def terminate(self, name: str) -> None:
        self.change(name, shutdown="Terminate", phase="Failed")

    def annotate(self, name: str, values: Mapping[str, str]) -> None:
        workflow = self._have(name)
        workflow["metadata"]["annotations"].update(values)
        self._write(workflow)

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        return frozenset()

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        return ""

    def crons(self, selector: str) -> list[dict[str, Any]]:
        return list(self.scheduled.values())

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        self.scheduled[manifest["metadata"]["name"]] = dict(manifest)

    def fire(self, schedule: str, name: str, planned: str) -> None:
        """Make the Workflow of a schedule, as its controller would at a time."""
        spec = self.scheduled[schedule]["spec"]
        marks = {**spec["workflowMetadata"]["annotations"], _SCHEDULED: planned}
        metadata = {"name": name, "annotations": marks}
        self.create({"metadata": metadata, "spec": spec["workflowSpec"]})

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def annotations(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self._have(name)["metadata"]["annotations"]
        return found

    def change(self, name: str, *, shutdown: str | None = None, phase: str) -> None:
        workflow = self._have(name)
        workflow["spec"]["shutdown"] = shutdown
        workflow["status"]["phase"] = phase
        self._write(workflow)

    def turn(self, name: str, number: int = 0, hold: float = 0.0) -> int | None:
        """Run the next pod of a Workflow, as its controller would; return how it ended."""
        container = self._have(name)["spec"]["templates"][0]["container"]
        known = self._parameters(name) | {"workflow.name": name, "retries": str(number)}
        known["workflow.scheduledTime"] = self.annotations(name).get(_SCHEDULED, "")
        words = [
            re.sub(r"\{\{(.*?)\}\}", lambda m: known[m[1]], word) for word in container["args"]
        ]
        process = _FORKS.Process(target=_pod, args=(container["command"][-1], words, hold))
        process.start()
        process.join(60)
        ended = process.exitcode
        if ended in (0, 1, 78):
            self.change(name, phase="Failed" if ended else "Succeeded")
        return ended

    def _parameters(self, name: str) -> dict[str, str]:
        given = self._have(name)["spec"]["arguments"]["parameters"]
        return {f"workflow.parameters.{each['name']}": each["value"] for each in given}

    def _have(self, name: str) -> dict[str, Any]:
        workflow = self.get(name)
        assert workflow is not None
        return workflow

    def _write(self, workflow: Mapping[str, Any]) -> None:
        (self.folder / workflow["metadata"]["name"]).write_text(json.dumps(workflow))


def opened(uri: str) -> mapred.PipelineRun:
    """Return the pipeline of a folder, as any client opens it."""
    found: Any = mapred.open(uri)
    assert isinstance(found, mapred.PipelineRun)
    return found


def _pod(module: str, words: list[str], hold: float) -> None:
    waiting.HOLD = hold
    raise SystemExit(importlib.import_module(module).main(*words))


def cluster(tmp_path: Path, monkeypatch: Any) -> tuple[Workflows, mapred.Argo]:
    """Return Workflows as files, and the backend that makes them; roots are below `tmp_path`."""
    made = Workflows(tmp_path / "workflows")
    connect: Callable[..., Any] = lambda argo: made  # noqa: E731
    monkeypatch.setattr(clients, "connect", connect)
    volume = Volume(str(tmp_path), claim="runs")
    return made, mapred.Argo(image="image:1", namespace="jobs", volumes=(volume,), retries=2)
