"""What all stores of buckets share: a place, a client of this process, and how to read and put."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from mapred.errors import StorageError
from mapred.storage import retries
from mapred.storage.reader import Stream, reader
from mapred.storage.responses import ErrorResponse
from mapred.storage.retries import RetryPolicy
from mapred.storage.uris import parse_store_uri

_T = TypeVar("_T")


class CutOff(StorageError):
    """An answer ended too early, or not as it said."""


class ProcessClient(Protocol):
    """The client of one process."""

    @property
    def process(self) -> int: ...

    @property
    def policy(self) -> RetryPolicy: ...


_Client = TypeVar("_Client", bound=ProcessClient)


class BucketStore(ABC, Generic[_Client]):
    """Objects below a prefix of a bucket; `Bucket` says what each method does."""

    def __init__(self, uri: str) -> None:
        self._place = parse_store_uri(uri)
        self._made: _Client | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.uri,)

    @property
    def uri(self) -> str:
        return self._place.uri

    def local_path(self, path: str) -> str | None:
        return None

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        if length == 0:
            self._head(path)
            return b""
        return self._range(path, offset, None if length is None else offset + length)

    def open(self, path: str, known: tuple[int, str] | None = None) -> BinaryIO:
        size, etag = known or self._head(path)

        def fetch(offset: int, length: int) -> bytes:
            data = self._range(path, offset, offset + length, etag)
            if len(data) != length:
                raise StorageError(
                    f"cannot read {self._place.address(path)}: {len(data)} bytes came instead "
                    f"of {length}"
                )
            return data

        return reader(fetch, size, self._stream(path, size, etag))

    def entry(self, path: str) -> tuple[int, str]:
        size, etag = self._head(path)
        return size, (etag or "").strip('"')

    def put_if_absent(self, path: str, data: bytes) -> bool:
        view = bytes(data)
        outcome = retries.put_if_absent(
            view,
            lambda: self._put_once(path, view),
            lambda: self.read(path),
            self._client().policy.delays(),
        )
        if isinstance(outcome, ErrorResponse):
            raise self._error("write", path, outcome)
        return outcome

    def _client(self) -> _Client:
        """Return this process's client: a forked child has none of its parent's connections."""
        client = self._made
        if client is None or client.process != os.getpid():
            self._made = client = self._connect()
        return client

    def _head(self, path: str) -> tuple[int, str | None]:
        """Return the size of an object, and its etag as requests carry it."""
        try:
            return self._head_once(path)
        except (FileNotFoundError, StorageError) as error:
            if isinstance(error, StorageError) and ": status 4" not in str(error):
                raise
            # The answer to a HEAD has no body that says why, or that the bucket is missing.
            self._get_start(path)
            raise

    def _persist(self, act: Callable[[], _T]) -> _T:
        """Repeat an operation whose answer was cut off: clients repeat requests only."""
        waits = self._client().policy.delays()
        while True:
            try:
                return act()
            except CutOff:
                wait = next(waits, None)
                if wait is None:
                    raise
            time.sleep(wait)

    def _check(self, came: int, due: int, path: str) -> None:
        if came != due:
            raise CutOff(
                f"cannot read {self._place.address(path)}: {came} bytes came instead of {due}: "
                "something between here and the store changes its answers"
            )

    def _stream(self, path: str, size: int, etag: str | None) -> Stream | None:
        """Return how to read an object as one long answer, if the client can."""
        return None

    @abstractmethod
    def _connect(self) -> _Client: ...

    @abstractmethod
    def _range(self, path: str, start: int, stop: int | None, etag: str | None = None) -> bytes: ...

    @abstractmethod
    def _head_once(self, path: str) -> tuple[int, str | None]: ...

    @abstractmethod
    def _get_start(self, path: str) -> None:
        """Ask for the beginning of an object, for an error that says why there is none."""

    @abstractmethod
    def _put_once(self, path: str, data: bytes) -> bool | ErrorResponse:
        """Whether the put won; the answer of the store where it should be tried again."""

    @abstractmethod
    def _error(self, verb: str, path: str, answer: ErrorResponse) -> StorageError: ...
