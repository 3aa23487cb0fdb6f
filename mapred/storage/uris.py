"""Buckets and prefixes: what the URI of an object store names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mapred.errors import StorageError
from mapred.storage.inside import refuse_ways_out


@dataclass(frozen=True)
class StoreUri:
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
        """Return the prefix, with a `/` at its end, of the keys of all files below a folder."""
        key = self.key(prefix.strip("/")).strip("/")
        return f"{key}/" if key else ""

    def address(self, path: str) -> str:
        return f"{self.uri}/{path}" if path else self.uri


def parse_store_uri(uri: str) -> StoreUri:
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
    return StoreUri(scheme, bucket, prefix)


def is_hidden(path: str) -> bool:
    """Whether a path is not a file of a run: the probe's, or another program's."""
    return any(part.startswith(".") for part in path.split("/"))


def relative_entries(
    place: StoreUri, entries: Iterable[tuple[str, int]], prefix: str
) -> list[tuple[str, int]]:
    """Return what a listing of the folder `prefix` shows of its (key, size) entries."""
    start = len(prefix.strip("/"))
    paths = ((place.path(key), size) for key, size in entries)
    return sorted((path, size) for path, size in paths if path and not is_hidden(path[start:]))
