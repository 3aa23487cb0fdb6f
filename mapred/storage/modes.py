"""Who may use what is made on a local path: its owner alone, unless the folder around it is shared.

A folder is shared with its group where it is setgid or the group may write to it, and with
everybody where everybody may. A sticky one such as `/tmp` is shared only if it is setgid: its
users keep to themselves there. What is made inside a run's folder has the rights of that folder.

A dataset's folder is made as any program makes one, by the umask, and shared as a root is.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO

PRIVATE = 0o700


@dataclass(frozen=True)
class Grant:
    """Mode, owner and group of what is made in a folder; -1 for those that come by themselves.

    With `umask` the mode adds to what the umask of the process leaves.
    """

    mode: int
    owner: int = -1
    group: int = -1
    umask: bool = False

    @property
    def first(self) -> int:
        """The mode to make something with, before it is given the rest."""
        return 0o777 if self.umask else self.mode & 0o777

    def give(self, descriptor: int) -> None:
        """Give an open file or folder of this process's making what it is to have.

        A group that cannot be given gets no rights: they would be those of another one.
        """
        known = os.fstat(descriptor)
        found = stat.S_IMODE(known.st_mode)
        mode = self.mode if stat.S_ISDIR(known.st_mode) else self.mode & 0o666
        if self.owner not in (-1, known.st_uid):
            with suppress(OSError):
                os.fchown(descriptor, self.owner, -1)
        if self.group not in (-1, known.st_gid):
            try:
                os.fchown(descriptor, -1, self.group)
            except OSError:
                mode &= ~(stat.S_IRWXG | stat.S_ISGID)
        mode |= found if self.umask else found & stat.S_ISGID
        if found != mode:
            # Some file systems know no modes.
            with suppress(OSError):
                os.fchmod(descriptor, mode)


def shared(folder: os.stat_result, mode: int | None = None) -> Grant:
    """What a new folder, such as a run's, gets in one that is there; `mode` is the user's choice."""
    if mode is not None:
        return Grant(mode | (stat.S_ISGID if mode & stat.S_IRWXG else 0), _owner(folder))
    own = not folder.st_mode & stat.S_ISVTX
    rights = 0
    if folder.st_mode & stat.S_ISGID or (own and folder.st_mode & stat.S_IWGRP):
        rights |= folder.st_mode & stat.S_IRWXG
    if own and folder.st_mode & stat.S_IWOTH:
        rights |= folder.st_mode & stat.S_IRWXO
    return _granted(folder, rights)


def inherited(folder: os.stat_result) -> Grant:
    """What is made in a run's folder gets."""
    return _granted(folder, folder.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def of_dataset(folder: os.stat_result) -> Grant:
    """What is made in a dataset's folder, or is one, gets."""
    found = shared(folder)
    return Grant(found.mode, -1, found.group, umask=True)


def make(folder: str, grant: Callable[[str, os.stat_result], Grant]) -> os.stat_result:
    """Make a folder and those above it, unless they are there.

    `grant` says what a folder gets in the one around it.
    """
    with suppress(FileNotFoundError):
        found = os.stat(folder)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
        return found
    given = grant(folder, make(os.path.dirname(folder), grant))
    # One that is shared appears with all its rights: another user may be about to use it.
    hidden = bool(given.mode & 0o077) and not given.umask
    made = f"{os.path.dirname(folder)}/.tmp-{uuid.uuid4().hex}" if hidden else folder
    try:
        os.mkdir(made, given.first)
    except FileExistsError:
        return os.stat(folder)
    descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        given.give(descriptor)
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
    """A new file, open to write, with all its rights."""
    file = FileIO(path, "x", opener=lambda path, flags: os.open(path, flags, grant.first & 0o666))
    grant.give(file.fileno())
    return file


def give(path: str | os.PathLike[str], grant: Grant) -> None:
    """Give a file of this process's making what it is to have; a link is left alone."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            grant.give(descriptor)
        finally:
            os.close(descriptor)


def _granted(folder: os.stat_result, rights: int) -> Grant:
    if not rights & stat.S_IRWXG:
        return Grant(PRIVATE | rights, _owner(folder))
    return Grant(PRIVATE | rights | stat.S_ISGID, _owner(folder), folder.st_gid)


def _owner(folder: os.stat_result) -> int:
    """Root works for the owner of a folder, as pods do that have no user of their own."""
    return folder.st_uid if os.geteuid() == 0 else -1


def why_closed(path: str, *, write: bool) -> str:
    """Which file or folder on the way to a path keeps this user out, whose it is, what to do."""
    way = [path]
    while (above := os.path.dirname(way[-1])) != way[-1]:
        way.append(above)
    for each in reversed(way):
        wanted = os.R_OK if each == path else os.X_OK
        if write:
            wanted = os.X_OK | os.W_OK if each == os.path.dirname(path) else os.X_OK
        try:
            found = os.stat(each)
        except OSError:
            break
        if stat.S_ISDIR(found.st_mode) and each == path:
            wanted |= os.X_OK
        if not os.access(each, wanted, effective_ids=True):
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            advice = ", or choose another root" if write else ""
            return f"{each} is {_name(found.st_uid)}'s, mode {mode}; have it opened{advice}"
    return f"check who may {'write' if write else 'read'} it"


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
