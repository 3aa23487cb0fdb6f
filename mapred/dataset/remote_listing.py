"""Listing what lies on other file systems: the globs and folders of a dataset, by URI."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mapred.arrow.buffers import large_strings
from mapred.dataset import globs
from mapred.dataset.globs import Glob
from mapred.dataset.lakes import Lakes
from mapred.dataset.remote_walk import CLIENTS, Walk, mark_not_aside, sorted_by_path
from mapred.errors import DatasetError, MapredError, StaleDatasetError, StorageError
from mapred.process.lazy import pa, pc
from mapred.storage.listers import Lister, lister_of, table
from mapred.storage.opening import open_source, reason


def list_remote(
    uris: Sequence[str],
    storage: Mapping[str, Any] | None,
    literal: bool,
    exact: Container[str] = (),
    by_manifest: bool = False,
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the files of each URI in byte order of their paths: `path`, `size`, `etag`, `aside`.

    URIs in `exact` are files or folders, never patterns; if `literal`, all are files.
    No rows where nothing matches; whatever a file system raises becomes a `DatasetError`.
    `by_manifest`: of a folder that has a manifest, its live files alone.
    """
    lakes_by_prefix: dict[str, Lakes] = {}
    with ThreadPoolExecutor(CLIENTS) as pool:
        named = _stat_files(uris, storage, pool) if len(uris) > 1 else {}
        for uri in uris:
            with _translate_errors(uri):
                lister, key = lister_of(uri, storage)
                fingerprint = named.get(uri)
                walk = Walk(lister, pool)
                if fingerprint:
                    yield uri, walk.row(key, fingerprint)
                    continue
                lakes = lakes_by_prefix.setdefault(lister.prefix, Lakes(_Bucket(walk, storage)))
                live = lakes.list_live if by_manifest else lambda _: None
                yield uri, _list_uri(walk, key, uri, literal, uri in exact, live)


@contextmanager
def _translate_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        hint = "; rename the object, or read by fsspec with storage_options={}"
        raise DatasetError(f"{error}{hint if 'invalid path' in str(error) else ''}") from None
    except MapredError:
        raise
    except Exception as error:
        raise DatasetError(f"{uri} cannot be listed: {reason(error)}") from None


def _stat_files(
    uris: Sequence[str], storage: Mapping[str, Any] | None, pool: ThreadPoolExecutor
) -> dict[str, tuple[int | None, str]]:
    """Return size and etag of the URIs that are files; many of one folder by listing it."""
    folders: dict[tuple[str, str], list[tuple[str, str]]] = {}
    listers: dict[str, Lister] = {}
    for uri in uris:
        with _translate_errors(uri):
            lister, key = lister_of(uri, storage)
        if key and not uri.endswith("/"):
            listers.setdefault(lister.prefix, lister)
            parent = key[: key.rfind("/") + 1]
            folders.setdefault((lister.prefix, parent), []).append((uri, key))

    def ask(
        place: tuple[str, str], pairs: list[tuple[str, str]]
    ) -> dict[str, tuple[int | None, str]]:
        lister = listers[place[0]]
        with _translate_errors(pairs[0][0]):
            if len(pairs) > CLIENTS and lister.streams:
                rows = lister.level(place[1])[1].to_pydict()
                fingerprints: Any = dict(
                    zip(rows["path"], zip(rows["size"], rows["etag"], strict=True), strict=True)
                )
            else:
                fingerprints = {key: lister.entry(key) for _, key in pairs}
        return {uri: fingerprints[key] for uri, key in pairs if fingerprints.get(key) is not None}

    tasks = []
    for place, pairs in folders.items():
        step = len(pairs) if len(pairs) > CLIENTS and listers[place[0]].streams else 1
        tasks += [pool.submit(ask, place, pairs[n : n + step]) for n in range(0, len(pairs), step)]
    return {uri: fingerprints for task in tasks for uri, fingerprints in task.result().items()}


def _list_uri(
    walk: Walk,
    key: str,
    uri: str,
    literal: bool,
    exact: bool,
    live: Callable[[Glob], pa.Table | None],
) -> pa.Table:
    """List a key or pattern: the file itself, what matches it, or what lies below it."""
    if literal:
        files = walk.file(key)
        if not len(files) and len(walk.below(globs.parse(key))):
            raise DatasetError(f"{uri} is a folder; pass it without files()")
        return files
    key = key.rstrip("/")
    if exact or not globs.is_glob(key):
        files = walk.file(key) if key and not uri.endswith("/") else mark_not_aside(table())
        if len(files):
            return files
        listed = live(globs.folder(key))
        return walk.below(globs.folder(key)) if listed is None else listed
    listed = live(globs.parse(key))
    if listed is not None:
        return listed
    for pattern in (key, f"{key}/**"):
        files = walk.below(globs.parse(pattern))
        if len(files):
            return _own_name(walk, key, files)
    return walk.list_literal(key)


def _own_name(walk: Walk, key: str, matched: pa.Table) -> pa.Table:
    """Return the file whose very name the pattern is, or else what the pattern matched.

    A name with `*` and `?` matches itself; only one with brackets has to be looked up.
    """
    own = (
        walk.file(key) if "[" in key else matched.filter(pc.equal(matched["path"], walk.path(key)))
    )
    return own if len(own) else matched


@dataclass(frozen=True)
class _Bucket:
    """The keys of one lister, as `lakes` reads them."""

    walk: Walk
    storage: Mapping[str, Any] | None

    def address(self, path: str) -> str:
        return self.walk.path(path)

    def names(self, folder: str) -> list[str]:
        return self.walk.names(f"{folder}/")

    def read(self, path: str) -> bytes:
        try:
            with open_source(self.address(path), storage=self.storage) as file:
                return file.read()
        except StaleDatasetError as error:
            raise FileNotFoundError(path) from error

    def files(self, glob: Glob, paths: Sequence[str]) -> tuple[pa.Table, list[str]]:
        wanted = {self.address(path): path for path in paths}
        files = mark_not_aside(_select_paths(self.walk.below(glob), wanted).drop_columns("aside"))
        others = wanted.keys() - set(files["path"].to_pylist())
        tables = [files, *(self.walk.file(wanted[address]) for address in sorted(others))]
        there = sorted_by_path(tables)
        return there, sorted(others - set(there["path"].to_pylist()))


def _select_paths(files: pa.Table, paths: Iterable[str]) -> pa.Table:
    return files.filter(pc.is_in(files["path"], large_strings(list(paths))))
