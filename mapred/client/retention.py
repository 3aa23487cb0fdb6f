"""Remove old runs, leftovers of removed ones, and data of unused attempts.

A run that may be running is never touched. That is a run that has not ended and whose driver lives
on this machine, or, where that cannot be known, one that did anything within a week.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from mapred import display, writing
from mapred.client import drivers, lookup, removable
from mapred.client.naming import default_root
from mapred.client.pipelines.handle import PipelineRun
from mapred.client.removable import Listing, Remains, Staged
from mapred.client.run_handle import Run
from mapred.display.format import pluralize
from mapred.errors import AccessError, MapredError, PlanError, RunError
from mapred.errors.escaping import visible
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.rules import DurationFromZero, Location, seconds
from mapred.runfolder import records
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import Store, is_local, map_ahead, open_store

_DAY = 24 * 3600.0
_QUIET = 7 * _DAY  # after so long without a sign of life a run counts as dead
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
    """What `gc` or `rm` removed or, with `dry_run`, would remove. Its text lists it.

    Attributes:
        removals: What went of each run, with `uri`, `why`, `files` and `bytes`.
        dry_run: Whether nothing was removed.
        problems: What should have gone and did not.
        closed: Folders that this user may not read.

    Examples:
        >>> run = mapred.run(abs, [-1, -2])
        >>> removed = mapred.rm(run, dry_run=True)
        >>> len(removed.removals), removed.files > 3, removed.dry_run
        (1, True, True)
    """

    removals: tuple[Removal, ...]
    dry_run: bool
    problems: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()

    @property
    def files(self) -> int:
        """How many files that is."""
        return sum(removal.files for removal in self.removals)

    @property
    def bytes(self) -> int:
        """How many bytes that is."""
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
    """Remove old runs and leftovers from a root, and never anything of a run that may be running.

    Args:
        root: A folder of runs (default: `$MAPRED_ROOT`, else `~/.mapred/runs`).
        older_than: Also remove runs that were started, and last resumed, longer ago: `"30d"`,
            `"12h"`, `"2w"`, a `timedelta`, seconds. Without it all runs stay, and only what is left
            of removed runs and the data of unused attempts goes.
        dry_run: Whether to remove nothing, and say what would go.

    Returns:
        What was removed, or would be.

    Raises:
        PlanError: An argument does not fit.

    Examples:
        >>> run = mapred.run(abs, [-1, -2])
        >>> print(mapred.gc(older_than="30d", dry_run=True))
        would remove 0 files, 0 B
    """
    limit = None if older_than is None else seconds(older_than)
    base = os.fspath(root) if root is not None else default_root()
    removals: list[Removal] = []
    problems: list[str] = []
    closed: list[str] = []
    for name, listed in sorted(_iter_runs(open_store(base), closed)):
        folder = RunFolder(open_store(f"{base.rstrip('/')}/{name}"))
        if any(removal.uri == folder.uri for removal in removals):
            continue  # with the pipeline that it was a step of
        try:
            remains = removable.of(folder, listed)
            removed = list(_collect(folder, name, remains, limit, dry_run))
        except (MapredError, OSError) as error:
            problems.append(f"{folder.uri} stays: {error}")
            continue
        removals += removed
        if any(removal.what in ("run", "rest") for removal in removed):
            problems += _describe_foreign(folder.uri, remains)
    return Removals(tuple(removals), dry_run, tuple(problems), tuple(closed))


@checks(RunError)
def rm(run: Run | PipelineRun | Location, *, dry_run: bool = False) -> Removals:
    """Remove a run, however old it is.

    What it wrote to datasets stays: only files that it never published go there. A pipeline is
    removed with its runs, and none of these without it.

    Args:
        run: A run or a pipeline's run, or its folder as a path or a URI.
        dry_run: Whether to remove nothing, and say what would go.

    Returns:
        What was removed, or would be.

    Raises:
        RunError: There is no such run, it may be running, or a pipeline that is there needs it.

    Examples:
        >>> run = mapred.run(abs, [-1, -2])
        >>> removed = mapred.rm(run)
        >>> mapred.runs()
        no runs in ...
    """
    given = run.store if isinstance(run, Run | PipelineRun) else open_store(os.fspath(run))
    folder = RunFolder(given)
    remains = removable.of(folder)
    removable.check(folder, remains)
    _check_dead(folder, remains.files)
    pipeline = lookup.top_pipeline_of(folder.uri)
    if pipeline is not None:
        raise RunError(
            f"{folder.uri} does a step of the pipeline {pipeline}, which cannot continue without it; "
            f"to remove both: mapred.rm({pipeline!r})"
        )
    what = "the pipeline" if removable.is_pipeline(remains) else "the run"
    removals = tuple(_remove_all(folder, remains, what, dry_run))
    return Removals(removals, dry_run, _describe_foreign(folder.uri, remains))


def _iter_runs(root: Store, closed: list[str]) -> Iterator[tuple[str, Listing]]:
    """Yield name and files of each run's folder of a root, whole or not; note closed ones."""
    if is_local(root.uri):
        # All names first: removing runs meanwhile would disturb the listing.
        names = [entry.name for entry in lookup.entries(root.uri)]
        for name in filter(removable.MADE.fullmatch, names):
            store = open_store(f"{root.uri}/{name}")
            try:
                yield name, store.list("")
            except AccessError as error:
                closed.append(f"{store.uri} is skipped: {error}")
        return
    folders: dict[str, Listing] = {}
    for path, size in root.list(""):
        name, _, rest = path.partition("/")
        if rest and removable.MADE.fullmatch(name):
            folders.setdefault(name, []).append((rest, size))
    yield from folders.items()


