"""A local or NAS path as a store.

Put-if-absent is a temporary file and `os.link`, which fails on an existing name and which
NFS does atomically. A file system without hard links holds no run: an exclusively created
file would be seen half written, and a worker that died meanwhile would block its task for good.
Nothing is synced to disk: this survives processes, not power cuts.
"""

from __future__ import annotations

import errno
import io
import os
import time
import uuid
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from mapred.errors import AccessError, FullError, StorageError
from mapred.process.lazy import shutil, tempfile
from mapred.storage import modes
from mapred.storage.inside import Folder, refuse_ways_out

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

_HINTS = {
    errno.ENOSPC: "the disk is full; free some space, then resume the run",
    errno.EDQUOT: "the quota is used up; free some space, then resume the run",
    errno.EROFS: "the file system is read-only; choose another root",
    errno.EPERM: "the file system refuses it; choose another root",
    errno.ESTALE: "the file server no longer has it; mount it again, then resume the run",
    errno.ETIMEDOUT: "the file server does not answer; resume the run when it does",
    errno.EIO: "the disk or the file server reports an error; resume the run when it is fixed",
}
_HINTS |= dict.fromkeys(
    (errno.EMFILE, errno.ENFILE), "close files, or raise the limit (ulimit -n); then resume the run"
)
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS}
NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_REPLACED = {errno.ESTALE}
_REPLACED_OR_NEW = {errno.ESTALE, errno.ENOENT}
_STALE_WAITS = (0.0, 0.1, 1.0)


def _retry_stale(path: str, act: Callable[[], T], stale: Set[int] = _REPLACED) -> T:
    """Call `act`, and again where an NFS client still held what the server has replaced.

    With `_REPLACED_OR_NEW` also where it does not see yet what another process has created.
    """
    for wait in _STALE_WAITS:
        try:
            return act()
        except OSError as error:
            if error.errno not in stale:
                raise
        time.sleep(wait)
        # Opening the folder has the client ask the server for its names again at once.
        with suppress(OSError):
            os.close(os.open(os.path.dirname(path), os.O_RDONLY))
    return act()


def _temporary_beside(target: str) -> str:
    """Return a new name in the folder of a file, hidden from listings."""
    return f"{os.path.dirname(target)}/.tmp-{uuid.uuid4().hex}"


def _copy_bytes(source: str | Path, target: str, grant: modes.Grant) -> None:
    modes.create(target, grant).close()
    shutil.copyfile(source, target)


