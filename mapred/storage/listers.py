"""Listing objects into Arrow: pages of key, size and etag, with no loop over objects.

`Lister` is what a walk needs of a bucket: all that lies below a folder, one level of it, and
one object. S3, Google and Azure by obstore, OSS by its own SDK, everything else by fsspec.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from mapred.arrow.buffers import large_strings, scalar, strings, to_arrow
from mapred.errors import DatasetError
from mapred.process.lazy import np, pa, pc
from mapred.storage import ossfs
from mapred.storage.fsspec_options import filesystem_of
from mapred.storage.opening import OBJECTS, remote_fingerprint, store_of

PAGE = 1000
_COLUMNS = ["path", "size", "e_tag"]


class Lister(Protocol):
    """The objects of one bucket or file system, by keys without a `/` in front.

    Tables have `path` (large_string, the key), `size` (int64) and `etag` (string). A folder
    is a key that ends with `/`, or nothing. `marks` tells that the marker object `x/` of a
    folder comes as an empty `x`, which only `level` and `entry` tell apart. Raises
    `StorageError`, or whatever a file system of fsspec raises. The first table of `pages`
    that `streams` is a page, which is full where there is more.
    """

    prefix: str
    marks: bool
    streams: bool

    def pages(self, folder: str, depth: int | None) -> Iterator[pa.Table]: ...

    def level(self, folder: str) -> tuple[tuple[str, ...], pa.Table]: ...

    def entry(self, key: str) -> tuple[int | None, str] | None:
        """Return size and etag of a file; None if there is none."""
        ...


def lister_of(uri: str, storage: Mapping[str, Any] | None) -> tuple[Lister, str]:
    """Return the lister of a URI's bucket or file system, and the URI's key in it."""
    scheme, _, rest = uri.partition("://")
    if storage is None and scheme in OBJECTS:
        bucket, _, key = rest.partition("/")
        store = store_of(f"{scheme}://{bucket}")
        kind = _OSS if scheme == "oss" else _Obstore
        return kind(store, f"{scheme}://{bucket}/"), key
    filesystem, path = filesystem_of(storage, uri)
    return _Fsspec(filesystem, *_prefix(filesystem, uri, path)), path.strip("/")


class _Obstore:
    marks = True
    streams = True

    def __init__(self, store: Any, prefix: str) -> None:
        self._store, self.prefix = store, prefix

    def pages(self, folder: str, depth: int | None) -> Iterator[pa.Table]:
        for pages in self._store.pages(folder):
            batches = [pa.record_batch(page).select(_COLUMNS) for page in pages]
            yield _columns(pa.Table.from_batches(batches))

    def level(self, folder: str) -> tuple[tuple[str, ...], pa.Table]:
        folders, objects = self._store.level(folder)
        # `pyarrow.table` would import pandas.
        files = pa.RecordBatchReader.from_stream(objects).read_all()
        return folders, _columns(files.select(_COLUMNS))

    def entry(self, key: str) -> tuple[int, str] | None:
        try:
            size, etag = self._store.entry(key)
        except FileNotFoundError:
            return None
        return size, etag


class _OSS(_Obstore):
    marks = False

    def pages(self, folder: str, depth: int | None) -> Iterator[pa.Table]:
        entries = self._store.entries(folder, recursive=True)
        files = (entry for entry in entries if not entry[0].endswith("/"))
        while chunk := list(itertools.islice(files, PAGE)):
            yield table(*zip(*chunk, strict=True))

    def level(self, folder: str) -> tuple[tuple[str, ...], pa.Table]:
        entries = list(self._store.entries(folder, recursive=False))
        files = [entry for entry in entries if not entry[0].endswith("/")]
        folders = {entry[0].rstrip("/") for entry in entries if entry[0].endswith("/")}
        folders.discard(folder.rstrip("/"))
        return tuple(sorted(folders)), table(*zip(*files, strict=True)) if files else table()


class _Fsspec:
    """Any file system of fsspec: `find` gives all of a tree at once."""

    marks = False
    streams = False

    def __init__(self, filesystem: Any, prefix: str, root: str) -> None:
        self._filesystem, self.prefix, self._root = filesystem, prefix, root
        filesystem.invalidate_cache()

    def pages(self, folder: str, depth: int | None) -> Iterator[pa.Table]:
        path = self._root + folder.rstrip("/")
        infos = self._filesystem.find(path, maxdepth=depth, detail=True)
        names = [
            name
            for name, info in infos.items()
            if info["type"] != "directory" and not name.endswith("/")
        ]
        if not infos:
            self._why_nothing(path)
        fingerprints = [remote_fingerprint(infos[name]) for name in names]
        # `find` of a name also gives a file of that very name, which is not in the folder.
        keys = [name.removeprefix(self._root).lstrip("/") for name in names]
        rows = [
            (key, size, etag)
            for key, (size, etag) in zip(keys, fingerprints, strict=True)
            if key.startswith(folder)
        ]
        yield table(*zip(*rows, strict=True)) if rows else table()

    def level(self, folder: str) -> tuple[tuple[str, ...], pa.Table]:
        raise NotImplementedError

    def entry(self, key: str) -> tuple[int | None, str] | None:
        if ossfs.is_ossfs(self._filesystem):
            return ossfs.entry(self._filesystem, self._root + key)
        try:
            info = self._filesystem.info(self._root + key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if info["type"] == "directory" or info["name"].endswith("/"):
            return None
        return remote_fingerprint(info)

    def _why_nothing(self, path: str) -> None:
        """Raise the refusal that an empty listing hides."""
        if ossfs.is_ossfs(self._filesystem):
            return ossfs.refuse_if_denied(self._filesystem, path)
        try:
            self._filesystem.ls(path)
        except (FileNotFoundError, NotADirectoryError):
            return None


def table(
    paths: Sequence[str] = (), sizes: Sequence[int | None] = (), etags: Sequence[str] = ()
) -> pa.Table:
    try:
        names = large_strings(paths)
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{error.object!r}: the name of this file is not valid Unicode; rename it"
        ) from error
    complete = None not in sizes
    lengths = to_arrow(np.array(sizes, np.int64)) if complete else pa.array(sizes, pa.int64())
    return pa.table([names, lengths, strings(etags)], names=["path", "size", "etag"])


def _columns(objects: pa.Table) -> pa.Table:
    """Return obstore's columns as those of a listing, with etags unquoted."""
    etags = objects["e_tag"].cast(pa.string())
    if etags.null_count:
        etags = pc.coalesce(etags, scalar(""))
    etags = pc.utf8_trim(etags, '"')
    columns = [objects["path"].cast(pa.large_string()), objects["size"].cast(pa.int64()), etags]
    return pa.table(columns, names=["path", "size", "etag"])


def _prefix(filesystem: Any, uri: str, path: str) -> tuple[str, str]:
    """Return what precedes a key in a URI, and what precedes it in the file system's own names."""
    written, plain = uri.rstrip("/"), path.rstrip("/")
    lead = "/" if plain.startswith("/") else ""
    if "://" not in uri:
        protocol = filesystem.protocol
        return f"{protocol if isinstance(protocol, str) else protocol[0]}://{lead}", lead
    if plain and written.endswith(plain):
        return written[: len(written) - len(plain)] + lead, lead
    return uri.partition("://")[0] + "://", lead
