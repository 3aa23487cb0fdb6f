"""A worker's start in a pod, beside a bare `import pyarrow` in the same pod."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from testbed.cluster import shapes
from testbed.cluster.access import Cluster

import mapred
from benchmarks import harness
from benchmarks.argo import reach
from benchmarks.functions import stamp
from benchmarks.harness import Report, Result, Settings
from benchmarks.micro.start import STARTS
from mapred.backends.argo import pods
from mapred.model.resources import Resources
from mapred.testing import Idle


def times(found: Cluster, root: str, starts: int) -> dict[str, Result]:
    """Seconds of so many imports and of so many starts, by turns in one pod."""
    tasks = mapred.array(starts + 1)
    run = mapred.submit(stamp, tasks, backend=Idle("local"), root=root)
    name = f"start-{uuid.uuid4().hex[:8]}"
    text = Path(__file__).with_name("in_pod.py").read_text()
    pod = _pod(found, name, [text, run.uri, run.digest, str(starts)], run.uri)
    found.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    try:
        done = found.kubectl(
            "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=200s",
            seconds=230, check=False,
        )  # fmt: skip
        log = found.kubectl("logs", name, check=False).stdout
        if done.returncode:
            raise RuntimeError(f"the pod {name} does not succeed: {done.stderr}\n{log}")
    finally:
        found.kubectl("delete", "pod", name, "--force", "--grace-period=0")
    given = json.loads(log.splitlines()[-1])
    return {name: Result(tuple(seconds)) for name, seconds in given.items()}


def _pod(found: Cluster, name: str, arguments: list[str], uri: str) -> dict[str, Any]:
    """Set up as those of a run are."""
    spec = shapes.workflow("start", [{"name": "main"}])["spec"]
    container = {
        "name": "main",
        "image": found.images.mapred,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", *arguments],
        "env": pods.environment(reach.argo(found), uri, Resources()),
        "securityContext": pods.LOCKED,
        "volumeMounts": [{"name": "mapred", "mountPath": pods.WORK}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": spec["serviceAccountName"],
            "automountServiceAccountToken": False,
            "securityContext": spec["securityContext"],
            "containers": [container],
            "volumes": [{"name": "mapred", "emptyDir": {}}],
        },
    }


def measure(settings: Settings) -> Report:
    found, starts = reach.cluster(), STARTS[settings.size]
    results = times(found, reach.root(found), starts)
    return Report(
        "Starting in a pod",
        f"{starts} starts of each in turn, in one pod of the image of mapred: a worker "
        '(`python -m mapred.worker.supervisor`) from exec to function, and `python -c "import pyarrow"`. '
        "The run's folder is on the S3 server of the cluster.",
        (
            *harness.rows(results, "import"),
            *harness.against(harness.medians(results), "worker", ["import"], 1.5),
        ),
    )