def _collect(
    folder: RunFolder, name: str, remains: Remains, limit: float | None, dry_run: bool
) -> Iterator[Removal]:
    """Yield what can go of one run, and remove it unless `dry_run`."""
    now = time.time()
    files = remains.files
    if not {layout.JOB, layout.PIPELINE} & remains.paths or _is_marked(files):
        # Someone may be writing the folder of a new run: its job.json comes last.
        if files and (_is_marked(files) or now - _named_time(name) > _DAY):
            yield from _remove_whole(folder, remains, "rest", "leftovers of a removed run", dry_run)
        return
    removable.check(folder, remains)
    if _alive(folder, files):
        return
    last = _last_start(folder, name)
    old = limit is not None and now - last > limit
    if old and lookup.pipeline_of(folder.uri) is None:
        what = "a pipeline" if removable.is_pipeline(remains) else "a run"
        days = display.format_seconds(now - last)
        yield from _remove_all(folder, remains, f"{what} of {days} ago", dry_run)
        return
    if now - last > _DAY:
        losers = _find_losers(folder, files, settled=now - last > _QUIET)
        if losers:
            yield Removal("losers", folder.uri, "data of unused attempts", *_measure(losers))
            if not dry_run:
                folder.delete(path for path, _ in losers)
        if layout.END in remains.paths:
            for staged in removable.staged_writes(folder, remains):
                if staged.files:
                    yield _staged_removal(staged, "staged by attempts that were killed")
                    if not dry_run:
                        writing.discard(staged.uri, staged.write_id)


def _staged_removal(staged: Staged, why: str) -> Removal:
    return Removal("staged", f"{staged.uri}: {staged.write_id}", why, *_measure(staged.files))


def _alive(folder: RunFolder, files: Listing) -> str | None:
    """Why a run may be running, None where it is not."""
    paths = {path for path, _ in files}
    if layout.END in paths or not {layout.JOB, layout.PIPELINE} & paths:
        return None
    start = folder.start()
    if start.ref is None and start.state != "running":
        return None if layout.HANDLE in paths else _recent(folder, "")
    driver = folder.driver(start)
    if driver is None or not driver.is_known:
        return _recent(folder, "" if driver is None else driver.process.host)
    return drivers.may_live(folder, start)


def _recent(folder: RunFolder, host: str) -> str | None:
    """Why a run whose driver is unknown may be running; None after a week without a sign."""
    last = _last_start(folder, folder.uri.rsplit("/", 1)[-1])
    pipeline = None if folder.has_job() else PipelineFolder(folder.store)
    if pipeline is None:
        last = max(last, folder.last_activity_time())
    quiet = time.time() - last
    if quiet > _QUIET and not (pipeline is not None and pipeline.has_open_gates()):
        return None
    where = f"on {host}" if host else "elsewhere"
    return (
        f"it has no end record, was started {where}, and was active "
        f"{display.format_seconds(max(0.0, quiet))} ago; stop it first: "
        f"mapred.open({folder.uri!r}).cancel()"
    )


