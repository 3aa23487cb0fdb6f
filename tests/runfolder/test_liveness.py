"""A run at work is known as such, and one whose driver has ended too, whatever the clock says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

import mapred
from mapred.client import drivers
from mapred.errors import BackendError, MapredError, RunError, StorageError
from mapred.model import layout
from mapred.runfolder import liveness, starts
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.liveness import Process
from mapred.storage import open_store

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
AT_WORK = """
    import pathlib, sys, time
    import mapred
    root, gate = sys.argv[1:]
    def wait(item):
        pathlib.Path(gate + ".at").touch()
        while not pathlib.Path(gate).exists():
            time.sleep(0.02)
        return item
    mapred.run(wait, mapred.items([1]), root=root, backend="inline", progress="none")
"""


def process_of(ref: str) -> Process:
    process = liveness.process_of(ref)
    assert process is not None
    return process


@contextmanager
def run_at_work(folder: Path, before: list[str]) -> Iterator[tuple[mapred.Run, int]]:
    """A run that a process of its own drives, started by `before`; its handle from here, and a pid."""
    gate = folder / "gate"
    script = [sys.executable, "-c", textwrap.dedent(AT_WORK), str(folder / "runs"), str(gate)]
    process = subprocess.Popen([*before, *script])
    try:
        while not gate.with_suffix(".at").exists():
            assert process.poll() is None
            time.sleep(0.02)
        (uri,) = (folder / "runs").glob("2*")
        yield mapred.open(uri), process.pid
    finally:
        gate.touch()
        process.wait(60)


PIDS = ["--mount", "--pid", "--fork", "--mount-proc"]
CLOCKS = ["--time", "--boottime", "100000", "--fork"]


def unshared(options: list[str] = PIDS) -> list[str]:
    """What has a command run in a PID namespace of its own, or in another one."""
    command = ["unshare", *options]
    try:
        allowed = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip(f"needs the right to unshare {' '.join(options)}")
    return command


def started_by(run: mapred.Run, ref: str, seconds_ago: float = 0.0) -> None:
    """Have a run without a last word be one that `ref` started."""
    (Path(run.uri) / layout.END).unlink(missing_ok=True)
    RunFolder(run.store).write_start(starts.Start(ref, "running", time.time() - seconds_ago))


def finished(root: Path) -> mapred.Run:
    run = mapred.run(abs, mapred.items([1]), root=root, backend="inline", progress="none")
    return mapred.open(run.uri)


def test_this_process_lives() -> None:
    process = process_of(liveness.own_ref("local"))
    assert process.pid == os.getpid()
    assert liveness.lives(process) is True


@linux
def test_no_clock_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = liveness.own_ref("local")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1.0)
        patch.setattr(psutil, "Process", None)
        patch.setattr(psutil, "boot_time", lambda: 17.0)
        assert liveness.own_ref("local") == ref
        assert liveness.lives(process_of(ref)) is True


@linux
def test_what_is_known_of_other_processes() -> None:
    me = process_of(liveness.own_ref("local"))
    child = subprocess.Popen(["sleep", "60"])
    with child:
        other = Process(
            me.host, child.pid, liveness._ticks(str(child.pid)) or "", me.boot, me.namespace
        )
        assert liveness.lives(other) is True
        assert liveness.lives(Process("renamed", *list(vars(other).values())[1:])) is True
        assert liveness.lives(Process(me.host, child.pid, "1", me.boot, me.namespace)) is False
        assert liveness.lives(Process(me.host, child.pid, other.start, me.boot, "4")) is None
        assert liveness.lives(Process(me.host, child.pid, other.start, "b", me.namespace)) is None
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert liveness.lives(other) is False, "one that nobody has waited for has ended"
    assert liveness.lives(other) is False
    for pid in (2**22 + 1, 2**31, 2**64, 0):
        assert not liveness.lives(Process(me.host, pid, "5", me.boot, me.namespace))


def test_a_hidden_process_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    me = process_of(liveness.own_ref("local"))

    def hidden(pid: str) -> None:
        raise FileNotFoundError(pid)

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(liveness, "_ticks", hidden)
    monkeypatch.setattr(os, "kill", refuse)
    assert liveness.lives(me) is None


def test_without_proc_the_time_of_the_start_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_PROC", "/no/such/folder")
    ref = liveness.own_ref("local")
    assert len(ref.split(":")) == 4
    assert liveness.lives(process_of(ref)) is True
    assert liveness.lives(Process(os.uname().nodename, os.getpid(), "1.00")) is False
    assert liveness.lives(Process("another-machine", os.getpid(), "1.00")) is None


@pytest.mark.parametrize(
    "ref",
    ["argo:prod/x-17", "x", "local:h:pid:1.00", "local:h:-1:1.00", f"local:h:{'9' * 5000}:1", ""],
)
def test_other_refs_name_no_process(ref: str) -> None:
    assert liveness.process_of(ref) is None


def test_a_handle_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    run = finished(tmp_path)
    born = psutil.Process(os.getppid()).create_time()
    # A clock that was set since by a second, as `/proc/stat` then tells of another boot.
    started_by(run, f"local:{os.uname().nodename}:{os.getppid()}:{born + 1:.2f}")
    assert run.state == "running"
    with pytest.raises(RunError, match="may be running: the process"):
        mapred.rm(run)
    started_by(run, f"local:{os.uname().nodename}:{os.getppid()}:{born - 5000:.2f}")
    assert run.state == "interrupted"
    assert mapred.rm(run).files


@linux
def test_a_run_of_another_place_lives_by_its_heartbeat(tmp_path: Path) -> None:
    run = finished(tmp_path)
    ref = "local:another-machine:17:345:some-boot:4026531999"
    started_by(run, ref, seconds_ago=3600)
    assert run.state == "interrupted"
    beat = {"ref": ref, "time": time.time() - 30, "boot": "some-boot", "uptime": 5.0}
    run.store.write(layout.HEARTBEAT, json.dumps(beat).encode())
    assert run.state == "running"
    for ago in (30, 3600):
        run.store.write(layout.HEARTBEAT, json.dumps({**beat, "time": time.time() - ago}).encode())
        with pytest.raises(RunError, match=r"cannot be seen from here.* ago; stop it there, or"):
            mapred.rm(run)
        with pytest.raises(BackendError, match="may be running: the process 17 of another-machine"):
            mapred.open(run.uri).cancel()
        assert not mapred.gc(tmp_path, older_than="0s").files
    old = {**beat, "time": time.time() - 2 * liveness.QUIET_SECONDS}
    run.store.write(layout.HEARTBEAT, json.dumps(old).encode())
    started_by(run, ref, seconds_ago=2 * liveness.QUIET_SECONDS)
    assert mapred.rm(run).files


@linux
def test_in_another_namespace_of_one_machine_no_clock_decides(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    me = process_of(liveness.own_ref("local"))
    ref = f"local:{me.host}:17:345:{me.boot}:1"
    beat = {"ref": ref, "time": 5.0, "boot": me.boot, "uptime": liveness._uptime() - 40}
    store.write(layout.HEARTBEAT, json.dumps(beat).encode())
    assert 40 <= liveness.seconds_quiet(store, ref, 5.0) < 60


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ref": "r", "boot": 1}', "[" * 100_000])
def test_a_heartbeat_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    store = open_store(str(tmp_path))
    store.write(layout.HEARTBEAT, text.encode())
    assert liveness.seconds_quiet(store, "r", time.time() - 100) >= 100


def test_the_advice_for_a_run_of_another_place_helps(tmp_path: Path) -> None:
    run = finished(tmp_path)
    started_by(run, "local:another-machine:17:345:some-boot:4026531999", seconds_ago=3600)
    with pytest.raises(RunError, match="resume the run here first") as refused:
        mapred.rm(run)
    line = str(refused.value).rpartition("first: ")[2]
    exec(line, {"mapred": mapred})
    assert mapred.rm(run).files


def test_a_heart_beats_while_a_driver_is_at_work_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.02)
    store = open_store(str(tmp_path))
    store.write(layout.JOB, b"{}")
    with RunFolder(store).send_heartbeats("me"):
        while not (tmp_path / layout.HEARTBEAT).exists():
            time.sleep(0.01)
        assert json.loads(store.read(layout.HEARTBEAT))["ref"] == "me"
    assert not (tmp_path / layout.HEARTBEAT).exists()
    with RunFolder(open_store(str(tmp_path / "gone"))).send_heartbeats("me"):
        time.sleep(0.1)
    assert not (tmp_path / "gone").exists()


@linux
@pytest.mark.timeout(120)
def test_a_run_at_work_in_another_namespace_is_left_alone(tmp_path: Path) -> None:
    with run_at_work(tmp_path, unshared()) as (run, _):
        assert run.state == "running"
        with pytest.raises(RunError, match="cannot be seen from here"):
            mapred.rm(run)
        with pytest.raises(BackendError, match="may be running"):
            run.cancel()
        assert not mapred.gc(tmp_path / "runs", older_than="0s").files
    assert run.state == "succeeded"
    assert run.result() == [1]


@linux
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("options", [PIDS, CLOCKS], ids=["pids", "clocks"])
def test_a_run_at_work_is_left_alone_from_another_namespace(
    tmp_path: Path, options: list[str]
) -> None:
    with run_at_work(tmp_path, []) as (run, pid):
        command = [sys.executable, "-m", "mapred", "gc", "--root", str(tmp_path / "runs")]
        done = subprocess.run(
            [*unshared(options), *command, "--older-than", "0s", "--yes"],
            capture_output=True,
            text=True,
        )
        assert "removed 0 files" in done.stdout, done.stdout + done.stderr
        assert run.state == "running"
        os.kill(pid, signal.SIGKILL)
        while run.state == "running":
            time.sleep(0.02)
        assert run.state == "interrupted"
        assert mapred.rm(run).files


def test_a_driver_that_ended_says_so(tmp_path: Path) -> None:
    run = mapred.submit(time.sleep, mapred.items([60]), root=tmp_path)
    run.wait(timeout=0)
    assert run._handle is not None
    run._handle.cancel()
    start = RunFolder(run.store).start()
    assert (start.ref, start.state) == (None, "interrupted")
    assert drivers.may_live(RunFolder(run.store), start) is None
    assert mapred.rm(run.uri).files


def interrupt(item: int) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


def test_an_inline_run_that_is_interrupted_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        mapred.run(interrupt, mapred.items([1]), root=tmp_path, backend="inline", progress="none")
    (folder,) = tmp_path.glob("2*")
    start = RunFolder(open_store(str(folder))).start()
    assert (start.ref, start.state) == (None, "interrupted")
    assert mapred.rm(folder).files


def test_an_inline_run_of_another_thread_is_not_cancelled(tmp_path: Path) -> None:
    at_work, gate = tmp_path / "at-work", tmp_path / "gate"

    def wait(item: int) -> int:
        at_work.touch()
        while not gate.exists():
            time.sleep(0.02)
        return item

    options: dict[str, Any] = {"root": tmp_path, "backend": "inline", "progress": "none"}
    driver = threading.Thread(target=lambda: mapred.run(wait, mapred.items([1]), **options))
    driver.start()
    while not at_work.exists():
        assert driver.is_alive()
        time.sleep(0.02)
    (folder,) = tmp_path.glob("2*")
    run = mapred.open(folder)
    with pytest.raises(BackendError, match="a thread of this process drives it; wait for its end"):
        run.cancel()
    gate.touch()
    driver.join(60)
    assert run.state == "succeeded"


def test_a_stop_does_not_forget_a_driver_that_was_started_since(tmp_path: Path) -> None:
    run = mapred.submit(time.sleep, mapred.items([60]), root=tmp_path)
    drivers.forget(run.uri)
    assert drivers.driven(run.uri) is run._handle
    mapred.open(run.uri).cancel()
    assert run.state == "cancelled"
    assert drivers.driven(run.uri) is None


def test_a_driver_that_a_store_ends_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tmp_path)
    (Path(run.uri) / layout.END).unlink()
    (Path(run.uri) / layout.commit("map", 0)).unlink()

    def full(*arguments: object) -> bool:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("mapred.storage.local.LocalStore.put_if_absent", full)
        with pytest.raises(RunError, match="the disk is full"):
            mapred.open(run.uri).resume(backend="inline", progress="none")
    assert RunFolder(run.store).start().ref is None
    assert mapred.open(run.uri).resume(backend="inline", progress="none").result() == [1]


def test_a_full_disk_keeps_nobody_from_saying_so(small_disk: Path) -> None:
    store = open_store(str(small_disk))
    RunFolder(store).note_start(liveness.own_ref("local"))
    with pytest.raises(OSError, match="No space left"), open(small_disk / "big", "wb") as file:
        file.write(b"x" * 2**21)
    with pytest.raises(MapredError, match="disk is full"):
        store.write("more", b"x" * 8192)
    RunFolder(store).note_interruption(liveness.own_ref("local"))
    assert (RunFolder(store).start().ref, RunFolder(store).start().state) == (None, "interrupted")


def test_what_another_driver_started_since_stands(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    RunFolder(store).note_start("another")
    RunFolder(store).note_interruption(liveness.own_ref("local"))
    assert RunFolder(store).start().ref == "another"
    RunFolder(open_store(str(tmp_path / "gone"))).note_interruption("x")
    assert not (tmp_path / "gone").exists()
