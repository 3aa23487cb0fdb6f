"""What ossfs must not be trusted with: it is asked for single objects and refusals by hand.

Seen in 2025.5.0: a range comes back a byte too long, or whole where it leaves the object; an
object is looked for by listing its folder, and what was listed once is believed for good; a
denied listing is an empty one.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from mapred.errors import DatasetError
from mapred.storage import remote


def is_ossfs(filesystem: Any) -> bool:
    return type(filesystem).__module__.startswith("ossfs.") and hasattr(filesystem, "_call_oss")


def entry(filesystem: Any, name: str) -> tuple[int, str] | None:
    """Size and time of change of one object, as a listing has them; None where there is none."""
    head = _head(filesystem, name)
    return None if head is None else (int(head.content_length), str(head.last_modified))


def opened(filesystem: Any, name: str) -> tuple[BinaryIO, int, str]:
    """A reader of one object as it is now, its size and its time of change."""
    head = _head(filesystem, name)
    if head is None:
        raise FileNotFoundError(name)
    bucket, key = filesystem.split_path(name)
    same = {"If-Match": remote.quoted(head.etag)}

    def fetch(offset: int, length: int) -> bytes:
        wanted = (offset, offset + length - 1)
        answer = filesystem._call_oss(
            "get_object", key, bucket=bucket, byte_range=wanted, headers=same
        )
        data: bytes = answer.read()
        if len(data) != length:
            raise DatasetError(
                f"oss://{bucket}/{key}: {len(data)} bytes came where {length} were asked for"
            )
        return data

    size = int(head.content_length)
    return remote.reader(fetch, size), size, str(head.last_modified)


def refuse_if_denied(filesystem: Any, name: str) -> None:
    """Raise what a listing that came back empty was answered with."""
    bucket, key = filesystem.split_path(name)
    prefix = f"{key}/" if key else ""
    filesystem._call_oss("list_objects", bucket=bucket, prefix=prefix, max_keys=1)


def _head(filesystem: Any, name: str) -> Any:
    bucket, key = filesystem.split_path(name)
    try:
        return filesystem._call_oss("head_object", key, bucket=bucket) if key else None
    except OSError as error:
        if isinstance(error, FileNotFoundError) or getattr(error.__cause__, "status", 0) == 404:
            return None
        raise
