"""Listings of other file systems: what they find, and what becomes of their errors."""

from __future__ import annotations

from typing import Any

import pytest
from dataset.folders import found

from mapred import dataset
from mapred.dataset import as_dataset, listing
from mapred.errors import DatasetError


def test_remote_listings(memory: Any) -> None:
    for name in ("a.txt", "d/b c#1%.txt", "d/e/f.txt", ".h/a.txt", "d/_x.csv", "d/a.csv"):
        memory.pipe(f"/bucket/{name}", b"12345")
    root = "memory://bucket/"
    assert found(f"{root}*.txt") == [f"{root}a.txt"]
    assert found(f"{root}**/*.txt") == [
        f"{root}a.txt", f"{root}d/b c#1%.txt", f"{root}d/e/f.txt",
    ]  # fmt: skip
    assert found(f"{root}d/*.csv") == found([f"{root}d/a.csv"] * 2) == [f"{root}d/a.csv"]
    assert len(found(dataset.read_files(f"{root}d"))) == 4
    assert found(dataset.files([f"{root}d/b c#1%.txt"])) == [f"{root}d/b c#1%.txt"]
    row = listing(as_dataset(f"{root}a.txt")).to_pylist()[0]
    assert (row["size"], bool(row["etag"])) == (5, True)
    for uri in (f"{root}*.nope", f"{root}nope.txt", "memory://nowhere/*"):
        with pytest.raises(DatasetError, match="matches no file"):
            found(uri)
    with pytest.raises(DatasetError, match=r"nope://b/\*: Protocol not known|nope"):
        found("nope://b/*")


def test_whatever_a_file_system_raises_is_mapped(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "ls", denied)
    with pytest.raises(DatasetError, match=r"memory://b/.* cannot be listed.*Access Denied"):
        found("memory://b/*")
