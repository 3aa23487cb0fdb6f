"""Removing what nobody needs any more: old runs, what is left of removed ones, losers' data.

A run that may be alive is never touched. Alive is a run without a last word whose driver
lives on this machine, or, where that cannot be known, one that did anything within a week.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone

from mapred import display, layout, records, starts, writing
from mapred.backends.base import process_birth
from mapred.checking import DurationFromZero, Location, checks, seconds
from mapred.display.numbers import several
from mapred.errors import MapredError, PlanError, RunError, StorageError
from mapred.folder import default_root
from mapred.handles import Run
from mapred.storage import Store, each, open_store

_DAY = 24 * 3600.0
_QUIET = 7 * _DAY  # after so long without a sign a run is taken for dead, wherever it ran
_NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")
_OUTPUT = re.compile(r"(?P<stage>[^/]+)/(?:data|files)/(?P<task>\d+)-(?P<attempt>\d+-[0-9a-f]{8})")
# Without the first there is no run; without the next two, no result.
_FIRST = (layout.JOB, layout.END, layout.MANIFEST)

Listing = list[tuple[str, int]]


@dataclass(frozen=True)
class Removal:
    """What is removed of one run, or would be: `what` is `run`, `rest` or `losers`."""

    what: str
    uri: str
    why: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Removals:
    """Everything that `gc` or `rm` removed, or (`dry_run`) would remove."""

    removals: tuple[Removal, ...]
    dry_run: bool
    problems: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        return sum(removal.files for removal in self.removals)

    @property
    def bytes(self) -> int:
        return sum(removal.bytes for removal in self.removals)

    def __str__(self) -> str:
        would = "would remove" if self.dry_run else "removed"
        lines = [
            f"{removal.uri}: {removal.why}, {several(removal.files, 'file')}, "
            f"{display.format_bytes(removal.bytes)}"
            for removal in self.removals
        ]
        total = f"{several(self.files, 'file')}, {display.format_bytes(self.bytes)}"
        return "\n".join([*lines, f"{would} {total}", *self.problems])

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
    for name, files in sorted(_runs(open_store(base))):
        store = open_store(f"{base.rstrip('/')}/{name}")
        try:
            found += _collect(store, name, files, limit, dry_run)
        except (MapredError, OSError) as error:
            problems.append(f"{store.uri} stays: {error}")
    return Removals(tuple(found), dry_run, tuple(problems))


@checks(RunError)
def rm(run: Run | Location, *, dry_run: bool = False) -> Removals:
    """Remove a run, whatever its age; one that may be alive is a `RunError`.

    What it wrote to datasets stays: only files that it never published go there.
    """
    store = run.store if isinstance(run, Run) else open_store(os.fspath(run))
    files = store.list("")
    if not any(path in (layout.JOB, layout.REMOVED) for path, _ in files):
        raise RunError(f"{store.uri} holds no run: there is no {layout.JOB} in it")
    _check_dead(store, files)
    removal = Removal("run", store.uri, "the run", *_measure(files))
    if not dry_run:
        _remove(store)
    return Removals((removal,), dry_run)


def _runs(root: Store) -> Iterator[tuple[str, Listing]]:
    """Name and files of every folder of a root that is a run's, whole or not."""
    found: dict[str, Listing] = {}
    for path, size in root.list(""):
        name, _, rest = path.partition("/")
        if rest and _NAME.fullmatch(name):
            found.setdefault(name, []).append((rest, size))
    yield from found.items()


def _collect(
    store: Store, name: str, files: Listing, limit: float | None, dry_run: bool
) -> Iterator[Removal]:
    """What goes of one run, and is gone unless `dry_run`, when it has been told."""
    now = time.time()
    paths = {path for path, _ in files}
    if layout.JOB not in paths or _is_marked(files):
        # Somebody may be writing the folder of a new run: its job.json comes last.
        if _is_marked(files) or now - _named_time(name) > _DAY:
            yield Removal("rest", store.uri, "what is left of a removed run", *_measure(files))
            if not dry_run:
                _remove(store)
        return
    if _alive(store, files):
        return
    last = _last_start(store, name)
    if limit is not None and now - last > limit:
        days = display.format_seconds(now - last)
        yield Removal("run", store.uri, f"a run of {days} ago", *_measure(files))
        if not dry_run:
            _remove(store)
        return
    if now - last > _DAY:
        losers = _losers(store, files, settled=now - last > _QUIET)
        if losers:
            yield Removal("losers", store.uri, "data of attempts that lost", *_measure(losers))
            if not dry_run:
                _delete(store, [path for path, _ in losers])


