"""Folders that runs wrote, read by their manifest: the live files, and no others.

The manifest holds where the part of a path before its first wildcard is the dataset's folder
or, through folders named `name=value`, lies below it. One version is read for a whole listing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mapred.arrow.buffers import large_strings
from mapred.dataset import globs, patterns
from mapred.dataset.globs import Glob
from mapred.dataset.manifests import FOLDER, Entry, Manifest, newest
from mapred.errors import DatasetError
from mapred.process.lazy import pa, pc

# Files that are being published get their names within seconds, unless the run was killed.
_PATIENCE, _PAUSE = 5.0, 0.25
_TYPES = b"mapred.partitions"
_HIDDEN = ".part"


class Place(Protocol):
    """Where datasets lie: a disk, or a bucket of which keys are paths."""

    def address(self, path: str) -> str:
        """Return a path as a dataset names it."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder; none where it does not exist."""
        ...

    def read(self, path: str) -> bytes:
        """Return a small file; one that is gone is a `FileNotFoundError`."""
        ...

    def files(self, glob: Glob, paths: Sequence[str]) -> tuple[pa.Table, list[str]]:
        """Those of the paths that exist, as rows of a listing, and the others; most match."""
        ...


@dataclass
class Lakes:
    """The manifests that one listing meets, each read once."""

    place: Place
    manifests: dict[str, Manifest | None] = field(default_factory=dict)

    def list_live(self, glob: Glob) -> pa.Table | None:
        """Return the rows of the live files that match; None where no manifest lists them."""
        for home in _iter_homes(glob.root):
            if home not in self.manifests:
                self.manifests[home] = self._await_settled(home)
            manifest = self.manifests[home]
            if manifest is not None:
                return self._rows(home, manifest, glob)
        return None

    def _rows(self, home: str, manifest: Manifest, glob: Glob) -> pa.Table:
        listed = self.place.address(_below(home, FOLDER))
        while True:
            whole, entries = _matching(home, manifest, glob)
            if not entries:
                raise DatasetError(
                    f"{self.place.address(glob.root)} has no file that the dataset has now: version "
                    f"{manifest.version} in {listed} lists {len(manifest.entries):,} files, and none "
                    "of them matches; see its partitions there"
                )
            files, gone = self.place.files(whole, [_below(home, entry.path) for entry in entries])
            if not gone:
                return _attach_types(files, manifest)
            now = self._await_settled(home)
            if now is None or now.version == manifest.version:
                raise DatasetError(
                    f"{gone[0]} is gone, and the newest version in {listed} lists it: someone "
                    "removed it by hand; write its partition again, or read the files that are "
                    "left by their paths: mapred.read_parquet(mapred.files([…]))"
                )
            self.manifests[home] = manifest = now

    def _await_settled(self, home: str) -> Manifest | None:
        """Return the newest version, once no run is still publishing, or after some patience."""
        late = time.monotonic() + _PATIENCE
        while True:
            manifest = newest(
                self.place.address(home),
                lambda: self.place.names(_below(home, FOLDER)),
                lambda name: self.place.read(_below(home, f"{FOLDER}/{name}")),
            )
            if manifest is None or not manifest.find_unfinished_runs() or time.monotonic() > late:
                return manifest
            time.sleep(_PAUSE)


def _iter_homes(root: str) -> Iterator[str]:
    """Yield the folders that may be a dataset's: this one, and those that it is a partition of."""
    yield root
    while root and "=" in root.rpartition("/")[2]:
        root = root.rpartition("/")[0]
        yield root


def _below(home: str, path: str) -> str:
    return f"{home.rstrip('/')}/{path}".removeprefix("" if home else "/")


def _matching(home: str, manifest: Manifest, glob: Glob) -> tuple[Glob, list[Entry]]:
    """Return the pattern, and the live files that it matches by their published names.

    A pattern that matches no file stands for the files below the folders that it matches.
    """
    names = pa.chunked_array([large_strings([_below(home, e.name) for e in manifest.entries])])
    below = Glob(glob.root, (*glob.parts, *globs.parse("").parts))
    for pattern in (glob, below):
        fits = patterns.match(names, pattern)[0].to_pylist()
        if any(fits):
            break
    return pattern, [entry for entry, fit in zip(manifest.entries, fits, strict=True) if fit]


def _attach_types(files: pa.Table, manifest: Manifest) -> pa.Table:
    types = {name: manifest.columns.get(name, "string") for name in manifest.partition_by}
    return files.replace_schema_metadata({_TYPES: json.dumps(types)})


def concat_listings(tables: Sequence[pa.Table]) -> pa.Table:
    """All rows of some listings, with the types of partition columns that they agree on."""
    typed = [types for table in tables if (types := _types(table)) is not None]
    whole = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    if not typed:
        return whole
    seen: dict[str, set[str]] = {}
    for types in typed:
        for name, type_ in types.items():
            seen.setdefault(name, set()).add(type_)
    agreed = {name: some.pop() for name, some in seen.items() if len(some) == 1}
    return whole.replace_schema_metadata({_TYPES: json.dumps(agreed)})


def _types(files: pa.Table) -> dict[str, str] | None:
    data = (files.schema.metadata or {}).get(_TYPES)
    return None if data is None else dict(json.loads(data))


def partition_types(files: pa.Table) -> dict[str, pa.DataType]:
    """Return the types of folder columns that manifests say, for those of a listing that have one."""
    return {name: pa.type_for_alias(type_) for name, type_ in (_types(files) or {}).items()}


def published_paths(files: pa.Table) -> pa.ChunkedArray:
    """Return the paths of a listing, as they end once what a manifest lists is published."""
    if _types(files) is None:
        return files["path"]
    return pc.replace_substring_regex(files["path"], rf"\{_HIDDEN}$", "")
