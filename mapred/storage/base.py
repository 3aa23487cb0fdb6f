"""What a store is: the files below one root, by a protocol that is small on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Store(Protocol):
    """The files below one root. Paths are relative, with `/`; every write is whole or absent.

    `read`, `open`, `copy` and `delete` raise FileNotFoundError for a path that is not there;
    every other fault is a `StorageError`. A store pickles by its URI.
    """

    @property
    def uri(self) -> str:
        """The root that the paths are below."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the bytes of a file, or `length` of them from `offset`."""
        ...

    def write(self, path: str, data: bytes) -> str:
        """Put a file, and replace one that exists. Returns its etag, or "" if there is none."""
        ...

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Put a file unless it exists; True for the one writer that won."""
        ...

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """Return path and size of every file below the folder `prefix`, sorted by path."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file."""

    def put_file(self, source: Path, path: str) -> str:
        """Put a local file, which may be moved away. Returns its etag like `write`."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Give a file a second name without reading it here, and replace one of that name."""
        ...

    def open(self, path: str, known: tuple[int, str] | None = None) -> BinaryIO:
        """Return a seekable reader; `known`, the size and the etag or "", spares a request."""
        ...

    def local_path(self, path: str) -> str | None:
        """Return the path on this machine of a file, or of the root for ""; None if it has none.

        Readers map such a file into memory.
        """
        ...


class Bucket(Store, Protocol):
    """A store that datasets are read from as well, by the keys of its bucket."""

    def entry(self, path: str) -> tuple[int, str]:
        """Return size and etag of one object; raises FileNotFoundError."""
        ...


def is_local(path: str) -> bool:
    """Whether a path, or the URI of a store, is a plain one (no `scheme://`)."""
    return "://" not in path
