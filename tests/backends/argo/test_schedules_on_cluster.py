"""One firing of a schedule, by the real clock of a cluster; and who is told when a run fails."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from backends.argo import remote
from backends.argo.functions import refuses, year
from testbed.cluster.access import Cluster

import mapred
from mapred.client.scheduling import firing
from mapred.storage import open_store

pytestmark = pytest.mark.on_cluster
SMALL = mapred.Resources(cpu=0.01)
PATIENCE = 600.0
FIRED = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def argo(cluster: Cluster) -> mapred.Argo:
    return remote.argo(cluster, retries=2, ttl=600)


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    """The name of a schedule, of which nothing is left in the cluster afterwards."""
    chosen = f"test-{secrets.token_hex(4)}"
    yield chosen
    cluster.kubectl("delete", "cronworkflow", chosen, "--ignore-not-found")
    cluster.kubectl("delete", "workflow", "-l", f"mapred-schedule={chosen}", "--wait=false")


def test_a_schedule_fires(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    open_store(cluster_root).write(f"data/{datetime.now(timezone.utc):%Y}.txt", b"one\ntwo\n")
    job = mapred.job(year, f"{cluster_root}/data/{{date:%Y}}.txt", resources=SMALL)
    wanted = mapred.schedule(
        job, "* * * * *", params={"word": "lines"}, backend=argo, root=cluster_root, name=name
    )
    assert wanted in mapred.schedules(backend=argo)
    (fired,) = first_workflow(cluster, name)
    mapred.unschedule(name, backend=argo)
    assert name not in [each.name for each in mapred.schedules(backend=argo)]
    over = cluster.finished(fired["metadata"]["name"], PATIENCE)
    assert over["status"]["phase"] == "Succeeded", over["status"]
    when = fired["metadata"]["annotations"]["workflows.argoproj.io/scheduled-time"]
    when = when.replace("Z", "+00:00")  # Python 3.10 reads no Z.
    run = mapred.open(f"{cluster_root}/{firing.run_id(name, datetime.fromisoformat(when))}")
    assert run.result() == ["lines UTC 2"]


@pytest.mark.slow  # it resolves and fetches all that mapred needs
@pytest.mark.timeout(2 * PATIENCE)
def test_a_schedule_fires_on_a_stock_image(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    """Python alone is in the image: mapred and what submits come from beside the runs."""
    stock = dataclasses.replace(argo, image=cluster.images.python, packages=())
    job = mapred.job(year, mapred.items(["one", "two"]), reduce=list, per_task=2, resources=SMALL)
    mapred.schedule(
        job, "0 0 1 1 *", params={"word": "items"}, backend=stock, root=cluster_root, name=name
    )
    over = cluster.finished(fire(cluster, name), PATIENCE)
    assert over["status"]["phase"] == "Succeeded", over["status"]
    run = mapred.open(f"{cluster_root}/{firing.run_id(name, FIRED)}")
    assert run.result() == ["items UTC 3", "items UTC 3"]


def first_workflow(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        found = cluster.kubectl("get", "workflow", "-l", f"mapred-schedule={name}", "-o", "json")
        items = json.loads(found.stdout)["items"]
        if items:
            return sorted(items, key=lambda each: each["metadata"]["creationTimestamp"])[:1]
        time.sleep(1)
    raise AssertionError(f"the clock never started {name}")


def fire(cluster: Cluster, name: str) -> str:
    """Start what the clock would start at the time `FIRED`; the name of the Workflow."""
    cron = json.loads(cluster.kubectl("get", "cronworkflow", name, "-o", "json").stdout)
    time_of_it = {"workflows.argoproj.io/scheduled-time": f"{FIRED:%Y-%m-%dT%H:%M:%SZ}"}
    labels = {"mapred-schedule": name}
    return cluster.submit(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"generateName": f"{name}-", "annotations": time_of_it, "labels": labels},
            "spec": cron["spec"]["workflowSpec"],
        }
    )


def test_a_program_is_told_of_a_failure(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    told = 'test "$MAPRED_STATUS" = Failed && echo "$MAPRED_FAILURES" | grep -q fire'
    mapred.schedule(
        mapred.job(refuses, mapred.array(1), attempts=1, resources=SMALL),
        "0 0 1 1 *",
        on_failure=["sh", "-c", told],
        backend=argo,
        root=cluster_root,
        name=name,
    )
    over = cluster.finished(fire(cluster, name), PATIENCE)
    assert over["status"]["phase"] == "Failed"
    nodes = over["status"]["nodes"].values()
    (notice,) = [each for each in nodes if each.get("templateName") == "notify"][-1:]
    assert notice["phase"] == "Succeeded", notice
