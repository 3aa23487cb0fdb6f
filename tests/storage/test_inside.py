"""No name and no link leads a store out of its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mapred.errors import StorageError
from mapred.storage import Store, open_store
from mapred.storage.uris import parse_store_uri

CALLS: dict[str, Callable[[Store, str, Path], Any]] = {
    "read": lambda store, path, other: store.read(path),
    "read a range": lambda store, path, other: store.read(path, 1, 1),
    "open": lambda store, path, other: store.open(path).read(),
    "write": lambda store, path, other: store.write(path, b"x"),
    "put_if_absent": lambda store, path, other: store.put_if_absent(path, b"x"),
    "list": lambda store, path, other: store.list(path),
    "delete": lambda store, path, other: store.delete(path),
    "put_file": lambda store, path, other: store.put_file(other, path),
    "copy from": lambda store, path, other: store.copy(path, "copy"),
    "copy to": lambda store, path, other: store.copy("own", path),
    "local_path": lambda store, path, other: store.local_path(path),
}
OUT = ("../secret/file", "a/../../secret/file", "a/..", "/etc/hostname", "a\0b")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"secret")
    return tmp_path / "secret"


@pytest.mark.parametrize("call", CALLS)
def test_names_that_lead_out_are_refused(call: str, secret: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    store.write("own", b"own")
    other = tmp_path / "other"
    for path in OUT:
        other.write_bytes(b"x")
        with pytest.raises(StorageError, match="not a path below"):
            CALLS[call](store, path, other)
    assert (secret / "file").read_bytes() == b"secret"
    assert sorted(os.listdir(tmp_path)) == ["other", "root", "secret"]


@pytest.mark.parametrize("call", CALLS)
def test_links_are_not_followed(call: str, secret: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    store.write("own", b"own")
    (tmp_path / "root" / "folder").symlink_to(secret)
    other = tmp_path / "other"
    other.write_bytes(b"x")
    path = "folder" if call == "list" else "folder/file"
    with pytest.raises(StorageError, match="behind a link"):
        CALLS[call](store, path, other)
    assert [each.name for each in secret.iterdir()] == ["file"]
    assert (secret / "file").read_bytes() == b"secret"


@pytest.mark.parametrize("call", ["read", "read a range", "open", "copy from", "local_path"])
def test_a_file_that_is_a_link_is_not_read(call: str, secret: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    store.write("own", b"own")
    (tmp_path / "root" / "link").symlink_to(secret / "file")
    with pytest.raises(StorageError, match="is a link"):
        CALLS[call](store, "link", tmp_path)


@pytest.mark.parametrize("call", ["read", "open"])
def test_what_is_not_a_file_is_not_waited_for(call: str, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    store.write("own", b"own")
    os.mkfifo(tmp_path / "root" / "pipe")
    with pytest.raises(StorageError, match="not a regular file"):
        CALLS[call](store, "pipe", tmp_path)


def test_the_way_to_the_root_may_have_links(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    store = open_store(str(tmp_path / "home" / "runs"))
    store.write("a/b", b"x")
    assert store.read("a/b") == b"x"
    assert store.list("a") == [("a/b", 1)]
    (tmp_path / "disk").rename(tmp_path / "larger")
    (tmp_path / "home").unlink()
    (tmp_path / "home").symlink_to(tmp_path / "larger")
    assert store.read("a/b") == b"x"
    store.delete("a/b")


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "a\0b"])
def test_keys_stay_below_the_prefix(path: str) -> None:
    with pytest.raises(StorageError, match="not a path below"):
        parse_store_uri("s3://bucket/runs").key(path)
