"""Where runs live and datasets are read: `open_store(uri)` and `open_source(path)`.

A root must hold the commit protocol, so it needs a true put-if-absent; `probe` finds out. Datasets
are only read, and any fsspec protocol will do.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from mapred.errors import StorageError
from mapred.model.limits import warn
from mapred.process import secrecy
from mapred.storage.base import Store, is_local
from mapred.storage.concurrency import map_ahead
from mapred.storage.local import LocalStore
from mapred.storage.opening import fingerprint, local_etag, open_source, source_opener

__all__ = [
    "Store",
    "arrow_filesystem",
    "client_modules",
    "etags",
    "fingerprint",
    "is_local",
    "local_etag",
    "map_ahead",
    "open_source",
    "open_store",
    "probe",
    "refuse_secrets",
    "source_opener",
]


_NO_CREDENTIALS = (
    "a root is a path, or a bucket and a prefix, never credentials: those come from the "
    "environment or a profile"
)
_LATE_WAITS = (0.1, 0.3, 0.6, 1.0)
_LATE_SECONDS = sum(_LATE_WAITS)


def open_store(uri: str, *, mode: int | None = None, dataset: bool = False) -> Store:
    """Return the store at `uri`: a path, `file://`, or a bucket and a prefix of an object store.

    Endpoints and credentials come from each process's environment instead. `mode` and `dataset`
    decide the rights of a local folder: see `mapred.storage.modes`.
    """
    refuse_secrets(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStore(uri, mode=mode, dataset=dataset)
    if scheme == "file":
        return LocalStore(rest, mode=mode, dataset=dataset)
    if mode is not None:
        raise StorageError(
            f"mode={mode:#o} needs a root on a local or mounted path, not {uri!r}: the policy of a "
            "bucket says who may read it"
        )
    if scheme in ("s3", "gs", "az"):
        from mapred.storage.object_store import ObjectStore

        return ObjectStore(uri)
    if scheme == "oss":
        from mapred.storage.oss import OSSStore

        return OSSStore(uri)
    raise StorageError(
        f"root {uri!r}: no store for {scheme}://; a run's root is a local or mounted path, or "
        "s3://, gs://, az:// or oss:// with a bucket and a prefix"
    )


def refuse_secrets(root: str) -> None:
    """Raise `StorageError` for a root whose URI holds a secret, and show nothing of it."""
    secrecy.refuse_urls((root,), "a root", StorageError, _NO_CREDENTIALS)


def client_modules(store: Store) -> tuple[str, ...]:
    """Return the slow imports of every process that uses a store, for workers to share."""
    return ("mapred.storage.oss_client",) if store.uri.startswith("oss://") else ()


def etags(store: Store, folder: str) -> dict[str, tuple[int, str]]:
    """Return size and etag ("" where there is none) of every file below a folder, by path."""
    if is_local(store.uri):
        return {path: (size, "") for path, size in store.list(folder)}
    from mapred.storage.listers import lister_of

    lister, key = lister_of(store.uri, None)
    root = _as_folder(key)
    return {
        path[len(root) :]: (size, etag)
        for page in lister.pages(root + _as_folder(folder), None)
        for path, size, etag in zip(*(column.to_pylist() for column in page.columns), strict=True)
    }


def list_folders(store: Store) -> list[str]:
    """Return the names of the folders right below the root of a bucket, in a few requests."""
    from mapred.storage.listers import lister_of

    lister, key = lister_of(store.uri, None)
    folders, _ = lister.level(_as_folder(key))
    return [folder.rstrip("/").rpartition("/")[2] for folder in folders]


def _as_folder(key: str) -> str:
    key = key.strip("/")
    return f"{key}/" if key else ""


def arrow_filesystem(
    store: Store, sizes: Mapping[str, int], check: Callable[[str, Any], None]
) -> Any:
    """Return files of a store, of these sizes, as a `pyarrow.fs.FileSystem` to read from.

    `check` gets the path and the bytes of each file that is read whole.
    """
    from mapred.storage.arrow import filesystem

    return filesystem(store, sizes, check)


def is_there(store: Store, path: str) -> bool:
    """Whether a file exists, even if no listing shows it yet."""
    try:
        store.read(path, 0, 1)
    except FileNotFoundError:
        return False
    return True


def probe(store: Store) -> str:
    """Prove that the second of two puts of one name is refused, or raise `StorageError`.

    The text that is returned says how soon a listing shows a new name; a slow one gets a warning.
    """
    here = store.local_path("") is not None
    # On a disk without a folder, which would belong to the first user and be closed to others.
    name = f".probe{'-' if here else '/'}{uuid.uuid4().hex}"
    first = store.put_if_absent(name, b"first")
    try:
        second = store.put_if_absent(name, b"second")
        kept = store.read(name)
        listed = _time_listing(store, name)
    finally:
        with suppress(FileNotFoundError, StorageError):
            store.delete(name)
    if not first or second or kept != b"first":
        raise StorageError(
            f"root {store.uri!r} does not refuse a second put of one name, so two attempts of a "
            "task could both win; use a local path, a NAS with hard links, or a store with "
            "conditional puts"
        )
    if listed is None or listed:
        when = f"after {_LATE_SECONDS:g} s" if listed is None else f"until {listed:.1f} s later"
        finding = f"a name that was put was not listed {when}"
        warn(
            f"root {store.uri!r}: {finding}; results are exact all the same, and what lists the root "
            "(mapred ls, gc, rm, the progress of a run) may show less than is there for as long"
        )
        return finding
    return "a name that was put is listed at once"


def _time_listing(store: Store, name: str) -> float | None:
    """Return the seconds until a listing showed a name; None where it never did."""
    began, root = time.monotonic(), store.local_path("")
    folder = name.rpartition("/")[0]
    for wait in (0.0, *_LATE_WAITS):
        time.sleep(wait)
        if root is not None:
            shown = name in os.listdir(root)
        else:
            shown = name in {path for path, _ in store.list(folder)}
        if shown:
            return time.monotonic() - began if wait else 0.0
    return None
