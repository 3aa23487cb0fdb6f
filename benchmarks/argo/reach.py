"""The cluster that is there, Workflows on it from their creation to their end, and their removal."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

from testbed.cluster import access, places, processes

from mapred.backends.argo.backend import Argo
from mapred.backends.argo.client import Client
from mapred.backends.argo.statuses import OVER

NEEDED = (
    "needs a Kubernetes with Argo Workflows, and there is none: `make cluster-up` starts one on "
    "this machine, MAPRED_TEST_KUBECONFIG names another"
)
PATIENCE = 600.0
_LOOK = 0.5  # seconds between two looks at a Workflow: what a careful user would ask for


def there() -> bool:
    """Whether a cluster runs, or the environment names one."""
    if os.environ.get(access.FOREIGN):
        return True
    return places.IMAGES.exists() and processes.running("kube-apiserver") is not None


def cluster() -> access.Cluster:
    """The cluster, with an image of mapred as it is here; clients in this process reach its bucket."""
    if not there():
        sys.exit(NEEDED)
    found = access.cluster()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(found.storage.environment)
    return found


def root(found: access.Cluster) -> str:
    """A prefix of the bucket that nobody has used."""
    return f"s3://{found.storage.bucket}/benchmarks-{uuid.uuid4().hex[:12]}"


def argo(found: access.Cluster) -> Argo:
    """The backend with its defaults, told where the cluster is and which image has mapred."""
    settings: dict[str, Any] = dict(found.backend)
    return Argo(**settings)


def finished(client: Client, name: str) -> dict[str, Any]:
    """The Workflow once it has succeeded. Raises RuntimeError if it fails, or has not ended in time."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        found = client.get(name) or {}
        phase = found.get("status", {}).get("phase")
        if phase == "Succeeded":
            return found
        if phase in OVER:
            raise RuntimeError(f"{name} {phase}: {found['status'].get('message')}")
        time.sleep(_LOOK)
    raise RuntimeError(f"{name} is not finished after {PATIENCE:.0f} s")


def named(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The Workflow with a name of its own, by which it can be told from all others."""
    return {**manifest, "metadata": {"name": f"{name}-{uuid.uuid4().hex[:8]}"}}


def forget(found: access.Cluster, name: str) -> None:
    """Delete the Workflow, and wait until its pods are gone, so that the next one finds none."""
    found.kubectl("delete", "workflow", name, "--ignore-not-found", "--wait=false")
    mine = f"workflows.argoproj.io/workflow={name}"
    # One request for all of them: `kubectl delete` waits for one after the other.
    chosen = f"labelSelector={mine.replace('/', '%2F').replace('=', '%3D')}&gracePeriodSeconds=0"
    found.kubectl(
        "delete", "--raw", f"/api/v1/namespaces/{found.namespace}/pods?{chosen}", seconds=PATIENCE
    )
    limit = time.monotonic() + PATIENCE
    while found.kubectl("get", "pods", "-l", mine, "-o", "name").stdout:
        if time.monotonic() > limit:
            raise RuntimeError(f"the pods of {name} are not gone after {PATIENCE:.0f} s")
        time.sleep(_LOOK)
