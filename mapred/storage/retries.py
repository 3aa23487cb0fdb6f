"""How often an operation on a store is tried again, and what a lost answer leaves unknown."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from mapred.errors import StorageError
from mapred.storage.responses import ErrorResponse

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 4.0
_TRIES = 9
_CHANCE = random.SystemRandom()  # the user's function may have seeded the module's generator


@dataclass(frozen=True)
class RetryPolicy:
    """How long one operation is tried: `tries` at most, and no new one after `seconds`."""

    tries: int
    seconds: float

    @property
    def stall(self) -> float:
        """Seconds without a byte after which an answer counts as lost."""
        return max(1.0, min(20.0, self.seconds / 3))

    def delays(self) -> Iterator[float]:
        """Seconds to wait before each further try, growing and random; ends when it is over."""
        limit = time.monotonic() + self.seconds
        wait = _FIRST_WAIT
        for _ in range(self.tries - 1):
            if time.monotonic() + wait > limit:
                return
            yield wait
            wait = min(_LONGEST_WAIT, _CHANCE.uniform(_FIRST_WAIT, 3 * wait))


def retry_policy() -> RetryPolicy:
    """Return what `MAPRED_STORAGE_TIMEOUT` (seconds, default 60) and `AWS_MAX_ATTEMPTS` say."""
    seconds = _number("MAPRED_STORAGE_TIMEOUT", 60.0)
    tries = int(_number("AWS_MAX_ATTEMPTS", _TRIES))
    return RetryPolicy(max(1, tries), max(1.0, seconds))


def _number(name: str, default: float) -> float:
    text = os.environ.get(name)
    try:
        return float(text) if text else default
    except ValueError:
        raise StorageError(f"{name}={text!r} is not a number") from None


def put_if_absent(
    data: bytes,
    put: Callable[[], bool | ErrorResponse],
    read: Callable[[], bytes],
    waits: Iterator[float],
) -> bool | ErrorResponse:
    """Whether our put made the object, which holds `data` then; the last answer if none told.

    `put` is one request, never repeated by itself: True won, False was refused because the
    object exists, an answer is to be tried again. Two writers never write the same data.
    """
    unknown = False
    while True:
        outcome = put()
        if outcome is True:
            return True
        if outcome is False:
            # Refused at the first clear answer; after a lost one it may be our own object.
            return unknown and _holds(read, data)
        unknown = unknown or outcome.retryable
        wait = next(waits, None)
        if wait is None:
            if unknown:
                with suppress(FileNotFoundError, StorageError):
                    return read() == data
            return outcome
        time.sleep(wait)


def _holds(read: Callable[[], bytes], data: bytes) -> bool:
    try:
        return read() == data
    except FileNotFoundError:
        return False
