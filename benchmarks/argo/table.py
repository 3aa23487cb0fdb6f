"""Nodes, writes to the API server and bytes of a Workflow, beside hera's loop over items."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testbed.cluster import fake, places
from testbed.cluster.access import Cluster

import mapred
from benchmarks.argo import reach, rivals
from benchmarks.functions import hits
from benchmarks.harness import Report, Row, Settings
from mapred.backends.argo import render
from mapred.backends.argo.client import connect
from mapred.testing import Idle

# Shards, and whether their pods are real: those of a fake node run nothing, and cost little.
SIZES = {"small": ((2, True), (3, False)), "full": ((50, True), (500, False), (2000, False))}
# The writes of Argo's controller and of the executor in each pod, by resource. Those to a
# subresource are the node's and the scheduler's; who else deletes pods is not told apart.
WRITES = ("workflows", "workflowtaskresults", "pods")
_SETTLING, _QUIET = 120.0, 5.0  # seconds
VERBS = ("POST", "PUT", "PATCH", "DELETE")
_COUNTER = re.compile(r"apiserver_request_total\{(?P<labels>[^}]*)\} (?P<count>\S+)")


@dataclass(frozen=True)
class Cost:
    """What one Workflow came to. `writes` is by resource; `stored`, bytes with its status."""

    over: Mapping[str, Any]  # the Workflow itself
    nodes: int
    writes: Mapping[str, int]
    stored: int
    packed: bool  # whether its status had to be compressed
    alone: bool  # whether nobody else made pods meanwhile

    @property
    def total(self) -> int:
        return sum(self.writes.values())


def counters(found: Cluster) -> dict[tuple[str, str], int]:
    """Requests that the API server has answered since its start, by resource and verb."""
    text = found.kubectl("get", "--raw", "/metrics").stdout
    counts: dict[tuple[str, str], int] = {}
    for match in _COUNTER.finditer(text):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"]))
        what = labels["resource"], labels["verb"]
        if what[0] in WRITES and what[1] in VERBS and not labels["subresource"]:
            counts[what] = counts.get(what, 0) + int(float(match["count"]))
    return counts


def events(found: Cluster, name: str) -> int:
    """Writes of the controller's events about a Workflow; each repetition is one."""
    listed = found.kubectl(
        "get", "events", f"--field-selector=involvedObject.name={name}", "-o", "json"
    )
    return sum(
        (event.get("series") or {}).get("count") or event.get("count") or 1
        for event in json.loads(listed.stdout)["items"]
    )


def pods_left(found: Cluster, name: str) -> int:
    mine = f"workflows.argoproj.io/workflow={name}"
    return len(found.kubectl("get", "pods", "-l", mine, "-o", "name").stdout.split())


def wait_for_cleaning(found: Cluster, name: str) -> None:
    """Until the controller has deleted the pods of a Workflow that has them deleted."""
    limit = time.monotonic() + reach.PATIENCE
    while pods_left(found, name):
        if time.monotonic() > limit:
            raise RuntimeError(f"{name} has its pods still, {reach.PATIENCE:.0f} s after its end")
        time.sleep(1)


def settled(found: Cluster, name: str) -> tuple[dict[tuple[str, str], int], int]:
    """The counters, and the events about a Workflow, once what the controller has queued is written.

    Where others write all the time, as they are after two minutes.
    """
    limit = time.monotonic() + _SETTLING
    while True:
        before = counters(found), events(found, name)
        time.sleep(_QUIET)
        after = counters(found), events(found, name)
        if before == after or time.monotonic() > limit:
            return after


