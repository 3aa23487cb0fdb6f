"""What may befall a run on a cluster: each ends in the exact answer, or in one clear error."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from backends.argo.functions import dawdles, holds_400_mib, shout
from backends.argo.remote import QUIET, SMALL, argo, running_pod, until, workflow_of
from testbed.cluster import workflows
from testbed.cluster.access import Cluster
from testbed.cluster.places import HOST_IN_PODS, NODE
from testbed.faults.proxy import proxy

import mapred

pytestmark = pytest.mark.on_cluster


def begun(cluster: Cluster, root: str, **more: Any) -> mapred.Run:
    """A run whose one map pod is at work, four seconds for each of its three tasks."""
    run = mapred.submit(
        dawdles, mapred.array(3), per_task=1, reduce=sum, root=root, resources=SMALL,
        backend=argo(cluster, max_pods=1, **more),
    )  # fmt: skip
    running_pod(cluster, run)
    return run


def ends_exactly(run: mapred.Run) -> None:
    assert run.finish("none").result() == 3
    assert run.audit().ok


def owned(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("this cluster's nodes and controller are not the tests' own")


def test_its_pod_is_deleted(cluster: Cluster, cluster_root: str) -> None:
    run = begun(cluster, cluster_root)
    pod = running_pod(cluster, run)["metadata"]["name"]
    cluster.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    ends_exactly(run)


def test_its_node_is_drained(cluster: Cluster, cluster_root: str) -> None:
    owned(cluster)
    run = begun(cluster, cluster_root)
    chosen = f"workflows.argoproj.io/workflow={workflow_of(run)}"
    try:
        cluster.kubectl(
            "drain", NODE, f"--pod-selector={chosen}", "--force", "--delete-emptydir-data",
            "--ignore-daemonsets", "--timeout=90s", seconds=120,
        )  # fmt: skip
    finally:
        cluster.kubectl("uncordon", NODE)
    ends_exactly(run)


def processes(name: str) -> list[int]:
    """The processes of this machine whose program has that name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            program = (folder / "cmdline").read_bytes().partition(b"\0")[0]
            if Path(os.fsdecode(program)).name == name:
                found.append(int(folder.name))
    return found


def test_its_shim_is_killed(cluster: Cluster, cluster_root: str) -> None:
    owned(cluster)
    run = begun(cluster, cluster_root)
    pod = running_pod(cluster, run)
    containers = {each["name"]: each for each in pod["status"]["containerStatuses"]}
    inner = containers["main"]["containerID"].rpartition("/")[2]
    shims = [pid for pid in processes("containerd-shim-runc-v2") if _holds(pid, inner)]
    assert len(shims) == 1
    os.kill(shims[0], signal.SIGKILL)
    ends_exactly(run)


def _holds(shim: int, container: str) -> bool:
    """Whether one of the shim's children is in the container's control group."""
    children = Path(f"/proc/{shim}/task/{shim}/children").read_text().split()
    groups = [Path(f"/proc/{child}/cgroup").read_text() for child in children]
    return any(container in group for group in groups)


def test_the_controller_is_killed(cluster: Cluster, cluster_root: str) -> None:
    owned(cluster)
    run = begun(cluster, cluster_root)
    (controller,) = processes("workflow-controller")
    os.kill(controller, signal.SIGKILL)
    ends_exactly(run)


def test_storage_is_busy_for_a_while(cluster: Cluster, cluster_root: str, tmp_path: Path) -> None:
    owned(cluster)
    with proxy(tmp_path, cluster.storage.endpoint) as spoiled:
        port = spoiled.endpoint.rpartition(":")[2]
        run = begun(cluster, cluster_root, endpoint=f"http://{HOST_IN_PODS}:{port}")
        spoiled.spoil(1, ("busy",), "GET HEAD PUT POST DELETE")
        spoiled.requests()
        until(lambda: bool(spoiled.requests()), "a pod asks for something")
        time.sleep(8)
        spoiled.spoil()
        ends_exactly(run)


def error_of(cluster: Cluster, root: str, seconds: float, **more: Any) -> str:
    """What a run that cannot work raises, within some seconds."""
    resources = more.pop("resources", SMALL)
    clock = time.monotonic()
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(
            more.pop("fn", shout), mapred.array(2), per_task=1, reduce=sum, root=root,
            backend=argo(cluster, max_pods=2, **more), resources=resources, **QUIET,
        )  # fmt: skip
    assert time.monotonic() - clock < seconds
    assert mapred.open(caught.value.run.uri).state == "failed"
    assert "\nimport mapred; run = mapred.open(" in str(caught.value)
    return str(caught.value)


