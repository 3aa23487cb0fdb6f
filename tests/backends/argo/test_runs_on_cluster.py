"""Runs on a real cluster: submitted, followed, stopped, taken up again, and what may befall them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from backends.argo.functions import (
    collect,
    dawdles,
    divides,
    divides_carefully,
    draws,
    refuses_the_last,
    shout,
    sleeps,
)
from backends.argo.remote import (
    PATIENCE,
    QUIET,
    SMALL,
    argo,
    committed,
    running_pod,
    until,
    workflow_of,
)
from testbed.cluster.access import Cluster

import mapred
from mapred.backends.argo import client as clients
from mapred.backends.argo import handle as following
from mapred.backends.argo.render import manifest, workflow_name
from mapred.model import layout
from mapred.model.spec import Job
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

pytestmark = pytest.mark.on_cluster


def python(code: str) -> subprocess.Popen[str]:
    """Another process, which knows nothing of this one but the environment."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def answer(code: str) -> str:
    with python(code) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out.strip()


def delete_pods(cluster: Cluster, run: mapred.Run) -> None:
    chosen = f"workflows.argoproj.io/workflow={workflow_of(run)}"
    cluster.kubectl("delete", "pods", "-l", chosen, "--force", "--grace-period=0")


# Submit, follow, fetch


def test_a_run_is_read_after_its_pods_and_its_workflow_are_gone(
    cluster: Cluster, cluster_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))  # for the other process
    backend = argo(cluster, max_pods=2)
    run = mapred.submit(
        shout, mapred.array(5), per_task=1, reduce=sum, backend=backend, root=cluster_root,
        resources=SMALL,
    )  # fmt: skip
    assert run.state in ("queued", "running")
    ask = f"import mapred; run = mapred.open({run.uri!r}); print(run.result())"
    # Another process follows it, while it goes on.
    assert answer(ask) == "30"
    assert run.finish("none").result() == 30
    assert run.audit().ok
    cluster.kubectl("delete", "workflow", workflow_of(run))
    delete_pods(cluster, run)
    assert answer(f"{ask}; print(run.state, run.logs(3))").splitlines()[:2] == [
        "30",
        "succeeded " + run.logs(3).splitlines()[0],
    ]
    assert run.logs(3).splitlines()[1] == "shouting 3"


def test_a_failure_is_seen_debugged_and_fixed_from_afar(
    cluster: Cluster, cluster_root: str
) -> None:
    backend = argo(cluster, max_pods=2)
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(
            divides, mapred.array(4), per_task=1, backend=backend, root=cluster_root,
            attempts=2, resources=SMALL, **QUIET,
        )  # fmt: skip
    assert "ZeroDivisionError" in str(caught.value)
    run = mapred.open(caught.value.run.uri)
    delete_pods(cluster, run)
    assert run.state == "failed"
    (failure,) = run.failures
    assert (failure.task, failure.items, failure.attempts) == (2, (2,), 2)
    assert "return 10 // (i - 2)" in failure.traceback
    assert run.logs(2).count("dividing by 0") == 2
    # The debugger stops at the line that raised, with the same item.
    with pytest.raises(ZeroDivisionError) as raised:
        run.debug(2)
    frame = raised.traceback[-1]
    assert (frame.name, frame.frame.f_locals["i"]) == ("divides", 2)
    # What was committed is kept, and the Workflow is another one.
    before = {i: run.store.read(layout.commit("map", i)) for i in committed(run)}
    name = workflow_of(run)
    assert run.resume(fn=divides_carefully, progress="none").result() == [-5, -10, 0, 10]
    assert workflow_of(run) != name
    assert all(run.store.read(layout.commit("map", i)) == before[i] for i in before)


