"""Folders that runs write to, looked at by programs that know nothing of this package."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq

from mapred.storage import Store


def lake_files(uri: str) -> Any:
    """A file system for other programs, and how they name a path of it."""
    if uri.startswith("s3://"):
        return fsspec.filesystem(
            "s3",
            key=os.environ["AWS_ACCESS_KEY_ID"],
            secret=os.environ["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
            skip_instance_cache=True,
            use_listings_cache=False,
        )
    return fsspec.filesystem("file")


def newest_manifest(uri: str) -> dict[str, Any]:
    files = lake_files(uri)
    names = sorted(files.ls(f"{uri}/_manifest", detail=False))
    return dict(json.loads(files.cat_file(names[-1])))


def by_manifest(uri: str) -> Counter[tuple[Any, ...]]:
    """(n, day) of every row that the manifest names; its sums are checked on the way."""
    files, known = lake_files(uri), newest_manifest(uri)
    rows: Counter[tuple[Any, ...]] = Counter()
    count = 0
    for part in known["partitions"]:
        for file in part["files"]:
            with files.open(f"{uri}/{file['path']}", "rb") as opened:
                table = pq.ParquetFile(opened).read()
            assert (table.num_rows, files.size(f"{uri}/{file['path']}")) == (
                file["rows"],
                file["bytes"],
            )
            count += table.num_rows
            rows.update((n, part["values"].get("day")) for n in table["n"].to_pylist())
    assert count == known["rows"]
    return rows


def by_folder(uri: str) -> Counter[tuple[Any, ...]]:
    """(n, day) of every row in every `.parquet` file of a local folder; each must be whole."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for path in Path(uri).rglob("*.parquet"):
        rows.update((n, path.parent.name[4:]) for n in pq.ParquetFile(path).read()["n"].to_pylist())
    return rows


class Killed(BaseException):
    """What a kill is in these tests: nothing that comes after it is carried out."""


class Watched:
    """A store that looks around before each of its writes, and dies before number `last`."""

    def __init__(self, store: Store, look: Callable[[], None], last: int = -1) -> None:
        self._store, self._poll, self._last = store, look, last
        self.count = 0
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        known = getattr(self._store, name)
        if name not in ("copy", "delete", "put_if_absent", "local_path"):
            return known

        def call(*arguments: Any) -> Any:
            with self._lock:
                if self.count == self._last:
                    raise Killed
                self.count += 1
                self._poll()
                return known(*arguments)

        return call


def together(*calls: Callable[[], Any]) -> None:
    errors: list[BaseException] = []
    gate = threading.Barrier(len(calls))

    def act(call: Callable[[], Any]) -> None:
        gate.wait()
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=act, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors
