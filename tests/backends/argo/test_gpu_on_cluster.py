"""GPUs as the scheduler counts them, on a node that only says that it has one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from backends.argo.remote import QUIET, argo, until, workflow_of
from testbed.cluster.access import Cluster
from testbed.cluster.places import NODE

import mapred
from mapred.storage import open_store

pytestmark = pytest.mark.on_cluster
GPU = "nvidia.com/gpu"


def advertise(cluster: Cluster, count: int | None) -> None:
    """Have the node's status say that it has so many GPUs; None: say nothing of any."""
    value = None if count is None else str(count)
    status = {"status": {"capacity": {GPU: value}, "allocatable": {GPU: value}}}
    cluster.kubectl("patch", "node", NODE, "--subresource=status", "-p", json.dumps(status))


def gpus(cluster: Cluster) -> list[str | None]:
    status = json.loads(cluster.kubectl("get", "node", NODE, "-o", "json").stdout)["status"]
    return [status[what].get(GPU) for what in ("capacity", "allocatable")]


@pytest.fixture
def one_gpu(cluster: Cluster) -> Iterator[None]:
    if not cluster.own:
        pytest.skip("this cluster's nodes are not the tests' own")
    assert gpus(cluster) == [None, None]
    advertise(cluster, 1)
    yield
    advertise(cluster, None)
    # Until the kubelet knows, it puts back what can be allocated.
    until(lambda: gpus(cluster) == [None, None], "the node is as it was")


def pods(cluster: Cluster, run: mapred.Run) -> dict[str, dict[str, Any]]:
    """The pods of a run's map that are not over, by their phase."""
    chosen = f"workflows.argoproj.io/workflow={workflow_of(run)}"
    found = json.loads(cluster.kubectl("get", "pods", "-l", chosen, "-o", "json").stdout)
    return {pod["status"]["phase"]: pod for pod in found["items"]}


@pytest.mark.usefixtures("one_gpu")
def test_tasks_take_turns_at_the_only_gpu(cluster: Cluster, cluster_root: str) -> None:
    def holds(i: int) -> tuple[float, float]:
        began = time.time()
        store = open_store(cluster_root)
        while not any(path == "go" for path, _ in store.list("")):
            time.sleep(0.2)
        return began, time.time()

    run = mapred.submit(
        holds, mapred.array(2), per_task=1, root=cluster_root, backend=argo(cluster, max_pods=2),
        resources=mapred.Resources(cpu=0.01, gpu=1),
    )  # fmt: skip
    until(lambda: {"Running", "Pending"} == pods(cluster, run).keys(), "one pod waits")
    found = pods(cluster, run)
    (waits,) = [c for c in found["Pending"]["status"]["conditions"] if c["type"] == "PodScheduled"]
    assert waits["status"] == "False"
    assert f"Insufficient {GPU}" in waits["message"]
    (main,) = [c for c in found["Running"]["spec"]["containers"] if c["name"] == "main"]
    assert main["resources"]["limits"][GPU] == "1"
    open_store(cluster_root).write("go", b"")
    (_, first), (second, _) = sorted(run.finish("none").result())
    assert first <= second


@pytest.mark.usefixtures("one_gpu")
def test_more_gpus_than_a_node_has_are_named(cluster: Cluster, cluster_root: str) -> None:
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(
            abs, mapred.array(1), root=cluster_root, backend=argo(cluster, pending=10),
            resources=mapred.Resources(cpu=0.01, gpu=2), **QUIET,
        )  # fmt: skip
    assert "cannot start" in str(caught.value)
    assert f"Insufficient {GPU}" in str(caught.value)
