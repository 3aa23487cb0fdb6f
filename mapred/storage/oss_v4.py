"""OSS by signatures of version 4, which OpenDAL's service does not make: by the package oss2.

`Operator` has those methods of OpenDAL's that a store uses, with the same errors.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from mapred.errors import MissingDependency
from mapred.storage.alibaba import Credentials
from mapred.storage.remote import Patience, answer_of

_T = TypeVar("_T")
_PAGE = 1000


@dataclass(frozen=True)
class Metadata:
    content_length: int
    etag: str | None


@dataclass(frozen=True)
class Entry:
    path: str
    metadata: Metadata


class Operator:
    """The objects of one bucket; each request is tried until `patience` ends."""

    def __init__(
        self,
        bucket: str,
        endpoint: str,
        region: str,
        credentials: Credentials,
        path_style: bool,
        patience: Patience,
    ) -> None:
        try:
            import opendal

            with warnings.catch_warnings():
                # Its own escapes in strings, when Python first compiles it.
                warnings.simplefilter("ignore")
                import oss2
        except ImportError as error:
            raise MissingDependency(error.name or "oss2", "oss") from None
        self._errors, self._oss2, self._patience = opendal.exceptions, oss2, patience
        keys = oss2.credentials.StaticCredentialsProvider(
            credentials.key, credentials.secret, credentials.token
        )
        self._bucket = oss2.Bucket(
            oss2.ProviderAuthV4(keys),
            endpoint,
            bucket,
            region=region,
            is_path_style=path_style,
            connect_timeout=patience.stall,
        )

    def read(
        self, key: str, offset: int = 0, size: int | None = None, if_match: str | None = None
    ) -> bytes:
        span = None if size is None else (offset, offset + size - 1)
        headers = {"If-Match": if_match} if if_match else None

        def get() -> bytes:
            return bytes(self._bucket.get_object(key, byte_range=span, headers=headers).read())

        return self._tried(get)

    def stat(self, key: str) -> Metadata:
        known = self._tried(lambda: self._bucket.head_object(key))
        return Metadata(known.content_length, known.headers.get("ETag"))

    def write(
        self, key: str, data: bytes, chunk: int | None = None, if_not_exists: bool = False
    ) -> None:
        if chunk and len(data) > chunk:
            with self.open(key, "wb", chunk=chunk) as target:
                for start in range(0, len(data), chunk):
                    target.write(data[start : start + chunk])
            return
        headers = {"x-oss-forbid-overwrite": "true"} if if_not_exists else None
        self._tried(lambda: self._bucket.put_object(key, data, headers=headers))

    def delete(self, key: str) -> None:
        self._tried(lambda: self._bucket.delete_object(key))

    def copy(self, source: str, target: str) -> None:
        self._tried(lambda: self._bucket.copy_object(self._bucket.bucket_name, source, target))

    def list(self, folder: str, recursive: bool, start_after: str = "") -> Iterator[Entry]:
        """The objects below a folder (`/` is the bucket), or right below it and its folders."""
        options = {
            "prefix": folder.lstrip("/"),
            "delimiter": "" if recursive else "/",
            "start_after": start_after,
            "max_keys": _PAGE,
        }
        token = ""
        while True:
            page = self._tried(
                partial(self._bucket.list_objects_v2, continuation_token=token, **options)
            )
            for known in page.object_list:
                yield Entry(known.key, Metadata(known.size, known.etag))
            for prefix in page.prefix_list:
                yield Entry(prefix, Metadata(0, None))
            if not page.is_truncated:
                return
            token = page.next_continuation_token

    @contextmanager
    def open(self, key: str, mode: str, chunk: int) -> Iterator[Any]:
        """A writer, each of whose writes is one part; the object appears at the end, or never."""
        assert mode == "wb"
        upload = self._tried(lambda: self._bucket.init_multipart_upload(key)).upload_id
        parts = _Parts(lambda number, data: self._part(key, upload, number, data))
        try:
            yield parts
            self._tried(lambda: self._bucket.complete_multipart_upload(key, upload, parts.uploaded))
        except BaseException:
            self._bucket.abort_multipart_upload(key, upload)
            raise

    def _part(self, key: str, upload: str, number: int, data: bytes) -> Any:
        answer = self._tried(lambda: self._bucket.upload_part(key, upload, number, data))
        return self._oss2.models.PartInfo(number, answer.etag, size=len(data))

    def _tried(self, act: Callable[[], _T]) -> _T:
        waits = self._patience.waits()
        while True:
            try:
                return act()
            except Exception as error:
                mapped = self._mapped(error)
                wait = next(waits, None) if answer_of(str(mapped)).unknown else None
                if wait is None:
                    raise mapped from None
            time.sleep(wait)

    def _mapped(self, error: Exception) -> Exception:
        """The error that OpenDAL would have raised, in its words."""
        status = getattr(error, "status", -1)
        if not isinstance(error, self._oss2.exceptions.ServerError) or status < 100:
            text = f"{type(error).__name__}: no answer from the store"
            return cast(Exception, self._errors.Unexpected(text))
        date = error.headers.get("Date", "")
        text = f'code: "{error.code}", message: "{error.message}"\nContext:\nstatus: {status}'
        kinds = {404: self._errors.NotFound, 409: self._errors.AlreadyExists}
        kind = kinds.get(status, self._errors.Unexpected)
        return cast(Exception, kind(f'{text} "date": "{date}"'))


class _Parts:
    """Parts of an object, in the order in which they are written."""

    def __init__(self, put: Callable[[int, bytes], Any]) -> None:
        self._put = put
        self.uploaded: list[Any] = []

    def write(self, data: bytes) -> None:
        self.uploaded.append(self._put(len(self.uploaded) + 1, data))
