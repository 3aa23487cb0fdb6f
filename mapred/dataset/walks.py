"""The listing: the files of a dataset as an Arrow table of path, size and etag.

Nothing is opened; sizes and etags come from the folders' entries. Rows stream into Arrow, in
byte order of their paths within a glob or folder, and in the user's order of URIs.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mapred import layout
from mapred.dataset import globs
from mapred.dataset.globs import Glob
from mapred.dataset.kinds import kind_of
from mapred.dataset.values import TABULAR, Dataset
from mapred.errors import DatasetError, MapredError, MissingDependency
from mapred.storage.sources import local_etag, remote_fingerprint

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

_CHUNK = 2**16
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXTRAS = {"s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3"), "oss": ("ossfs", "oss")}


class Row(NamedTuple):
    """One file; `aside` where a wildcard matched a name that begins with an underscore."""

    path: str
    size: int | None
    etag: str
    aside: bool = False


def listing(dataset: Dataset) -> pa.Table:
    """The files of a dataset: `path` (large_string), `size` in bytes, `etag`.

    A path given twice counts once. Raises `DatasetError` where a URI matches nothing, a
    folder cannot be listed, or a name is no Unicode.
    """
    if dataset.frame is not None:
        return _table([Row(layout.FRAME, dataset.frame_file.size, "")])[0]
    if not dataset.uris:
        raise DatasetError(f"{dataset} lies in memory: it has no files to list")
    found, aside = _table(
        itertools.chain.from_iterable(_rows(uri, dataset) for uri in dataset.uris)
    )
    if aside.any():
        found = _without(found, aside, dataset)
    return _once(found) if len(dataset.uris) > 1 else found


def _without(found: pa.Table, aside: npt.NDArray[np.bool_], dataset: Dataset) -> pa.Table:
    """Tables have no data in names that a wildcard matched and that begin with an underscore."""
    import numpy as np
    import pyarrow as pa

    bits = pa.py_buffer(np.packbits(~aside, bitorder="little"))
    kept = found.filter(pa.Array.from_buffers(pa.bool_(), len(aside), [None, bits]))
    format = dataset.format or (kind_of(kept["path"])[0] if len(kept) else None)
    if format not in TABULAR:
        return found
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


def _rows(uri: str, dataset: Dataset) -> Iterator[Row]:
    """The files of one URI, at least one."""
    if is_remote(uri):
        rows = _remote(uri, dataset.literal)
    elif dataset.literal:
        rows = iter([_literal(os.path.abspath(_plain(uri)))])
    else:
        rows = _local(*_written(uri))
    first = next(rows, None)
    if first is None:
        raise DatasetError(_no_match(uri))
    yield first
    yield from rows


def _plain(uri: str) -> str:
    return _SCHEME.sub("", uri, count=1) if _SCHEME.match(uri) else uri


def _written(uri: str) -> tuple[str, str]:
    """A local URI as a folder that exists, whose name is no pattern, and the rest."""
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


def _local(base: str, pattern: str) -> Iterator[Row]:
    """What a pattern below a folder matches; else what has the very name that it spells."""
    if globs.is_glob(pattern):
        found = _walk(globs.parse(pattern, base))
        first = next(found, None)
        if first is not None:
            return itertools.chain([first], found)
    names, number = pattern.split("/"), 0
    while number < len(names) and os.path.lexists(os.path.join(base, *names[: number + 1])):
        number += 1
    there, rest = os.path.join(base, *names[:number]), "/".join(names[number:])
    if rest:
        return _walk(globs.parse(rest, there)) if globs.is_glob(rest) else iter(())
    return _walk(globs.parse("", there)) if os.path.isdir(there) else iter([_literal(there)])


def _literal(path: str) -> Row:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; {_deepest(path)}") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not os.path.isfile(path):
        what = "a folder; give it without files()" if os.path.isdir(path) else "no regular file"
        raise DatasetError(f"{path} is {what}")
    return Row(path, stat.st_size, local_etag(stat))


def _walk(glob: Glob) -> Iterator[Row]:
    """The files that match, in byte order; else all files of the folders that match."""
    folders: list[str] = []
    found = _files_below(glob, folders)
    first = next(found, None)
    if first is not None:
        yield first
        yield from found
        return
    for folder in folders:
        yield from _files_below(globs.parse("", folder), [])


def _files_below(glob: Glob, folders: list[str]) -> Iterator[Row]:
    """Walk depth first; folders that match as a whole are added to `folders`.

    Links to folders are followed unless they lead back; links to nothing and special files
    are no files.
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
                folders.append(entry.path)
            onward = _hops(entry, hops) if step.states else None
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
    """What a regular file is; None for what is no file, or none any more."""
    try:
        return entry.stat() if entry.is_file() else None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise DatasetError(f"{entry.path}: {error.strerror}") from error


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """A folder's entries, so ordered that a walk meets paths in byte order."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name + "/" * _is_folder(entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DatasetError(f"{folder} cannot be listed: {error.strerror}") from error


def _hops(entry: os.DirEntry[str], hops: tuple[str, ...]) -> tuple[str, ...] | None:
    """The real folders in which links were followed so far; None where this one leads back."""
    if not entry.is_symlink():
        return hops
    hops = (*hops, os.path.realpath(os.path.dirname(entry.path)))
    target = os.path.realpath(entry.path)
    back = any(hop == target or hop.startswith(target.rstrip("/") + "/") for hop in hops)
    return None if back else hops


def _remote(uri: str, literal: bool) -> Iterator[Row]:
    """The same for any file system of fsspec; whatever it raises becomes a `DatasetError`."""
    scheme = _SCHEME.match(uri)[1]  # type: ignore[index]
    try:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(uri)
        filesystem.invalidate_cache()
        for name, info, aside in _found(filesystem, path.rstrip("/"), literal):
            url = name if "://" in name else f"{scheme}://{name.lstrip('/')}"
            size, etag = remote_fingerprint(info)
            yield Row(url, None if info.get("size") is None else size, etag, aside)
    except MapredError:
        raise
    except FileNotFoundError:
        return
    except ImportError as error:
        if scheme in _EXTRAS:
            raise MissingDependency(*_EXTRAS[scheme]) from error
        raise DatasetError(f"{uri}: {error}") from error
    except Exception as error:
        raise DatasetError(f"{uri} cannot be listed: {type(error).__name__}: {error}") from error


def _found(filesystem: Any, path: str, literal: bool) -> Iterable[tuple[str, Any, bool]]:
    if literal or not globs.is_glob(path):
        info = filesystem.info(path)
        if info["type"] != "directory":
            return [(info["name"], info, False)]
        if literal:
            raise DatasetError(f"{path} is a folder; give it without files()")
    glob = globs.parse(path)
    found = filesystem.find(glob.root, maxdepth=glob.depth, withdirs=True, detail=True)
    files, folders = _matches(glob, found)
    if files or not folders:
        if not found:
            filesystem.ls(glob.root)  # says why, where an empty answer hides a refusal
        return files
    return itertools.chain.from_iterable(_found(filesystem, folder, False) for folder in folders)


def _matches(glob: Glob, found: dict[str, Any]) -> tuple[list[tuple[str, Any, bool]], list[str]]:
    """The files and the folders of an unordered find that match."""
    root = glob.root.rstrip("/")
    known = {root: globs.Step(glob.start(), False, False)}

    def step(path: str) -> globs.Step:
        if path not in known:
            folder, _, name = path.rpartition("/")
            above = step(folder)
            here = glob.step(above.states, name)
            known[path] = here._replace(aside=here.aside or above.aside)
        return known[path]

    files = []
    for path in sorted(path for path in found if path.startswith(f"{root}/")):
        folder, _, name = path.rpartition("/")
        above = step(folder)
        if found[path]["type"] == "directory":
            step(path)
        elif (here := glob.step(above.states, name)).whole:
            files.append((path, found[path], here.aside or above.aside))
    return files, sorted(path for path, here in known.items() if here.whole)


def _table(rows: Iterable[Row]) -> tuple[pa.Table, npt.NDArray[np.bool_]]:
    """The files as they come, and which of them stand aside.

    Built on buffers: `pyarrow.array` would import pandas, which takes longer than a listing.
    """
    import numpy as np
    import pyarrow as pa

    schema = pa.schema({"path": pa.large_string(), "size": pa.int64(), "etag": pa.string()})
    rows, batches, aside = iter(rows), [], [np.zeros(0, bool)]
    while chunk := list(itertools.islice(rows, _CHUNK)):
        paths, sizes, etags, asides = zip(*chunk, strict=True)
        columns = [_strings(paths, np.int64), _sizes(sizes), _strings(etags, np.int32)]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        aside.append(np.array(asides, bool))
    return pa.Table.from_batches(batches, schema), np.concatenate(aside)


def _strings(values: Sequence[str], offsets: type[np.int32 | np.int64]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    try:
        data = [value.encode() for value in values]
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{error.object!r}: the name of this file is not valid Unicode; rename it"
        ) from error
    ends = np.zeros(len(data) + 1, offsets)
    np.cumsum([len(value) for value in data], out=ends[1:])
    type_ = pa.string() if offsets is np.int32 else pa.large_string()
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(data))]
    return pa.Array.from_buffers(type_, len(data), buffers)


def _sizes(values: Sequence[int | None]) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if None in values:
        return pa.array(values, pa.int64())
    data = pa.py_buffer(np.array(values, np.int64))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, data])


def _once(found: pa.Table) -> pa.Table:
    """Each path where it came first."""
    import numpy as np
    import pyarrow as pa

    codes = pa.chunked_array([found["path"].combine_chunks()]).dictionary_encode()
    numbers = codes.combine_chunks().indices.to_numpy()
    _, first = np.unique(numbers, return_index=True)
    return found if len(first) == len(found) else found.take(pa.array(np.sort(first)))


def _no_match(uri: str) -> str:
    if is_remote(uri):
        return f"{uri} matches no file"
    base, pattern = _written(uri)
    whole = os.path.join(base, pattern)
    what = "matches no file" if globs.is_glob(pattern) or os.path.isdir(whole) else "does not exist"
    return f"{uri} {what}; {_deepest(globs.parse(pattern, base).root)}"


def _deepest(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return f"the deepest folder of that path that exists is {path}"
