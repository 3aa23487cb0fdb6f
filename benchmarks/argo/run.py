"""Fifty tasks and a reduce from a call to its answer, beside a Workflow written by hand."""

from __future__ import annotations

import json
import time

from testbed.cluster.access import Cluster

import mapred
from benchmarks import harness
from benchmarks.argo import reach, rivals
from benchmarks.functions import hits
from benchmarks.harness import Report, Settings
from mapred.backends.argo.client import connect
from mapred.model import layout

TASKS = {"small": 2, "full": 50}


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
    client = connect(reach.argo(found))
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
    return str(json.loads(run.store.read(layout.HANDLE))["ref"]).rpartition(":")[2]


def measure(settings: Settings) -> Report:
    found, count = reach.cluster(), TASKS[settings.size]
    root = reach.root(found)
    # Few tasks first: modules are imported, the image is unpacked, answers are compared.
    by_mapred(found, root, 2)
    by_hand(found, 2)
    calls = {
        "mapred": lambda: by_mapred(found, root, count),
        "by hand": lambda: by_hand(found, count),
    }
    results = harness.in_turn(calls, settings.rounds)
    return Report(
        "Fifty pods and a reduce on Argo",
        f"`mapred.run(…, mapred.array({count}), reduce=sum, backend=Argo(…))`: {count} tasks of "
        "200,000 random points each and their sum, from the call to the answer, on a Kubernetes "
        "of one node with Argo Workflows, pods of both in the same image and with the same "
        "requests. By hand it is a loop `withSequence` with a pod for each task, output "
        "parameters, and a pod that adds them up, looked at twice a second.",
        (
            *harness.rows(results, "by hand"),
            *harness.against(harness.medians(results), "mapred", ["by hand"], 1.15),
        ),
    )
