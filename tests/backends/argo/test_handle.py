"""What a run says, and when it ends, by what a Workflow's status says: no cluster is needed."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mapred
from mapred import display
from mapred.backends.argo import handle as following
from mapred.backends.argo import statuses, watch
from mapred.client import history
from mapred.client.run_handle import Run
from mapred.model import layout
from mapred.model.spec import Job
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store

WORKFLOW = "abs-1"
CREATED = "2026-01-02T03:04:05Z"
SINCE = 1767323045.0
AFFINITY = (
    "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. "
    "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
TOO_LARGE = (
    "Unschedulable: 0/2 nodes are available: 2 Insufficient nvidia.com/gpu. no new claims to "
    "deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
)
TURNS = {
    "a queue that gates pods": "",
    "a quota": 'pods "abs-1-map-7" is forbidden: exceeded quota: pods, requested: pods=1, used: '
    "pods=4, limited: pods=4",
    "busy nodes": "Unschedulable: 0/3 nodes are available: 1 node(s) had untolerated taint {gpu: "
    "yes}, 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful "
    "for scheduling, 2 No preemption victims found for incoming pod.",
    "busy nodes, before 1.34": "Unschedulable: 0/1 nodes are available: 1 Insufficient memory.",
    "full nodes": "Unschedulable: 0/1 nodes are available: 1 Too many pods.",
    "a lock": "Waiting for jobs/ConfigMap/limits/gpus lock. Lock status: 0/2",
    "parallelism": "Max parallelism reached",
    "a gang": "Unschedulable: 3/5 tasks in gang unschedulable: pod group is not ready",
}
STUCK = {
    "a selector": AFFINITY,
    "more than a node has": TOO_LARGE,
    "a claim": 'Unschedulable: 0/1 nodes are available: persistentvolumeclaim "x" not found.',
    "a start": "ContainerCreating",
    "an image": 'ErrImagePull: manifest for "nowhere:1" not found',
}


class Cluster:
    """A client whose cluster holds one Workflow."""

    namespace = "jobs"
    moves_deadlines = True

    def __init__(self, **status: Any) -> None:
        self.workflow: dict[str, Any] = {
            "metadata": {"name": WORKFLOW, "creationTimestamp": CREATED},
            "spec": {},
            "status": status,
        }

    def get(self, name: str) -> dict[str, Any]:
        return json.loads(json.dumps(self.workflow))

    def terminate(self, name: str) -> None:
        self.workflow["spec"]["shutdown"] = "Terminate"
        self.workflow["status"]["phase"] = "Failed"

    def suspend(self, name: str) -> None:
        self.workflow["spec"]["suspend"] = True

    def resume(self, name: str, deadline: int | None = None) -> None:
        self.workflow["spec"]["suspend"] = None
        self.workflow["spec"]["activeDeadlineSeconds"] = deadline

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        return ""

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        return frozenset()


class Gone(Cluster):
    """A client whose cluster holds none."""

    def get(self, name: str) -> Any:
        return None


def node(phase: str, message: str = "", kind: str = "Pod", **more: Any) -> dict[str, Any]:
    return {"id": message or phase, "type": kind, "phase": phase, "message": message, **more}


def nodes(*found: dict[str, Any]) -> dict[str, Any]:
    return {str(number): each for number, each in enumerate(found)}


Follow = Callable[..., following.ArgoHandle]


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Follow:
    """A handle of a run of an item over a client, whose clock the test turns."""
    monkeypatch.setattr(watch, "_SHORTEST", 0.0)
    monkeypatch.setattr(watch, "_LONGEST", 0.0)

    def made(client: Cluster, **more: Any) -> following.ArgoHandle:
        run = mapred.run(
            abs, mapred.array(1), root=tmp_path, backend="inline", progress="none", **more
        )
        store = open_store(run.uri)
        store.delete(layout.END)
        job = Job.from_bytes(store.read(layout.JOB))
        handle = following.ArgoHandle(store, job, client, WORKFLOW, pending=60)
        RunFolder(store).note_start(handle.ref)
        return handle

    return made


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Turn the clocks forward."""
    ahead = [0.0]
    for name in ("time", "monotonic"):
        real = getattr(time, name)
        monkeypatch.setattr(time, name, lambda real=real: real() + ahead[0])
    return lambda seconds: ahead.__setitem__(0, ahead[0] + seconds)


def named_by_the_folder(client: Any, tmp_path: Path, **more: Any) -> following.ArgoHandle:
    """The handle of a run that another process made: its folder names the Workflow."""
    run = mapred.run(abs, mapred.array(1), root=tmp_path, backend="inline", progress="none", **more)
    run.store.delete(layout.END)
    return following.ArgoHandle(run.store, run.job, client, WORKFLOW, pending=60, digest=run.digest)


