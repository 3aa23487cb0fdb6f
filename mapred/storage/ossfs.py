"""What ossfs must not be trusted with: single objects and refusals are requested by hand.

It signs by version 1, which OSS does not take for new buckets: `signing` has it sign by version
4. Seen in 2025.5.0: a range comes back a byte too long, or whole where it leaves the object; an
object is looked for by listing its folder, and what was listed once is believed for good; a
denied listing is an empty one.
"""

from __future__ import annotations

import functools
import os
import warnings
from typing import Any, BinaryIO

from mapred.errors import DatasetError
from mapred.process import private
from mapred.storage.oss_access import region_of
from mapred.storage.reader import reader
from mapred.storage.responses import quote_etag


def is_ossfs(filesystem: Any) -> bool:
    return is_kind(type(filesystem))


def is_kind(kind: type) -> bool:
    """Whether a class is one of ossfs, or made of one."""
    return hasattr(kind, "_call_oss") and any(
        base.__module__.startswith("ossfs.") for base in kind.__mro__
    )


@functools.lru_cache(maxsize=8)
def signing(kind: Any) -> Any:
    """Return a class of ossfs as one whose requests are signed by version 4."""
    with warnings.catch_warnings():
        # Python warns of escapes in its strings when it first compiles it.
        warnings.simplefilter("ignore")
        import oss2

    class Auth(oss2.ProviderAuthV4):  # type: ignore[misc]
        def __init__(self, keys: Any, region: str) -> None:
            super().__init__(keys)
            self._region = region

        def _sign_request(self, request: Any, bucket: str, key: str) -> None:
            request.region = self._region
            super()._sign_request(request, bucket, key)

    class Signing(kind):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            keys = getattr(self._auth, "credentials_provider", None)
            if keys is None:  # nothing is signed
                return
            region = os.environ.get("OSS_REGION", "").removeprefix("oss-")
            region = region or region_of(self._endpoint or "") or ""
            if not region:
                raise ValueError(
                    f"a signature names the region, which {self._endpoint} does not: set OSS_REGION"
                )
            self._auth: Any = Auth(keys, region)

    return Signing


def entry(filesystem: Any, name: str) -> tuple[int, str] | None:
    """Size and time of change of one object, as a listing has them; None where there is none."""
    head = _head(filesystem, name)
    return None if head is None else (int(head.content_length), str(head.last_modified))


def open_object(filesystem: Any, name: str) -> tuple[BinaryIO, int, str]:
    """Return a reader of one object as it is now, its size and its time of change."""
    head = _head(filesystem, name)
    if head is None:
        raise FileNotFoundError(name)
    bucket, key = filesystem.split_path(name)
    same = {"If-Match": quote_etag(head.etag)}

    def fetch(offset: int, length: int) -> bytes:
        wanted = (offset, offset + length - 1)
        answer = private.call_oss(
            filesystem, "get_object", key, bucket=bucket, byte_range=wanted, headers=same
        )
        data: bytes = answer.read()
        if len(data) != length:
            raise DatasetError(f"oss://{bucket}/{key}: {len(data)} bytes came instead of {length}")
        return data

    size = int(head.content_length)
    return reader(fetch, size), size, str(head.last_modified)


def refuse_if_denied(filesystem: Any, name: str) -> None:
    """Raise what a listing that came back empty was answered with."""
    bucket, key = filesystem.split_path(name)
    prefix = f"{key}/" if key else ""
    private.call_oss(filesystem, "list_objects", bucket=bucket, prefix=prefix, max_keys=1)


def _head(filesystem: Any, name: str) -> Any:
    bucket, key = filesystem.split_path(name)
    try:
        return private.call_oss(filesystem, "head_object", key, bucket=bucket) if key else None
    except OSError as error:
        if isinstance(error, FileNotFoundError) or getattr(error.__cause__, "status", 0) == 404:
            return None
        raise
