"""Removing what nobody needs any more: old runs, what is left of removed ones, losers' data.

A run that may be alive is never touched. Alive is a run without a last word whose driver
lives on this machine, or, where that cannot be known, one that did anything within a week.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from mapred import display, writing
from mapred.client import drivers, removable
from mapred.client.naming import default_root
from mapred.client.removable import Listing, Remains
from mapred.client.run_handle import Run
from mapred.display.format import pluralize
from mapred.errors import AccessError, MapredError, PlanError, RunError, StorageError
from mapred.errors.escaping import visible
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.rules import DurationFromZero, Location, seconds
from mapred.runfolder import records
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, is_local, map_ahead, modes, open_store

_DAY = 24 * 3600.0
_QUIET = 7 * _DAY  # after so long without a sign a run is taken for dead, wherever it ran
_OUTPUT = re.compile(r"(?P<stage>[^/]+)/(?:data|files)/(?P<task>\d+)-(?P<attempt>\d+-[0-9a-f]{8})")


@dataclass(frozen=True)
class Removal:
    """What is removed of one run, or would be: `what` is `run`, `rest`, `losers` or `staged`."""

    what: str
    uri: str
    why: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Removals:
    """Everything that `gc` or `rm` removed, or (`dry_run`) would remove.

    `problems` are what should have gone and did not, `closed` folders that this user may not read.
    """

    removals: tuple[Removal, ...]
    dry_run: bool
    problems: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        return sum(removal.files for removal in self.removals)

    @property
    def bytes(self) -> int:
        return sum(removal.bytes for removal in self.removals)

    def __str__(self) -> str:
        would = "would remove" if self.dry_run else "removed"
        lines = [
            f"{removal.uri}: {removal.why}, {pluralize(removal.files, 'file')}, "
            f"{display.format_bytes(removal.bytes)}"
            for removal in self.removals
        ]
        total = f"{pluralize(self.files, 'file')}, {display.format_bytes(self.bytes)}"
        return visible("\n".join([*lines, f"{would} {total}", *self.problems, *self.closed]))

    __repr__ = __str__


@checks(PlanError)
def gc(
    root: Location | None = None,
    *,
    older_than: DurationFromZero | None = None,
    dry_run: bool = False,
) -> Removals:
    """Remove from a root what nobody needs: never anything of a run that may be alive.

    Args:
        root: a folder of runs (default `$MAPRED_ROOT`, else `~/.mapred/runs`).
        older_than: also remove runs that were started, and last resumed, longer ago: `"30d"`,
            `"12h"`, `"2w"`, a `timedelta`, seconds. Without it all runs stay, and only what is left of
            removed runs and the data of attempts that lost goes.
        dry_run: remove nothing, and say what would go.
    """
    limit = None if older_than is None else seconds(older_than)
    base = os.fspath(root) if root is not None else default_root()
    found: list[Removal] = []
    problems: list[str] = []
    closed: list[str] = []
    for name, listed in sorted(_iter_runs(open_store(base), closed)):
        folder = RunFolder(open_store(f"{base.rstrip('/')}/{name}"))
        try:
            there = removable.of(folder, listed)
            gone = list(_collect(folder, name, there, limit, dry_run))
        except (MapredError, OSError) as error:
            problems.append(f"{folder.uri} stays: {error}")
            continue
        found += gone
        if any(removal.what in ("run", "rest") for removal in gone):
            problems += _describe_foreign(folder.uri, there)
    return Removals(tuple(found), dry_run, tuple(problems), tuple(closed))


@checks(RunError)
def rm(run: Run | Location, *, dry_run: bool = False) -> Removals:
    """Remove a run, whatever its age; one that may be alive is a `RunError`.

    What it wrote to datasets stays: only files that it never published go there.
    """
    folder = RunFolder(run.store if isinstance(run, Run) else open_store(os.fspath(run)))
    found = removable.of(folder)
    removable.check(folder, found)
    _check_dead(folder, found.files)
    removals = tuple(_remove_whole(folder, found, "run", "the run", dry_run))
    return Removals(removals, dry_run, _describe_foreign(folder.uri, found))


def _iter_runs(root: Store, closed: list[str]) -> Iterator[tuple[str, Listing]]:
    """Name and files of every folder of a root that is a run's, whole or not; notes those closed."""
    if is_local(root.uri):
        for name in _names(root.uri):
            store = open_store(f"{root.uri}/{name}")
            try:
                yield name, store.list("")
            except AccessError as error:
                closed.append(f"{store.uri} is passed over: {error}")
        return
    found: dict[str, Listing] = {}
    for path, size in root.list(""):
        name, _, rest = path.partition("/")
        if rest and removable.MADE.fullmatch(name):
            found.setdefault(name, []).append((rest, size))
    yield from found.items()