class LocalStore:
    """Files below a directory, made when first written to.

    `mapred.storage.modes` says who may use them: the store is a root's or a run's, whose folder
    gets `mode` if one is given, or a `dataset`'s.
    """

    def __init__(self, root: str | Path, *, mode: int | None = None, dataset: bool = False) -> None:
        self._root = os.path.abspath(os.path.expanduser(root))
        self._mode, self._dataset = mode, dataset
        self._inside = Folder(self._root)
        self._grants: dict[str, modes.Grant] = {}

    @property
    def uri(self) -> str:
        return self._root

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._translate_errors("read", path):
            full = self._full(path)
            self._inside.hold(os.path.dirname(full))
            return _retry_stale(full, lambda: _read(self._inside.open_file(full), offset, length))

    def write(self, path: str, data: bytes) -> str:
        target = self._full(path)

        def write(grant: modes.Grant) -> None:
            temporary = self._write_temporary(path, data, grant)
            with _remove_on_error(temporary):
                os.replace(temporary, target)

        with self._translate_errors("write", path):
            self._in_folder(target, write)
        return ""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        with self._translate_errors("write", path):
            target = self._full(path)
            temporary = self._in_folder(
                target, lambda grant: self._write_temporary(path, data, grant)
            )
            try:
                _retry_stale(target, lambda: os.link(temporary, target), _REPLACED_OR_NEW)
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
        with self._translate_errors("list", prefix):
            whole = self._full(folder)
            self._inside.hold(whole)
            return _retry_stale(whole, lambda: sorted(self._walk(whole, folder)))

    def delete(self, path: str) -> None:
        with self._translate_errors("delete", path):
            full = self._full(path)
            self._inside.hold(os.path.dirname(full))
            os.unlink(full)

    def put_file(self, source: Path, path: str) -> str:
        target = self._full(path)
        with self._translate_errors("write", path):
            self._in_folder(target, lambda grant: self._move(source, target, grant))
        return ""

    def _move(self, source: Path, target: str, grant: modes.Grant) -> None:
        modes.apply_grant(source, grant)
        try:
            os.replace(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            temporary = _temporary_beside(target)
            with _remove_on_error(temporary):
                _copy_bytes(source, temporary, grant)
                os.replace(temporary, target)

    def copy(self, source: str, target: str) -> None:
        with self._translate_errors("read", source):
            here, there = self._full(source), self._full(target)
            self._inside.hold_file(here)
            self._in_folder(there, lambda grant: self._copy(here, there, grant))

    def _copy(self, source: str, target: str, grant: modes.Grant) -> None:
        temporary = _temporary_beside(target)
        with _remove_on_error(temporary):
            try:
                os.link(source, temporary)
            except FileNotFoundError:
                raise
            except OSError:
                # Mounted object stores know no links.
                _copy_bytes(source, temporary, grant)
            os.replace(temporary, target)
            # A rename does nothing where both names are of one file.
            with suppress(FileNotFoundError):
                os.unlink(temporary)

    def open(self, path: str, known: tuple[int, str] | None = None) -> BinaryIO:
        with self._translate_errors("read", path):
            return cast(BinaryIO, io.BufferedReader(_Reader(self._full(path), self._inside)))

    def local_path(self, path: str) -> str:
        """Return the path of a file, for readers that map it into memory."""
        full = self._full(path)
        if path:
            self._inside.hold_file(full)
        return full

    def _full(self, path: str) -> str:
        refuse_ways_out(path)
        return f"{self._root}/{path}"

    def _in_folder(self, target: str, act: Callable[[modes.Grant], T]) -> T:
        """Call `act` with the grant for `target`, whose folder is created if it is missing.

        A known folder may have been removed since as an empty one.
        """

        def attempt() -> T:
            try:
                return act(self._grant(target))
            except FileNotFoundError:
                # A root that is gone is not created again.
                if os.path.isdir(self._root):
                    self._grants.clear()
                raise

        return _retry_stale(target, attempt, _REPLACED_OR_NEW)

    def _grant(self, target: str) -> modes.Grant:
        """Create the folder of a file if it is missing, and return the grant of the file."""
        folder = os.path.dirname(target)
        grant = self._grants.get(folder)
        if grant is None:
            self._inside.hold(folder)
            above = modes.make(folder, self._choose_grant)
            grant = self._grants[folder] = self._choose_grant(target, above)
        return grant

    def _choose_grant(self, path: str, above: os.stat_result) -> modes.Grant:
        """Return the grant of a new file or folder; `above` is its parent."""
        if self._dataset:
            return modes.dataset_grant(above)
        if path == self._root:
            return modes.root_grant(above, self._mode)
        if not path.startswith(f"{self._root}/") or path[len(self._root) + 1] == ".":
            return modes.root_grant(above)
        return modes.inner_grant(above)

    def _write_temporary(self, path: str, data: bytes, grant: modes.Grant) -> str:
        temporary = _temporary_beside(self._full(path))
        with _remove_on_error(temporary), modes.create(temporary, grant) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) or 0 :]
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
                    # A link counts with its own size.
                    with suppress(FileNotFoundError):
                        yield path, entry.stat(follow_symlinks=False).st_size

    @contextmanager
    def _translate_errors(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if verb in ("read", "delete"):
                raise
            raise self._without_folder(verb, path) from error
        except OSError as error:
            raise local_failure(verb, self._full(path), error) from error
        except ValueError as error:
            # A NUL byte, or half of a character that UTF-8 cannot write.
            raise StorageError(
                f"cannot {verb} {self._full(path)!r}: a file cannot have that name ({error})"
            ) from error

    def _without_folder(self, verb: str, path: str) -> StorageError:
        what = f"cannot {verb} {self._full(path)}"
        if os.path.isdir(self._root):
            return StorageError(f"{what}: its folder was removed meanwhile; resume the run")
        if self._grants:
            return StorageError(f"{what}: the root is gone; restore it, or start a new run")
        return AccessError(
            f"{what}: {self._root} does not exist and cannot be created; choose another root"
        )


@contextmanager
def _remove_on_error(temporary: str) -> Iterator[None]:
    """Leave no temporary file behind, for instance on a full disk."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


class _Reader(io.FileIO):
    """An open file whose read errors are `StorageError`s: a server may take it away meanwhile."""

    def __init__(self, path: str, inside: Folder) -> None:
        super().__init__(path, opener=lambda path, _: inside.open_file(path))

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise local_failure("read", str(self.name), error) from error

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            raise local_failure("read", str(self.name), error) from error


def _read(descriptor: int, offset: int, length: int | None) -> bytes:
    with open(descriptor, "rb", buffering=0) as file:
        if offset:
            file.seek(offset)
        size = max(0, os.fstat(file.fileno()).st_size - offset)
        size = size if length is None else min(size, length)
        parts = []
        while size > 0 and (part := file.read(min(size, 1 << 30))):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def temporary_failure(what: str, error: OSError, remedy: str = "") -> StorageError:
    """Return the error for a folder for temporary files that cannot be written to."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    kind = FullError if error.errno in NO_ROOM else StorageError
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        folder = "the folder for temporary files"
    return kind(
        f"cannot {what} {folder}: {reason}: free some space there, or name another folder in "
        f"TMPDIR{remedy}"
    )


def local_failure(verb: str, path: str, error: OSError) -> StorageError:
    """Return the error for a file of this machine, with what to do about it."""
    hint = _HINTS.get(error.errno or 0, "check the root and try again")
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EACCES:
        # In a listing it may be a folder further down.
        path = error.filename if verb == "list" and isinstance(error.filename, str) else path
        hint = modes.why_closed(path, write=verb in ("write", "delete"))
    kind = StorageError
    if error.errno in _REFUSALS:
        kind = AccessError
    elif error.errno in NO_ROOM:
        kind = FullError
    return kind(f"cannot {verb} {path}: {reason}: {hint}")
