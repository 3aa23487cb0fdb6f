"""Roots on a mounted path: a plain folder always, and a real NFS mount where one can be had.

`MAPRED_TEST_NAS=/mnt/nas/folder pytest tests/storage/test_nas.py` tries out a mount of your own.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testbed.servers import nfs

import mapred
from mapred.errors import StorageError
from mapred.storage import Store, open_store, probe
from mapred.storage.local import LocalStore
from mapred.testing import StoreContract

MOUNTED = "MAPRED_TEST_NAS"


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    """An empty folder, on the mount that is to be tried out if there is one."""
    if MOUNTED not in os.environ:
        return tmp_path
    folder = Path(os.environ[MOUNTED], uuid.uuid4().hex[:12])
    folder.mkdir(parents=True)
    return folder


class TestMountedStore(StoreContract):
    @pytest.fixture
    def store(self, nas: Path) -> Store:
        return open_store(str(nas))


def _put_all(folder: str, number: int, rounds: int, gate: Any) -> list[bool]:
    store = LocalStore(folder)
    won = []
    for round_ in range(rounds):
        gate.wait(60)
        won.append(store.put_if_absent(f"race/{round_}", str(number).encode()))
    return won


def _race(arguments: tuple[str, int, int, Any]) -> list[bool]:
    return _put_all(*arguments)


def test_one_of_many_processes_wins(nas: Path) -> None:
    processes, rounds = 4, 10
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(processes) as pool:
        gate = manager.Barrier(processes)
        calls = [(str(nas), number, rounds, gate) for number in range(processes)]
        won = pool.map_async(_race, calls, chunksize=1).get(120)
    store = LocalStore(nas)
    for round_ in range(rounds):
        (winner,) = [number for number in range(processes) if won[number][round_]]
        assert store.read(f"race/{round_}") == str(winner).encode()


def test_a_deleted_open_file_is_no_file(nas: Path) -> None:
    store = LocalStore(nas)
    for name in ("a.txt", "b.txt"):
        store.write(f"data/{name}", b"1\n")
    with store.open("data/b.txt") as file:
        store.delete("data/b.txt")
        if MOUNTED in os.environ:
            assert [name for name in os.listdir(nas / "data") if name.startswith(".nfs")]
        else:
            (nas / "data/.nfs0000000000000001").write_bytes(b"2\n")
        assert store.list("data/") == [("data/a.txt", 2)]
        assert mapred.plan(str(nas / "data")).summary().files == 1
        assert mapred.plan(str(nas / "data/*")).summary().files == 1
        assert file.read() == b"1\n"


def test_what_is_replaced_is_read_whole(nas: Path) -> None:
    store = LocalStore(nas)
    store.write("page", b"old" * 100_000)
    with store.open("page") as file:
        store.write("page", b"new")
        assert file.read() == b"old" * 100_000
    assert store.read("page") == b"new"


def test_what_changes_behind_the_clients_back_is_found(nas: Path) -> None:
    """Another client, or the server itself, replaces what this one still has in its caches."""
    served = os.environ.get("MAPRED_TEST_NAS_SERVED")
    there = Path(served, nas.name) if served else nas
    store = LocalStore(nas)
    data = os.urandom(8 << 20)
    store.write("data/large", data)
    with store.open("data/large") as file:
        assert file.read(10) == data[:10]
        (there / "data/large").unlink()
        assert file.read() == data[10:]
    with pytest.raises(FileNotFoundError):
        store.read("data/large")
    with pytest.raises(FileNotFoundError):
        store.read("data/commit")
    (there / "data/commit").write_bytes(b"another's")
    assert not store.put_if_absent("data/commit", b"mine")
    assert store.read("data/commit") == b"another's"
    assert store.put_if_absent("data/more", b"mine")
    assert store.list("data/") == [("data/commit", 9), ("data/more", 4)]


def test_a_fault_in_the_middle_of_a_file_is_one_error() -> None:
    # The first page of a process's memory cannot be read: EIO, as from a server in trouble.
    with (
        LocalStore("/proc/self").open("mem") as file,
        pytest.raises(StorageError, match="resume the run when it is fixed"),
    ):
        file.read(10)


def _failing(times: int, number: int, call: Callable[..., Any]) -> Callable[..., Any]:
    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal times
        if times:
            times -= 1
            raise OSError(number, os.strerror(number))
        return call(*arguments, **options)

    return failing


@pytest.mark.parametrize("name", ["open", "scandir", "link", "replace"])
def test_a_stale_handle_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store = LocalStore(tmp_path)
    store.write("a/1", b"one")
    where: Any = "builtins.open" if name == "open" else f"os.{name}"
    call = open if name == "open" else getattr(os, name)
    monkeypatch.setattr(where, _failing(2, errno.ESTALE, call))
    assert store.read("a/1") == b"one"
    assert store.list("a/") == [("a/1", 3)]
    store.write("a/1", b"two")
    assert store.put_if_absent("a/2", b"two")
    assert not store.put_if_absent("a/2", b"three")
    assert store.list("") == [("a/1", 3), ("a/2", 3)]


@pytest.mark.parametrize("action", ["put_if_absent", "write", "put_file", "copy"])
def test_a_new_folder_that_the_client_does_not_see_yet_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """Another process created the folder; this one still holds that it is missing."""
    store = LocalStore(tmp_path / "root")
    store.write("source", b"one")
    (tmp_path / "root/a").mkdir()
    (tmp_path / "loose").write_bytes(b"one")
    for name in ("open", "link", "replace"):
        monkeypatch.setattr(os, name, _failing_in("a/", 1, getattr(os, name)))
    if action in ("put_if_absent", "write"):
        getattr(store, action)("a/1", b"one")
    elif action == "put_file":
        store.put_file(tmp_path / "loose", "a/1")
    else:
        store.copy("source", "a/1")
    assert store.list("a/") == [("a/1", 3)]


def _failing_in(folder: str, times: int, call: Callable[..., Any]) -> Callable[..., Any]:
    def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal times
        if times and any(folder in str(argument) for argument in arguments):
            times -= 1
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(arguments[0]))
        return call(*arguments, **options)

    return failing


def test_a_handle_that_stays_stale_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path)
    store.write("a/1", b"one")
    monkeypatch.setattr("os.scandir", _failing(99, errno.ESTALE, os.scandir))
    with pytest.raises(StorageError, match=r"cannot list .*mount it again, then resume"):
        store.list("a/")


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", _failing(99, number, os.link))
    with pytest.raises(StorageError, match=r"has no hard links .*choose a local disk"):
        mapred.run(len, mapred.items(["a"]), root=tmp_path, progress="none")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


DRIVER = """
    import sys
    import mapred
    from mapred.testing import Script

    folder, calls = sys.argv[1:]
    script = Script(calls, {3: ["kill"], 7: ["hang"]})
    mapred.run(script, mapred.array(12), reduce=sum, fan_in=4, root=folder, progress="none",
               backend=mapred.Local(workers=2))
