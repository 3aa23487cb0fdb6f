"""A local or NAS path as a store.

Put-if-absent is a temporary file and `os.link`, which fails on an existing name and which
NFS does atomically. A file system without hard links holds no run: an exclusively created
file would be seen half written, and a worker that died over it would block its task for good.
Nothing is synced to disk: this survives processes, not power cuts.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from mapred.errors import AccessError, NotAFile, StorageError

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

_HINTS = {
    errno.ENOSPC: "the disk is full; free some space, then resume the run",
    errno.EDQUOT: "the quota is used up; free some space, then resume the run",
    errno.EROFS: "the file system is read-only; choose another root",
    errno.EACCES: "permission denied; choose a root that this user may write",
    errno.EPERM: "the file system refuses it; choose another root",
    errno.ESTALE: "the file server took it away; mount it again, then resume the run",
    errno.ETIMEDOUT: "the file server does not answer; resume the run when it does",
    errno.EIO: "the disk or the file server is in trouble; resume the run when it is repaired",
}
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_STALE_WAITS = (0.0, 0.1, 1.0)


def _fresh(path: str, act: Callable[[], T]) -> T:
    """What `act` gives, begun anew where an NFS client still held what the server replaced."""
    for wait in _STALE_WAITS:
        try:
            return act()
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        time.sleep(wait)
        # Opening the folder has the client ask for its names again, not in half a minute.
        with suppress(OSError):
            os.close(os.open(os.path.dirname(path), os.O_RDONLY))
    return act()


class LocalStore:
    """Files below a directory, made when first written to."""

    def __init__(self, root: str | Path) -> None:
        self._root = os.path.abspath(os.path.expanduser(root))
        self._folders: set[str] = set()
        self._temporary = f".tmp-{uuid.uuid4().hex[:12]}"
        self._count = itertools.count()

    @property
    def uri(self) -> str:
        return self._root

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._mapped("read", path):
            return _fresh(self._full(path), lambda: _read(self._full(path), offset, length))

    def write(self, path: str, data: bytes) -> str:
        def write() -> None:
            os.replace(self._write_temporary(path, data), self._full(path))

        with self._mapped("write", path):
            _fresh(self._full(path), write)
        return ""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self._mapped("write", path):
            target = self._full(path)
            temporary = _fresh(target, lambda: self._write_temporary(path, data))
            try:
                _fresh(target, lambda: os.link(temporary, target))
            except FileExistsError:
                # NFS may repeat a call whose answer was lost: then the name is our own file's.
                # What else has the name may be a link that leads nowhere.
                return os.path.samestat(os.lstat(temporary), os.lstat(target))
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise StorageError(
                        f"cannot link {target}: its file system has no hard links "
                        f"({os.strerror(error.errno)}), and a commit is put once by one; choose "
                        "a local disk, an NFS mount or an object store as root"
                    ) from error
                raise
            finally:
                os.unlink(temporary)
            return True

    def list(self, prefix: str) -> list[tuple[str, int]]:
        folder = prefix.rstrip("/")
        with self._mapped("list", prefix):
            whole = self._full(folder)
            return _fresh(whole, lambda: sorted(self._walk(whole, folder)))

    def delete(self, path: str) -> None:
        with self._mapped("delete", path):
            os.unlink(self._full(path))

    def put_file(self, source: Path, path: str) -> str:
        with self._mapped("write", path):
            target = self._full(path)
            self._make_folder(target)
            try:
                os.replace(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                temporary = self._temporary_beside(target)
                import shutil

                shutil.copyfile(source, temporary)
                os.replace(temporary, target)
        return ""

    def copy(self, source: str, target: str) -> None:
        with self._mapped("read", source):
            known, wanted = self._full(source), self._full(target)
            self._make_folder(wanted)
            temporary = self._temporary_beside(wanted)
            try:
                os.link(known, temporary)
            except FileNotFoundError:
                raise
            except OSError:
                # Mounted object stores know no links.
                import shutil

                shutil.copyfile(known, temporary)
            os.replace(temporary, wanted)
            # Two names of one file are left alone by a rename.
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def open(self, path: str, known: tuple[int, str] | None = None) -> BinaryIO:
        with self._mapped("read", path):
            file = _Reader(self._full(path), opener=_opened)
            return cast(BinaryIO, io.BufferedReader(file))

    def local_path(self, path: str) -> str:
        """Where a file really lies, for readers that map it into memory."""
        return self._full(path)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _temporary_beside(self, target: str) -> str:
        # One name per process, store and call: forked children differ by their pid.
        folder = os.path.dirname(target)
        return f"{folder}/{self._temporary}-{os.getpid()}-{next(self._count)}"

    def _make_folder(self, target: str) -> None:
        folder = os.path.dirname(target)
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)

    def _write_temporary(self, path: str, data: bytes) -> str:
        target = self._full(path)
        self._make_folder(target)
        temporary = self._temporary_beside(target)
        try:
            with open(temporary, "xb", buffering=0) as file:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) or 0 :]
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return temporary

    def _walk(self, folder: str, prefix: str) -> Iterator[tuple[str, int]]:
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                # Temporary files, the probe's, and the names NFS gives to deleted open files.
                if entry.name.startswith("."):
                    continue
                path = f"{prefix}/{entry.name}" if prefix else entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield from self._walk(entry.path, path)
                else:
                    # Of a link its own.
                    with suppress(FileNotFoundError):
                        yield path, entry.stat(follow_symlinks=False).st_size

    @contextmanager
    def _mapped(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if verb in ("read", "delete"):
                raise
            raise StorageError(f"cannot {verb} {self._full(path)}: the root is gone") from error
        except OSError as error:
            raise _failure(verb, self._full(path), error) from error
        except ValueError as error:
            # A NUL byte, or half of a character that UTF-8 cannot write.
            raise StorageError(
                f"cannot {verb} {self._full(path)!r}: a file cannot have that name ({error})"
            ) from error


class _Reader(io.FileIO):
    """An open file whose faults are `StorageError`s too: a server may take it away meanwhile."""

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise _failure("read", str(self.name), error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise _failure("read", str(self.name), error) from error


def _opened(path: str, flags: int) -> int:
    """A descriptor of a regular file; nothing else is waited for, and no link is followed."""
    try:
        known = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotAFile(f"{path} is a link, where a file belongs: remove it") from None
        if error.errno == errno.ENXIO:
            raise NotAFile(f"{path} is a socket or a device, where a file belongs") from None
        raise
    mode = os.fstat(known).st_mode
    if stat.S_ISREG(mode):
        return known
    os.close(known)
    kind = {stat.S_IFDIR: "folder", stat.S_IFIFO: "named pipe"}.get(stat.S_IFMT(mode), "device")
    raise NotAFile(f"{path} is a {kind}, where a file belongs: remove it")


def _read(path: str, offset: int, length: int | None) -> bytes:
    with open(path, "rb", buffering=0, opener=_opened) as file:
        if offset:
            file.seek(offset)
        size = max(0, os.fstat(file.fileno()).st_size - offset)
        size = size if length is None else min(size, length)
        parts = []
        while size > 0 and (part := file.read(min(size, 1 << 30))):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _failure(verb: str, path: str, error: OSError) -> StorageError:
    hint = _HINTS.get(error.errno or 0, "check the root and try again")
    reason = os.strerror(error.errno) if error.errno else str(error)
    kind = AccessError if error.errno in _REFUSALS else StorageError
    return kind(f"cannot {verb} {path}: {reason}: {hint}")
