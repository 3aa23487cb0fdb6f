"""What the stores that are reached over a network share: names, readers, waiting, words."""

from __future__ import annotations

import io
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeAlias, cast

from mapred.errors import AccessError, FullError, StorageError
from mapred.process import secrecy
from mapred.storage.inside import refuse_ways_out

_BUFFER = 4 * 2**20
_WHOLE = 2**20
_NEWLINE = re.compile(rb"\n")
Fetch: TypeAlias = Callable[[int, int], Any]
Stream: TypeAlias = Callable[[int], Iterator[Any]]
# What another machine's clock, or the keys that it is given anew, may be spared.
_MAY_PASS = (
    "RequestTimeTooSkewed",
    "ExpiredToken",
    "SecurityTokenExpired",
    "InvalidSecurityToken",
    "TokenRefreshRequired",
)
# What services, gateways among them, say when the storage is full.
_NO_ROOM = ("QuotaExceeded", "QuotaExceededException", "XMinioStorageFull", "InsufficientStorage")
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 4.0
_TRIES = 9
_CHANCE = random.SystemRandom()  # the user's function may have seeded the other one


@dataclass(frozen=True)
class Place:
    """A bucket (or container) and a prefix in it: all that a store's URI names."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def key(self, path: str) -> str:
        if not self.prefix:
            return path  # a bucket as a whole: names such as `a/../b` are keys like any other
        refuse_ways_out(path)
        return f"{self.prefix}/{path}"

    def path(self, key: str) -> str:
        return key[len(self.prefix) + 1 :] if self.prefix else key

    def folder(self, prefix: str) -> str:
        """The key, with a `/` at its end, that all files below the folder `prefix` start with."""
        key = self.key(prefix.strip("/")).strip("/")
        return f"{key}/" if key else ""

    def address(self, path: str) -> str:
        return f"{self.uri}/{path}" if path else self.uri


def place_of(uri: str) -> Place:
    """Take a URI apart; one without a bucket, or with an endpoint is refused."""
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    if ":" in bucket:
        raise StorageError(
            f"root {uri!r} names a bucket and a prefix, never an endpoint: that comes from the "
            "environment or a profile"
        )
    if not bucket:
        raise StorageError(f"root {uri!r} names no bucket; write {scheme}://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise StorageError(f"root {uri!r} has an empty, `.` or `..` part; leave it out")
    return Place(scheme, bucket, prefix)


def is_hidden(path: str) -> bool:
    """Whether a path is no file of a run's: the probe's, or another program's."""
    return any(part.startswith(".") for part in path.split("/"))


def found(place: Place, entries: Iterable[tuple[str, int]], prefix: str) -> list[tuple[str, int]]:
    """What a listing of the folder `prefix` shows of its (key, size) entries."""
    start = len(prefix.strip("/"))
    paths = ((place.path(key), size) for key, size in entries)
    return sorted((path, size) for path, size in paths if path and not is_hidden(path[start:]))


@dataclass(frozen=True)
class Patience:
    """How long one operation is tried: `tries` at most, and no new one after `seconds`."""

    tries: int
    seconds: float

    @property
    def stall(self) -> float:
        """Seconds without a byte after which an answer counts as lost."""
        return max(1.0, min(20.0, self.seconds / 3))

    def waits(self) -> Iterator[float]:
        """Seconds to wait before each further try, growing and random; ends when it is over."""
        limit = time.monotonic() + self.seconds
        wait = _FIRST_WAIT
        for _ in range(self.tries - 1):
            if time.monotonic() + wait > limit:
                return
            yield wait
            wait = min(_LONGEST_WAIT, _CHANCE.uniform(_FIRST_WAIT, 3 * wait))


def patience() -> Patience:
    """What `MAPRED_STORAGE_TIMEOUT` (seconds, default 60) and `AWS_MAX_ATTEMPTS` say."""
    seconds = _number("MAPRED_STORAGE_TIMEOUT", 60.0)
    tries = int(_number("AWS_MAX_ATTEMPTS", _TRIES))
    return Patience(max(1, tries), max(1.0, seconds))


