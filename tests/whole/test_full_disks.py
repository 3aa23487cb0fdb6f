"""Roots without room or right to write: told at once, by one clear error, with nothing left behind."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from writing.lakes import by_folder, together

import mapred
from mapred import writing
from mapred.errors import AccessError, FullError, RunError, StorageError
from mapred.formats.base import Range
from mapred.formats.whole_files import _Copies
from mapred.model import layout
from mapred.model.records import Block
from mapred.runfolder.folder import RunFolder
from mapred.storage.local import LocalStore
from mapred.worker import tasks

QUIET: dict[str, Any] = {"progress": "none"}


def table(item: int) -> pa.Table:
    return pa.table({"n": [item], "text": [os.urandom(100_000).hex()], "day": [f"d{item % 2}"]})


def temporary(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names if name.startswith(".tmp")]


class Counting:
    """Fills the disk at its third call, and counts its calls in a folder."""

    def __init__(self, calls: Path, disk: Path, kind: str) -> None:
        self.calls, self.disk, self.kind = str(calls), str(disk), kind

    def __call__(self, item: int) -> Any:
        Path(self.calls, f"{item}-{os.getpid()}-{os.urandom(4).hex()}").touch()
        if item == 2:
            with suppress(OSError), open(f"{self.disk}/ballast", "wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        return table(item) if self.kind == "tables" else item


WRITE, BY = {"write": True}, {"by": "day", "aggregate": {"n": "sum"}}


@pytest.mark.parametrize(
    ("kind", "options", "backend"),
    [
        ("inline", {}, "threads"),
        ("tables", WRITE, "inline"),
        pytest.param("inline", {}, "local", marks=pytest.mark.slow),
        *(
            pytest.param("tables", options, backend, marks=pytest.mark.slow)
            for options in ({}, BY, WRITE)
            for backend in ("inline", "threads", "local")
            if (options, backend) != (WRITE, "inline")
        ),
    ],
)
def test_a_full_disk_is_told_at_once(
    kind: str, options: dict[str, Any], backend: str, small_disk: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()
    function = Counting(calls, small_disk, kind)
    lake = small_disk / "lake"
    if options.get("write"):
        options = {"write": mapred.write_parquet(lake, partition_by="day")}
    with ThreadPoolExecutor(1) as pool:
        chosen: Any = {"threads": pool, "local": mapred.Local(workers=1)}.get(backend, backend)
        given = {"backend": chosen, "root": small_disk / "runs", **options, **QUIET}
        with pytest.raises((RunError, FullError), match="the disk is full; free some space, then"):
            mapred.run(function, mapred.items(range(4)), **given)
        pool.submit(int).result()  # the task that was at work when the run ended is over
        made = sorted(path.name.partition("-")[0] for path in calls.iterdir())
        assert made.count("2") == 1, "the function is not called again for a full disk"
        assert not temporary(small_disk)
        (small_disk / "ballast").unlink()
        (folder,) = (small_disk / "runs").glob("2*")
        run = mapred.open(folder)
        # Its third item fills the disk again.
        fn = table if kind == "tables" else int
        run.resume(fn=fn, backend="inline", **QUIET)
    assert run.audit().ok, run.audit()
    assert not temporary(small_disk)
    assert not (lake / "_staging").exists()
    if "write" in options:
        assert {n for n, _ in by_folder(str(lake))} == set(range(4))


@pytest.mark.parametrize("backend", ["inline", pytest.param("local", marks=pytest.mark.slow)])
def test_a_read_only_root_is_told_at_once(backend: str, small_disk: Path, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.mkdir()

    def function(item: int) -> int:
        Path(str(calls), f"{item}-{os.urandom(4).hex()}").touch()
        if item == 1:
            subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        return item

    chosen: Any = mapred.Local(workers=1) if backend == "local" else backend
    with pytest.raises((RunError, AccessError), match="the file system is read-only; choose"):
        mapred.run(
            function, mapred.items(range(3)), backend=chosen, root=small_disk / "runs", **QUIET
        )
    assert len(list(calls.glob("1-*"))) == 1
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    (folder,) = (small_disk / "runs").glob("2*")
    run = mapred.open(folder)
    run.resume(fn=lambda item: item, **QUIET)
    assert run.result() == [0, 1, 2]


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, FullError, "the disk is full; free some space"),
        (errno.EDQUOT, FullError, "the quota is used up; free some space"),
        (errno.EROFS, AccessError, "the file system is read-only; choose another root"),
        (errno.EACCES, AccessError, "Permission denied: check who may write it"),
    ],
)
def test_each_refusal_has_its_error(
    number: int, kind: type, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = LocalStore.put_if_absent, tmp_path / "calls"

    def function(item: int) -> int:
        with open(str(calls), "a") as file:
            file.write(f"{item} ")
        return item

    def refused(self: Any, path: str, data: bytes) -> bool:
        if path == layout.commit("map", 1):
            with self._translate_errors("write", path):
                raise OSError(number, os.strerror(number))
        return put(self, path, data)

    # It stands for a function of the store, so it is not one of the user's files.
    refused.__code__ = refused.__code__.replace(co_filename=put.__code__.co_filename)
    monkeypatch.setattr(LocalStore, "put_if_absent", refused)
    with pytest.raises(RunError, match=said) as caught:
        mapred.run(function, mapred.items(range(3)), backend="inline", root=tmp_path, **QUIET)
    assert type(caught.value.__cause__) is kind
    assert calls.read_text() == "0 1 "


def test_a_store_without_room_is_told_as_such() -> None:
    from mapred.storage.responses import error_from, parse_error

    for text in (
        "status: 507 <Code>InsufficientStorage</Code>",
        'status: 403 code: "QuotaExceeded"',
    ):
        assert type(error_from("cannot write", parse_error(text), "free some")) is FullError


def _refusing(name: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a function of `os` or `shutil` fail for want of room, on and on after some calls."""
    module: Any = shutil if name == "copyfile" else os
    known: Callable[..., Any] = getattr(module, name)
    done: list[int] = []

    def call(*arguments: Any, **named: Any) -> Any:
        done.append(1)
        if len(done) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return known(*arguments, **named)

    monkeypatch.setattr(module, name, call)


