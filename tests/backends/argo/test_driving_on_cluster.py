"""Pipelines that a cluster drives: their client may go, and so may their pods."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest
from backends.argo.pipelines import fails, fixed, guarded, nightly, slow
from backends.argo.remote import argo, until
from backends.argo.test_losses_on_cluster import owned, processes
from client.pipelines.turns import opened
from testbed.cluster.access import Cluster

import mapred
from mapred.backends.argo.driving import LABEL, PAUSE
from mapred.client.scheduling import firing
from mapred.errors import RunError
from mapred.model.retries import WAITING

pytestmark = pytest.mark.on_cluster
FIRED = datetime(2026, 1, 1, tzinfo=timezone.utc)


def driver_of(run: mapred.PipelineRun) -> str:
    return str(run._folder.start().ref).rpartition(":")[2]


def pods(cluster: Cluster, workflow: str, *phases: str) -> list[str]:
    chosen = f"workflows.argoproj.io/workflow={workflow}"
    found = json.loads(cluster.kubectl("get", "pods", "-l", chosen, "-o", "json").stdout)["items"]
    return [pod["metadata"]["name"] for pod in found if pod["status"]["phase"] in phases]


def drawn_once(run: mapred.PipelineRun, parts: int) -> None:
    """Each run was started once, and the pipeline returned what these runs gave."""
    first, second = run.runs
    assert all(each.state == "succeeded" and each.audit().ok for each in (first, second))
    values, total = run.result()
    assert values == [value.hex() for value in first.result()]
    assert total == second.result() == sum(range(parts))


def test_a_pipeline_with_a_gate_that_a_client_answers(cluster: Cluster, cluster_root: str) -> None:
    run = guarded.submit(2, backend=argo(cluster), root=cluster_root)
    workflow = driver_of(run)
    until(lambda: bool(run.gates) or run.state != "running", "it waits at the gate")
    assert run.state == "waiting", run.status()
    until(lambda: not pods(cluster, workflow, "Pending", "Running"), "no pod is held")
    chosen = cluster.kubectl("get", "workflow", "-l", f"{LABEL}={run.id}", "-o", "name").stdout
    assert len(chosen.split()) == 3, "the driver and its two runs"
    # As after a wait of hours: without the client's word the next look would be minutes later.
    cluster.kubectl("annotate", "workflow", workflow, f"{PAUSE}=300s", "--overwrite")
    clock = time.monotonic()
    opened(run.uri).approve("publish", True, note="by a test")
    assert run.wait(timeout="4m").state == "succeeded"
    assert time.monotonic() - clock < 240
    drawn_once(run, 2)


@pytest.mark.parametrize("loss", ["pod", "controller"])
def test_a_pipeline_outlives_its_pod_and_the_controller(
    cluster: Cluster, cluster_root: str, loss: str
) -> None:
    if loss == "controller":
        owned(cluster)
    # Its second run takes longer than a pod of the driver stays.
    run = slow.submit(9, backend=argo(cluster, max_pods=1), root=cluster_root)
    workflow = driver_of(run)
    until(lambda: bool(run.runs) or run.state != "running", "its first run has begun")
    if loss == "pod":
        (pod,) = pods(cluster, workflow, "Running")
        cluster.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    else:
        (controller,) = processes("workflow-controller")
        os.kill(controller, signal.SIGKILL)
    assert run.wait(timeout="4m").state == "succeeded"
    drawn_once(run, 9)
    nodes = json.loads(cluster.kubectl("get", "workflow", workflow, "-o", "json").stdout)
    codes = [
        (node.get("outputs") or {}).get("exitCode") for node in nodes["status"]["nodes"].values()
    ]
    assert str(WAITING) in codes, "no pod was held"


def test_a_pipeline_that_failed_is_resumed_from_a_client(
    cluster: Cluster, cluster_root: str
) -> None:
    run = fails.submit(backend=argo(cluster), root=cluster_root)
    with pytest.raises(RunError, match="never 0"):
        run.result()
    assert run.state == "failed"

    assert run.resume(fixed).result() == 0


def test_a_pipeline_is_cancelled_with_its_runs(cluster: Cluster, cluster_root: str) -> None:
    run = slow.submit(3, backend=argo(cluster, max_pods=1), root=cluster_root)
    until(lambda: bool(run.runs) or run.state != "running", "its first run has begun")
    run.cancel()
    assert run.state == "cancelled"
    assert [each.state for each in run.runs] == ["cancelled"]


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    chosen = f"test-{secrets.token_hex(4)}"
    yield chosen
    cluster.kubectl("delete", "cronworkflow", chosen, "--ignore-not-found")
    cluster.kubectl("delete", "workflow", "-l", f"mapred-schedule={chosen}", "--wait=false")


def test_a_scheduled_pipeline(cluster: Cluster, cluster_root: str, name: str) -> None:
    nightly.schedule(
        "0 0 1 1 *",
        params={"word": "lines"},
        backend=argo(cluster),
        root=cluster_root,
        name=name,
    )
    cron = json.loads(cluster.kubectl("get", "cronworkflow", name, "-o", "json").stdout)
    marks = cron["spec"]["workflowMetadata"]
    planned = {"workflows.argoproj.io/scheduled-time": f"{FIRED:%Y-%m-%dT%H:%M:%SZ}"}
    workflow = cluster.submit(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {
                "generateName": f"{name}-",
                "labels": marks["labels"],
                "annotations": {**marks["annotations"], **planned},
            },
            "spec": cron["spec"]["workflowSpec"],
        }
    )
    over = cluster.finished(workflow, 300)
    assert over["status"]["phase"] == "Succeeded", over["status"]
    run = opened(f"{cluster_root}/{firing.run_id(name, FIRED)}")
    assert run.result() == "lines 2026-01-01 1"