def _alive(store: Store, files: Listing) -> str | None:
    """Why a run may be alive, None where it is not."""
    paths = {path for path, _ in files}
    if layout.END in paths or layout.JOB not in paths:
        return None
    start = starts.read(store)
    ref = start.ref or ""
    if not ref and start.state == "suspended":
        return None
    here = ref.split(":")
    if len(here) == 4 and here[1] == os.uname().nodename:
        if process_birth(int(here[2])) == here[3]:
            return f"the process {here[2]} of this machine drives it"
        return None
    quiet = time.time() - max(_last_start(store, store.uri.rsplit("/", 1)[-1]), _last_sign(store))
    if quiet > _QUIET:
        return None
    where = f"on {here[1]}" if len(here) == 4 else "elsewhere"
    return (
        f"it has no last word, was started {where}, and did something "
        f"{display.format_seconds(max(0.0, quiet))} ago"
    )


def _last_start(store: Store, name: str) -> float:
    """When the run was made, or resumed for the last time."""
    return max(starts.read(store).time, _named_time(name))


def _named_time(name: str) -> float:
    """The time in the name of a run; now, where it has none."""
    try:
        when = datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return time.time()
    return when.timestamp()


def _last_sign(store: Store) -> float:
    """The end of the last commit, or the last failure, of a run: reads them all."""
    times = [0.0]
    for stage in records.read_job(store).stages:
        name = stage.name
        for commit in records.read_commits(store, name, records.committed(store, name)):
            if commit is not None:
                times.append(commit.started + commit.seconds)
        times += [failure.time for failure in records.read_failures(store, name)]
    return max(times)


def _losers(store: Store, files: Listing, settled: bool) -> Listing:
    """The outputs of attempts that no commit names, and what was kept for attempts to come.

    Where a task has no commit yet an attempt may still win, unless all is `settled`.
    """
    outputs: dict[tuple[str, int], dict[str, Listing]] = {}
    kept: Listing = []
    committed = set()
    for path, size in files:
        found = _OUTPUT.match(path)
        if found is not None:
            task = found["stage"], int(found["task"])
            outputs.setdefault(task, {}).setdefault(found["attempt"], []).append((path, size))
        if path.startswith(layout.all_kept()):
            kept.append((path, size))
        stage, _, rest = path.partition("/")
        index = layout.index_of(path) if rest.startswith("commits/") and size else None
        if index is not None:
            committed.add((stage, index))
    tried = [task for task, tries in outputs.items() if task in committed and len(tries) > 1]
    lost = []
    commits = each(store, lambda task: records.read_commit(store, *task), tried)
    for task, commit in zip(tried, commits, strict=True):
        if commit is not None:
            lost += [a for name, a in outputs[task].items() if name != commit.attempt]
    if settled:
        for task, tries in outputs.items():
            if task not in committed:
                lost += list(tries.values())
    lost.append([f for f in kept if settled or ("map", layout.kept_index(f[0])) in committed])
    return sorted(file for attempt in lost for file in attempt)


def _check_dead(store: Store, files: Listing) -> None:
    alive = None if _is_marked(files) else _alive(store, files)
    if alive:
        raise RunError(
            f"{store.uri} may be alive: {alive}; stop it first: mapred.open({store.uri!r}).cancel()"
        )


def _remove(store: Store) -> None:
    """Remove a run: marked first, so that it is finished later if this is cut off.

    Without job.json there is no run to be opened, so nobody reads one that is half there.
    """
    # Looked at anew: it may have been resumed since it was found.
    files = store.list("")
    _check_dead(store, files)
    for written in records.read_writes(store, [path for path, _ in files]):
        writing.discard(written.uri, written.id)
    store.write(layout.REMOVED, json.dumps({"time": time.time()}).encode())
    for path in _FIRST:
        with suppress(FileNotFoundError):
            store.delete(path)
    _delete(store, [path for path, _ in files if path not in (*_FIRST, layout.REMOVED)])
    with suppress(FileNotFoundError):
        store.delete(layout.REMOVED)
    locate = getattr(store, "local_path", None)
    if locate is not None:
        # Temporary files and empty folders, which are in no listing.
        try:
            shutil.rmtree(locate(""))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"{store.uri} cannot be removed: {error.strerror}") from error


def _delete(store: Store, paths: list[str]) -> None:
    def delete(path: str) -> None:
        with suppress(FileNotFoundError):
            store.delete(path)

    for _ in each(store, delete, paths):
        pass


def _is_marked(files: Listing) -> bool:
    return any(path == layout.REMOVED for path, _ in files)


def _measure(files: Listing) -> tuple[int, int]:
    return len(files), sum(size for _, size in files)