def test_suspended_and_resumed(cluster: Cluster, cluster_root: str) -> None:
    backend = argo(cluster, max_pods=3, parallelism=1)
    run = mapred.submit(
        dawdles, mapred.array(3), per_task=1, reduce=sum, backend=backend, root=cluster_root,
        resources=SMALL,
    )  # fmt: skip
    running_pod(cluster, run)
    run.suspend()
    until(lambda: run.state == "suspended", "it is suspended")
    there = committed(run)
    time.sleep(5)
    assert committed(run) == there
    assert len(there) < 3
    other = mapred.open(run.uri)
    assert other.state == "suspended"
    assert other.resume(progress="none").result() == 3
    assert workflow_of(other) == workflow_of(run)


def test_cancelled(cluster: Cluster, cluster_root: str) -> None:
    run = mapred.submit(
        sleeps, mapred.array(2), per_task=1, backend=argo(cluster), root=cluster_root,
        resources=SMALL,
    )  # fmt: skip
    running_pod(cluster, run)
    mapred.open(run.uri).cancel()
    over = cluster.finished(workflow_of(run), 5)
    assert over["status"]["phase"] == "Failed"
    assert run.state == "cancelled"
    with pytest.raises(mapred.RunError, match="cancelled"):
        run.result()
    chosen = f"workflows.argoproj.io/workflow={workflow_of(run)}"

    def none_left() -> bool:
        pods = json.loads(cluster.kubectl("get", "pods", "-l", chosen, "-o", "json").stdout)
        return not any(pod["status"]["phase"] == "Running" for pod in pods["items"])

    until(none_left, "its pods are gone")


@pytest.mark.parametrize("by_server", [False, True])
def test_cancelled_while_it_is_suspended(
    cluster: Cluster, cluster_root: str, by_server: bool
) -> None:
    run = mapred.submit(
        dawdles, mapred.array(3), per_task=1, backend=argo(cluster, max_pods=3, parallelism=1),
        root=cluster_root, resources=SMALL,
    )  # fmt: skip
    running_pod(cluster, run)
    run.suspend()
    until(lambda: run.state == "suspended", "it is suspended")
    if by_server:  # which changes one field at a time
        patch = ("patch", "workflow", workflow_of(run), "--type=merge", "-p")
        cluster.kubectl(*patch, '{"spec": {"shutdown": "Terminate"}}')
        cluster.kubectl(*patch, '{"spec": {"suspend": null}}')
    else:
        mapred.open(run.uri).cancel()
    assert cluster.finished(workflow_of(run), 30)["status"]["phase"] == "Failed"
    assert mapred.open(run.uri).wait(timeout=30).state == "cancelled"


