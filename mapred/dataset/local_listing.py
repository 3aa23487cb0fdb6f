"""The listing: the files of a dataset as an Arrow table of path, size and etag.

Nothing is opened; sizes and etags come from the folders' entries. Rows stream into Arrow, in
byte order of their paths within a glob or folder, and in the user's order of URIs.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import NamedTuple

from mapred.arrow.buffers import flags, from_arrow, to_arrow
from mapred.dataset import globs, lakes
from mapred.dataset.globs import Glob
from mapred.dataset.kinds import kind_of
from mapred.dataset.remote_listing import list_remote
from mapred.dataset.values import TABULAR, Dataset
from mapred.errors import DatasetError
from mapred.model import layout
from mapred.process.lazy import np, pa, pc
from mapred.storage.listers import table
from mapred.storage.opening import local_etag

_CHUNK = 2**13
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class Row(NamedTuple):
    """One file; `aside` where a wildcard matched a name that begins with an underscore."""

    path: str
    size: int | None
    etag: str
    aside: bool = False


def listing(dataset: Dataset) -> pa.Table:
    """Return the files of a dataset: `path` (large_string), `size` in bytes, `etag`.

    A path given twice counts once. Raises `DatasetError` where a URI matches nothing, a
    folder cannot be listed, or a name is not Unicode.
    """
    if dataset.frame is not None:
        return _table([Row(layout.FRAME, dataset.frame_file.size, "")]).drop_columns("aside")
    if not dataset.uris:
        raise DatasetError(f"{dataset} is in memory: it has no files to list")
    files = lakes.concat_listings(list(_iter_listings(dataset)))
    if from_arrow(files["aside"]).any():
        files = _drop_underscored(files, dataset)
    files = files.drop_columns("aside")
    return _drop_duplicates(files) if len(dataset.uris) > 1 else files


def _iter_listings(dataset: Dataset) -> Iterator[pa.Table]:
    """Yield the files of all URIs, in the user's order."""
    storage = dataset.options.storage
    uris = dict.fromkeys(dataset.uris)
    exact = {dataset.uris[number] for number in dataset.exact}
    for remote, some in itertools.groupby(uris, lambda uri: storage is not None or is_remote(uri)):
        if remote:
            by_manifest = reads_lakes(dataset)
            for uri, files in list_remote(list(some), storage, dataset.literal, exact, by_manifest):
                if not len(files):
                    raise DatasetError(f"{uri} matches no file")
                yield files
        else:
            yield from _iter_local(list(some), dataset, exact)


def _iter_local(uris: list[str], dataset: Dataset, exact: Container[str]) -> Iterator[pa.Table]:
    """Yield a table for each URI that a manifest lists, and as few as possible for the others."""
    manifests = lakes.Lakes(_Disk())
    reads = reads_lakes(dataset)
    plain: list[str] = []

    def walked() -> pa.Table:
        rows = (_list_uri(uri, dataset.literal, uri in exact) for uri in plain)
        return _table(itertools.chain.from_iterable(rows))

    for uri in uris:
        glob = _to_glob(uri, uri in exact) if reads else None
        live = None if glob is None else manifests.list_live(glob)
        if live is None:
            plain.append(uri)
            continue
        if plain:
            yield walked()
            plain = []
        yield live
    if plain:
        yield walked()


def reads_lakes(dataset: Dataset) -> bool:
    """Whether folders are read by the manifests in them: as Parquet, and not file by file."""
    return dataset.format in ("parquet", None) and not dataset.literal


def _to_glob(uri: str, exact: bool) -> Glob | None:
    """Return the pattern of a local URI, whose root is a folder; None for a file."""
    base, pattern = _split_base(uri)
    whole = os.path.join(base, pattern)
    if globs.is_glob(pattern) and not exact and not os.path.lexists(whole):
        return globs.parse(pattern, base)
    return globs.folder(whole.rstrip("/")) if os.path.isdir(whole) else None


class _Disk:
    """The folders of this machine, as `lakes` reads them."""

    def address(self, path: str) -> str:
        return path

    def names(self, folder: str) -> list[str]:
        return [entry.name for entry in _entries(folder)] if os.path.isdir(folder) else []

    def read(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror}") from error

    def files(self, glob: Glob, paths: Sequence[str]) -> tuple[pa.Table, list[str]]:
        rows, gone = [], []
        for path in paths:
            try:
                stat = os.stat(path)
            except FileNotFoundError:
                gone.append(path)
            except OSError as error:
                raise DatasetError(f"{path}: {error.strerror}") from error
            else:
                rows.append(Row(path, stat.st_size, local_etag(stat)))
        return _table(rows), gone


def _drop_underscored(files: pa.Table, dataset: Dataset) -> pa.Table:
    """Leave out of tables what a wildcard matched by a name that begins with an underscore."""
    kept = files.filter(pc.invert(files["aside"]))
    format = dataset.format or (kind_of(lakes.published_paths(kept))[0] if len(kept) else None)
    if format not in TABULAR:
        return files
    if not len(kept):
        raise DatasetError(
            f"{dataset}: only names that begin with '_' match, which are left out of {format} "
            "datasets; name them in the pattern"
        )
    return kept


def is_remote(uri: str) -> bool:
    """Whether a URI is another file system's: has a scheme, and not `file`."""
    match = _SCHEME.match(uri)
    return match is not None and match[1].lower() not in ("file", "local")


def _list_uri(uri: str, literal: bool, exact: bool) -> Iterator[Row]:
    """Yield the files of one local URI, at least one."""
    if literal:
        rows = iter([_literal(os.path.abspath(_plain(uri)))])
    elif exact:
        rows = _list_exact(os.path.join(*_split_base(uri)))
    else:
        rows = _list_local(*_split_base(uri))
    first = next(rows, None)
    if first is None:
        raise DatasetError(_no_match(uri))
    yield first
    yield from rows