def _number(name: str, default: float) -> float:
    text = os.environ.get(name)
    try:
        return float(text) if text else default
    except ValueError:
        raise StorageError(f"{name}={text!r} is not a number") from None


def put_if_absent(
    data: bytes,
    put: Callable[[], bool | Answer],
    read: Callable[[], bytes],
    waits: Iterator[float],
) -> bool | Answer:
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
        unknown = unknown or outcome.unknown
        wait = next(waits, None)
        if wait is None:
            if unknown:
                with suppress(FileNotFoundError, StorageError):
                    return read() == data
            return outcome
        time.sleep(wait)


def complete(get: Callable[[], tuple[bytes, int]], waits: Iterator[float], address: str) -> bytes:
    """Bytes of the length that `get` gives with them; others are asked for again."""
    while True:
        data, length = get()
        if len(data) == length:
            return data
        wait = next(waits, None)
        if wait is None:
            raise StorageError(
                f"cannot read {address}: {len(data)} bytes came where {length} were due: "
                "something between here and the store changes answers"
            )
        time.sleep(wait)


def _holds(read: Callable[[], bytes], data: bytes) -> bool:
    try:
        return read() == data
    except FileNotFoundError:
        return False


class _Reader(io.BufferedIOBase):
    """A file of a store: single ranges, and one long answer once it is read on and on.

    What came last is held, and read from byte `_at` of it on; `_start` is where it lies in the
    file. Not by `BufferedReader`, which copies what streams through it once more.
    """

    def __init__(self, fetch: Fetch, size: int, stream: Stream | None) -> None:
        self._fetch, self._size, self._stream = fetch, size, stream
        self._start = self._at = 0
        self._held = memoryview(b"")
        self._pieces: Iterator[Any] = iter(())
        self._expected = -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._start + self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        target = start + offset
        if target < 0:
            raise ValueError(f"cannot seek to {target}")
        if self._start <= target <= self._start + len(self._held):
            self._at = target - self._start
        else:
            self._hold(target, b"")
        return target

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        wanted = left if size is None or size < 0 else min(size, left)
        found: list[memoryview] = []
        while wanted:
            found.append(self._some(wanted))
            wanted -= len(found[-1])
        if len(found) != 1:
            return b"".join(found)
        whole = found[0].obj
        return (
            whole if isinstance(whole, bytes) and len(whole) == len(found[0]) else bytes(found[0])
        )

    read1 = read

    def readline(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        left = left if size is None or size < 0 else min(size, left)
        found: list[memoryview] = []
        while left:
            self._fill(1)
            end = _NEWLINE.search(self._held, self._at, self._at + left)
            found.append(self._some((end.end() - self._at) if end else left))
            left = 0 if end else left - len(found[-1])
        return b"".join(found)

    def close(self) -> None:
        self._hold(0, b"")
        self._pieces = iter(())
        super().close()

    def _some(self, most: int) -> memoryview:
        """At least one of the `most` bytes that follow, which are there."""
        self._fill(most)
        some = self._held[self._at : self._at + most]
        self._at += len(some)
        if self._at == len(self._held) > _BUFFER:
            self._hold(self.tell(), b"")
        return some

    def _fill(self, wanted: int) -> None:
        """Hold at least one byte that was not read yet."""
        if self._at == len(self._held):
            self._hold(self.tell(), self._next(wanted))

    def _hold(self, start: int, data: Any) -> None:
        self._start, self._held, self._at = start, memoryview(data), 0

    def _next(self, wanted: int) -> Any:
        """At least one of the bytes at the position, behind all that is held."""
        at = self.tell()
        if self._stream is None or at != self._expected:
            self._pieces = iter(())
            piece = self._fetch(at, min(max(wanted, _BUFFER), self._size - at))
        else:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = self._stream(at)
                piece = next(self._pieces, None)
        if not piece:
            raise StorageError("a long answer ended before the file did; try again")
        self._expected = at + len(piece)
        return piece


def reader(fetch: Fetch, size: int, stream: Stream | None = None) -> BinaryIO:
    """A seekable, buffered reader over `fetch(offset, length)`, which gives just these bytes.

    `stream(offset)` gives the bytes from there on in pieces, at least one of them; where it
    ends before the file does it is asked for more. A small file is fetched once.
    """
    if size <= _WHOLE:
        fetch, stream = _once(fetch, size), None
    return cast(BinaryIO, _Reader(fetch, size, stream))


def _once(fetch: Fetch, size: int) -> Fetch:
    whole: list[memoryview] = []

    def take(offset: int, length: int) -> memoryview:
        if not whole:
            whole.append(memoryview(fetch(0, size)))
        return whole[0][offset : offset + length]

    return take


@dataclass(frozen=True)
class Answer:
    """What can be said of a store's refusal: HTTP status, its own code and message.

    `ahead` is by how many seconds this machine's clock was before the store's.
    """

    status: int | None
    code: str
    message: str
    text: str
    ahead: float | None = None

    @property
    def clock(self) -> str:
        """How far this machine's clock is off, by the store's, as a part of a sentence."""
        if self.ahead is None:
            return ""
        direction = "ahead of" if self.ahead > 0 else "behind"
        return f", which is {abs(self.ahead):.0f} s {direction} the store's"

    @property
    def unknown(self) -> bool:
        """Whether the request may have been carried out all the same, or may be next time."""
        if self.status is None:
            return "(permanent)" not in self.text
        return self.status >= 500 or self.status in (408, 425, 429)


def answer_of(text: str) -> Answer:
    """Read a client's error text.

    Nothing else of it is shown: the body of a refused signature repeats what was signed, a
    session's token included.
    """
    status = re.search(r"status(?: code)?: (\d{3})\b", text)
    whole = text
    text = re.split(r"\n\s*(?:Debug source|Context):", text)[0]
    code = re.search(r'<Code>([^<]*)</Code>|code: "([^"]*)"', text)
    message = re.search(r'<Message>([^<]*)</Message>|message: "([^"]*)"', text)
    plain = re.sub(r"<\?xml.*", "", text, flags=re.DOTALL)
    return Answer(
        int(status.group(1)) if status else None,
        (code.group(1) or code.group(2) or "") if code else "",
        (message.group(1) or message.group(2) or "").partition("\n")[0] if message else "",
        " ".join(plain.split())[:400],
        _ahead(whole),
    )


def short_reason(error: Any) -> str:
    """Why a connection failed, in a few words: the whole text repeats the request."""
    text = str(error)
    said = re.search(r"\[Errno -?\d+\] ([\w ]+)", text)
    if said:
        return said[1].lower()
    return "timed out" if "timed out" in text else type(error).__name__


def _ahead(text: str) -> float | None:
    said = re.search(r'"date": "([^"]+)"|<ServerTime>([^<]+)</ServerTime>', text)
    try:
        if said is None:
            return None
        if said[1]:
            # Every worker imports this module, and hardly one is told the time.
            from email.utils import parsedate_to_datetime

            theirs = parsedate_to_datetime(said[1])
        else:
            theirs = datetime.fromisoformat(said[2].replace("Z", "+00:00"))
    except ValueError:
        return None
    return time.time() - theirs.timestamp()


class ReplacedError(StorageError):
    """An object is not the one that was asked for: its etag is another."""


def quoted(etag: str) -> str:
    """An etag as requests carry it; some services list theirs without the quotes."""
    return etag if etag.startswith(('"', "W/")) else f'"{etag}"'


def failure(
    what: str, answer: Answer, hint: str, secrets: Iterable[str | None] = ()
) -> StorageError:
    """`what` failed, as the store answered, and what to do; of `secrets`, nothing is shown."""
    if answer.code:
        reason = f"{answer.code}: {answer.message.rstrip('.')}".rstrip(": ")
    elif answer.status:
        reason = f"status {answer.status}"
    else:
        reason = answer.text
    for secret in filter(None, secrets):
        reason = reason.replace(secret, "…")
    reason = secrecy.cleaned(reason)
    kind = StorageError
    if answer.status == 412 or answer.code == "PreconditionFailed":
        kind = ReplacedError
    elif answer.status == 507 or answer.code in _NO_ROOM:
        kind = FullError
    elif answer.status in (401, 403) and answer.code not in _MAY_PASS:
        kind = AccessError
    return kind(f"{what}: {reason}: {hint}")