def given(**parameters: str) -> dict[str, Any]:
    pairs = [{"name": name, "value": value} for name, value in parameters.items()]
    return {"arguments": {"parameters": pairs}}


def test_a_workflow_of_another_run_is_left_alone(
    tmp_path: Path, later: Callable[[float], None]
) -> None:
    for spec in ({}, given(run="/elsewhere/run", digest="0" * 64)):
        client = Cluster(phase="Running", nodes=nodes(node("Pending", STUCK["an image"])))
        client.workflow["spec"] = dict(spec)
        handle = named_by_the_folder(client, tmp_path, deadline="1h")
        later(100_000)
        assert handle.wait(0)
        handle.cancel()
        assert handle.standing() is None
        assert not handle.suspend()
        assert client.workflow["spec"] == spec
        assert handle._folder.end() is None


def test_a_workflow_that_was_never_seen_says_nothing_of_the_run(tmp_path: Path) -> None:
    handle = named_by_the_folder(Gone(), tmp_path)
    assert handle.wait(0)
    assert handle._folder.end() is None


def test_a_workflow_of_the_run_is_followed(tmp_path: Path) -> None:
    client = Cluster(phase="Running", nodes=nodes(node("Running")))
    handle = named_by_the_folder(client, tmp_path)
    client.workflow["spec"] = given(run=handle._folder.uri, digest=handle._digest)
    assert not handle.wait(0)
    assert handle.status().state == "running"
    handle.cancel()
    assert client.workflow["spec"]["shutdown"] == "Terminate"


@pytest.mark.parametrize("message", TURNS.values(), ids=TURNS)
def test_a_pod_that_waits_for_its_turn_waits_as_long_as_it_takes(
    follow: Follow, later: Callable[[float], None], message: str
) -> None:
    client = Cluster(
        phase="Running",
        nodes=nodes(
            node("Succeeded", finishedAt=CREATED),
            node("Pending", message, startedAt="2026-01-02T03:00:00Z"),
        ),
    )
    handle = follow(client)
    for _ in range(3):
        later(100_000)
        assert not handle.wait(0)
        status = handle.status()
        assert (status.state, status.queued_since) == ("queued", SINCE)
        assert status.message == (message or "no node takes its pods")
    assert "shutdown" not in client.workflow["spec"]
    client.workflow["status"]["nodes"]["1"]["phase"] = "Running"
    later(100)
    assert handle.status().state == "running"
    assert handle.status().queued_since is None


@pytest.mark.parametrize("message", STUCK.values(), ids=STUCK)
def test_a_pod_that_will_not_start_ends_the_run(
    follow: Follow, later: Callable[[float], None], message: str
) -> None:
    client = Cluster(phase="Running", nodes=nodes(node("Pending", message)))
    handle = follow(client)
    assert not handle.wait(0)
    assert handle.status().state == "running"
    later(61)
    assert handle.wait(0)
    assert message in handle._folder.end().message
    assert client.workflow["spec"]["shutdown"] == "Terminate"


def test_a_workflow_that_argo_postpones_is_queued(
    follow: Follow, later: Callable[[float], None]
) -> None:
    why = "Workflow processing has been postponed because too many workflows are already running"
    handle = follow(Cluster(phase="Pending", message=why))
    later(100_000)
    assert not handle.wait(0)
    status = handle.status()
    assert (status.state, status.message, status.queued_since) == ("queued", why, SINCE)
    text = f"queued since {time.strftime('%Y-%m-%d %H:%M', time.localtime(SINCE))}"
    for shown in (display.status_text(status), display.status_html(status)):
        assert text in shown
        assert why in shown
    from mapred.display.live import progress_line

    assert text in progress_line(status, None, None)
    assert why in progress_line(status, None, None)


def packed(codec: str, known: dict[str, Any]) -> str:
    data = json.dumps(known).encode()
    made = gzip.compress(data) if codec == "gzip" else pa.compress(data, codec, asbytes=True)
    return base64.b64encode(made).decode()


@pytest.mark.parametrize("codec", ["gzip", "zstd", "brotli"])
def test_a_compressed_status_is_read(follow: Follow, codec: str) -> None:
    found = nodes(node("Pending", TURNS["a quota"], startedAt=CREATED))
    handle = follow(Cluster(phase="Running", compressedNodes=packed(codec, found)))
    assert handle.status().state == "queued"
    (pod,) = statuses.pods({"status": {"compressedNodes": packed(codec, found)}})
    assert pod == found["0"]


