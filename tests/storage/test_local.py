from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mapred.errors import StorageError
from mapred.storage import Store, local_etag, open_source, open_store, probe
from mapred.storage.local import LocalStore
from mapred.testing import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(str(tmp_path / "root"))


def test_no_temporary_file_is_left_or_listed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_if_absent("c/1", b"a")
    store.put_if_absent("c/1", b"b")
    assert os.listdir(tmp_path / "c") == ["1"]
    (tmp_path / "c/.tmp-left-by-a-kill").write_bytes(b"")
    (tmp_path / "c/.nfs000123").write_bytes(b"")
    assert store.list("c/") == [("c/1", 1)]


def test_file_uris_are_paths(tmp_path: Path) -> None:
    assert open_store(f"file://{tmp_path}").uri == str(tmp_path)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(StorageError, match="gopher://"):
        open_store("gopher://x")


class _Pretender(LocalStore):
    def put_if_absent(self, path: str, data: bytes) -> bool:
        self.write(path, data)
        return True


def test_the_probe_refuses_a_store_that_pretends(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not refuse a second put"):
        probe(_Pretender(tmp_path))


def test_a_lost_answer_of_link_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def repeated(source: str, target: str) -> None:
        # NFS repeats a call whose answer got lost: the second one finds the first one's name.
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", repeated)
    assert LocalStore(tmp_path).put_if_absent("c/1", b"mine")


def test_a_full_disk_is_named_and_leaves_nothing(small_disk: Path) -> None:
    store = LocalStore(small_disk)
    store.write("kept", b"x")
    with pytest.raises(StorageError, match="the disk is full"):
        store.write("big", b"x" * 2_000_000)
    with pytest.raises(StorageError, match="the disk is full"):
        store.put_if_absent("big", b"x" * 2_000_000)
    assert os.listdir(small_disk) == ["kept"]


def test_a_read_only_root_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="read-only"):
        probe(LocalStore(small_disk / "runs"))


def test_a_root_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Not a directory"):
        probe(LocalStore(tmp_path / "file" / "runs"))


def test_an_etag_changes_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    before = local_etag(path.stat())
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert local_etag(path.stat()) != before
    with open_source(str(path)) as file:
        assert file.read() == b"two"
