"""A Dask cluster of this machine: a scheduler in one process, each worker under its nanny."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from testbed import sharing
from testbed.sharing import Plan, free_ports


@dataclass(frozen=True)
class Running:
    """A cluster of one test's own: its scheduler's address and process id."""

    address: str
    pid: int


def plan(home: Path, workers: int = 2) -> Plan:
    """How to start one; its workers join while it answers already."""
    port, status = free_ports(2)
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from testbed.servers import dask_cluster"
    )
    command = [sys.executable, "-c", f"{code}; dask_cluster.main(*sys.argv[1:])"]
    arguments = [str(Path(__file__).parents[2]), str(home), *map(str, (port, status, workers))]
    url = f"http://127.0.0.1:{status}/"
    return [*command, *arguments], {"address": f"tcp://127.0.0.1:{port}"}, url


@contextlib.contextmanager
def running(home: Path, workers: int = 2, hidden: Path | None = None) -> Iterator[Running]:
    """A cluster to kill, ended with the block by its process group.

    Its processes see another folder in place of `hidden`, as another machine would.
    """
    home.mkdir(parents=True, exist_ok=True)
    command, known, url = plan(home, workers)
    if hidden is not None:
        hide = 'mount -t tmpfs tmpfs "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", hide, str(hidden), *command]
    with sharing.running(home, (command, known, url)) as pid:
        yield Running(known["address"], pid)


def main(home: str, port: str, status: str, workers: str) -> None:
    import dask
    from distributed import LocalCluster

    # The tests kill workers on purpose: what was to be had from them is soon given up.
    # A loaded machine starts them slowly, and LocalCluster forgets those that are not back soon.
    settings = {
        "comm.timeouts.connect": "10s",
        "deploy.lost-worker-timeout": "300s",
        "scheduler.allowed-failures": 1,
    }
    dask.config.set({f"distributed.{name}": value for name, value in settings.items()})
    cluster = LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        host="127.0.0.1",
        scheduler_port=int(port),
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        local_directory=home,
    )
    cluster.scale(int(workers))
    # Answers, if only by an error, from now on.
    HTTPServer(("127.0.0.1", int(status)), BaseHTTPRequestHandler).serve_forever()
