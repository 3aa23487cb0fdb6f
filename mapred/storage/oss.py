"""Alibaba Cloud's OSS as a store, by OpenDAL's own OSS service.

Put-if-absent is a put with `x-oss-forbid-overwrite: true`, which is refused with 409 where an
object exists. A bucket with versions ignores that header: the probe of a root finds out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mapred.errors import MissingDependency, StorageError
from mapred.storage import remote
from mapred.storage.remote import Answer, Patience, answer_of, failure, found, patience, place_of

_PART = 8 * 2**20
_MOST_PARTS = 9000
_FROM_OUTSIDE = (
    "OSS_ENDPOINT (https://oss-REGION.aliyuncs.com; inside the region "
    "https://oss-REGION-internal.aliyuncs.com)"
)
_SETTINGS = {
    "endpoint": ("OSS_ENDPOINT", "ALIBABA_CLOUD_OSS_ENDPOINT"),
    "access_key_id": ("OSS_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"),
    "access_key_secret": ("OSS_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
    "security_token": ("OSS_SECURITY_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN"),
    "role_arn": ("ALIBABA_CLOUD_ROLE_ARN",),
    "role_session_name": ("ALIBABA_CLOUD_ROLE_SESSION_NAME",),
    "oidc_provider_arn": ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN",),
    "oidc_token_file": ("ALIBABA_CLOUD_OIDC_TOKEN_FILE",),
    "addressing_style": ("OSS_ADDRESSING_STYLE",),
}
_used = False
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = _forked or _used


os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class _Client:
    """The operators of one process: `once` never repeats a request by itself."""

    process: int
    operator: Any
    once: Any
    missing: type[Exception]
    refused: tuple[type[Exception], ...]
    patience: Patience
    endpoint: str


class OSSStore:
    """Objects below a prefix of a bucket: `oss://BUCKET/PREFIX`."""

    def __init__(self, uri: str) -> None:
        self._place = place_of(uri)
        self._made: _Client | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.uri,)

    @property
    def uri(self) -> str:
        return self._place.uri

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if not offset and length is None:
            with self._mapped("read", path) as client:
                return bytes(client.operator.read(self._place.key(path)))
        # OSS ignores a range that leaves the object and answers with all of it, so every range
        # is cut to the object first.
        size, _ = self._size_and_etag(path)
        end = size if length is None else min(size, offset + length)
        return self._range(path, offset, end - offset) if end > offset else b""

    def write(self, path: str, data: bytes) -> None:
        view = bytes(data)
        with self._mapped("write", path) as client:
            if len(view) > 2 * _PART:
                client.operator.write(self._place.key(path), view, chunk=_part_size(len(view)))
            else:
                client.operator.write(self._place.key(path), view)

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
        folder = self._place.folder(prefix)
        with self._mapped("list", prefix) as client:
            entries = [
                (entry.path, int(entry.metadata.content_length))
                for entry in client.operator.list(folder or "/", recursive=True)
                if not entry.path.endswith("/")
            ]
        return found(self._place, entries)

    def delete(self, path: str) -> None:
        self._size_and_etag(path)
        with self._mapped("delete", path) as client:
            client.operator.delete(self._place.key(path))

    def put_file(self, source: Path, path: str) -> None:
        size = source.stat().st_size
        if size <= 2 * _PART:
            self.write(path, source.read_bytes())
            return
        part = _part_size(size)
        key = self._place.key(path)
        with (
            self._mapped("write", path) as client,
            source.open("rb") as file,
            client.operator.open(key, "wb", chunk=part) as target,
        ):
            while block := file.read(part):
                target.write(block)

    def copy(self, source: str, target: str) -> None:
        with self._mapped("read", source) as client:
            client.operator.copy(self._place.key(source), self._place.key(target))

    def entries(self, folder: str, *, recursive: bool) -> Iterator[tuple[str, int, str]]:
        """Key, size and etag of what lies below `folder` (ends with `/`, or is nothing).

        Keys of folders and of their markers end with `/`.
        """
        with self._mapped("list", folder) as client:
            for entry in client.operator.list(folder or "/", recursive=recursive):
                known = entry.metadata
                yield entry.path, int(known.content_length), (known.etag or "").strip('"')

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
        with self._mapped("read", path) as client:
            data = bytes(client.operator.read(self._place.key(path), **options))
        if len(data) != length:
            raise StorageError(
                f"cannot read {self._place.address(path)}: {len(data)} bytes came where {length} "
                "were asked for"
            )
        return data

    def _size_and_etag(self, path: str) -> tuple[int, str | None]:
        try:
            with self._mapped("read", path) as client:
                known = client.operator.stat(self._place.key(path))
        except (FileNotFoundError, StorageError) as error:
            if isinstance(error, StorageError) and ": status 4" not in str(error):
                raise
            # The answer to a HEAD has no body that says why, or that the bucket is missing.
            with self._mapped("read", path) as client:
                client.operator.read(self._place.key(path))
            raise
        return int(known.content_length), known.etag

    def _put_once(self, path: str, data: bytes) -> bool | Answer:
        """Whether the put won; the answer where it is to be tried again."""
        with self._mapped("write", path) as client:
            try:
                client.once.write(self._place.key(path), data, if_not_exists=True)
            except client.refused:
                return False
            except Exception as error:
                answer = answer_of(str(error))
                if answer.code == "FileAlreadyExists":
                    return False
                if answer.unknown and not _is_setup(answer):
                    return answer
                raise
        return True

    def _client(self) -> _Client:
        made = self._made
        if made is None or made.process != os.getpid():
            self._made = made = self._make_client()
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
        known, settings = patience(), _settings(os.environ)
        if "endpoint" not in settings:
            raise StorageError(f"{self.uri}: no endpoint; set {_FROM_OUTSIDE}")
        errors = opendal.exceptions
        try:
            once = opendal.Operator("oss", bucket=self._place.bucket, root="/", **settings)
            layers = opendal.layers
            once = once.layer(layers.TimeoutLayer(timeout=known.stall, io_timeout=known.stall))
            operator = once.layer(
                layers.RetryLayer(
                    max_times=known.tries - 1, jitter=True, min_delay=0.1, max_delay=4.0
                )
            )
        except Exception as error:
            answer = answer_of(str(error))
            raise failure(f"{self.uri} cannot be set up", answer, "check the settings") from None
        refused = (errors.AlreadyExists, errors.ConditionNotMatch)
        endpoint = settings["endpoint"]
        return _Client(os.getpid(), operator, once, errors.NotFound, refused, known, endpoint)

    @contextmanager
    def _mapped(self, verb: str, path: str) -> Iterator[_Client]:
        client = self._client()
        try:
            yield client
        except StorageError:
            raise
        except client.missing as error:
            answer = answer_of(str(error))
            if verb in ("read", "delete") and answer.code != "NoSuchBucket":
                raise FileNotFoundError(f"{self._place.address(path)} is not there") from None
            raise self._failure(verb, path, answer) from None
        except Exception as error:
            # No cause: its text repeats the signed request.
            raise self._failure(verb, path, answer_of(str(error))) from None

    def _failure(self, verb: str, path: str, answer: Answer) -> StorageError:
        what = f"cannot {verb} {self._place.address(path)}"
        return failure(what, answer, _hint(answer, self._made.endpoint if self._made else ""))


def _settings(env: Mapping[str, str]) -> dict[str, str]:
    """The operator's options: the first of each one's variables that is set."""
    settings = {}
    for option, names in _SETTINGS.items():
        value = next((env[name] for name in names if env.get(name)), None)
        if value:
            settings[option] = value
    endpoint = settings.get("endpoint")
    if endpoint and "://" not in endpoint:
        settings["endpoint"] = f"https://{endpoint}"
    return settings


def _part_size(size: int) -> int:
    return max(_PART, -(-size // _MOST_PARTS))


def _is_setup(answer: Answer) -> bool:
    return "credential" in answer.text.lower() and answer.status is None


_HINTS = {
    "NoSuchBucket": "make the bucket, or name another one",
    "InvalidAccessKeyId": "check OSS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "check OSS_ACCESS_KEY_SECRET",
    "InvalidSecurityToken": "renew OSS_SECURITY_TOKEN, then resume the run",
    "SecurityTokenExpired": "renew OSS_SECURITY_TOKEN, then resume the run",
    "RequestTimeTooSkewed": "set this machine's clock",
    "PreconditionFailed": "the object was replaced while it was read",
}


def _hint(answer: Answer, endpoint: str) -> str:
    if answer.code in _HINTS:
        return _HINTS[answer.code]
    if answer.status is None:
        return (
            f"check that {endpoint} is the right endpoint and can be reached: set {_FROM_OUTSIDE}"
        )
    if answer.status in (401, 403):
        return "check the credentials, and that they may read, write and list here"
    if answer.unknown:
        return "the store is in trouble; resume the run later"
    return "check the bucket and the settings"
