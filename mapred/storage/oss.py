"""Alibaba Cloud's OSS as a store, by Alibaba's own SDK.

Put-if-absent is a put with `x-oss-forbid-overwrite: true`, which is refused with 409 where an
object exists. A bucket with versions ignores that header: the probe of a root finds out.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from mapred.errors import MissingDependency, StorageError
from mapred.storage.bucket_store import BucketStore
from mapred.storage.oss_access import FROM_OUTSIDE
from mapred.storage.responses import ErrorResponse, error_from, general_hint
from mapred.storage.retries import retry_policy
from mapred.storage.uris import relative_entries

if TYPE_CHECKING:
    from mapred.storage.oss_client import Client, Fault

_T = TypeVar("_T")

_SMALL = 16 * 2**20  # what goes in one request
# Codes of credentials that ended, or were replaced where they are from.
_ENDED = ("SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId")


class OSSStore(BucketStore["Client"]):
    """Objects below a prefix of a bucket: `oss://BUCKET/PREFIX`."""

    def write(self, path: str, data: bytes) -> str:
        view, key = bytes(data), self._place.key(path)
        if len(view) <= _SMALL:
            return self._call("write", path, lambda client: client.put(key, view))
        return self._upload(path, lambda: io.BytesIO(view), len(view))

    def list(self, prefix: str) -> list[tuple[str, int]]:
        entries = self.entries(self._place.folder(prefix), recursive=True)
        files = ((key, size) for key, size, _ in entries if not key.endswith("/"))
        return relative_entries(self._place, files, prefix)

    def entries(self, folder: str, *, recursive: bool) -> Iterator[tuple[str, int, str]]:
        """Key, size and etag of what lies below `folder` (ends with `/`, or is nothing).

        Keys of folders and of their markers end with `/`.
        """
        token: str | None = None

        def page(client: Client) -> tuple[list[tuple[str, int, str]], str | None]:
            return client.page(folder, recursive, token)

        while True:
            entries, token = self._call("list", self._place.path(folder), page)
            yield from entries
            if token is None:
                return

    def delete(self, path: str) -> None:
        self._head(path)
        key = self._place.key(path)
        self._call("delete", path, lambda client: client.delete(key))

    def put_file(self, source: Path, path: str) -> str:
        size = source.stat().st_size
        if size <= _SMALL:
            return self.write(path, source.read_bytes())
        return self._upload(path, lambda: source.open("rb"), size)

    def copy(self, source: str, target: str) -> None:
        old, new = self._place.key(source), self._place.key(target)
        self._call("read", source, lambda client: client.copy(old, new))

    def _head_once(self, path: str) -> tuple[int, str]:
        key = self._place.key(path)
        return self._call("read", path, lambda client: client.head(key))

    def _get_start(self, path: str) -> None:
        key = self._place.key(path)
        self._call("read", path, lambda client: client.get(key, 0, 1, None))

    def _range(self, path: str, start: int, stop: int | None, etag: str | None = None) -> bytes:
        key = self._place.key(path)

        def get() -> bytes:
            data, length = self._call(
                "read", path, lambda client: client.get(key, start, stop, etag)
            )
            self._check(len(data), length, path)
            return data

        return self._persist(get)

    def _upload(self, path: str, opened: Callable[[], BinaryIO], size: int) -> str:
        key = self._place.key(path)

        def upload(client: Client) -> str:
            with opened() as file:
                return client.upload(key, file, size)

        return self._call("write", path, upload)

    def _put_once(self, path: str, data: bytes) -> bool | ErrorResponse:
        key = self._place.key(path)

        def put(client: Client) -> bool | ErrorResponse:
            try:
                client.put_once(key, data)
            except Exception as error:
                refusal = self._fault(error)
                if refusal.answer.code == "FileAlreadyExists":
                    return False
                if refusal.credentials is None and refusal.answer.retryable:
                    return refusal.answer
                raise
            return True

        return self._call("write", path, put)

    def _call(self, verb: str, path: str, act: Callable[[Client], _T]) -> _T:
        """Call `act`: once more with renewed keys, and again where an answer is garbled."""
        client = self._client()
        renewed, waits = False, client.policy.delays()
        while True:
            used = client.keys.last
            try:
                return act(client)
            except Exception as error:
                fault = self._fault(error)
            if fault.answer.code in _ENDED and not renewed:
                renewed = True
                if client.keys.renew(used):
                    continue
            wait = next(waits, None) if fault.garbled else None
            if wait is None:
                # No cause: its text repeats the signed request.
                raise self._fault_to_error(verb, path, fault)
            time.sleep(wait)

    def _fault(self, error: Exception) -> Fault:
        from mapred.storage.oss_client import fault

        return fault(error)

    def _fault_to_error(self, verb: str, path: str, fault: Fault) -> Exception:
        answer = fault.answer
        if isinstance(fault.credentials, MissingDependency):
            return fault.credentials
        if fault.credentials is not None:
            return StorageError(f"{self.uri}: {fault.credentials}")
        missing = answer.status == 404 and answer.code != "NoSuchBucket"
        if missing and verb in ("read", "delete"):
            return FileNotFoundError(f"{self._place.address(path)} is not there")
        return self._error(verb, path, answer)

    def _error(self, verb: str, path: str, answer: ErrorResponse) -> StorageError:
        what = f"cannot {verb} {self._place.address(path)}"
        client = self._made
        secrets = client.keys.secrets if client else ()
        return error_from(what, answer, _hint(answer, client), secrets)

    def _connect(self) -> Client:
        try:
            from mapred.storage.oss_client import Client
        except ImportError:
            raise MissingDependency("alibabacloud-oss-v2", "oss") from None
        try:
            return Client(self._place.bucket, retry_policy())
        except StorageError as error:
            raise StorageError(f"{self.uri}: {error}") from None


_HINTS = {
    "NoSuchBucket": "create the bucket, or name another one",
    "InvalidAccessKeyId": "check {source}",
    "SignatureDoesNotMatch": "check {source}",
    "InvalidSecurityToken": "renew {source}, then resume the run",
    "SecurityTokenExpired": "renew {source}, then resume the run",
    "RequestTimeTooSkewed": "set this machine's clock{ahead}, then resume the run",
    "PreconditionFailed": "the object was replaced while it was read",
}


def _hint(answer: ErrorResponse, client: Client | None) -> str:
    if answer.code in _HINTS:
        source = client.keys.name if client else "the environment"
        return _HINTS[answer.code].format(source=source, ahead=answer.clock)
    if answer.status is None:
        endpoint = client.endpoint if client else "the endpoint"
        return f"check that {endpoint} is the right endpoint and can be reached: set {FROM_OUTSIDE}"
    return general_hint(answer)
