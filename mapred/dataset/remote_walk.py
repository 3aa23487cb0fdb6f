"""What lies below a folder of objects and matches a pattern, compared in Arrow.

A large tree is listed by several clients at once, each below a folder of its own: folders
that a pattern rules out are not listed, and nothing is asked of single objects. Splitting is
by folders alone, since servers do not agree on what comes after a key.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from mapred.arrow.buffers import flags, scalar
from mapred.dataset import globs, patterns
from mapred.dataset.globs import Glob
from mapred.process.lazy import pa, pc
from mapred.storage.listers import PAGE, Lister, table

T = TypeVar("T")
CLIENTS = 8
# How many folders keep all clients busy, and into how many a pattern may be followed.
_ENOUGH, _MOST = 2 * CLIENTS, 16 * CLIENTS
_DEEPEST = 8  # levels of folders that are split
_CHUNK = 2**16
_MARKER = "_$folder$"


class _Open(NamedTuple):
    """A folder that is being listed: its first page, and the pages to come."""

    folder: str
    states: frozenset[int]
    first: pa.Table
    rest: Iterator[pa.Table]


class Walk:
    """One lister, and the threads that list with it."""

    def __init__(self, lister: Lister, pool: ThreadPoolExecutor) -> None:
        self._lister, self._pool = lister, pool

    def file(self, key: str) -> pa.Table:
        """Return the object of a key, or no rows."""
        fingerprint = self._lister.entry(key) if key else None
        return mark_not_aside(table()) if fingerprint is None else self.row(key, fingerprint)

    def path(self, key: str) -> str:
        """Return the path of a key, as listings have it."""
        return self._lister.prefix + key

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects in a folder, which ends with `/`."""
        keys = [key for page in self._lister.pages(folder, 1) for key in page["path"].to_pylist()]
        return [key[len(folder) :] for key in keys]

    def row(self, key: str, fingerprint: tuple[int | None, str]) -> pa.Table:
        """One object whose size and etag are known."""
        return mark_not_aside(
            table([self._lister.prefix + key], [fingerprint[0]], [fingerprint[1]])
        )

    def list_literal(self, key: str) -> pa.Table:
        """Return what a pattern means that matches nothing, where its wildcards are characters."""
        names = key.split("/")
        first = next(number for number, name in enumerate(names) if globs.is_glob(name))
        for count in range(len(names), first, -1):
            root, rest = "/".join(names[:count]), "/".join(names[count:])
            files = self.file(root) if not rest else mark_not_aside(table())
            if not len(files) and (not rest or globs.is_glob(rest)):
                files = self.below(globs.parse(rest, root))
            if len(files):
                return files
        return mark_not_aside(table())

    def below(self, glob: Glob) -> pa.Table:
        """Return the files that match a pattern, sorted."""
        root = f"{glob.root.strip('/')}/".lstrip("/")
        glob = Glob(root.rstrip("/"), glob.parts)
        listed: list[tuple[str, pa.Table]] = []
        folders = [(root, glob.start())]
        # Level by level, since only the first page of a folder tells whether there is more. A
        # folder of one page is done; a larger one is listed to its end by one client, or split, and
        # its subfolders are the next level, for all clients to share.
        for depth in itertools.count():
            opened = self._parallel_map(lambda pair: self._open(pair[0], pair[1], glob), folders)
            large = [open_ for open_ in opened if self._may_have_more(open_)]
            small = [open_.first for open_ in opened if not self._may_have_more(open_)]
            # Matched many pages at a time: each call of Arrow has a cost of its own.
            for number in range(0, len(small), _CHUNK // PAGE):
                pages = small[number : number + _CHUNK // PAGE]
                listed.append((folders[0][0], self._filter_pages(pages, glob)))
            split, whole = _partition_large(large, glob, depth)
            drained = self._parallel_map(lambda open_: self._drain(open_, glob), whole)
            listed += zip((open_.folder for open_ in whole), drained, strict=True)
            folders = []
            for folder, files, below in self._parallel_map(
                lambda open_: self._level(open_, glob), split
            ):
                listed.append((folder, files))
                folders += below
            if not folders:
                break
        # In the order of their folders the tables often need no sorting of rows.
        listed.sort(key=lambda pair: pair[0].encode())
        return sorted_by_path([files for _, files in listed])

    def _parallel_map(self, call: Callable[[Any], T], values: list[Any]) -> list[T]:
        return [call(values[0])] if len(values) == 1 else list(self._pool.map(call, values))

    def _open(self, folder: str, states: frozenset[int], glob: Glob) -> _Open:
        pages = iter(self._lister.pages(folder, glob.depth))
        return _Open(folder, states, next(pages, table()), pages)

    def _may_have_more(self, open_: _Open) -> bool:
        return self._lister.streams and open_.first.num_rows >= PAGE

    def _level(
        self, open_: _Open, glob: Glob
    ) -> tuple[str, pa.Table, list[tuple[str, frozenset[int]]]]:
        """Return a folder's own files, and the subfolders in which the pattern continues."""
        names, files = self._lister.level(open_.folder)
        below = []
        for name in names:
            states = glob.step(open_.states, name[len(open_.folder) :]).states
            if states:
                below.append((f"{name}/", states))
        return open_.folder, self._keys_to_paths(_matching(files, glob)), below

    def _drain(self, open_: _Open, glob: Glob) -> pa.Table:
        """Return all files that match in and below a folder."""
        flat = not _can_match_deeper(open_.states, glob)
        chunks, pending, rows = [], [], 0
        for page in itertools.chain((open_.first,), open_.rest):
            if flat and _has_folders(page, open_.folder):
                # Nothing deeper can match, and it may be much.
                return self._keys_to_paths(_matching(self._lister.level(open_.folder)[1], glob))
            pending.append(page)
            rows += page.num_rows
            if rows >= _CHUNK:
                chunks.append(self._filter_pages(pending, glob))
                pending, rows = [], 0
        if pending:
            chunks.append(self._filter_pages(pending, glob))
        return pa.concat_tables(chunks)

    def _filter_pages(self, pages: list[pa.Table], glob: Glob) -> pa.Table:
        files = _matching(pa.concat_tables(pages).combine_chunks(), glob)
        return self._keys_to_paths(self._without_markers(files) if self._lister.marks else files)

    def _keys_to_paths(self, files: pa.Table) -> pa.Table:
        large = files["path"].type
        before, nothing = scalar(self._lister.prefix).cast(large), scalar("").cast(large)
        paths = pc.binary_join_element_wise(before, files["path"], nothing)
        return files.set_column(0, "path", paths)

    def _without_markers(self, listed: pa.Table) -> pa.Table:
        """Leave out folders' marker objects, which come as empty files.

        A few are looked up one by one; for many, the folders that hold them are listed.
        """
        empty = pc.equal(listed["size"], scalar(0))
        doubtful = listed.filter(empty)["path"]
        if not len(doubtful):
            return listed
        parents = pc.replace_substring_regex(doubtful, r"[^/]*\z", "")
        files = [table()["path"]]
        for row in parents.value_counts().to_pylist():
            parent, count = row["values"], row["counts"]
            if count > 8 + len(listed) // PAGE:
                files.append(self._lister.level(parent)[1]["path"])
            else:
                keys = doubtful.filter(pc.equal(parents, scalar(parent))).to_pylist()
                there = [key for key in keys if self._lister.entry(key) is not None]
                files.append(table(there, [0] * len(there), [""] * len(there))["path"])
        objects = pa.chunked_array([c for part in files for c in part.chunks], pa.large_string())
        real = pc.is_in(listed["path"], objects.combine_chunks())
        return listed.filter(pc.or_(pc.invert(empty), real))


def _partition_large(large: list[_Open], glob: Glob, depth: int) -> tuple[list[_Open], list[_Open]]:
    """Divide large folders into those to split by their subfolders and those to list whole."""
    split: list[_Open] = []
    whole: list[_Open] = []
    for open_ in large:
        # Where the pattern rules out some subfolders, splitting spares listing these.
        selective = any(_is_selective(state, glob) for state in open_.states)
        splits = (
            depth < _DEEPEST
            and len(large) < (_MOST if selective else _ENOUGH)
            and _can_match_deeper(open_.states, glob)
            and _has_folders(open_.first, open_.folder)
        )
        (split if splits else whole).append(open_)
    return split, whole


def _can_match_deeper(states: frozenset[int], glob: Glob) -> bool:
    """Whether files in subfolders may match."""
    return any(glob.parts[n].match is None or n + 1 < len(glob.parts) for n in states)


def _is_selective(state: int, glob: Glob) -> bool:
    """Whether the pattern leaves out some of the folders here."""
    part = glob.parts[state]
    return part.match is not None and part.text != "*" and state + 1 < len(glob.parts)


def _has_folders(page: pa.Table, folder: str) -> bool:
    slashes = pc.max(pc.count_substring(page["path"], "/")).as_py()
    return bool(slashes is not None and slashes > folder.count("/"))


def _matching(files: pa.Table, glob: Glob) -> pa.Table:
    """Return the files of a listing that match, with the column `aside`."""
    fits, aside = patterns.match(files["path"], glob)
    files = files.append_column("aside", aside)
    marker = pc.ends_with(files["path"], _MARKER)
    if pc.any(marker).as_py():
        marker = pc.and_(marker, pc.equal(files["size"], scalar(0)))
        fits = pc.and_(fits, pc.invert(pc.coalesce(marker, scalar(False))))
    return files if pc.all(fits).as_py() else files.filter(fits)


def mark_not_aside(files: pa.Table) -> pa.Table:
    return files.append_column("aside", flags([False] * len(files)))


def sorted_by_path(tables: list[pa.Table]) -> pa.Table:
    """Return all rows in byte order of their paths."""
    files = pa.concat_tables([part for part in tables if len(part)] or tables[:1])
    paths = files["path"]
    if len(paths) > 1 and pc.any(pc.less(paths.slice(1), paths.slice(0, len(paths) - 1))).as_py():
        return files.take(pc.sort_indices(files, sort_keys=[("path", "ascending")]))
    return files
