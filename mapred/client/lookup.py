"""Which run is meant by an id, the start of one, `"last"` or a folder."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from mapred import backends
from mapred.client.naming import default_root
from mapred.client.run_handle import Run, open_run
from mapred.display.format import pluralize
from mapred.engine.base import Backend
from mapred.errors import RunError, StorageError
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.rules import Location
from mapred.storage import is_local, modes, open_store

_ID = re.compile(r"\d{8}-\d{6}")


@checks(RunError)
def open(
    run: Location,
    root: Location | None = None,
    *,
    backend: str | Backend | None = None,
    allow_pickle: bool = True,
) -> Run:
    """Return a run, to look at or to resume: by its id, the start of one, `"last"`, or its folder.

    Ids are looked for in `root` (default `$MAPRED_ROOT`, else `~/.mapred/runs`); a folder may be
    a path or a URI. A `RunError` where there is no such run. `backend` says how the cluster that
    works on it is reached: `mapred.Argo(…)`, or a name of mapred.toml. A run's folder does not tell
    that; without it mapred.toml and the environment do.

    Anyone who can write to a run's root can run code where its results are loaded, since many are
    pickles. With `allow_pickle=False` tables and plain values are still given, anything else that
    is pickled is a `FunctionError`, and the run can neither be resumed nor debugged.

        >>> run = mapred.open("last")
    """
    reached = None if backend is None else backends.resolve(backend)
    found = open_run(find(run, root), allow_pickle)
    if reached is not None:
        backends.remember(found.uri, reached)
    return found


def find(run: Location, root: Location | None = None) -> str:
    """Return the folder of a run by its path or URI, its id, the unique start of its id, or `last`."""
    reference = os.fspath(run)
    if not isinstance(run, str) or "/" in reference:
        return reference
    if not reference:
        raise RunError("'' names no run: give an id, the start of one, 'last', or a folder")
    base = base_of(root)
    if reference == "last" and (seen := last(base)).name:
        return f"{base}/{seen.name}"
    names = [name for _, name in sorted(folders(base))]
    if reference not in names and os.path.isfile(os.path.join(reference, layout.JOB)):
        return reference
    matching = [name for name in names if name.startswith(reference)]
    if reference in names or len(matching) == 1:
        return f"{base}/{reference if reference in names else matching[0]}"
    if matching:
        shown = ", ".join(matching[:5]) + (", …" if len(matching) > 5 else "")
        raise RunError(f"{len(matching)} runs begin with {reference!r}: {shown}")
    if reference == "last" and names:
        raise RunError(
            f"{pluralize(len(names), 'run')} in {base}, and none that this user may read"
        )
    raise RunError(
        f"no run {reference!r} in {base}; mapred.runs(), or `mapred ls` in a shell, shows those "
        "that are there"
    )


@dataclass(frozen=True)
class Last:
    """The newest run of a root that this user may read, and newer ones that are closed."""

    name: str | None
    closed: tuple[str, ...]


def last(root: str) -> Last:
    """Return the run that `last` means."""
    closed: list[str] = []
    for _, name in sorted(folders(root), reverse=True):
        if not _is_closed(root, name):
            return Last(name, tuple(closed))
        closed.append(name)
    return Last(None, tuple(closed))


def base_of(root: Location | None) -> str:
    text = os.fspath(root) if root is not None else default_root()
    return (open_store(text).uri if is_local(text) else text).rstrip("/")


def folders(root: str) -> Iterator[tuple[tuple[str, int], str]]:
    """Yield (a key that sorts by age, name) of every folder of the root that holds a job.json.

    An id begins with its second; within one second, and for names given by `run_id=`, the file's
    own time decides. A folder that is closed to this user may hold one.
    """
    if not is_local(root):
        for path, _ in open_store(root).list(""):
            name, _, rest = path.partition("/")
            if rest == layout.JOB:
                yield (name[:15], 0), name
        return
    folder = open_store(root).uri
    try:
        with os.scandir(folder) as found:
            for entry in found:
                try:
                    known = os.lstat(os.path.join(entry.path, layout.JOB))
                except PermissionError:
                    if entry.name.startswith(".") or "+" in entry.name:
                        continue  # not a run's name; `lost+found` is on every disk
                    known = entry.stat(follow_symlinks=False)
                    yield (_second(entry.name, known.st_mtime), known.st_mtime_ns), entry.name
                    continue
                except OSError:
                    continue  # not a run
                # Of a run, one that is a folder, a pipe or a link is told as unreadable.
                if stat.S_ISREG(known.st_mode) or _ID.match(entry.name):
                    yield (_second(entry.name, known.st_mtime), known.st_mtime_ns), entry.name
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        why = modes.why_closed(folder, write=False)
        raise StorageError(f"cannot list {folder}: {error.strerror}: {why}") from error


def _is_closed(root: str, name: str) -> bool:
    return is_local(root) and not os.access(f"{open_store(root).uri}/{name}/{layout.JOB}", os.R_OK)


def _second(name: str, changed: float) -> str:
    """When a run was made, in UTC: by its id, or by the time of its job.json."""
    if _ID.match(name):
        return name[:15]
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(changed))