@pytest.mark.parametrize("operation", ["write", "put_if_absent", "put_file", "copy"])
@pytest.mark.parametrize("fails", ["replace", "link", "copyfile"])
def test_no_temporary_file_is_left(
    operation: str, fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = LocalStore(tmp_path / "root"), tmp_path / "source"
    source.write_bytes(b"x")
    store.write("known", b"x")
    if operation == "put_file" and fails == "copyfile":
        replace, moved = os.replace, []

        def elsewhere(one: Any, other: Any) -> None:
            moved.append(1)
            if len(moved) == 1:
                raise OSError(errno.EXDEV, "another device")
            replace(one, other)

        monkeypatch.setattr(os, "replace", elsewhere)
    _refusing(fails, 0, monkeypatch)
    arguments = {"put_file": (source, "a/b"), "copy": ("known", "a/b")}.get(
        operation, ("a/b", b"data")
    )
    with suppress(StorageError):
        getattr(store, operation)(*arguments)
    assert not temporary(tmp_path)


def test_a_folder_that_was_removed_as_empty_is_made_again(tmp_path: Path) -> None:
    store, source = LocalStore(tmp_path / "root"), tmp_path / "source"
    source.write_bytes(b"x")
    for number, act in enumerate(
        [
            lambda: store.write("a/b/1", b"x"),
            lambda: store.put_if_absent("a/b/2", b"x"),
            lambda: store.put_file(source, "a/b/3"),
        ]
    ):
        store.write("a/b/0", b"x")
        store.delete("a/b/0")
        os.rmdir(tmp_path / "root/a/b")
        act()
        assert store.read(f"a/b/{number + 1}") == b"x"
        store.delete(f"a/b/{number + 1}")


def test_a_root_that_cannot_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=r"/proc/x\S* does not exist and cannot be created"):
        mapred.run(abs, mapred.items([1]), root="/proc/x", backend="inline", **QUIET)
    store = LocalStore(tmp_path / "root")
    store.write("a/b", b"x")
    os.rename(tmp_path / "root", tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="the root is gone; restore it"):
        store.write("a/c", b"x")


@pytest.mark.parametrize("operation", ["write", "copy", "spill"])
def test_a_full_folder_for_temporary_files_is_named(
    operation: str, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    from mapred.shuffle import part_files

    (small_disk / "ballast").write_bytes(bytes(900_000))
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    target = mapred.write_parquet(tmp_path / "lake")
    rows = part_files.MemoryParts(pa.table({"n": range(10**6)}), np.array([0, 10**6]))
    copies = _Copies(lambda range_: io.BytesIO(bytes(range_.size)))
    tables = [table(n) for n in range(9)]
    act: dict[str, Callable[[], Any]] = {
        "write": lambda: writing.write_values(target, "run", 0, "1-a", tables),
        "spill": lambda: part_files.spill(rows),
        "copy": lambda: copies.load(Range(0, "s3://b/a", 0, 10**6, 10**6, "", 0, 1), 0),
    }
    with pytest.raises(FullError, match=rf"{small_disk}: No space left on device: free some"):
        act[operation]()
    assert not (tmp_path / "lake").exists() or not temporary(tmp_path)


def test_an_attempt_that_fails_takes_back_what_it_staged(tmp_path: Path) -> None:
    def tables(item: int) -> Iterator[pa.Table]:
        for day in range(3):
            yield pa.table({"n": [item] * 10, "day": [f"d{day}"] * 10})
        if item == 1:
            raise ValueError("no more")

    lake = tmp_path / "lake"
    to = mapred.write_parquet(lake, partition_by="day", target_file_bytes=1)
    with pytest.raises(mapred.RunError):
        mapred.run(
            tables, mapred.items([1]), write=to, root=tmp_path / "runs", backend="inline", **QUIET
        )
    assert not list(lake.rglob("*.part"))


def test_two_drivers_of_one_run_leave_nothing_staged(tmp_path: Path) -> None:
    """Each stages a task's files, and waits until the other one did so as well."""
    lake = tmp_path / "lake"
    to = mapred.write_parquet(lake, partition_by="day")
    run = mapred.job(table, mapred.items(range(3)), write=to).submit(
        backend="inline", root=tmp_path / "runs"
    )
    shutil.rmtree(lake)
    for path in [layout.END, layout.MANIFEST, *map(partial(layout.commit, "map"), range(3))]:
        run.store.delete(path)
    run.store.delete(layout.commit("reduce-1", 0))
    digest = hashlib.sha256(run.store.read(layout.JOB)).hexdigest()
    gate, put = threading.Barrier(2), RunFolder.put_commit

    def together_put(*arguments: Any) -> Any:
        gate.wait(20)
        return put(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "put_commit", together_put)
        together(*[lambda: tasks.run_block(Block(run.uri, digest, "map", range(3)))] * 2)
    run = mapred.open(run.uri)
    run.resume(**QUIET)
    assert run.audit().ok, run.audit()
    assert {n for n, _ in by_folder(str(lake))} == set(range(3))
    assert not list(lake.rglob("*.part"))
    # An attempt that is late, after all was published.
    run.store.delete(layout.commit("map", 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "put_commit", lambda _, commit: replace(commit, attempt="2-b"))
        tasks.run_block(Block(run.uri, digest, "map", [1]))
    assert not (lake / "_staging").exists()
