"""Dask beyond the contract: workers and schedulers that die, and what is told before a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from testbed.servers import dask_cluster

import mapred
from mapred.backends import resolve
from mapred.backends.dask import Dask
from mapred.errors import BackendError, FunctionError, RunError

distributed = pytest.importorskip("distributed")


class KillsItsWorker:
    """Kills the Dask worker that hosts the call, as often as `deaths` says of the item."""

    def __init__(self, folder: Path, deaths: dict[int, int]) -> None:
        self.folder, self.deaths = folder, deaths

    def __call__(self, item: int) -> int:
        (self.folder / f"{item}-{uuid.uuid4().hex}").touch()
        if self.calls(item) <= self.deaths.get(item, 0):
            above = psutil.Process(os.getppid())
            while above.pid > 1 and "mapred.engine" in " ".join(above.cmdline()):
                above = psutil.Process(above.ppid())  # the fork server, and what guards it
            if above.pid > 1:
                os.kill(above.pid, signal.SIGKILL)
            time.sleep(600)
        return item * 10

    def calls(self, item: int) -> int:
        return len(list(self.folder.glob(f"{item}-*")))


def slowly(item: int) -> int:
    time.sleep(0.2)
    return item * 10


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dask_cluster.Running]:
    """A cluster of this module's own, to kill: its last test does."""
    with dask_cluster.running(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.mark.slow
def test_workers_that_die_cost_nothing(mortal: dask_cluster.Running, tmp_path: Path) -> None:
    # Two deaths under one task, and Dask gives it up: then mapred tries it again.
    function = KillsItsWorker(tmp_path, {2: 1, 5: 2})
    run = mapred.run(
        function, mapred.array(12), reduce=sum, fan_in=4, backend=Dask(mortal.address),
        root=tmp_path, progress="none",
    )  # fmt: skip
    assert run.result() == 660
    assert [function.calls(item) for item in (2, 5)] == [2, 3]
    assert sum(function.calls(item) == 1 for item in range(12)) == 10
    assert run.audit().ok
    with distributed.Client(mortal.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=120)


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_named(
    mortal: dask_cluster.Running, tmp_path: Path
) -> None:
    function = KillsItsWorker(tmp_path, {1: 99})
    with pytest.raises(RunError, match="2 Dask workers died while running the task") as caught:
        mapred.run(
            function, mapred.array(2), attempts=2, backend=Dask(mortal.address), root=tmp_path,
            progress="none",
        )  # fmt: skip
    assert [(f.task, f.kind, f.attempts) for f in caught.value.failures] == [(1, "lost", 2)]
    assert function.calls(1) == 4


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_one_error(
    mortal: dask_cluster.Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = mapred.submit(slowly, mapred.array(40), backend=Dask(mortal.address), root=tmp_path)
    limit = time.monotonic() + 120
    while not any(stage.done for stage in run.status().stages):
        assert time.monotonic() < limit
        time.sleep(0.05)
    os.killpg(mortal.pid, signal.SIGKILL)
    with pytest.raises(RunError, match=r"scheduler is gone.*\n.*to resume"):
        run.result()
    assert run.state == "interrupted"
    resumed = mapred.open(run.uri).resume(backend="local", progress="none")
    assert resumed.result() == [item * 10 for item in range(40)]
    monkeypatch.setattr("mapred.backends.dask._CONNECT_SECONDS", 2)
    with pytest.raises(BackendError, match="no Dask scheduler answers at tcp://127"):
        mapred.run(slowly, mapred.array(1), backend=Dask("tcp://127.0.0.1:9"), root=tmp_path)


@pytest.mark.slow
def test_workers_that_cannot_see_the_root_or_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    with dask_cluster.running(tmp_path / "dask", 1, hidden) as cluster:
        with pytest.raises(BackendError, match=r"root .*hidden.* pass a root= .*\n.* no such fo"):
            mapred.run(slowly, mapred.array(2), backend=Dask(cluster.address), root=hidden)
        monkeypatch.setattr("mapred.backends.dask._LOOK_SECONDS", 0.2)
        monkeypatch.setattr("mapred.backends.dask._ALONE_SECONDS", 1.0)
        run = mapred.submit(slowly, mapred.array(300), backend=Dask(cluster.address), root=tmp_path)
        with distributed.Client(cluster.address, set_as_default=False) as client:
            client.retire_workers(list(client.nthreads()))
        with pytest.raises(RunError, match="there was no Dask worker for 1 s"):
            run.result()


@pytest.mark.slow
def test_a_client_is_a_backend_and_stays_open(dask_scheduler: str, tmp_path: Path) -> None:
    with distributed.Client(dask_scheduler, set_as_default=False) as client:
        run = mapred.run(slowly, mapred.array(3), backend=client, root=tmp_path, progress="none")
        assert run.result() == [0, 10, 20]
        assert run.job.backend == {
            "name": "dask",
            "arguments": {"workers": None},
            "said": ["address"],
        }
        assert client.submit(abs, -1).result() == 1
    with pytest.raises(BackendError, match="the Client is closed"):
        mapred.run(slowly, mapred.array(3), backend=client, root=tmp_path, progress="none")


@pytest.mark.slow
def test_all_mismatches_are_told_at_once(
    dask_scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mean(item: int) -> float:
        return float(np.mean([item, item]))

    run = mapred.run(mean, mapred.array(2), backend=Dask(dask_scheduler), root=tmp_path)
    assert run.result() == [0.0, 1.0]
    monkeypatch.setattr("mapred.backends.dask.__version__", "0.0.1")
    monkeypatch.setattr("mapred.process.lazy.metadata.version", lambda name: "1.2.3")
    with pytest.raises(FunctionError) as caught:
        mapred.run(mean, mapred.array(2), backend=Dask(dask_scheduler), root=tmp_path)
    text = str(caught.value)
    assert "mapred is 0.0.1 here" in text
    assert f"numpy is 1.2.3 here, {np.__version__} on tcp://127.0.0.1:" in text


def test_a_cluster_of_its_own_and_its_name_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MAPRED_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapred.toml").write_text(
        "[backend.two]\ntype = 'dask'\nworkers = 2\n"
        "[backend.team]\ntype = 'dask'\naddress = 'tcp://10.0.0.5:8786'\n"
    )
    assert resolve("team") == Dask("tcp://10.0.0.5:8786")
    run = mapred.run(abs, mapred.array(5), reduce=sum, backend="two", progress="none")
    assert run.result() == 10
    assert run.job.backend == {"name": "dask", "arguments": {"workers": 2}}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"workers": 0}, "workers=0 must be a whole number, at least 1"),
        ({"address": 8786}, "address=8786: pass a scheduler's address such as 'tcp://"),
        ({"address": "nonsense"}, "no Dask scheduler answers at nonsense"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BackendError, match=says):
        mapred.run(abs, mapred.array(1), backend=Dask(**arguments), progress="none")


def test_without_dask_the_install_line_is_told(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['distributed'] = None; import mapred\n"
        "mapred.run(abs, mapred.array(1), backend='dask')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "MissingDependency: distributed is not installed" in done.stderr
    assert "pip install 'mapred[dask]'" in done.stderr
