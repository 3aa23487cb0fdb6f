"""Up, down and status; both of the first two may be called at any time, by several at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from testbed.cluster import (
    images,
    machine,
    network,
    processes,
    programs,
    servers,
    traces,
    workflows,
)
from testbed.cluster.errors import ClusterError
from testbed.cluster.places import CACHE, IMAGES, NAMESPACE, PASSING, STATE

ORDER = "fake kubelet kube-scheduler kube-controller-manager kube-apiserver etcd".split()
Say = Callable[[str], None]


@contextlib.contextmanager
def alone(seconds: float = 3000) -> Iterator[None]:
    """One `build`, `up` or `down` at a time, of all that use this cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    limit = time.monotonic() + seconds
    with (CACHE / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > limit:
                    raise ClusterError(f"another process holds {CACHE / 'lock'}") from None
                time.sleep(0.2)
        yield


def build(say: Say) -> tuple[list[images.Image], images.Names]:
    """Whatever is missing in the cache."""
    machine.prepare(build=bool(programs.missing()))
    programs.build(say)
    return images.build(say)


def up(say: Say) -> None:
    """Starts whatever does not run, loads whatever images changed."""
    with alone():
        found, names = build(say)
        say("built")
        network.claim()
        if processes.running("containerd") is None:
            _end()  # what a crash or a restart of the machine left
        for folder in PASSING:
            folder.mkdir(parents=True, exist_ok=True)
        traces.remember()
        network.up()
        servers.containerd()
        servers.storage()
        servers.control_plane()
        say("API server ready")
        for image in found:
            images.load(image)
        say("images loaded")
        servers.node()
        say("node ready")
        workflows.install()
        IMAGES.write_text(json.dumps(asdict(names)))
        say("Argo ready")


def down(say: Say) -> None:
    """Ends every process of the cluster and undoes all that it did to this machine."""
    with alone():
        if STATE.exists():
            network.claim()
            _end()
        say("down")


def status() -> dict[str, object]:
    """What runs, by process id, and what pods run."""
    pids = {name: processes.running(name) for name in processes.names()}
    report: dict[str, object] = {"state": str(STATE), "processes": pids}
    if pids.get("kube-apiserver"):
        pods = servers.kubectl(
            "get", "pods", "--all-namespaces", "--no-headers",
            "--output", "custom-columns=N:.metadata.namespace,P:.metadata.name,S:.status.phase",
        )  # fmt: skip
        report["pods"] = [line.split() for line in pods.splitlines()]
        report["namespace"] = NAMESPACE
    return report


def _end() -> None:
    if processes.running("containerd") is not None:
        processes.stop("kubelet")
        _end_containers()
    processes.stop("s3", patience=0)  # it would spend 15 s on data that is to go
    for name in [*ORDER, *processes.names()]:
        processes.stop(name)
    network.down()
    traces.undo()
    for folder in PASSING:
        shutil.rmtree(folder, ignore_errors=True)
    IMAGES.unlink(missing_ok=True)


def _end_containers() -> None:
    """All at once: a polite end of each pod would take half a minute."""

    def end(task: str) -> None:
        processes.run(*images.CTR, "tasks", "rm", "--force", task, seconds=60, check=False)

    with ThreadPoolExecutor(4) as several:
        list(several.map(end, processes.run(*images.CTR, "tasks", "ls", "-q").stdout.split()))
    containers = processes.run(*images.CTR, "containers", "ls", "-q").stdout.split()
    if containers:
        processes.run(*images.CTR, "containers", "rm", *containers, check=False)
