"""Reading datasets: local paths by the operating system, object stores by the clients that
hold roots too, every other protocol, and what a user hands over, by fsspec."""

from __future__ import annotations

import functools
import io
import os
import posixpath
import re
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

from mapred.errors import DatasetError, MapredError, StaleDatasetError, StorageError
from mapred.process import secrecy
from mapred.process.lazy import fsspec
from mapred.storage.base import Bucket, is_local
from mapred.storage.responses import ReplacedError

T = TypeVar("T")
Known: TypeAlias = "tuple[int, str]"
OBJECTS = ("s3", "gs", "az", "oss")
_SETTINGS = "(AWS|OSS|ALIBABA_CLOUD|GOOGLE|AZURE|MAPRED|HTTPS?_PROXY|NO_PROXY)"
_CHANGED = "{} was changed after it was planned; plan the dataset again"
_BLOCK = 4 * 2**20  # what fsspec reads ahead; the default of some clients is 50 MB


def local_etag(stat: os.stat_result) -> str:
    """Return what changes when a local file does: its modification time and inode."""
    return f"{stat.st_mtime_ns:x}-{stat.st_ino:x}"


def source_opener(storage: Mapping[str, Any] | None) -> Callable[[str, Known | None], BinaryIO]:
    """`open_source` for many files: what the environment says is read once for a bucket."""
    clients = functools.lru_cache(maxsize=64)(store_of)
    return functools.partial(open_source, storage=storage, client=clients)


def open_source(
    path: str,
    known: Known | None = None,
    storage: Mapping[str, Any] | None = None,
    client: Callable[[str], Bucket] | None = None,
) -> BinaryIO:
    """Return a seekable reader of a dataset's file; a failure is a `DatasetError` naming the file.

    `known` is the size and etag of the plan: an object store then answers with that very
    object or not at all. `storage` is the record of the user's own file system, and `client`
    gives the client of a bucket (default: `store_of`).
    """
    try:
        if is_local(path):
            return open(path, "rb", buffering=0)
        return cast(
            BinaryIO,
            _translate_errors(path, lambda: _remote(path, known, storage, client or store_of)),
        )
    except FileNotFoundError as error:
        raise StaleDatasetError(
            f"{path}: gone since it was planned; plan the dataset again"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened: {error.strerror or error}") from error


def fingerprint(path: str, file: BinaryIO) -> Known:
    """Size in bytes and etag of an opened file, as the listing gave them."""
    if isinstance(file, RemoteFile):
        return file.size, file.etag
    stat = os.fstat(file.fileno())
    return stat.st_size, local_etag(stat)


def remote_fingerprint(info: Mapping[str, Any]) -> tuple[int | None, str]:
    """Size and etag of an fsspec entry: an etag, a checksum or the modification time."""
    size = None if info.get("size") is None else int(info["size"])
    for key in ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "created"):
        value = info.get(key)
        if value is not None:
            # A listing may have seconds where the same client's answer for one file has a date.
            value = value.timestamp() if isinstance(value, datetime) else value
            return size, str(value).strip('"')
    return size, ""


def store_of(uri: str) -> Bucket:
    """Return the client of one bucket, kept for as long as the environment says the same."""
    settings = (item for item in os.environ.items() if re.match(_SETTINGS, item[0], re.I))
    return _store(uri, hash(frozenset(settings)))


@functools.lru_cache(maxsize=64)
def _store(uri: str, environment: int) -> Bucket:
    if uri.startswith("oss://"):
        from mapred.storage.oss import OSSStore

        return OSSStore(uri)
    from mapred.storage.object_store import ObjectStore

    return ObjectStore(uri)


def _remote(
    path: str,
    known: Known | None,
    storage: Mapping[str, Any] | None,
    client: Callable[[str], Bucket],
) -> RemoteFile:
    scheme, _, rest = path.partition("://")
    if storage is None and scheme in OBJECTS:
        bucket, _, key = rest.partition("/")
        store = client(f"{scheme}://{bucket}")
        if known is None or not known[0]:  # nothing is requested later of an empty object
            known = store.entry(key)
        return RemoteFile(path, store.open(key, known), *known)
    from mapred.storage import ossfs
    from mapred.storage.fsspec_options import filesystem_of

    filesystem, name = filesystem_of(storage, path)
    if ossfs.is_ossfs(filesystem):
        return RemoteFile(path, *ossfs.open_object(filesystem, name))
    filesystem.invalidate_cache(posixpath.dirname(name))  # what a listing said may be old
    file = filesystem.open(name, "rb", block_size=_BLOCK)
    buffered = isinstance(
        file, fsspec.spec.AbstractBufferedFile
    )  # then the file has been asked about already
    size, etag = remote_fingerprint(file.details if buffered else filesystem.info(name))
    return RemoteFile(path, file, file.seek(0, os.SEEK_END) if size is None else size, etag)


class RemoteFile(io.BufferedIOBase):
    """A dataset's file that is read over a network, of `size` bytes.

    Whatever its client raises is a `DatasetError` that names the file, and a
    `StaleDatasetError` where the file is another one now. Answers that are too long, or end
    before the file does, are refused.
    """

    def __init__(self, path: str, inner: BinaryIO, size: int, etag: str) -> None:
        self._path, self._inner = path, inner
        self.size, self.etag = size, etag
        inner.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return _translate_errors(self._path, lambda: self._inner.seek(offset, whence))

    def tell(self) -> int:
        return self._inner.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        at = self._inner.tell()
        left = max(0, self.size - at)
        most = left if size is None or size < 0 else min(size, left)
        data = _translate_errors(self._path, lambda: self._inner.read(most))
        if len(data) > most or (most and not data):
            raise DatasetError(
                f"{self._path}: {len(data)} bytes came instead of {most} at byte {at}"
            )
        return data

    read1 = read

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    readinto1 = readinto

    def readline(self, size: int | None = -1, /) -> bytes:
        most = -1 if size is None else size
        return _translate_errors(self._path, lambda: self._inner.readline(most))

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


def _translate_errors(path: str, call: Callable[[], T]) -> T:
    """Call `call`; whatever it raises becomes an error of this package that names the file."""
    try:
        return call()
    except FileNotFoundError as error:
        raise StaleDatasetError(
            f"{path}: gone since it was planned; plan the dataset again"
        ) from error
    except ReplacedError:
        raise StaleDatasetError(_CHANGED.format(path)) from None
    except StorageError as error:
        raise DatasetError(str(error)) from None
    except MapredError:
        raise
    except Exception as error:
        changed = {type(error).__name__, type(error.__cause__).__name__}
        if changed & {"FileExpired", "PreconditionFailed"}:
            raise StaleDatasetError(_CHANGED.format(path)) from error
        raise DatasetError(f"{path}: cannot be read: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Return what a client of fsspec says went wrong, and no more.

    The whole text of a refused signature repeats what was signed, a session's token included.
    """
    for fault in (error, error.__cause__):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp's, of its own `code`
            code, message = getattr(fault, "code", None), getattr(fault, "message", None)
        if isinstance(code, str) and code:
            return secrecy.redact_urls(f"{code}: {message}")
    detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return secrecy.redact_urls(f"{type(error).__name__}: {detail}")
