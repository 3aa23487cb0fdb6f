"""Listing what lies on other file systems: globs and folders of objects, matched in Arrow.

A large tree is listed by several clients at once, each below a folder of its own: folders
that a pattern rules out are not listed, and nothing is asked of single objects. Splitting is
by folders alone, since servers do not agree on what comes after a key.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from mapred.arrow.buffers import flags, scalar
from mapred.dataset import globs, patterns
from mapred.dataset.globs import Glob
from mapred.dataset.lakes import Lakes
from mapred.errors import DatasetError, MapredError, StaleDatasetError, StorageError
from mapred.process.lazy import pa, pc
from mapred.storage.listers import PAGE, Lister, lister_of, table
from mapred.storage.opening import open_source, reason

T = TypeVar("T")
_CLIENTS = 8
# So many folders keep all clients busy; a pattern may be followed into more of them.
_ENOUGH, _MOST = 2 * _CLIENTS, 16 * _CLIENTS
_CHUNK = 2**16
_MARKER = "_$folder$"


def listed(
    uris: Sequence[str],
    storage: Mapping[str, Any] | None,
    literal: bool,
    exact: Container[str] = (),
    by_manifest: bool = False,
) -> Iterator[tuple[str, pa.Table]]:
    """The files of each URI in byte order of their paths: `path`, `size`, `etag`, `aside`.

    URIs in `exact` are files or folders, never patterns; if `literal`, all are files.
    No rows where nothing matches; whatever a file system raises becomes a `DatasetError`.
    `by_manifest`: of a folder that has a manifest, its live files alone.
    """
    met: dict[str, Lakes] = {}
    with ThreadPoolExecutor(_CLIENTS) as pool:
        named = _named(uris, storage, pool) if len(uris) > 1 else {}
        for uri in uris:
            with _mapped(uri):
                lister, key = lister_of(uri, storage)
                known = named.get(uri)
                walk = _Walk(lister, pool)
                if known:
                    yield uri, walk.row(key, known)
                    continue
                lakes = met.setdefault(lister.prefix, Lakes(_Bucket(walk, storage)))
                live = lakes.live if by_manifest else _no_lake
                yield uri, _found(walk, key, uri, literal, uri in exact, live)


@contextmanager
def _mapped(uri: str) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        hint = "; rename the object, or read by fsspec with storage_options={}"
        raise DatasetError(f"{error}{hint if 'invalid path' in str(error) else ''}") from None
    except MapredError:
        raise
    except Exception as error:
        raise DatasetError(f"{uri} cannot be listed: {reason(error)}") from None


def _named(
    uris: Sequence[str], storage: Mapping[str, Any] | None, pool: ThreadPoolExecutor
) -> dict[str, tuple[int | None, str]]:
    """Size and etag of the URIs that are files: many of one folder by listing that folder."""
    folders: dict[tuple[str, str], list[tuple[str, str]]] = {}
    listers: dict[str, Lister] = {}
    for uri in uris:
        with _mapped(uri):
            lister, key = lister_of(uri, storage)
        if key and not uri.endswith("/"):
            listers.setdefault(lister.prefix, lister)
            parent = key[: key.rfind("/") + 1]
            folders.setdefault((lister.prefix, parent), []).append((uri, key))

    def ask(
        place: tuple[str, str], pairs: list[tuple[str, str]]
    ) -> dict[str, tuple[int | None, str]]:
        lister = listers[place[0]]
        with _mapped(pairs[0][0]):
            if len(pairs) > _CLIENTS and lister.streams:
                rows = lister.level(place[1])[1].to_pydict()
                known: Any = dict(
                    zip(rows["path"], zip(rows["size"], rows["etag"], strict=True), strict=True)
                )
            else:
                known = {key: lister.entry(key) for _, key in pairs}
        return {uri: known[key] for uri, key in pairs if known.get(key) is not None}

    tasks = []
    for place, pairs in folders.items():
        step = len(pairs) if len(pairs) > _CLIENTS and listers[place[0]].streams else 1
        tasks += [pool.submit(ask, place, pairs[n : n + step]) for n in range(0, len(pairs), step)]
    return {uri: known for task in tasks for uri, known in task.result().items()}


def _no_lake(glob: Glob) -> None:
    """What a listing by names and patterns alone knows of a manifest."""


def _found(
    walk: _Walk,
    key: str,
    uri: str,
    literal: bool,
    exact: bool,
    live: Callable[[Glob], pa.Table | None],
) -> pa.Table:
    """What a key or pattern stands for: itself, what matches it, what lies below it."""
    if literal:
        found = walk.file(key)
        if not len(found) and len(walk.below(globs.parse(key))):
            raise DatasetError(f"{uri} is a folder; give it without files()")
        return found
    key = key.rstrip("/")
    if exact or not globs.is_glob(key):
        found = walk.file(key) if key and not uri.endswith("/") else _plain(table())
        if len(found):
            return found
        listed = live(globs.folder(key))
        return walk.below(globs.folder(key)) if listed is None else listed
    listed = live(globs.parse(key))
    if listed is not None:
        return listed
    for pattern in (key, f"{key}/**"):
        found = walk.below(globs.parse(pattern))
        if len(found):
            return _own_name(walk, key, found)
    return walk.spelled(key)


def _own_name(walk: _Walk, key: str, found: pa.Table) -> pa.Table:
    """What a pattern matched, or the one file whose very name it is.

    A name with `*` and `?` is matched by itself; only one with brackets has to be asked for.
    """

    own = walk.file(key) if "[" in key else found.filter(pc.equal(found["path"], walk.path(key)))
    return own if len(own) else found


@dataclass(frozen=True)
class _Bucket:
    """What one client lists, as `lakes` reads it: paths are keys."""

    walk: _Walk
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
        found = _plain(_chosen(self.walk.below(glob), wanted).drop_columns("aside"))
        others = wanted.keys() - set(found["path"].to_pylist())
        tables = [found, *(self.walk.file(wanted[address]) for address in sorted(others))]
        there = _sorted(tables)
        return there, sorted(others - set(there["path"].to_pylist()))


class _Open(NamedTuple):
    """A folder that is being listed: what came of it so far, and what is still to come."""

    folder: str
    states: frozenset[int]
    first: pa.Table
    rest: Iterator[pa.Table]


class _Walk:
    """One lister, and the threads that list with it."""

    def __init__(self, lister: Lister, pool: ThreadPoolExecutor) -> None:
        self._lister, self._pool = lister, pool

    def file(self, key: str) -> pa.Table:
        """The object of a key, or no rows."""
        known = self._lister.entry(key) if key else None
        return _plain(table()) if known is None else self.row(key, known)

    def path(self, key: str) -> str:
        """The path of a key, as listings have it."""
        return self._lister.prefix + key

    def names(self, folder: str) -> list[str]:
        """The names of the objects in a folder, which ends with `/`."""
        keys = [key for page in self._lister.pages(folder, 1) for key in page["path"].to_pylist()]
        return [key[len(folder) :] for key in keys]

    def row(self, key: str, known: tuple[int | None, str]) -> pa.Table:
        """One object whose size and etag are known."""
        return _plain(table([self._lister.prefix + key], [known[0]], [known[1]]))

    def spelled(self, key: str) -> pa.Table:
        """What a pattern means that matches nothing, where its wildcards are characters."""
        names = key.split("/")
        first = next(number for number, name in enumerate(names) if globs.is_glob(name))
        for count in range(len(names), first, -1):
            root, rest = "/".join(names[:count]), "/".join(names[count:])
            found = self.file(root) if not rest else _plain(table())
            if not len(found) and (not rest or globs.is_glob(rest)):
                found = self.below(globs.parse(rest, root))
            if len(found):
                return found
        return _plain(table())

    def below(self, glob: Glob) -> pa.Table:
        """The files that match a pattern, sorted."""
        root = f"{glob.root.strip('/')}/".lstrip("/")
        glob = Glob(root.rstrip("/"), glob.parts)
        found: list[tuple[str, pa.Table]] = []
        folders = [(root, glob.start())]
        for depth in itertools.count():
            opened = self._each(lambda pair: self._open(pair[0], pair[1], glob), folders)
            large = [open_ for open_ in opened if self._may_go_on(open_)]
            small = [open_.first for open_ in opened if not self._may_go_on(open_)]
            for number in range(0, len(small), _CHUNK // PAGE):
                pages = small[number : number + _CHUNK // PAGE]
                found.append((folders[0][0], self._kept(pages, glob)))
            split, whole = _divided(large, glob, depth)
            found += self._each(lambda open_: (open_.folder, self._drained(open_, glob)), whole)
            folders = []
            for folder, files, below in self._each(lambda open_: self._level(open_, glob), split):
                found.append((folder, files))
                folders += below
            if not folders:
                break
        return _sorted([files for _, files in sorted(found, key=lambda pair: pair[0].encode())])

    def _each(self, call: Callable[[Any], T], values: list[Any]) -> list[T]:
        return [call(values[0])] if len(values) == 1 else list(self._pool.map(call, values))

    def _open(self, folder: str, states: frozenset[int], glob: Glob) -> _Open:
        pages = iter(self._lister.pages(folder, glob.depth))
        return _Open(folder, states, next(pages, table()), pages)

    def _may_go_on(self, open_: _Open) -> bool:
        return self._lister.streams and open_.first.num_rows >= PAGE

    def _level(
        self, open_: _Open, glob: Glob
    ) -> tuple[str, pa.Table, list[tuple[str, frozenset[int]]]]:
        """A folder's own files, and the folders in it where the pattern goes on."""
        names, files = self._lister.level(open_.folder)
        below = []
        for name in names:
            states = glob.step(open_.states, name[len(open_.folder) :]).states
            if states:
                below.append((f"{name}/", states))
        return open_.folder, self._addressed(_matching(files, glob)), below

    def _drained(self, open_: _Open, glob: Glob) -> pa.Table:
        """All files that match in and below a folder."""
        flat = not _goes_on(open_.states, glob)
        chunks, pending, rows = [], [], 0
        for page in itertools.chain((open_.first,), open_.rest):
            if flat and _has_folders(page, open_.folder):
                # Whatever lies deeper cannot match, however much it is.
                return self._addressed(_matching(self._lister.level(open_.folder)[1], glob))
            pending.append(page)
            rows += page.num_rows
            if rows >= _CHUNK:
                chunks.append(self._kept(pending, glob))
                pending, rows = [], 0
        if pending:
            chunks.append(self._kept(pending, glob))
        return _concatenated(chunks)

    def _kept(self, pages: list[pa.Table], glob: Glob) -> pa.Table:
        found = _matching(_concatenated(pages).combine_chunks(), glob)
        return self._addressed(self._without_markers(found) if self._lister.marks else found)

    def _addressed(self, files: pa.Table) -> pa.Table:
        """Keys as the paths that a dataset names."""

        large = files["path"].type
        before, nothing = scalar(self._lister.prefix).cast(large), scalar("").cast(large)
        paths = pc.binary_join_element_wise(before, files["path"], nothing)
        return files.set_column(0, "path", paths)

    def _without_markers(self, found: pa.Table) -> pa.Table:
        """Leave out folders' marker objects, which come as empty files.

        Asked for one by one where they are few, else by listing the folders that hold them.
        """

        empty = pc.equal(found["size"], scalar(0))
        doubtful = found.filter(empty)["path"]
        if not len(doubtful):
            return found
        parents = pc.replace_substring_regex(doubtful, r"[^/]*\z", "")
        files = [table()["path"]]
        for row in parents.value_counts().to_pylist():
            parent, count = row["values"], row["counts"]
            if count > 8 + len(found) // PAGE:
                files.append(self._lister.level(parent)[1]["path"])
            else:
                keys = doubtful.filter(pc.equal(parents, scalar(parent))).to_pylist()
                there = [key for key in keys if self._lister.entry(key) is not None]
                files.append(table(there, [0] * len(there), [""] * len(there))["path"])
        known = pa.chunked_array([c for part in files for c in part.chunks], pa.large_string())
        real = pc.is_in(found["path"], known.combine_chunks())
        return found.filter(pc.or_(pc.invert(empty), real))


