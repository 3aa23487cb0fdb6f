"""Fifty tasks and a reduce from a call to its answer, beside a Workflow written by hand."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import pytest
from testbed.cluster.access import Cluster

import mapred
from benchmarks.argo import reach, rivals
from benchmarks.functions import hits
from benchmarks.report import Row, Section, in_turn, spread
from mapred.backends.argo import client as clients
from mapred.model import layout

TASKS = 50
ROUNDS = int(os.environ.get("MAPRED_BENCH_ROUNDS", "3"))
BAR = 1.15


def by_mapred(found: Cluster, root: str, count: int) -> float:
    """Seconds of `mapred.run` and `result`; the Workflow and its pods are removed afterwards."""
    start = time.perf_counter()
    run = mapred.run(
        hits,
        mapred.array(count),
        reduce=sum,
        backend=reach.argo(found),
        root=root,
        resources=mapred.Resources(cpu=rivals.CPU),
        progress="none",
    )
    answer = run.result()
    seconds = time.perf_counter() - start
    reach.forget(found, name_of(run))
    _check("mapred", answer, count)
    return seconds


def by_hand(found: Cluster, count: int) -> float:
    """Seconds from the Workflow's making to the answer that its last pod gave."""
    start = time.perf_counter()
    client = clients.connect(reach.argo(found))
    manifest = rivals.by_hand(found, count)
    name = manifest["metadata"]["name"]
    client.create(manifest)
    answer = rivals.total(reach.finished(client, name))
    seconds = time.perf_counter() - start
    reach.forget(found, name)
    _check("the one by hand", answer, count)
    return seconds


def _check(who: str, answer: object, count: int) -> None:
    if answer != rivals.answer(count):
        raise AssertionError(f"{who} says {answer}, and it is {rivals.answer(count)}")


def name_of(run: mapred.Run) -> str:
    """The Workflow of a run, as the run's folder has it."""
    import json

    return str(json.loads(run.store.read(layout.HANDLE))["ref"]).rpartition(":")[2]


def measure(folder: Path) -> Section:
    found = reach.cluster()
    root = reach.root(found)
    # Few tasks first: modules are imported, the image is unpacked, answers are compared.
    by_mapred(found, root, 2)
    by_hand(found, 2)
    seconds = in_turn(
        {
            "mapred": lambda: by_mapred(found, root, TASKS),
            "by hand": lambda: by_hand(found, TASKS),
        },
        ROUNDS,
    )
    ratio = statistics.median(seconds["mapred"]) / statistics.median(seconds["by hand"])
    return Section(
        "Fifty pods and a reduce on Argo",
        f"{TASKS} tasks of 200,000 random points each and their sum, from the call to the answer, "
        "on a Kubernetes of one node with Argo Workflows, pods of both in the same image and with "
        "the same requests. By hand it is a loop `withSequence` with a pod for each task, output "
        "parameters, and a pod that adds them up, looked at twice a second.",
        (
            Row(
                "`mapred.run(…, mapred.array(50), reduce=sum, backend=Argo(…))`",
                spread(seconds["mapred"], digits=1),
                f"{ratio:.2f}",
                f"≤ {BAR}",
                ratio <= BAR,
            ),
            Row("a Workflow by hand", spread(seconds["by hand"], digits=1), "1"),
        ),
    )


@pytest.mark.on_cluster
def test_same_answers(cluster: Cluster) -> None:
    assert by_mapred(cluster, reach.root(cluster), 2) > 0
    assert by_hand(cluster, 2) > 0