def _last_start(folder: RunFolder, name: str) -> float:
    return max(folder.start().time, _named_time(name))


def _named_time(name: str) -> float:
    """Return the time in the name of a run; now, where it has none."""
    try:
        when = datetime.strptime(name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return time.time()
    return when.timestamp()


def _find_losers(folder: RunFolder, files: Listing, settled: bool) -> Listing:
    """Return the outputs of attempts that no commit names, and what was kept for later attempts.

    Where a task has no commit yet an attempt may still win, unless all is `settled`.
    """
    outputs: dict[tuple[str, int], dict[str, Listing]] = {}
    committed = set()
    kept: Listing = []
    lost: Listing = []
    for path, size in files:
        stage, _, rest = path.partition("/")
        if removable.is_temporary(path):
            lost.append((path, size))
        elif output := _OUTPUT.match(path):
            task = output["stage"], int(output["task"])
            outputs.setdefault(task, {}).setdefault(output["attempt"], []).append((path, size))
        elif path.startswith(layout.KEPT):
            kept.append((path, size))
        elif rest.startswith("commits/") and size and (index := layout.index_of(path)) is not None:
            committed.add((stage, index))
    # A listing may lag behind: it shows no commit of a task that has one, so that is read as well.
    tasks = [
        task
        for task, attempts in outputs.items()
        if (len(attempts) > 1 if task in committed else settled)
    ]
    commits = map_ahead(folder.store, lambda task: folder.commit(*task), tasks)
    for task, commit in zip(tasks, commits, strict=True):
        if commit is not None or task not in committed:
            winner = None if commit is None else commit.attempt
            for attempt, written in outputs[task].items():
                lost += written if attempt != winner else []
    lost += [file for file in kept if settled or ("map", layout.kept_index(file[0])) in committed]
    return sorted(set(lost))


def _check_dead(folder: RunFolder, files: Listing) -> None:
    alive = None if _is_marked(files) else _alive(folder, files)
    if alive:
        raise RunError(f"{folder.uri} may be running: {alive}")


def _remove_all(folder: RunFolder, remains: Remains, why: str, dry_run: bool) -> Iterator[Removal]:
    """Yield a run, or a pipeline after all of its runs, and remove them unless `dry_run`.

    The runs of a pipeline are looked at before the first of them goes.
    """
    steps = []
    for inside in removable.list_steps(folder) if removable.is_pipeline(remains) else ():
        there = removable.of(inside)
        removable.check(inside, there)
        _check_dead(inside, there.files)
        steps.append((inside, there))
    for inside, there in steps:
        yield from _remove_whole(inside, there, "run", f"a step of {folder.uri}", dry_run)
    yield from _remove_whole(folder, remains, "run", why, dry_run)


def _remove_whole(
    folder: RunFolder, remains: Remains, what: str, why: str, dry_run: bool
) -> Iterator[Removal]:
    """Yield a run's folder and what it left in datasets, and remove them unless `dry_run`."""
    records.refuse_newer(folder.store, filter(layout.is_record, remains.paths))
    staged = list(removable.staged_writes(folder, remains))
    why_staged = "what it never published"
    yield from (_staged_removal(part, why_staged) for part in staged if part.files)
    yield Removal(what, folder.uri, why, *_measure(remains.files))
    if not dry_run:
        # Listed again, since the run may have been resumed meanwhile.
        files = removable.of(folder).files
        _check_dead(folder, files)
        for part in staged:
            writing.discard(part.uri, part.write_id)
        folder.remove(path for path, _ in files)


def _describe_foreign(uri: str, remains: Remains) -> tuple[str, ...]:
    """Return what to say of files that mapred does not name."""
    if not remains.foreign:
        return ()
    more = len(remains.foreign) - 1
    others = f" and {pluralize(more, 'other file')}" if more else ""
    return (f"{uri}/{remains.foreign[0]}{others} stay: mapred does not name files like that",)


def _is_marked(files: Listing) -> bool:
    return any(path == layout.REMOVED for path, _ in files)


def _measure(files: Listing) -> tuple[int, int]:
    return len(files), sum(size for _, size in files)