def _divided(large: list[_Open], glob: Glob, depth: int) -> tuple[list[_Open], list[_Open]]:
    """Which large folders to split into the folders in them, and which to list as they are."""
    split: list[_Open] = []
    whole: list[_Open] = []
    for open_ in large:
        choosy = any(_chooses(state, glob) for state in open_.states)
        worth = len(large) < _ENOUGH if not choosy else len(large) < _MOST
        deep = worth and _goes_on(open_.states, glob) and _has_folders(open_.first, open_.folder)
        (split if deep and depth < 8 else whole).append(open_)
    return split, whole


def _goes_on(states: frozenset[int], glob: Glob) -> bool:
    """Whether folders in this one may hold files that match."""
    return any(glob.parts[n].match is None or n + 1 < len(glob.parts) for n in states)


def _chooses(state: int, glob: Glob) -> bool:
    """Whether the pattern leaves out some of the folders here."""
    part = glob.parts[state]
    return part.match is not None and part.text != "*" and state + 1 < len(glob.parts)


def _has_folders(page: pa.Table, folder: str) -> bool:

    slashes = pc.max(pc.count_substring(page["path"], "/")).as_py()
    return bool(slashes is not None and slashes > folder.count("/"))


def _matching(files: pa.Table, glob: Glob) -> pa.Table:
    """The files of a listing that match, and whether each stands aside."""

    fits = patterns.matches(files["path"], glob)
    marker = pc.ends_with(files["path"], _MARKER)
    if _any(marker):
        marker = pc.and_(marker, pc.equal(files["size"], scalar(0)))
        fits = pc.and_(fits, pc.invert(pc.coalesce(marker, scalar(False))))
    if not pc.all(fits).as_py():
        files = files.filter(fits)
    return files.append_column("aside", patterns.aside(files["path"], glob))


def _chosen(files: pa.Table, paths: Iterable[str]) -> pa.Table:
    """The rows of a listing that have one of the paths."""

    from mapred.arrow.buffers import large_strings

    return files.filter(pc.is_in(files["path"], large_strings(list(paths))))


def _plain(files: pa.Table) -> pa.Table:
    return files.append_column("aside", flags([False] * len(files)))


def _any(flags_: pa.ChunkedArray) -> bool:

    return bool(pc.any(flags_).as_py())


def _concatenated(tables: list[pa.Table]) -> pa.Table:

    return pa.concat_tables(tables)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    """All rows in byte order of their paths, whatever the server's order."""

    found = _concatenated([files for files in tables if len(files)] or tables[:1])
    paths = found["path"]
    if len(found) > 1 and _any(pc.less(paths.slice(1), paths.slice(0, len(paths) - 1))):
        return found.take(pc.sort_indices(found, sort_keys=[("path", "ascending")]))
    return found
