"""Which settings file counts: one of this user's own project, that nobody else may write.

A file of settings names programs and servers, so that anyone who can put one above the folder in
which somebody works could run code as them. Git closed the same hole (CVE-2022-24765).
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
    """Yield the folders whose settings count in `here`: up to the repository's top or the home
    folder.

    Where neither is above, it is `here` alone.
    """
    home = Path(os.path.realpath(os.path.expanduser("~")))
    above = (here, *here.parents)
    tops = [each for each in above if each == home or (each / ".git").exists()]
    last = tops[0] if tops else here
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
    """Why others can have a say in a file; None where they cannot."""
    for known in (os.lstat(file), os.stat(file)):
        if not _is_trusted(known.st_uid):
            return f"it belongs to {_name(known.st_uid)}"
    if _others_write(os.stat(file)):
        return "others may write it"
    ways = {file, Path(os.path.realpath(file))}
    return next(filter(None, map(_reason_of_way, ways)), None)


def _reason_of_way(file: Path) -> str | None:
    """Why others could put another file, or folder, in the place of one on the way."""
    child = file
    for folder in file.parents:
        known = os.stat(folder)
        if not _is_trusted(known.st_uid):
            return f"{folder} belongs to {_name(known.st_uid)}"
        # In a folder such as /tmp, others cannot replace what is not theirs.
        sticky = known.st_mode & stat.S_ISVTX and _is_trusted(os.lstat(child).st_uid)
        if _others_write(known) and not sticky:
            return f"others may write in {folder}"
        child = folder
    return None


def _is_trusted(owner: int) -> bool:
    return owner in (0, os.geteuid())


def _others_write(known: os.stat_result) -> bool:
    by_group = known.st_mode & stat.S_IWGRP and not _is_own_group(known.st_gid)
    return bool(known.st_mode & stat.S_IWOTH or by_group)


def _is_own_group(group: int) -> bool:
    """Whether nobody but this user is in a group, as in the one that bears the user's name."""
    if group == 0:
        return True
    try:
        found, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return (
        user.pw_gid == group
        and set(found.gr_mem) <= {user.pw_name}
        and found.gr_name == user.pw_name
    )


def _name(owner: int) -> str:
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"
