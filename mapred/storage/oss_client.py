"""A client of Alibaba's own SDK: where it goes, what it tries again, what its errors say.

Importing this imports the SDK, so only an `oss://` store that is used does. The client signs by
version 4, the only one that OSS takes for new buckets.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, BinaryIO

import alibabacloud_oss_v2 as oss

from mapred.errors import MapredError, StorageError
from mapred.storage import oss_access
from mapred.storage.oss_access import CredentialsError, Keys, Source
from mapred.storage.responses import ErrorResponse, quote_etag, short_reason
from mapred.storage.retries import RetryPolicy

_CONNECTIONS = 64  # at least as many as threads ask at once
_PIECE = 2**18
_PAGE = 1000
_PART = 8 * 2**20
_MOST_PARTS = 9000
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 4.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Fault:
    """Why a request failed; `garbled` where its answer made no sense, and another one may."""

    answer: ErrorResponse
    garbled: bool = False
    credentials: MapredError | None = None  # there are none to sign with


class Client:
    """The objects of one bucket, for one process."""

    def __init__(self, bucket: str, policy: RetryPolicy, env: Mapping[str, str] = os.environ):
        self.process = os.getpid()
        self.bucket, self.policy = bucket, policy
        self.endpoint, region, style = oss_access.settings(env)
        self.keys = Provider(oss_access.source(env))
        config = oss.config.load_default()
        config.region, config.endpoint = region, self.endpoint
        config.credentials_provider = oss.credentials.CredentialsProviderFunc(self.keys.current)
        config.use_path_style, config.use_cname = style == "path", style == "cname"
        config.user_agent = "mapred"
        config.http_client = _Http(
            connect_timeout=min(5.0, policy.stall),
            readwrite_timeout=policy.stall,
            max_connections=_CONNECTIONS,
        )
        config.readwrite_timeout = policy.stall
        config.retryer = oss.retry.StandardRetryer(
            max_attempts=1 + _count_retries(policy),
            max_backoff=_LONGEST_WAIT,
            base_delay=_FIRST_WAIT,
            error_retryables=[_TransientErrors()],
        )
        self._sdk = oss.Client(config)
        self._limits = {"operation_timeout": policy.seconds}

    def get(self, key: str, start: int, stop: int | None, etag: str | None) -> tuple[bytes, int]:
        """Bytes of an object from `start` to `stop`, or its end, and how many there are.

        What came of an answer that broke off is less than that.
        """
        request = oss.GetObjectRequest(
            bucket=self.bucket,
            key=key,
            range_header=f"bytes={start}-{'' if stop is None else stop - 1}",
            # Without this OSS answers with the whole object where the range leaves it.
            range_behavior="standard",
            if_match=quote_etag(etag) if etag else None,
        )
        try:
            result = self._sdk.get_object(request, **self._limits)
        except oss.exceptions.OperationError as error:
            if fault(error).answer.status == 416:
                return b"", 0  # it starts behind the last byte
            raise
        match = _RANGE.fullmatch(result.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != start:
            result.body.close()
            raise GarbledAnswer("an answer without the range that was asked for")
        size = int(match[3])
        return _read_until_cut(result.body), (size if stop is None else min(stop, size)) - start

    def head(self, key: str) -> tuple[int, str]:
        """Size and etag of an object."""
        answer = self._sdk.head_object(oss.HeadObjectRequest(self.bucket, key), **self._limits)
        return int(answer.content_length), (answer.etag or "").strip('"')

    def put(self, key: str, data: bytes) -> str:
        request = oss.PutObjectRequest(bucket=self.bucket, key=key, body=data)
        return _etag(self._sdk.put_object(request, **self._limits))

    def put_once(self, key: str, data: bytes) -> None:
        """One request, which is refused where the object exists."""
        request = oss.PutObjectRequest(
            bucket=self.bucket, key=key, body=data, forbid_overwrite=True
        )
        self._sdk.put_object(request, retry_max_attempts=1)

    def upload(self, key: str, file: BinaryIO, size: int) -> str:
        """Put a file in parts; the object appears at the end, or never."""
        uploader = self._sdk.uploader(part_size=max(_PART, -(-size // _MOST_PARTS)))
        request = oss.PutObjectRequest(bucket=self.bucket, key=key)
        return _etag(uploader.upload_from(request, file))

    def copy(self, source: str, target: str) -> None:
        request = oss.CopyObjectRequest(
            bucket=self.bucket, key=target, source_bucket=self.bucket, source_key=source
        )
        self._sdk.copy_object(request, **self._limits)

    def delete(self, key: str) -> None:
        self._sdk.delete_object(oss.DeleteObjectRequest(self.bucket, key), **self._limits)

    def page(
        self, folder: str, recursive: bool, token: str | None
    ) -> tuple[list[tuple[str, int, str]], str | None]:
        """Up to a thousand keys below a folder with size and etag, and where the next page starts.

        Folders right below it, where not `recursive`, end with `/`.
        """
        request = oss.ListObjectsV2Request(
            bucket=self.bucket,
            prefix=folder,
            delimiter=None if recursive else "/",
            continuation_token=token,
            max_keys=_PAGE,
        )
        answer = self._sdk.list_objects_v2(request, **self._limits)
        if answer.is_truncated is None:
            raise GarbledAnswer("a listing that does not say whether there is more")
        entries = [
            (item.key, int(item.size), (item.etag or "").strip('"'))
            for item in answer.contents or ()
        ]
        entries += [(item.prefix, 0, "") for item in answer.common_prefixes or ()]
        return entries, answer.next_continuation_token if answer.is_truncated else None


class GarbledAnswer(Exception):
    """An answer that does not match the request, or cannot be read."""


class Provider:
    """The keys that requests are signed with."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.last: Keys | None = None

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def secrets(self) -> tuple[str | None, ...]:
        return (self.last.secret, self.last.token) if self.last else ()

    def current(self) -> Any:
        keys = self.last = self._source.keys()
        return oss.credentials.Credentials(keys.key, keys.secret, keys.token)

    def renew(self, used: Keys | None) -> bool:
        """Whether the environment, asked again, gives other keys than those that were used."""
        try:
            source = oss_access.source()
            keys = source.keys()
        except StorageError:
            return False
        self._source, self.last = source, keys
        return keys != used