def _plain(uri: str) -> str:
    return _SCHEME.sub("", uri, count=1) if _SCHEME.match(uri) else uri


def _split_base(uri: str) -> tuple[str, str]:
    """Return a local URI as an existing folder, whose name is not a pattern, and the rest."""
    path = _plain(uri)
    base = os.getcwd()
    if path.startswith("~/"):
        base, path = os.path.expanduser("~"), path[2:]
    path = os.path.normpath(path)
    if path.startswith("/"):
        return "/", path.lstrip("/")
    names = path.split("/")
    while names and names[0] in ("..", "."):
        base = os.path.dirname(base) if names.pop(0) == ".." else base
    return base, "/".join(names)


def _list_local(base: str, pattern: str) -> Iterator[Row]:
    """Yield the file or folder of that very name, or what the name matches as a pattern."""
    whole = os.path.join(base, pattern)
    if globs.is_glob(pattern) and not os.path.lexists(whole):
        rows = _walk(globs.parse(pattern, base))
        first = next(rows, None)
        if first is not None:
            return itertools.chain([first], rows)
    names, number = pattern.split("/"), 0
    while number < len(names) and os.path.lexists(os.path.join(base, *names[: number + 1])):
        number += 1
    there, rest = os.path.join(base, *names[:number]), "/".join(names[number:])
    if rest:
        return _walk(globs.parse(rest, there)) if globs.is_glob(rest) else iter(())
    return _list_exact(there)


def _list_exact(path: str) -> Iterator[Row]:
    """Yield the file at a path, or all files of the folder."""
    if os.path.isdir(path):
        return _walk(globs.folder(path))
    if globs.is_glob(path) and not os.path.lexists(path):
        raise DatasetError(
            f"{path}: no such file; a Path is never a pattern: pass str(path) if it is one"
        )
    return iter([_literal(path)])


def _literal(path: str) -> Row:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; {_deepest(path)}") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not os.path.isfile(path):
        what = "a folder; pass it without files()" if os.path.isdir(path) else "not a regular file"
        raise DatasetError(f"{path} is {what}")
    return Row(path, stat.st_size, local_etag(stat))


def _walk(glob: Glob) -> Iterator[Row]:
    """Yield the files that match, in byte order; else all files of the folders that match."""
    folders: list[tuple[str, bool]] = []
    rows = _files_below(glob, folders)
    first = next(rows, None)
    if first is not None:
        yield first
        yield from rows
        return
    for folder, aside in folders:
        for row in _files_below(globs.folder(folder), []):
            yield row._replace(aside=aside or row.aside)


def _files_below(glob: Glob, folders: list[tuple[str, bool]]) -> Iterator[Row]:
    """Walk depth first; folders that match as a whole are added to `folders`.

    Links to folders are followed unless they lead back. Broken links and special files are
    left out.
    """
    hops: tuple[str, ...] = ()
    stack = [(iter(_entries(glob.root)), glob.start(), False, hops)]
    while stack:
        entries, states, aside, hops = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        step = glob.step(states, entry.name)
        if _is_folder(entry):
            if step.whole:
                folders.append((entry.path, aside or step.aside))
            onward = _follow_link(entry, hops) if step.states else None
            if onward is not None:
                below = iter(_entries(entry.path))
                stack.append((below, step.states, aside or step.aside, onward))
        elif step.whole and (stat := _stat(entry)) is not None:
            yield Row(entry.path, stat.st_size, local_etag(stat), aside or step.aside)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of a regular file; None for anything else, or where it is gone."""
    try:
        return entry.stat() if entry.is_file() else None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise DatasetError(f"{entry.path}: {error.strerror}") from error


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return a folder's entries in the order in which a walk meets paths in byte order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name + "/" * _is_folder(entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DatasetError(f"{folder} cannot be listed: {error.strerror}") from error


def _follow_link(entry: os.DirEntry[str], hops: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the folders in which links were followed; None where this link leads back."""
    if not entry.is_symlink():
        return hops
    hops = (*hops, os.path.realpath(os.path.dirname(entry.path)))
    target = os.path.realpath(entry.path)
    back = any(hop == target or hop.startswith(target.rstrip("/") + "/") for hop in hops)
    return None if back else hops


def _table(rows: Iterable[Row]) -> pa.Table:
    rows, tables = iter(rows), []
    while chunk := list(itertools.islice(rows, _CHUNK)):
        paths, sizes, etags, aside = zip(*chunk, strict=True)
        tables.append(table(paths, sizes, etags).append_column("aside", flags(aside)))
    return pa.concat_tables(tables) if tables else table().append_column("aside", flags([]))


def _drop_duplicates(files: pa.Table) -> pa.Table:
    """Keep each path where it came first."""
    codes = pa.chunked_array([files["path"].combine_chunks()]).dictionary_encode()
    numbers = from_arrow(codes.combine_chunks().indices)
    _, first = np.unique(numbers, return_index=True)
    return files if len(first) == len(files) else files.take(to_arrow(np.sort(first)))


def _no_match(uri: str) -> str:
    base, pattern = _split_base(uri)
    whole = os.path.join(base, pattern)
    what = "matches no file" if globs.is_glob(pattern) or os.path.isdir(whole) else "does not exist"
    text = f"{uri} {what}; {_deepest(globs.parse(pattern, base).root)}"
    if "/" in uri or globs.is_glob(pattern):
        return text
    return f"{text}; texts are paths: for items that are texts, pass mapred.items([...])"


def _deepest(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return f"the deepest folder of that path that exists is {path}"
