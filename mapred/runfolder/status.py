"""What a run's folder tells of the run: its status, its failures, its shards."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mapred.errors import MapredError
from mapred.model import layout, policy
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.runfolder import records, shortfall, starts
from mapred.runfolder.starts import Start
from mapred.runfolder.tally import Tally
from mapred.storage import Store

if TYPE_CHECKING:
    from mapred.model.failure import Failure


def default_root() -> str:
    """Where runs are made unless `root=` says otherwise."""
    return os.environ.get("MAPRED_ROOT") or os.path.expanduser("~/.mapred/runs")


def status(store: Store, job: Job, start: Start, *, alive: bool) -> RunStatus:
    """A run's status from its folder alone: reads every commit.

    `start` is its last one, `alive` whether its driver lives.
    """
    end = records.read_end(store)
    state = end["state"] if end else "running" if alive else start.state
    tally = Tally(job, store.uri, shortfall.read(store, job))
    for stage in job.stages:
        for commit in _commits(store, stage.name):
            tally.add(commit)
        for failure in records.read_failures(store, stage.name):
            tally.note(failure)
    found = tally.status(
        state if state != "running" or alive else "interrupted",
        message=end["message"] if end else "",
        started=starts.submitted(job),
        finished=None,
        running={},
        failures=failures(store, job),
    )
    return starts.timed(found, store, job, start)


@contextmanager
def withdrawn(store: Store) -> Iterator[None]:
    """Remove the folder of a run that could not be started: no phantom is left among the runs.

    One that was complete when Ctrl-C came may have been at work, and can be resumed; so can one
    with a commit, as where the disk got full on the way.
    """
    try:
        yield
    except BaseException as error:
        with suppress(MapredError, OSError):
            began = any("/commits/" in path for path, _ in store.list(""))
            failed = isinstance(error, Exception) and not began
            if failed or _read(store, layout.JOB) is None:
                discard(store)
        raise


@contextmanager
def restored(store: Store, paths: Iterable[str]) -> Iterator[None]:
    """Put files of a run back as they were, where what changes them is refused in the end."""
    before = {path: _read(store, path) for path in dict.fromkeys(paths)}
    try:
        yield
    except Exception:
        with suppress(MapredError, OSError):
            for path, data in before.items():
                if data is not None:
                    store.write(path, data)
                else:
                    with suppress(FileNotFoundError):
                        store.delete(path)
        raise


def _read(store: Store, path: str) -> bytes | None:
    try:
        return store.read(path)
    except FileNotFoundError:
        return None


def discard(store: Store) -> None:
    """Remove all of a folder in which nothing works, job.json first: without it nothing opens it as a run."""
    for path in [layout.JOB, *(path for path, _ in store.list(""))]:
        with suppress(FileNotFoundError):
            store.delete(path)
    root = store.local_path("")
    if root is not None:
        import shutil

        shutil.rmtree(root, ignore_errors=True)


def _commits(store: Store, stage: str) -> Iterator[Commit]:
    for commit in records.read_commits(store, stage, records.committed(store, stage)):
        if commit is not None:
            yield commit


def failures(store: Store, job: Job) -> tuple[Failure, ...]:
    """The last error record of each task that has no commit, or that gave up some items.

    It names all items that the task lost, in whatever attempt.
    """
    found: list[Failure] = []
    for stage in job.stages:
        done = frozenset(records.committed(store, stage.name))
        given_up = records.read_given_up(store) if stage.kind == "map" else {}
        settled = done - given_up.keys()
        latest: dict[int, list[Failure]] = {}
        for failure in records.read_failures(store, stage.name, but=settled):
            latest.setdefault(failure.task, []).append(failure)
        for task, tries in latest.items():
            found.append(_last(job, tries, given_up.get(task), committed=task in done))
    return tuple(sorted(found, key=lambda failure: (failure.stage, failure.task)))


def _last(
    job: Job, tries: list[Failure], given_up: list[int] | None, *, committed: bool
) -> Failure:
    """What is told of the failed attempts at a task: all items that it lost.

    Of one that is done, these are the items given up, and else those that failed beside them.
    """
    from mapred.model.failure import merged

    latest = max(tries, key=lambda failure: failure.time)
    if not latest.items:
        return latest
    lost = {item for failure in tries for item in policy.lost_items(job.attempts, failure)}
    before = lost.intersection(given_up or ())
    told = before if committed or lost == before else lost - before
    found = None
    for failure in tries:
        if items := told.intersection(policy.lost_items(job.attempts, failure)):
            found = merged(found, replace(failure, items=tuple(sorted(items))))
    return found or latest


def shards(store: Store, job: Job) -> Iterator[dict[str, Any]]:
    """What is known of every map task, as rows of a table."""
    sizes = records.shard_bytes(store, job)
    given_up = shortfall.read(store, job)
    failed = {failure.task for failure in failures(store, job) if failure.stage == "map"}
    commits = records.read_commits(store, "map", range(job.shards))
    for shard, commit in enumerate(commits):
        row: dict[str, Any] = {"shard": shard, "planned_bytes": int(sizes[shard])}
        if commit is not None:
            names = ("attempt", "bytes", "records", "skipped", "seconds", "peak_memory", "worker")
            row.update({name: getattr(commit, name) for name in names})
            row["records"] = given_up.kept.get(shard, commit.records)
        row["state"] = _state(shard, commit, given_up, failed)
        row["given_up"] = len(given_up.lost.get(shard, ()))
        yield row


def _state(shard: int, commit: Commit | None, given_up: GivenUp, failed: set[int]) -> str:
    if shard in given_up.tasks:
        return "given up"
    if commit is not None:
        return "done"
    return "failed" if shard in failed else "waiting"