def nodes_of(workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a status, which is compressed where it is large."""
    status = workflow["status"]
    nodes = status.get("nodes")
    if nodes is None:
        nodes = json.loads(gzip.decompress(base64.b64decode(status["compressedNodes"])))
    return list(nodes.values())


def cost(found: Cluster, manifest: Mapping[str, Any]) -> Cost:
    """Run a Workflow, and count; its own creation is not counted. It is removed afterwards."""
    client = connect(reach.argo(found))
    name = manifest["metadata"]["name"]
    before = counters(found)
    client.create(manifest)
    try:
        over = reach.finished(client, name)
        if manifest["spec"].get("podGC"):
            wait_for_cleaning(found, name)
        after, told = settled(found, name)
        left = pods_left(found, name)
    finally:
        reach.forget(found, name)
    made = {what: count - before.get(what, 0) for what, count in after.items()}
    nodes = nodes_of(over)
    pods = sum(node["type"] == "Pod" for node in nodes)
    writes = dict.fromkeys(WRITES, 0) | {"events": told}
    for (resource, verb), count in made.items():
        # The controller deletes a pod once, and its node once more: what is gone counts once.
        writes[resource] += 0 if (resource, verb) == ("pods", "DELETE") else count
    writes["workflows"] -= 1
    writes["pods"] += pods - left
    over["metadata"].pop("managedFields", None)
    return Cost(
        over=over,
        nodes=len(nodes),
        writes=writes,
        stored=len(json.dumps(over, separators=(",", ":")).encode()),
        packed=bool(over["status"].get("compressedNodes")),
        alone=made.get(("pods", "POST"), 0) == pods,
    )


def by_mapred(found: Cluster, root: str, shards: int, *, real: bool) -> tuple[mapred.Run, Any]:
    """A run that nobody works on yet, and its Workflow."""
    asked = mapred.Resources(
        cpu=rivals.CPU,
        node_selector={} if real else fake.SELECTOR,
        tolerations=() if real else (f"{fake.TOLERATION['key']}:NoSchedule",),
    )
    run = mapred.submit(
        hits,
        mapred.array(shards),
        per_task=1,
        reduce=sum,
        resources=asked,
        reduce_resources=asked,
        backend=Idle("local"),
        root=root,
    )
    manifest = render.manifest(run.job, reach.argo(found), uri=run.uri, digest=run.digest)
    # Nobody looks at the logs of these pods for a minute.
    manifest["spec"]["podGC"]["deleteDelayDuration"] = "1s"
    return run, manifest


def compare(found: Cluster, root: str, shards: int, *, real: bool) -> tuple[Cost, Cost]:
    """What mapred's rendering costs and what hera's loop; answers are checked where pods are real."""
    run, manifest = by_mapred(found, root, shards, real=real)
    ours = cost(found, manifest)
    theirs = cost(found, rivals.by_hera(found, shards, real=real))
    if real:
        answers = mapred.open(run.uri).result(), rivals.total(theirs.over), rivals.answer(shards)
        if len(set(answers)) > 1:
            raise AssertionError(f"answers differ: {answers}")
    return ours, theirs


def start_fake_node() -> None:
    command = [sys.executable, "-m", "testbed.cluster", "fake"]
    subprocess.run(command, cwd=places.TESTS, check=True, timeout=600, capture_output=True)


def rows(shards: int, ours: Cost, theirs: Cost, *, real: bool) -> list[Row]:
    pods = f"{shards:,} shards" if real else f"{shards:,} shards, pods not real"
    pods += "" if ours.alone and theirs.alone else ", **others at work**"
    pairs = {
        "nodes": (ours.nodes, theirs.nodes),
        **{f"writes: {what}": (n, theirs.writes[what]) for what, n in ours.writes.items()},
        "writes": (ours.total, theirs.total),
        "bytes" + (", compressed" if ours.packed or theirs.packed else ""): (
            ours.stored,
            theirs.stored,
        ),
    }
    return [
        Row(
            f"{pods}: {what}",
            note=f"{mine:,} : {other:,} ({mine / shards:,.2f} : {other / shards:,.2f})",
            ratio=mine / other if other else None,
        )
        for what, (mine, other) in pairs.items()
    ]


def measure(settings: Settings) -> Report:
    found = reach.cluster()
    if not found.own:
        sys.exit("pods that are not real need the cluster of `make cluster-up`")
    start_fake_node()
    root = reach.root(found)
    table = []
    for shards, real in SIZES[settings.size]:
        print(f"  {shards} shards", flush=True)
        table += rows(shards, *compare(found, root, shards, real=real), real=real)
    return Report(
        "What a Workflow costs the cluster",
        "mapred : hera, and for each shard. hera's scripts loop `with_items`, one pod after them "
        "all adds up; mapred renders `mapred.array(n)` with `reduce=sum`, `per_task=1`, its pods "
        "tried again when lost and deleted when done. Writes are those of the controller and of "
        "the executors; a pod that is not real has no executor. Bytes are those of the Workflow "
        "with its status when it is over.",
        tuple(table),
    )
