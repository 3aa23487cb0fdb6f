"""An object store as a store: S3 and what speaks it, Google Cloud Storage, Azure, by obstore.

Put-if-absent is a put with `If-None-Match: *`, which is refused with 412 where an object
exists. An answer may get lost after the object was written: then the object's bytes tell
who won. The URI names bucket and prefix alone; endpoint, region and credentials come from
each process's own environment.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mapred.errors import StorageError
from mapred.storage.bucket_store import BucketStore, CutOff
from mapred.storage.concurrency import prefetch, run_coroutine
from mapred.storage.filling import allocate, copy_into
from mapred.storage.object_client import NO_BUCKET, Clients, connect, hint_for, is_about_credentials
from mapred.storage.reader import Stream
from mapred.storage.responses import ErrorResponse, error_from, parse_error, quote_etag
from mapred.storage.uris import relative_entries

_UPLOAD = 8 * 2**20
_MOST_PARTS = 9000
_PAGES = 16  # of a listing, taken at a time
_SMALL, _PIECE = 2**20, 2**18
_LARGE, _PART, _STREAMS = 32 * 2**20, 64 * 2**20, 3  # what is read by several answers at once
_STREAM = 64 * 2**20  # the length of a reader's first long answer; each next one is twice as long
_BUSY = ("", "Conflict", "ConditionalRequestConflict", "OperationAborted")
# What the client says of a range behind the end that a server, such as Azure's emulator, accepts.
_BEYOND = ("bytes 0--1/0", "but object was only")
_GARBLED = ("response body", "Content-Range header not present", "invalid list response")


class ObjectStore(BucketStore[Clients]):
    """Objects below a prefix of a bucket: `s3://`, `gs://` or `az://`."""

    def write(self, path: str, data: bytes) -> str:
        view = memoryview(data).cast("B")
        return self._persist(lambda: self._put(view, view.nbytes, path))

    def _list(self, prefix: str) -> list[tuple[str, int]]:
        folder = self._place.folder(prefix)
        sizes: dict[str, int] = {}
        doubtful: set[str] = set()
        with self._translate_errors("list", prefix) as clients:
            for page in clients.obstore.list(clients.reading, folder or None, chunk_size=1000):
                for entry in page:
                    key = entry["path"]
                    # The client shows the marker object of a folder, `x/`, as a file `x`.
                    if entry["size"] == 0 or key in sizes:
                        doubtful.add(key)
                    sizes[key] = entry["size"]
        for key in doubtful:
            try:
                sizes[key], _ = self._head(self._place.path(key))
            except FileNotFoundError:
                del sizes[key]
        return relative_entries(self._place, sizes.items(), prefix)

    def list(self, prefix: str) -> list[tuple[str, int]]:
        return self._persist(lambda: self._list(prefix))

    def delete(self, path: str) -> None:
        self._head(path)
        with self._translate_errors("delete", path) as clients:
            clients.obstore.delete(clients.reading, self._place.key(path))

    def put_file(self, source: Path, path: str) -> str:
        size = source.stat().st_size
        return self._persist(lambda: self._put(source, size, path))

    def _put(self, source: Any, size: int, path: str) -> str:
        with self._translate_errors("write", path) as clients:
            put = clients.obstore.put(
                clients.reading,
                self._place.key(path),
                source,
                use_multipart=size > 2 * _UPLOAD,
                chunk_size=_part_size(size),
            )
        return (put["e_tag"] or "").strip('"')

    def copy(self, source: str, target: str) -> None:
        with self._translate_errors("read", source) as clients:
            clients.obstore.copy(clients.reading, self._place.key(source), self._place.key(target))

    def pages(self, folder: str) -> Iterator[tuple[Any, ...]]:
        """Every object whose key starts with `folder`, which ends with `/` or is nothing.

        The client's Arrow batches of a thousand: `path` (the key), `size`, `e_tag`; one at
        first, then many at a time. A folder's marker `x/` comes as `x`.
        """

        async def take_pages(stream: Any, most: int) -> tuple[Any, ...]:
            pages: tuple[Any, ...] = ()
            async for page in stream:
                pages = (*pages, page)
                if len(pages) == most:
                    break
            return pages

        with self._translate_errors("list", folder) as clients:
            stream = clients.obstore.list(
                clients.reading, folder or None, chunk_size=1000, return_arrow=True
            )
            most = 1
            while pages := run_coroutine(take_pages(stream, most)):
                yield pages
                most = _PAGES

    def level(self, folder: str) -> tuple[tuple[str, ...], Any]:
        """Return the folders right below `folder`, without their last `/`, and its own objects."""

        async def list_level() -> Any:
            return await clients.obstore.list_with_delimiter_async(
                clients.reading, folder or None, return_arrow=True
            )

        with self._translate_errors("list", folder) as clients:
            listing = run_coroutine(list_level())
        return tuple(listing["common_prefixes"]), listing["objects"]

    def _stream(self, path: str, size: int, etag: str | None) -> Stream:
        span = _STREAM

        def stream(offset: int) -> Iterator[Any]:
            nonlocal span
            options = _options((offset, min(size, offset + span)), etag)
            span *= 2
            return self._pieces(path, options)

        return stream

    def _range(self, path: str, start: int, stop: int | None, etag: str | None = None) -> bytes:
        # A range always: its answer says of which bytes it is, whatever length it claims.
        options = _options({"offset": start} if stop is None else (start, stop), etag)
        answer = self._persist(lambda: self._get_once(path, start, options))
        # Outside of the above, so that only the part that was cut is requested again.
        return answer if isinstance(answer, bytes) else self._get_large(path, *answer)

    def _get_once(
        self, path: str, offset: int, options: dict[str, Any]
    ) -> bytes | tuple[int, int, str | None]:
        """Return the bytes of a range; of a large one, its start, stop and etag."""
        try:
            with self._translate_errors("read", path) as clients:
                result = clients.obstore.get(
                    clients.reading, self._place.key(path), options=options
                )
                start, stop = result.range
                if stop - start <= _SMALL:
                    data = bytes(result.bytes())
                    self._check(len(data), stop - start, path)
                    return data
                if stop - start <= _LARGE:
                    # Not by `bytes`, which would hold the answer twice.
                    sink = allocate(stop - start)
                    came = copy_into(sink.getbuffer(), result.stream(_PIECE))
                    self._check(came, stop - start, path)
                    return sink.getvalue()
        except _BeyondTheEnd:
            # A file gives no bytes for a range behind its end, where this is an error.
            if offset < self._head(path)[0]:
                # The answer was cut, and the client asked for the rest at a wrong place.
                raise
            return b""
        return start, stop, result.meta["e_tag"]

    def _get_large(self, path: str, start: int, stop: int, etag: str | None) -> bytes:
        """Read a range by several answers at once: one alone gets a part of the network's speed."""
        match = {"if_match": etag} if etag else {}
        size = min(_PART, -(-(stop - start) // _STREAMS))
        sink = allocate(stop - start)
        whole = sink.getbuffer()

        def part(at: int) -> None:
            end = min(at + size, stop)
            self._persist(lambda: take(at, end))

        def take(at: int, end: int) -> None:
            with self._translate_errors("read", path) as clients:
                options = {"range": (at, end), **match}
                key = self._place.key(path)
                result = clients.obstore.get(clients.reading, key, options=options)
                came = copy_into(whole[at - start : end - start], result.stream(_PIECE))
            self._check(came, end - at, path)

        for _ in prefetch(part, range(start, stop, size), _STREAMS):
            pass
        whole.release()
        return sink.getvalue()

    def _pieces(self, path: str, options: dict[str, Any]) -> Iterator[Any]:
        """Yield a range of an object as it comes in; of an answer that is cut, the beginning."""
        waits, came = self._client().policy.delays(), False
        while True:
            try:
                with self._translate_errors("read", path) as clients:
                    key = self._place.key(path)
                    result = clients.obstore.get(clients.reading, key, options=options)
                    for piece in result.stream(_PIECE):
                        came = True
                        yield piece
            except CutOff:
                if not came and (wait := next(waits, None)) is not None:
                    time.sleep(wait)
                    continue
                if not came:
                    raise
            return

    def _head_once(self, path: str) -> tuple[int, str | None]:
        with self._translate_errors("read", path) as clients:
            meta = clients.obstore.head(clients.reading, self._place.key(path))
        return meta["size"], meta["e_tag"]

    def _get_start(self, path: str) -> None:
        with self._translate_errors("read", path) as clients:
            clients.obstore.get(clients.reading, self._place.key(path))

    def _put_once(self, path: str, data: bytes) -> bool | ErrorResponse:
        with self._translate_errors("write", path) as clients:
            exists = clients.obstore.exceptions.AlreadyExistsError
            try:
                clients.obstore.put(clients.once, self._place.key(path), data, mode="create")
            except clients.obstore.exceptions.BaseError as error:
                answer = parse_error(str(error))
                busy = answer.status == 409 and answer.code in _BUSY
                if isinstance(error, exists) and not busy:
                    return False
                if busy or (answer.retryable and not is_about_credentials(answer)):
                    return answer
                raise
        return True

    def _connect(self) -> Clients:
        return connect(self._place)

    @contextmanager
    def _translate_errors(self, verb: str, path: str) -> Iterator[Clients]:
        clients = self._client()
        try:
            yield clients
        except StorageError:
            raise
        except FileNotFoundError as error:
            answer = parse_error(str(error))
            if verb in ("read", "delete") and answer.code not in NO_BUCKET:
                raise FileNotFoundError(f"{self._place.address(path)} is not there") from None
            raise self._error(verb, path, answer) from None
        except Exception as error:
            answer = parse_error(str(error))
            if answer.status == 416 or any(words in answer.text for words in _BEYOND):
                raise _BeyondTheEnd(str(self._error(verb, path, answer))) from None
            if _is_cut(answer):
                raise CutOff(str(self._error(verb, path, answer))) from None
            # No cause: its text repeats the signed request.
            raise self._error(verb, path, answer) from None

    def _error(self, verb: str, path: str, answer: ErrorResponse) -> StorageError:
        what = f"cannot {verb} {self._place.address(path)}"
        made = self._made
        hint = hint_for(answer, self._place.scheme, made.endpoint if made else "")
        return error_from(what, answer, hint, made.secrets if made else ())


class _BeyondTheEnd(CutOff):
    """A range starts behind the last byte."""


def _is_cut(answer: ErrorResponse) -> bool:
    # The answer that the upload was complete got lost, and there was none to complete again.
    garbled = answer.status is None and any(words in answer.text for words in _GARBLED)
    return garbled or answer.code == "NoSuchUpload"


def _options(span: Any, etag: str | None) -> dict[str, Any]:
    return {"range": span, **({"if_match": quote_etag(etag)} if etag else {})}


def _part_size(size: int) -> int:
    return max(_UPLOAD, -(-size // _MOST_PARTS))
