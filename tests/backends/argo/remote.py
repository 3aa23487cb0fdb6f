"""What the tests of runs on a cluster share: the backend, its pods, and some functions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from testbed.cluster.access import Cluster

import mapred
from mapred.model import layout
from mapred.runfolder.folder import RunFolder

SMALL = mapred.Resources(cpu=0.01)
QUIET: dict[str, Any] = {"progress": "none"}
PATIENCE = 240.0


def argo(cluster: Cluster, **more: Any) -> mapred.Argo:
    values: dict[str, Any] = {**cluster.backend, **more}
    return mapred.Argo(**values)


def toml(cluster: Cluster, root: str, max_pods: int) -> str:
    """A mapred.toml whose backend `argo` is this cluster; its pods ask for next to no cores."""
    given = {**cluster.backend, "root": root}
    # What people write asks for whole cores, of which a cluster for tests may have two.
    patch = '{containers = [{name = "main", resources = {requests = {cpu = "10m"}}}]}'
    lines = [f"{name} = {json.dumps(value)}" for name, value in given.items()]
    lines += [f"max_pods = {max_pods}", f"pod_spec_patch = {patch}"]
    return "\n".join(["[backend.argo]", *lines, ""])


def workflow_of(run: mapred.Run) -> str:
    return str(json.loads(run.store.read(layout.HANDLE))["ref"]).rpartition(":")[2]


def until(ready: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    limit = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < limit, f"waited {seconds:.0f} s until {what}"
        time.sleep(0.2)


def committed(run: mapred.Run, stage: str = "map") -> set[int]:
    return set(RunFolder(run.store).list_committed(stage))


def running_pod(cluster: Cluster, run: mapred.Run, template: str = "map") -> dict[str, Any]:
    """A pod of the run whose function has begun; waits for one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        chosen = f"workflows.argoproj.io/workflow={workflow_of(run)}"
        pods = json.loads(cluster.kubectl("get", "pods", "-l", chosen, "-o", "json").stdout)
        found[:] = [
            pod
            for pod in pods["items"]
            if f"-{template}-" in pod["metadata"]["name"] and pod["status"]["phase"] == "Running"
        ]
        return bool(found)

    until(there, "a pod runs")
    return found[0]