def _names(root: str) -> list[str]:
    try:
        return [name for name in os.listdir(root) if removable.MADE.fullmatch(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        why = modes.why_closed(root, write=False)
        raise StorageError(f"cannot list {root}: {error.strerror}: {why}") from error


def _collect(
    folder: RunFolder, name: str, found: Remains, limit: float | None, dry_run: bool
) -> Iterator[Removal]:
    """Yield what goes of one run, and is gone unless `dry_run`, when it has been told."""
    now = time.time()
    files = found.files
    if layout.JOB not in found.paths or _is_marked(files):
        # Somebody may be writing the folder of a new run: its job.json comes last.
        if files and (_is_marked(files) or now - _named_time(name) > _DAY):
            yield from _remove_whole(
                folder, found, "rest", "what is left of a removed run", dry_run
            )
        return
    removable.check(folder, found)
    if _alive(folder, files):
        return
    last = _last_start(folder, name)
    if limit is not None and now - last > limit:
        days = display.format_seconds(now - last)
        yield from _remove_whole(folder, found, "run", f"a run of {days} ago", dry_run)
        return
    if now - last > _DAY:
        losers = _find_losers(folder, files, settled=now - last > _QUIET)
        if losers:
            yield Removal("losers", folder.uri, "data of attempts that lost", *_measure(losers))
            if not dry_run:
                folder.delete(path for path, _ in losers)
        if layout.END in found.paths:
            why = "staged by attempts that were killed"
            for left in _find_staged(folder, found, why):
                yield left[0]
                if not dry_run:
                    writing.discard(left[1].uri, left[1].write_id)


def _find_staged(
    folder: RunFolder, found: Remains, why: str
) -> Iterator[tuple[Removal, removable.Staged]]:
    """Yield what a run left hidden in datasets, where it left anything."""
    for left in removable.staged_writes(folder, found):
        if left.files:
            uri = f"{left.uri}: {left.write_id}"
            yield Removal("staged", uri, why, *_measure(left.files)), left


def _alive(folder: RunFolder, files: Listing) -> str | None:
    """Why a run may be alive, None where it is not."""
    paths = {path for path, _ in files}
    if layout.END in paths or layout.JOB not in paths:
        return None
    start = folder.start()
    if start.ref is None and start.state != "running":
        return None if layout.HANDLE in paths else _recent(folder, "")
    driver = folder.driver(start)
    if driver is None or not driver.is_known:
        return _recent(folder, "" if driver is None else driver.process.host)
    return drivers.may_live(folder, start)


def _recent(folder: RunFolder, host: str) -> str | None:
    """Why a run may be alive whose driver nobody knows; None after a week without a sign."""
    last = max(_last_start(folder, folder.uri.rsplit("/", 1)[-1]), folder.last_activity_time())
    quiet = time.time() - last
    if quiet > _QUIET:
        return None
    where = f"on {host}" if host else "elsewhere"
    return (
        f"it has no last word, was started {where}, and did something "
        f"{display.format_seconds(max(0.0, quiet))} ago; stop it first: "
        f"mapred.open({folder.uri!r}).cancel()"
    )


def _last_start(folder: RunFolder, name: str) -> float:
    """When the run was made, or resumed for the last time."""
    return max(folder.start().time, _named_time(name))


def _named_time(name: str) -> float:
    """Return the time in the name of a run; now, where it has none."""
    try:
        when = datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return time.time()
    return when.timestamp()


def _find_losers(folder: RunFolder, files: Listing, settled: bool) -> Listing:
    """Return the outputs of attempts that no commit names, and what was kept for attempts to come.

    Where a task has no commit yet an attempt may still win, unless all is `settled`.
    """
    outputs: dict[tuple[str, int], dict[str, Listing]] = {}
    kept: Listing = []
    committed = set()
    temporary = [file for file in files if removable.is_temporary(file[0])]
    for path, size in (file for file in files if not removable.is_temporary(file[0])):
        found = _OUTPUT.match(path)
        if found is not None:
            task = found["stage"], int(found["task"])
            outputs.setdefault(task, {}).setdefault(found["attempt"], []).append((path, size))
        if path.startswith(layout.KEPT):
            kept.append((path, size))
        stage, _, rest = path.partition("/")
        index = layout.index_of(path) if rest.startswith("commits/") and size else None
        if index is not None:
            committed.add((stage, index))
    tried = [task for task, tries in outputs.items() if task in committed and len(tries) > 1]
    lost = []
    commits = map_ahead(folder.store, lambda task: folder.commit(*task), tried)
    for task, commit in zip(tried, commits, strict=True):
        if commit is not None:
            lost += [a for name, a in outputs[task].items() if name != commit.attempt]
    # A listing may not show a commit yet.
    unlisted = [task for task in outputs if task not in committed] if settled else []
    commits = map_ahead(folder.store, lambda task: folder.commit(*task), unlisted)
    for task, commit in zip(unlisted, commits, strict=True):
        winner = None if commit is None else commit.attempt
        lost += [a for name, a in outputs[task].items() if name != winner]
    lost.append(temporary)
    lost.append([f for f in kept if settled or ("map", layout.kept_index(f[0])) in committed])
    return sorted({file for attempt in lost for file in attempt})


def _check_dead(folder: RunFolder, files: Listing) -> None:
    alive = None if _is_marked(files) else _alive(folder, files)
    if alive:
        raise RunError(f"{folder.uri} may be alive: {alive}")


def _remove_whole(
    folder: RunFolder, found: Remains, what: str, why: str, dry_run: bool
) -> Iterator[Removal]:
    """All that goes with a run, and is gone unless `dry_run`: its folder, what it left in datasets."""
    records.refuse_newer(folder.store, filter(layout.is_record, found.paths))
    hidden = list(removable.staged_writes(folder, found))
    yield from (removal for removal, _ in _find_staged(folder, found, "what it never published"))
    yield Removal(what, folder.uri, why, *_measure(found.files))
    if not dry_run:
        _remove(folder, hidden)


def _remove(folder: RunFolder, hidden: Iterable[removable.Staged]) -> None:
    # Looked at anew: it may have been resumed since it was found.
    files = removable.of(folder).files
    _check_dead(folder, files)
    for left in hidden:
        writing.discard(left.uri, left.write_id)
    folder.remove(path for path, _ in files)


def _describe_foreign(uri: str, found: Remains) -> tuple[str, ...]:
    """Return what is said of files that have no name of mapred's."""
    if not found.foreign:
        return ()
    more = len(found.foreign) - 1
    others = f" and {pluralize(more, 'other file')}" if more else ""
    return (f"{uri}/{found.foreign[0]}{others} stay: mapred names no file so",)


def _is_marked(files: Listing) -> bool:
    return any(path == layout.REMOVED for path, _ in files)


def _measure(files: Listing) -> tuple[int, int]:
    return len(files), sum(size for _, size in files)