"""


@pytest.mark.slow
def test_a_run_on_it_survives_killed_workers_and_a_killed_driver(nas: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(DRIVER), str(nas / "runs"), str(calls)]
    with subprocess.Popen(command) as driver:
        try:
            # The last item is tried, and the one that hangs holds its worker: killed inside.
            limit = 600
            while not list(calls.glob("11-*")) and driver.poll() is None and limit:
                limit -= 1
                try:
                    driver.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
            assert driver.poll() is None
        finally:
            driver.kill()
    (record,) = (nas / "runs").glob("*/job.json")
    run = mapred.open(record.parent)
    assert run.state == "interrupted"
    assert run.resume(progress="none").result() == 660
    assert run.audit().ok, run.audit()
    assert len(list(calls.glob("3-*"))) == 2
    probe(open_store(str(nas)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_this_on_a_real_nfs_mount(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    command += ["--timeout=500", str(Path(__file__))]
    there = {MOUNTED: nfs.MOUNT, "MAPRED_TEST_NAS_SERVED": nfs.SERVED}
    status, output = nfs.run(tmp_path, command, there, seconds=800)
    assert status == 0, output[-6000:]
    passed = re.search(r"(\d+) passed", output)
    assert passed is not None, output[-6000:]
    assert int(passed[1]) >= 20, output[-6000:]
    assert "skipped" not in output, output[-6000:]
