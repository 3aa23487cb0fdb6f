"""Which settings file counts: one of this user's own project, which nobody else may write.

A settings file names programs and servers, so anyone who can put one above the folder in which
someone works could run code as that user. Git closed the same hole (CVE-2022-24765).
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from mapred.errors import BackendError


def folders(here: Path) -> Iterator[Path]:
    """Yield the folders from `here` up to the top of the repository or to the home folder.

    Where neither is above, it is `here` alone.
    """
    home = Path(os.path.realpath(os.path.expanduser("~")))
    above = (here, *here.parents)
    last = next((path for path in above if path == home or (path / ".git").exists()), here)
    yield from above[: above.index(last) + 1]


def hold(file: Path) -> None:
    """Raise `BackendError` for a file that others own, or may write or replace."""
    reason = _reason(file)
    if reason is not None:
        raise BackendError(
            f"{file} is not used: {reason}, so that others could choose what runs here; make it "
            f"yours alone, or allow it: MAPRED_CONFIG={file}"
        )


def _reason(file: Path) -> str | None:
    """Return why others could decide what a file says; None where they cannot."""
    for status in (os.lstat(file), os.stat(file)):
        if not _is_trusted(status.st_uid):
            return f"it belongs to {_name(status.st_uid)}"
    if _others_write(os.stat(file)):
        return "others can write to it"
    ways = {file, Path(os.path.realpath(file))}
    return next(filter(None, map(_reason_of_way, ways)), None)


def _reason_of_way(file: Path) -> str | None:
    """Return why others could replace a file, or a folder that leads to it."""
    child = file
    for folder in file.parents:
        status = os.stat(folder)
        if not _is_trusted(status.st_uid):
            return f"{folder} belongs to {_name(status.st_uid)}"
        # In a folder such as /tmp, others cannot replace what is not theirs.
        sticky = status.st_mode & stat.S_ISVTX and _is_trusted(os.lstat(child).st_uid)
        if _others_write(status) and not sticky:
            return f"others can write in {folder}"
        child = folder
    return None


def _is_trusted(owner: int) -> bool:
    return owner in (0, os.geteuid())


def _others_write(status: os.stat_result) -> bool:
    by_group = status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
    return bool(status.st_mode & stat.S_IWOTH or by_group)


def _is_own_group(group: int) -> bool:
    """Whether nobody but this user is in a group, such as the one that has the user's name."""
    if group == 0:
        return True
    try:
        entry, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    alone = set(entry.gr_mem) <= {user.pw_name} and entry.gr_name == user.pw_name
    return user.pw_gid == group and alone


def _name(owner: int) -> str:
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"