DRIVER = """
import os, sys, mapred
from backends.argo.functions import dawdles
from backends.argo.remote import SMALL
backend = mapred.Argo(**{settings!r})
mapred.run(dawdles, mapred.array(4), per_task=1, reduce=sum, backend=backend, root={root!r},
           resources=SMALL, progress="none")
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_the_run_goes_on_without_its_driver(
    cluster: Cluster, cluster_root: str, sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    backend = argo(cluster, max_pods=2)
    code = DRIVER.format(settings=dict(backend.arguments), root=cluster_root)
    with python(code) as driver:
        folder = mapred.storage.open_store(cluster_root)

        def begun() -> bool:
            assert driver.poll() is None, driver.stderr and driver.stderr.read()
            return any(path.endswith(layout.HANDLE) for path, _ in folder.list(""))

        until(begun, "the run is submitted")
        (handle,) = [path for path, _ in folder.list("") if path.endswith(layout.HANDLE)]
        uri = f"{cluster_root}/{handle.partition('/')[0]}"
        time.sleep(2)
        driver.send_signal(sent)
        _, err = driver.communicate(timeout=60)
    if sent == signal.SIGINT:
        line = f"import mapred; run = mapred.open('{uri}').wait('auto')"
        assert err.splitlines()[-1].endswith(f"the run continues; to follow it: {line}"), err
    run = mapred.open(uri)
    name = workflow_of(run)
    assert run.resume(progress="none").result() == 6
    assert workflow_of(run) == name
    assert run.audit().ok


# What an engine may do wrong


@dataclass(frozen=True)
class Changed:
    """A backend whose engine is given something else than the Workflow that was rendered."""

    argo: mapred.Argo
    change: Callable[[dict[str, Any]], Any]
    times: int = 1
    name: str = "argo"

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self.argo.arguments

    def prepare(self) -> None:
        return

    def submit(self, store: Store, job: Job, digest: str) -> Any:
        client = clients.connect(self.argo)
        name = workflow_name(job)
        for number in range(self.times):
            name = f"{workflow_name(job)[:58]}-{number}"
            made = manifest(job, self.argo, uri=store.uri, digest=digest, name=name)
            self.change(made)
            client.create(made)
        return following.ArgoHandle(store, job, client, name, pending=PATIENCE)


def dag(workflow: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = [t["dag"] for t in workflow["spec"]["templates"] if "dag" in t]
    return {task["name"]: task for task in found["tasks"]}


def skip_the_last(workflow: dict[str, Any]) -> None:
    sequence = dag(workflow)["map"]["withSequence"]
    sequence["count"] = str(int(sequence["count"]) - 1)


@pytest.mark.parametrize("reduce", [sum, None])
def test_what_the_engine_skips_is_run(cluster: Cluster, cluster_root: str, reduce: Any) -> None:
    backend = Changed(argo(cluster, max_pods=3), skip_the_last)
    run = mapred.run(
        shout, mapred.array(6), per_task=1, reduce=reduce, backend=backend, root=cluster_root,
        resources=SMALL, **QUIET,
    )  # fmt: skip
    squares = [i * i for i in range(6)]
    assert run.result() == (sum(squares) if reduce else squares)
    assert run.audit().ok
    # It was the pod that noticed, not one of the loop.
    assert RunFolder(run.store).commit("map", 5).worker.partition(":")[0].find("-map-") < 0


def test_what_is_skipped_and_fails_is_named(cluster: Cluster, cluster_root: str) -> None:
    backend = Changed(argo(cluster, max_pods=2), skip_the_last)
    with pytest.raises(mapred.RunError) as caught:
        mapred.run(
            refuses_the_last, mapred.array(4), per_task=1, reduce=sum, backend=backend,
            root=cluster_root, attempts=2, resources=SMALL, **QUIET,
        )  # fmt: skip
    assert [(f.task, f.attempts) for f in caught.value.failures] == [(3, 2)]
    assert "1 item of map failed" in str(caught.value)


def test_twins_at_the_same_time_change_nothing(cluster: Cluster, cluster_root: str) -> None:
    backend = Changed(argo(cluster, max_pods=2), lambda workflow: None, times=2)
    run = mapred.run(
        draws, mapred.array(4), per_task=1, reduce=list, backend=backend, root=cluster_root,
        resources=SMALL, **QUIET,
    )  # fmt: skip
    first = run.result()
    commits = {i: run.store.read(layout.commit("map", i)) for i in range(4)}
    for number in range(2):
        over = cluster.finished(f"{workflow_name(run.job)[:58]}-{number}")
        assert over["status"]["phase"] == "Succeeded", over["status"]
    assert mapred.open(run.uri).result() == first
    assert run.audit().ok
    for block in range(2):
        wanted = [commits[i] for i in (2 * block, 2 * block + 1)]
        assert run.store.read(f"argo/map/{block}.json") == b"[" + b",\n".join(wanted) + b"]\n"
    assert run.store.read("argo/result.json") == run.store.read(layout.MANIFEST)


def test_what_fails_within_max_failed_is_given_up(cluster: Cluster, cluster_root: str) -> None:
    run = mapred.run(
        refuses_the_last, mapred.array(4), per_task=2, reduce=collect, backend=argo(cluster),
        root=cluster_root, attempts=2, max_failed=1, resources=SMALL, **QUIET,
    )  # fmt: skip
    assert run.result() == [0, 1, 2]
    assert RunFolder(run.store).given_up_tasks() == {1: [3]}
