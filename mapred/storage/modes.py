"""Rights of new files and folders on local paths: for the owner alone, unless the root is shared.

A root is shared with its group if it is setgid or group-writable, and with everybody if everybody
may write to it. A sticky root such as `/tmp` is shared only if it is setgid. Inside a run's folder
everything has the rights of that folder, whatever the umask.

Datasets follow the umask, like the files of any program; in a shared folder the group gets its
rights too.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

PRIVATE = 0o700


@dataclass(frozen=True)
class Grant:
    """Mode, owner and group of a new file or folder; -1 leaves the owner or group as it is.

    With `umask` the mode is added to what the umask of the process leaves.
    """

    mode: int
    owner: int = -1
    group: int = -1
    umask: bool = False

    @property
    def first(self) -> int:
        """The mode to create a file or folder with, before `apply`."""
        return 0o777 if self.umask else self.mode & 0o777

    def apply(self, descriptor: int) -> None:
        """Apply the grant to an open file or folder that this process created.

        Where the group cannot be set, the group gets no rights: they would go to another group.
        """
        status = os.fstat(descriptor)
        present = stat.S_IMODE(status.st_mode)
        mode = self.mode if stat.S_ISDIR(status.st_mode) else self.mode & 0o666
        if self.owner not in (-1, status.st_uid):
            with suppress(OSError):
                os.fchown(descriptor, self.owner, -1)
        if self.group not in (-1, status.st_gid):
            try:
                os.fchown(descriptor, -1, self.group)
            except OSError:
                mode &= ~(stat.S_IRWXG | stat.S_ISGID)
        mode |= present if self.umask else present & stat.S_ISGID
        if present != mode:
            # Some file systems do not support modes.
            with suppress(OSError):
                os.fchmod(descriptor, mode)


def root_grant(folder: os.stat_result, mode: int | None = None) -> Grant:
    """Return the grant of a new run or root in an existing folder; `mode` is the user's choice."""
    if mode is not None:
        return Grant(mode | (stat.S_ISGID if mode & stat.S_IRWXG else 0), _owner(folder))
    own = not folder.st_mode & stat.S_ISVTX
    rights = 0
    if folder.st_mode & stat.S_ISGID or (own and folder.st_mode & stat.S_IWGRP):
        rights |= folder.st_mode & stat.S_IRWXG
    if own and folder.st_mode & stat.S_IWOTH:
        rights |= folder.st_mode & stat.S_IRWXO
    return _make_grant(folder, rights)


def inner_grant(folder: os.stat_result) -> Grant:
    """Return the grant of what is created inside a run's folder."""
    return _make_grant(folder, folder.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def dataset_grant(folder: os.stat_result) -> Grant:
    """Return the grant of a dataset's folder and of what is created inside it."""
    grant = root_grant(folder)
    return Grant(grant.mode, -1, grant.group, umask=True)


def make(folder: str, grant: Callable[[str, os.stat_result], Grant]) -> os.stat_result:
    """Create a folder and its missing parents; `grant` is called with a path and its parent."""
    with suppress(FileNotFoundError):
        status = os.stat(folder)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
        return status
    own = grant(folder, make(os.path.dirname(folder), grant))
    # A shared folder appears with all its rights at once: another user may be waiting for it.
    hidden = bool(own.mode & 0o077) and not own.umask
    made = f"{os.path.dirname(folder)}/.tmp-{uuid.uuid4().hex}" if hidden else folder
    try:
        os.mkdir(made, own.first)
    except FileExistsError:
        return os.stat(folder)
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        own.apply(descriptor)
        if hidden:
            try:
                os.rename(made, folder)
            except OSError:
                os.rmdir(made)
                if not os.path.isdir(folder):
                    raise
        return os.stat(folder)
    finally:
        os.close(descriptor)


def create(path: str, grant: Grant) -> FileIO:
    """Create a file with its rights, and open it to write."""
    file = FileIO(path, "x", opener=lambda path, flags: os.open(path, flags, grant.first & 0o666))
    grant.apply(file.fileno())
    return file


def apply_grant(path: str | os.PathLike[str], grant: Grant) -> None:
    """Apply a grant to a file that this process created; symlinks are left alone."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            grant.apply(descriptor)
        finally:
            os.close(descriptor)


def _make_grant(folder: os.stat_result, rights: int) -> Grant:
    if not rights & stat.S_IRWXG:
        return Grant(PRIVATE | rights, _owner(folder))
    return Grant(PRIVATE | rights | stat.S_ISGID, _owner(folder), folder.st_gid)


def _owner(folder: os.stat_result) -> int:
    """Return the folder's owner for a process of root, such as a pod; -1 for any other."""
    return folder.st_uid if os.geteuid() == 0 else -1


def why_closed(path: str, *, write: bool) -> str:
    """Name the file or folder that keeps this user out of a path, its owner, and what to do."""
    way = [path]
    while (above := os.path.dirname(way[-1])) != way[-1]:
        way.append(above)
    for place in reversed(way):
        wanted = os.R_OK if place == path else os.X_OK
        if write:
            wanted = os.X_OK | os.W_OK if place == os.path.dirname(path) else os.X_OK
        try:
            status = os.stat(place)
        except OSError:
            break
        if stat.S_ISDIR(status.st_mode) and place == path:
            wanted |= os.X_OK
        if not os.access(place, wanted, effective_ids=True):
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            advice = ", or choose another root" if write else ""
            return f"{place} is {_name(status.st_uid)}'s, mode {mode}; ask for access{advice}"
    return f"check who may {'write' if write else 'read'} it"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
