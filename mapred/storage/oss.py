"""Alibaba Cloud's OSS as a store, by OpenDAL's own OSS service.

Put-if-absent is a put with `x-oss-forbid-overwrite: true`, which is refused with 409 where an
object exists. A bucket with versions ignores that header: the probe of a root finds out.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from mapred.errors import MissingDependency, StorageError
from mapred.storage import alibaba, remote
from mapred.storage.remote import Answer, Patience, answer_of, failure, found, patience, place_of

_T = TypeVar("_T")

_PART = 8 * 2**20
_MOST_PARTS = 9000
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 4.0
_FROM_OUTSIDE = (
    "OSS_ENDPOINT (https://oss-REGION.aliyuncs.com; inside the region "
    "https://oss-REGION-internal.aliyuncs.com)"
)
# Codes of credentials that ended, or were replaced where they are from.
_ENDED = ("SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId")
# What OpenDAL says of answers that were cut: permanent, but the next one may be whole.
_GARBLED = ("deserialize", "reader got too")
_used = False
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = _forked or _used


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class _Client:
    """The operators of one process: `once` never repeats a request, `operator` those of parts."""

    process: int
    operator: Any
    once: Any
    refused: tuple[type[Exception], ...]
    patience: Patience
    endpoint: str
    credentials: alibaba.Credentials


class OSSStore:
    """Objects below a prefix of a bucket: `oss://BUCKET/PREFIX`."""

    def __init__(self, uri: str) -> None:
        self._place = place_of(uri)
        self._made: _Client | None = None
        self._making = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.uri,)

    @property
    def uri(self) -> str:
        return self._place.uri

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        key = self._place.key(path)
        if not offset and length is None:

            def get(client: _Client) -> tuple[bytes, int]:
                # The answer's own length may be wrong, so its size is asked for beside it.
                data = bytes(client.once.read(key))
                return data, int(client.once.stat(key).content_length)

            return self._complete(path, get)
        # OSS ignores a range that leaves the object and answers with all of it, so every range
        # is cut to the object first.
        size, _ = self._size_and_etag(path)
        end = size if length is None else min(size, offset + length)
        return self._range(path, offset, end - offset) if end > offset else b""

    def write(self, path: str, data: bytes) -> str:
        view, key = bytes(data), self._place.key(path)

        def put(client: _Client) -> None:
            if len(view) > 2 * _PART:
                client.operator.write(key, view, chunk=_part_size(len(view)))
            else:
                client.once.write(key, view)

        self._call("write", path, put)
        return ""  # the client does not tell it

    def put_if_absent(self, path: str, data: bytes) -> bool:
        view = bytes(data)
        outcome = remote.put_if_absent(
            view,
            lambda: self._put_once(path, view),
            lambda: self.read(path),
            self._client().patience.waits(),
        )
        if isinstance(outcome, Answer):
            raise self._failure("write", path, outcome)
        return outcome

    def list(self, prefix: str) -> list[tuple[str, int]]:
        entries = self.entries(self._place.folder(prefix), recursive=True)
        return found(
            self._place, ((key, size) for key, size, _ in entries if not key.endswith("/"))
        )

    def entries(self, folder: str, *, recursive: bool) -> Iterator[tuple[str, int, str]]:
        """Key, size and etag of what lies below `folder` (ends with `/`, or is nothing).

        Keys of folders and of their markers end with `/`.
        """
        client, after = self._client(), ""
        waits = client.patience.waits()
        while True:
            options = {"start_after": after} if after else {}
            try:
                for entry in client.once.list(folder or "/", recursive=recursive, **options):
                    known = entry.metadata
                    yield entry.path, int(known.content_length), (known.etag or "").strip('"')
                    after = entry.path
                return
            except Exception as error:
                client = self._again(client, waits, error, "list", self._place.path(folder))

    def delete(self, path: str) -> None:
        self._size_and_etag(path)
        key = self._place.key(path)
        self._call("delete", path, lambda client: client.once.delete(key))

    def put_file(self, source: Path, path: str) -> str:
        size = source.stat().st_size
        if size <= 2 * _PART:
            return self.write(path, source.read_bytes())
        part, key = _part_size(size), self._place.key(path)

        def put(client: _Client) -> None:
            with source.open("rb") as file, client.operator.open(key, "wb", chunk=part) as target:
                while block := file.read(part):
                    target.write(block)

        self._call("write", path, put)
        return ""

    def copy(self, source: str, target: str) -> None:
        known, new = self._place.key(source), self._place.key(target)
        self._call("read", source, lambda client: client.once.copy(known, new))

    def entry(self, path: str) -> tuple[int, str]:
        """Size and etag of one object."""
        size, etag = self._size_and_etag(path)
        return size, (etag or "").strip('"')

    def open(self, path: str, known: tuple[int, str] | None = None) -> BinaryIO:
        """A seekable reader; `known`, size and etag, spares asking for them."""
        size, etag = known or self._size_and_etag(path)

        def fetch(offset: int, length: int) -> bytes:
            return self._range(path, offset, length, etag)

        return remote.reader(fetch, size)

    def _range(self, path: str, offset: int, length: int, etag: str | None = None) -> bytes:
        options: dict[str, Any] = {"offset": offset, "size": length}
        if etag:
            options["if_match"] = remote.quoted(etag)
        key = self._place.key(path)
        return self._complete(
            path, lambda client: (bytes(client.once.read(key, **options)), length)
        )

    def _complete(self, path: str, get: Callable[[_Client], tuple[bytes, int]]) -> bytes:
        return remote.complete(
            lambda: self._call("read", path, get),
            self._client().patience.waits(),
            self._place.address(path),
        )

    def _size_and_etag(self, path: str) -> tuple[int, str | None]:
        key = self._place.key(path)
        try:
            known = self._call("read", path, lambda client: client.once.stat(key))
        except (FileNotFoundError, StorageError) as error:
            if isinstance(error, StorageError) and ": status 4" not in str(error):
                raise
            # The answer to a HEAD has no body that says why, or that the bucket is missing.
            self._call("read", path, lambda client: client.once.read(key))
            raise
        return int(known.content_length), known.etag

    def _put_once(self, path: str, data: bytes) -> bool | Answer:
        """Whether the put won; the answer where it is to be tried again."""
        key = self._place.key(path)

        def put(client: _Client) -> bool | Answer:
            try:
                client.once.write(key, data, if_not_exists=True)
            except client.refused:
                return False
            except Exception as error:
                answer = answer_of(str(error))
                if answer.code == "FileAlreadyExists":
                    return False
                if answer.unknown:
                    return answer
                raise
            return True

        return self._call("write", path, put)

    def _call(self, verb: str, path: str, act: Callable[[_Client], _T]) -> _T:
        """Do something by the client, until it is done or the patience ends."""
        client = self._client()
        waits = client.patience.waits()
        while True:
            try:
                return act(client)
            except Exception as error:
                client = self._again(client, waits, error, verb, path)

    def _again(
        self, client: _Client, waits: Iterator[float], error: Exception, verb: str, path: str
    ) -> _Client:
        """The client to try again with, after a pause; or the error that is raised."""
        if isinstance(error, StorageError):
            raise error
        answer = answer_of(str(error))
        if answer.code in _ENDED:
            renewed = self._client(client)
            if renewed.credentials.key != client.credentials.key:
                return renewed
        elif answer.unknown or any(words in answer.text for words in _GARBLED):
            wait = next(waits, None)
            if wait is not None:
                time.sleep(wait)
                return self._client()
        # No cause: its text repeats the signed request.
        raise self._failed(verb, path, answer) from None

    def _failed(self, verb: str, path: str, answer: Answer) -> Exception:
        missing = answer.status == 404 and answer.code != "NoSuchBucket"
        if missing and verb in ("read", "delete"):
            return FileNotFoundError(f"{self._place.address(path)} is not there")
        return self._failure(verb, path, answer)

    def _failure(self, verb: str, path: str, answer: Answer) -> StorageError:
        what = f"cannot {verb} {self._place.address(path)}"
        keys = self._made.credentials if self._made else None
        secrets = (keys.secret, keys.token) if keys else ()
        return failure(what, answer, _hint(answer, self._made), secrets)

    def _client(self, ended: _Client | None = None) -> _Client:
        """The client of this process, with credentials other than those of `ended` if it can."""
        made = self._made
        if made is None or made is ended or not _is_fresh(made):
            with self._making:
                # Another thread may have made one meanwhile.
                if self._made is made:
                    self._made = self._make_client()
                made = self._made
        assert made is not None
        return made

    def _make_client(self) -> _Client:
        global _used
        try:
            import opendal
        except ImportError:
            raise MissingDependency("opendal", "oss") from None
        if _forked:
            raise StorageError(
                f"{self.uri}: this process was forked from one that had used OSS, and the client "
                "does not survive a fork: use backend='local', or a pool whose mp_context is "
                "multiprocessing.get_context('spawn')"
            )
        _used = True
        endpoint = alibaba.endpoint()
        if endpoint is None:
            raise StorageError(f"{self.uri}: no endpoint; set {_FROM_OUTSIDE}")
        try:
            keys = alibaba.credentials()
        except StorageError as error:
            raise StorageError(f"{self.uri}: {error}") from None
        known, errors = patience(), opendal.exceptions
        make = _by_oss2 if _version() == "V4" else _by_opendal
        try:
            operator, once = make(self._place.bucket, endpoint, keys, known)
        except (StorageError, MissingDependency):
            raise
        except Exception as error:
            answer = answer_of(str(error))
            raise failure(f"{self.uri} cannot be set up", answer, "check the settings") from None
        refused = (errors.AlreadyExists, errors.ConditionNotMatch)
        return _Client(os.getpid(), operator, once, refused, known, endpoint, keys)


def _is_fresh(client: _Client) -> bool:
    return client.process == os.getpid() and time.time() < client.credentials.renew


def _version() -> str:
    version = (os.environ.get("OSS_SIGNATURE_VERSION") or "V1").upper()
    if version not in ("V1", "V4"):
        raise StorageError(f"OSS_SIGNATURE_VERSION={version!r}: there are V1 and V4")
    return version


def _by_opendal(
    bucket: str, endpoint: str, keys: alibaba.Credentials, known: Patience
) -> tuple[Any, Any]:
    """Operators that repeat requests, and that do not; they sign by V1."""
    from opendal import Operator, layers

    settings = {
        "endpoint": endpoint,
        "access_key_id": keys.key,
        "access_key_secret": keys.secret,
        "addressing_style": os.environ.get("OSS_ADDRESSING_STYLE") or "virtual",
    }
    if keys.token:
        settings["security_token"] = keys.token
    once = Operator("oss", bucket=bucket, root="/", **settings)
    once = once.layer(layers.TimeoutLayer(timeout=known.stall, io_timeout=known.stall))
    retries = layers.RetryLayer(
        max_times=_retries(known), jitter=True, min_delay=_FIRST_WAIT, max_delay=_LONGEST_WAIT
    )
    return once.layer(retries), once


def _retries(known: Patience) -> int:
    """How many retries, each after twice the pause, end in time: OpenDAL only counts them."""
    pauses = (min(_LONGEST_WAIT, _FIRST_WAIT * 2**n) * 1.5 for n in range(known.tries - 1))
    return sum(total <= known.seconds for total in itertools.accumulate(pauses))


def _by_oss2(
    bucket: str, endpoint: str, keys: alibaba.Credentials, known: Patience
) -> tuple[Any, Any]:
    """The same, signing by V4."""
    from mapred.storage.oss_v4 import Operator

    region = alibaba.region(endpoint)
    if region is None:
        raise StorageError(
            f"oss://{bucket}: a V4 signature names the region, which {endpoint} does not: set "
            "OSS_REGION"
        )
    path_style = os.environ.get("OSS_ADDRESSING_STYLE") == "path"
    made = (
        Operator(bucket, endpoint, region, keys, path_style, each)
        for each in (known, Patience(1, known.seconds))
    )
    operator, once = made
    return operator, once


def _part_size(size: int) -> int:
    return max(_PART, -(-size // _MOST_PARTS))


_HINTS = {
    "NoSuchBucket": "make the bucket, or name another one",
    "InvalidAccessKeyId": "check {source}",
    "SignatureDoesNotMatch": "check {source}",
    "InvalidSecurityToken": "renew {source}, then resume the run",
    "SecurityTokenExpired": "renew {source}, then resume the run",
    "RequestTimeTooSkewed": "set this machine's clock{ahead}, then resume the run",
    "PreconditionFailed": "the object was replaced while it was read",
}


def _hint(answer: Answer, client: _Client | None) -> str:
    if answer.code in _HINTS:
        source = client.credentials.source if client else "the environment"
        return _HINTS[answer.code].format(source=source, ahead=answer.clock)
    if answer.status is None:
        endpoint = client.endpoint if client else "the endpoint"
        return (
            f"check that {endpoint} is the right endpoint and can be reached: set {_FROM_OUTSIDE}"
        )
    if answer.status in (401, 403):
        return (
            "check the credentials, and that they may read, write and list here; an account may "
            "want OSS_SIGNATURE_VERSION=V4"
        )
    if answer.unknown:
        return "the store is in trouble; resume the run later"
    return "check the bucket and the settings"