UNREADABLE = {
    "another codec": {"compressedNodes": base64.b64encode(b"\xfd7zXZ\x00abc").decode()},
    "not base64": {"compressedNodes": "???"},
    "not text": {"compressedNodes": 3},
    "cut gzip": {"compressedNodes": base64.b64encode(gzip.compress(b"{}" * 99)[:20]).decode()},
    "cut zstd": {
        "compressedNodes": base64.b64encode(
            pa.compress(b'{"a": "bcdefg"}' * 99, "zstd", asbytes=True)[:20]
        ).decode()
    },
    "not JSON": {"compressedNodes": base64.b64encode(gzip.compress(b"[")).decode()},
    "not nodes": {"compressedNodes": base64.b64encode(gzip.compress(b"[1]")).decode()},
    "in a database": {"offloadNodeStatusVersion": "fnv:784644481"},
}


@pytest.mark.parametrize("status", UNREADABLE.values(), ids=UNREADABLE)
def test_a_status_that_cannot_be_read_is_unknown(
    follow: Follow, later: Callable[[float], None], status: dict[str, Any]
) -> None:
    client = Cluster(phase="Running", **status)
    handle = follow(client)
    run = Run(handle._folder.store, handle._job, handle)
    later(100_000)
    assert run.wait(timeout=0).state == "unknown"
    assert "cannot be read" in run.status().message
    assert "unknown" in str(run)
    assert "shutdown" not in client.workflow["spec"]
    client.workflow["status"]["phase"] = "Failed"
    assert run.wait().state == "failed"


def started(client: Cluster, seconds: float = 0.0) -> None:
    when = datetime.fromtimestamp(time.time() + seconds, timezone.utc)
    client.workflow["status"]["startedAt"] = when.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_deadline_counts_from_the_submission(
    follow: Follow, later: Callable[[float], None]
) -> None:
    client = Cluster(phase="Running", nodes=nodes(node("Pending", TURNS["a quota"])))
    handle = follow(client, deadline=1000)
    later(990)
    assert not handle.wait(0)
    later(20)
    assert handle.wait(0)
    end = handle._folder.end()
    assert (end.state, end.message) == ("failed", "the run took longer than deadline=1000 s")


@pytest.mark.parametrize("who", ["the run", "somebody else"])
def test_a_pause_is_not_counted(
    follow: Follow, later: Callable[[float], None], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Cluster(phase="Running", nodes=nodes(node("Succeeded")))
    started(client)
    handle = follow(client, deadline=1000)
    run = Run(handle._folder.store, handle._job, handle)
    later(400)
    run.suspend() if who == "the run" else client.suspend(WORKFLOW)
    assert run.wait().state == "suspended"
    later(5000)
    assert run.wait().state == "suspended"
    if who == "the run":
        monkeypatch.setattr(Run, "finish", lambda self, progress: self)
        run.resume(progress="none")
        # Argo counts from the start, with the pause.
        assert client.workflow["spec"]["activeDeadlineSeconds"] in range(5999, 6003)
    else:
        client.resume(WORKFLOW)
    later(30)
    assert not handle.wait(0)
    later(560)
    assert not handle.wait(0)
    later(50)  # Of somebody else's pause its end is known when it is seen.
    assert handle.wait(0)
    assert "deadline=1000 s" in handle._folder.end().message
    ((begin, end),) = run.status().pauses
    assert 4990 < end - begin < 5050


def test_a_deadline_that_argo_kept_is_named(follow: Follow) -> None:
    client = Cluster(phase="Failed", startedAt=CREATED, finishedAt="2026-01-02T03:20:46Z")
    client.workflow["spec"]["activeDeadlineSeconds"] = 1000
    handle = follow(client, deadline=1000)
    assert handle.wait(0)
    assert handle._folder.end().message == starts.overdue_message(handle._job)


def test_a_server_that_cannot_move_the_deadline_is_not_asked_to_pause(follow: Follow) -> None:
    client = Cluster(phase="Running", nodes={})
    client.moves_deadlines = False
    assert follow(client).suspend()
    assert not follow(client, deadline=9).suspend()


def test_what_is_listed(follow: Follow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    client = Cluster(phase="Pending", message="Waiting for jobs/Mutex/one lock")
    handle = follow(client)
    monkeypatch.setattr("mapred.backends.reopen", lambda store, job, ref: handle)
    (row,) = history.rows(mapred.runs(tmp_path))
    assert row["state"].startswith("queued since 2026-01-0")

    def unreachable(store: Any, job: Any, ref: str) -> Any:
        raise mapred.BackendError("no cluster can be reached from here")

    monkeypatch.setattr("mapred.backends.reopen", unreachable)
    (row,) = history.rows(mapred.runs(tmp_path))
    assert row["state"] == "unknown"
