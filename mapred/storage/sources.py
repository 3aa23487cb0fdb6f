"""Reading datasets: local paths by the operating system, every other protocol by fsspec."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, cast

from mapred.errors import DatasetError, StaleDatasetError


def is_local(path: str) -> bool:
    """Whether a dataset path is a plain one (no `scheme://`)."""
    return "://" not in path


def local_etag(stat: os.stat_result) -> str:
    """What changes when a local file does: its modification time and inode."""
    return f"{stat.st_mtime_ns:x}-{stat.st_ino:x}"


def open_source(path: str) -> BinaryIO:
    """A seekable reader of a dataset's file; a failure is a `DatasetError` naming the file."""
    try:
        if is_local(path):
            return open(path, "rb", buffering=0)
        import fsspec

        filesystem, name = fsspec.core.url_to_fs(path)
        return cast(BinaryIO, filesystem.open(name, "rb"))
    except FileNotFoundError as error:
        raise StaleDatasetError(
            f"{path}: gone since it was planned; plan the dataset again"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be opened: {error.strerror or error}") from error


def fingerprint(path: str, file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and etag of an opened file, as the listing gave them."""
    if is_local(path):
        stat = os.fstat(file.fileno())
        return stat.st_size, local_etag(stat)
    import fsspec

    filesystem, name = fsspec.core.url_to_fs(path)
    return remote_fingerprint(filesystem.info(name))


def remote_fingerprint(info: dict[str, Any]) -> tuple[int, str]:
    """Size and etag of an fsspec entry: an etag, a checksum or the modification time."""
    for key in ("ETag", "etag", "md5Hash", "checksum", "mtime", "LastModified", "created"):
        if info.get(key) is not None:
            return int(info.get("size") or 0), str(info[key]).strip('"')
    return int(info.get("size") or 0), ""
