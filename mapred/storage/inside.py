"""What keeps a store within its folder: names that lead out of it, and links, are refused.

A run's folder is data that others may have written. Mapred makes neither `..` nor links, so
anything that has them was put there by someone else.
"""

from __future__ import annotations

import errno
import os
import stat

from mapred.errors import NotAFile, StorageError

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


def refuse_ways_out(path: str) -> None:
    """Raise `StorageError` for a path that may lead out of the folder that it is relative to."""
    leads_out = ".." in path and ".." in path.split("/")
    if leads_out or path[:1] == "/" or "\0" in path:
        raise StorageError(
            f"{path!r} is not a path below a run's folder, where all files of a run are: someone "
            "changed the run; start a new one"
        )


class Folder:
    """A local folder; links that lead out of it are refused."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._real = ""
        self._held: set[str] = set()

    def open_file(self, path: str) -> int:
        """Return the descriptor of a regular file below the folder, opened to be read."""
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            if os.path.islink(path):
                raise self._not_a_file_error(path, "a link") from None
            if error.errno == errno.ENXIO:
                raise self._not_a_file_error(path, "a socket or a device") from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise self._not_a_file_error(path, "not a regular file")
            if not self._holds(_place_of(descriptor, path)):
                raise self._not_a_file_error(path, "behind a link")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def hold(self, folder: str) -> None:
        """Refuse a folder that is reached by a link below this one; each is checked once."""
        if folder in self._held or folder == self._root:
            return
        if not self._holds(os.path.realpath(folder)):
            raise self._not_a_file_error(folder, "behind a link")
        self._held.add(folder)

    def hold_file(self, path: str) -> None:
        """Refuse a file that is a link, or that is reached by one below this folder."""
        self.hold(os.path.dirname(path))
        if os.path.islink(path):
            raise self._not_a_file_error(path, "a link")

    def _holds(self, real: str) -> bool:
        if self._real and real.startswith(self._real):
            return True
        # Again, since a link above the root may lead elsewhere by now.
        self._real = os.path.join(os.path.realpath(self._root), "")
        return f"{real}/".startswith(self._real)

    def _not_a_file_error(self, path: str, what: str) -> NotAFile:
        return NotAFile(
            f"{path} is {what}, and mapred makes only plain files and folders: someone else put it "
            "there; look at it, and remove it by hand"
        )


def _place_of(descriptor: int, path: str) -> str:
    """Return the path of an open file without links."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return os.path.realpath(path)