def fault(error: Any) -> Fault:
    """Return what an error of the SDK says, without the request that its text repeats."""
    while isinstance(error, oss.exceptions.OperationError | oss.UploadError):
        error = error.unwrap()
    if isinstance(error, oss.exceptions.ServiceError):
        code = "" if error.code == "BadErrorResponse" else str(error.code or "")
        message = str(error.message or "").partition("\n")[0] if code else ""
        ahead = time.time() - error.timestamp.timestamp() if error.timestamp else None
        # The answer that the upload was complete got lost, and there was none to complete again.
        garbled = code == "NoSuchUpload"
        skew = None if ahead is None or ahead > 10**9 else ahead
        return Fault(ErrorResponse(error.status_code, code, message, "", skew), garbled)
    if isinstance(error, oss.exceptions.CredentialsFetchError):
        cause = error.kwargs["error"]
        if isinstance(cause, MapredError):
            return Fault(ErrorResponse(None, "", "", str(cause)), credentials=cause)
    refused = oss.exceptions.BucketNameInvalidError | oss.exceptions.ObjectNameInvalidError
    if isinstance(error, refused):
        return Fault(ErrorResponse(400, "InvalidName", str(error), ""))
    sent = isinstance(error, oss.exceptions.RequestError | oss.exceptions.ResponseError)
    cause = error.unwrap() if sent else error
    text = f"{short_reason(cause)}: no answer from the store"
    return Fault(ErrorResponse(None, "", "", text), garbled=not sent)


class _TransientErrors(oss.retry.ErrorRetryable):  # type: ignore[misc]
    """The errors that the SDK retries: the store is in trouble, or cannot be reached."""

    def is_error_retryable(self, error: Exception) -> bool:
        reason = fault(error)
        if reason.credentials is not None:
            return isinstance(reason.credentials, CredentialsError) and reason.credentials.passing
        return reason.answer.retryable and not reason.garbled


class _Http(oss.transport.RequestsHttpClient):  # type: ignore[misc]
    def send(self, request: Any, **options: Any) -> Any:
        answer = super().send(request, **options)
        # The SDK fails on a refusal without a date, before it reads the status.
        answer.headers.setdefault("Date", formatdate(0, usegmt=True))
        return answer


def _count_retries(policy: RetryPolicy) -> int:
    """Return how many retries fit into the policy's time with the longest pauses."""
    pauses = (min(_LONGEST_WAIT, _FIRST_WAIT * 2**n) for n in range(1, policy.tries))
    return sum(total <= policy.seconds for total in itertools.accumulate(pauses))


def _read_until_cut(body: Any) -> bytes:
    """Return the body of an answer, or as much of it as arrives."""
    pieces: list[bytes] = []
    try:
        pieces.extend(body.iter_bytes(block_size=_PIECE))
    except Exception:
        pass  # the length tells
    finally:
        body.close()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _etag(result: Any) -> str:
    return (result.etag or "").strip('"')