def test_an_image_that_cannot_be_pulled(cluster: Cluster, cluster_root: str) -> None:
    image = {"image": "mapred.test/nowhere:1", "image_pull_policy": "Never"}
    text = error_of(cluster, cluster_root, 200, pending=15, **image)
    assert "cannot start" in text
    assert "ErrImageNeverPull" in text
    assert "mapred.test/nowhere:1" in text


def test_a_pod_that_nothing_schedules(cluster: Cluster, cluster_root: str) -> None:
    nowhere = mapred.Resources(cpu=0.01, node_selector={"moon": "full"})
    text = error_of(cluster, cluster_root, 200, pending=10, resources=nowhere)
    assert "cannot start" in text
    assert "Unschedulable" in text


def test_more_memory_than_it_may_have(cluster: Cluster, cluster_root: str) -> None:
    small = mapred.Resources(cpu=0.01, memory="160Mi")
    text = error_of(cluster, cluster_root, 300, retries=1, resources=small, fn=holds_400_mib)
    assert "OOMKilled" in text


@pytest.fixture
def wrong_secret(cluster: Cluster) -> Iterator[str]:
    name = "mapred-wrong-keys"
    keys = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"accessKey": cluster.storage.key, "secretKey": "planted-and-wrong"},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(keys))
    yield name
    cluster.kubectl("delete", "secret", name)


def test_wrong_credentials(cluster: Cluster, cluster_root: str, wrong_secret: str) -> None:
    text = error_of(cluster, cluster_root, 110, root_secret=wrong_secret)
    assert "SignatureDoesNotMatch" in text or "403" in text, text
    assert "planted-and-wrong" not in text


def test_wrong_credentials_for_the_packages(
    cluster: Cluster, cluster_root: str, wrong_secret: str
) -> None:
    """Argo's own container fetches them, before anything of mapred is in the pod."""
    stock = argo(cluster, image=cluster.images.python, root_secret=wrong_secret)
    clock = time.monotonic()
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(
            shout, mapred.array(2), reduce=sum, root=cluster_root, resources=SMALL,
            backend=stock.in_cluster("d1" * 32), **QUIET,
        )  # fmt: skip
    assert time.monotonic() - clock < 110
    text = str(caught.value)
    assert "artifact packages failed to load" in text
    assert "Access Denied" in text
    assert "planted-and-wrong" not in text


def test_a_package_that_the_image_has_not(cluster: Cluster, cluster_root: str) -> None:
    text = error_of(cluster, cluster_root, 200, fn=approximately)
    version = metadata.version("pytest")
    assert ["pytest", version, "none"] in [line.split() for line in text.splitlines()]
    assert f"mapred.Argo(packages=['pytest=={version}'])" in text


def test_a_root_that_pods_cannot_reach(cluster: Cluster, cluster_root: str) -> None:
    text = error_of(cluster, cluster_root, 400, retries=0, endpoint=f"http://{HOST_IN_PODS}:9")
    assert f"{HOST_IN_PODS}:9" in text
    assert "endpoint" in text


@pytest.fixture
def full_quota(cluster: Cluster) -> Iterator[Any]:
    """A namespace that takes no pod; `room(n)` makes it take some."""
    name = f"{cluster.namespace}-quota"
    storage = cluster.storage
    inside = dataclasses.replace(cluster, namespace=name)
    inside.kubectl("apply", "-f", "-", stdin=workflows.namespace(name, storage.key, storage.secret))

    def room(pods: int) -> str:
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "pods"},
            "spec": {"hard": {"pods": str(pods)}},
        }
        inside.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
        return name

    room(0)
    yield room
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def test_a_full_quota(cluster: Cluster, cluster_root: str, full_quota: Any) -> None:
    """The run waits for its turn, beyond the seconds of `pending`, and says for what."""
    namespace = full_quota(0)
    run = mapred.submit(
        shout, mapred.array(2), per_task=1, reduce=sum, root=cluster_root, resources=SMALL,
        backend=argo(cluster, max_pods=2, pending=15, namespace=namespace),
    )  # fmt: skip
    until(lambda: "exceeded quota" in run.status().message, "the quota keeps pods out")
    status = run.wait(timeout=40).status()
    assert status.state == "queued"
    assert status.queued_since is not None
    assert "exceeded quota" in status.message
    # One pod after the other has room.
    full_quota(1)
    assert run.finish("none").result() == 1


def approximately(i: int) -> int:
    return int(pytest.approx(i).expected)
