"""A block of tasks as one process sees it: its inputs first, then its tasks, one after the other.

An attempt that fails ends the process, so that the next one starts afresh; what is known by
then goes from process to process in `Known`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mapred.errors import AccessError, FullError, FunctionError, MapredError, StorageError
from mapred.functions import versions
from mapred.model import layout, retries
from mapred.model.failure import Failure
from mapred.model.packs import Note, Pack
from mapred.model.records import Commit
from mapred.model.spec import Stage
from mapred.process import threads
from mapred.runfolder import failures, losses, manifests, records
from mapred.worker.context import Context, context
from mapred.worker.tasks import committed, run_task

DONE, FAILED, TRY_AGAIN, MISMATCH, KILLED = 0, 1, 75, 78, 137
RESULT = "result"  # in place of a stage's name: what closes a run whose last stage has many tasks

TaskPlace = tuple[str, int]  # a stage's name, and a task of it


class Over(Exception):
    """The run has its last word, or gets it now: there is nothing left to do for its tasks."""


@dataclass(frozen=True)
class Block:
    """What the command line names."""

    run_uri: str
    digest: str
    stage: str
    number: int
    size: int

    def tasks(self, total: int) -> range:
        return range(self.number * self.size, min((self.number + 1) * self.size, total))


@dataclass(frozen=True)
class Loss:
    """An attempt that took its process down, to be recorded by the next child."""

    place: TaskPlace
    kind: str
    message: str
    log: str
    spent: bool = True  # whether it counts as one of the job's attempts
    item: int | None = None


@dataclass
class Known:
    """What the children told; each child starts with a copy.

    `tries` counts the attempts at a task that failed as a whole, `packs` tells of those whose
    items failed, and `due` when each may run again.
    """

    tries: dict[TaskPlace, int] = field(default_factory=dict)
    packs: dict[TaskPlace, Pack] = field(default_factory=dict)
    due: dict[TaskPlace, float] = field(default_factory=dict)
    final: set[TaskPlace] = field(default_factory=set)
    lost: list[Loss] = field(default_factory=list)
    timeout: float | None = None
    killed: bool = False  # an attempt, by the system

    def hear(self, place: TaskPlace, said: Mapping[str, Any]) -> None:
        """Take over what a child says of a task that is not done."""
        self.tries[place], self.due[place] = said["tries"], said["due"]
        if said["pack"] is not None:
            self.packs[place] = Pack.from_json(said["pack"])
        if said["final"]:
            self.final.add(place)

    def start_anew(self, places: Iterable[TaskPlace]) -> None:
        """Forget the attempts at some tasks."""
        for place in places:
            self.tries.pop(place, None)
            self.packs.pop(place, None)
            self.final.discard(place)


class Parent(Protocol):
    """Who started this process, and starts the next one."""

    def say(self, **message: Any) -> None: ...

    @property
    def note(self) -> Note:
        """Tells of an item before it is called."""
        ...

    def log(self) -> str:
        """What this process printed since it last asked."""
        ...


def ending(block: Block, known: Known, parent: Parent) -> int | None:
    """The status to exit with, or None: go on in a fresh process."""
    try:
        run = context(block.run_uri, block.digest)
        versions.check(run.job)
        for stage in run.job.stages:
            if stage.name == block.stage:
                run.check_python(stage)
    except FileNotFoundError:
        say(f"{block.run_uri} holds no run")
        return FAILED
    except FunctionError as error:
        say(str(error))
        return MISMATCH
    except StorageError as error:
        return _troubled(error)
    parent.say(timeout=run.job.timeout)
    try:
        for loss in known.lost:
            _record(run, loss, known, parent)
        known.lost = []
        return KILLED if known.killed else _work(run, block, known, parent)
    except StorageError as error:
        return _troubled(error)
    except (Over, MapredError) as error:
        say(str(error))
        return FAILED


def _record(run: Context, loss: Loss, known: Known, parent: Parent) -> None:
    """Record an attempt that took its process down, and what follows for its task."""
    stage, index = run.job.stage(loss.place[0]), loss.place[1]
    number = known.tries.get(loss.place, 0) + 1
    if loss.item is not None:
        number = max(number, known.packs.get(loss.place, Pack()).attempt(loss.item))
    final = loss.spent and retries.ends_for_good(run.job, loss.kind)
    how = loss.kind, loss.message, loss.log, loss.spent, loss.item, final
    failure = failures.died(run.store, run.job, stage, index, number, *how)
    if loss.spent:
        _failed(run, loss.place, failure, known, parent, more=True)


def _failed(
    run: Context, place: TaskPlace, failure: Failure, known: Known, parent: Parent, *, more: bool
) -> None:
    """Note what follows from a failed attempt: what is tried again, and when."""
    if failure.items:
        known.packs[place] = known.packs.get(place, Pack()).after(
            failure, losses.lost_items(run.job, failure)
        )
        losable = losses.allowed(run.job, run.job.stage(place[0]))
        final = not more or bool(known.packs[place].lost and not losable)
    else:
        known.tries[place] = failure.attempts
        final = losses.final(run.job, failure)
    known.due[place] = time.monotonic() + retries.pause(failure.attempts)
    _tell(place, known, parent, final=final)


def _tell(place: TaskPlace, known: Known, parent: Parent, *, final: bool) -> None:
    """Have the parent know of a task that is not done, for the processes to come."""
    if final:
        known.final.add(place)
    pack = known.packs.get(place)
    parent.say(
        place=place,
        tries=known.tries.get(place, 0),
        pack=None if pack is None else pack.to_json(),
        due=known.due.get(place, 0.0),
        final=final,
    )


def _troubled(error: StorageError) -> int:
    """A pod in place of this one has the same credentials and the same root: a refusal is final."""
    say(str(error))
    return MISMATCH if isinstance(error, AccessError | FullError) else TRY_AGAIN


def _work(run: Context, block: Block, known: Known, parent: Parent) -> int | None:
    """Do what is left of the block, and close the run where that is its part."""
    end = records.read_end(run.store)
    if end is not None and end["state"] != "succeeded":
        raise Over(f"the run is over: {end['state']} {end['message']}")
    _stop_if_too_many(run, known)
    last = run.job.stages[-1]
    commits: dict[int, Commit] = {}
    closes = block.stage == RESULT
    if not closes:
        stage = run.job.stage(block.stage)
        tasks = list(block.tasks(stage.tasks))
        found = _tasks(run, stage, tasks, known, parent)
        if found is None:
            return None
        commits = found
        closes = stage is last and stage.tasks == 1
        lost = {index for name, index in known.final if name == stage.name}
        if not closes and lost.intersection(tasks) - commits.keys():
            return FAILED
    if closes:
        if not _settle(run, last, range(last.tasks), known, parent):
            return None
        state = manifests.finish(run.store, run.job, "succeeded", "")
        if state != "succeeded":
            raise Over(f"the run was {state} meanwhile")
    _leave_artifacts(run, commits.values(), closes)
    return DONE


def _tasks(
    run: Context, stage: Stage, tasks: list[int], known: Known, parent: Parent
) -> dict[int, Commit] | None:
    """The commits of the tasks but those lost for good; None: go on in a fresh process."""
    threads.limit(stage.resources.cpu)
    if stage.inputs is not None:
        inputs = {i for index in tasks for i in stage.input_range(index)}
        if not _settle(run, run.job.stage(stage.inputs), inputs, known, parent):
            return None
    commits = committed(run, stage, tasks)
    given_up = run.given_up() if stage.kind == "map" else {}
    lost = {index for name, index in known.final if name == stage.name}
    todo = [
        i for i in tasks if i not in commits and i not in lost and given_up.get(i, ()) is not None
    ]
    left = run.job.max_tasks_per_worker or len(todo)
    for index in _soonest_first(stage, todo, known):
        commit = _attempt(run, stage, index, known, parent) if left else None
        if commit is None:
            return None
        commits[index], left = commit, left - 1
    return dict(sorted(commits.items()))


def _soonest_first(stage: Stage, todo: list[int], known: Known) -> list[int]:
    """Tasks in order, but those that failed a moment ago after the others."""
    now = time.monotonic()
    return sorted(todo, key=lambda index: max(now, known.due.get((stage.name, index), 0.0)))


def _attempt(run: Context, stage: Stage, index: int, known: Known, parent: Parent) -> Commit | None:
    """The task's commit; None if the attempt failed, or did a part of the task."""
    place = stage.name, index
    time.sleep(max(0.0, known.due.get(place, 0.0) - time.monotonic()))
    number = known.tries.get(place, 0) + 1
    parent.say(at=place)
    outcome = run_task(run, stage, index, number, parent.log, known.packs.get(place), parent.note)
    parent.say(ended=True)
    failure = outcome.failure
    if failure is not None:
        say(f"{stage.name} task {index}: {failure.traceback}")
        _failed(run, place, failure, known, parent, more=outcome.more)
    elif outcome.commit is None:
        _tell(place, known, parent, final=not outcome.more)
    return outcome.commit


def _settle(
    run: Context, source: Stage, wanted: Collection[int], known: Known, parent: Parent
) -> bool:
    """See to it that tasks of a stage are committed or given up; False: go on in a fresh process.

    What is neither was skipped, whatever an engine says, and is run here. What failed for good
    is given up within max_failed, and ends the run beyond it.
    """
    while missing := _unsettled(run, source, wanted, known, parent):
        for index in missing:
            if _attempt(run, source, index, known, parent) is None:
                return False
    return True


def _unsettled(
    run: Context, source: Stage, wanted: Collection[int], known: Known, parent: Parent
) -> list[int]:
    job, name = run.job, source.name
    given_up = run.given_up() if source.kind == "map" else {}
    losable = bool(losses.allowed(job, source))
    # What may be given up is decided once, for all tasks of the stage.
    scope = range(source.tasks) if losable and not given_up else sorted(wanted)
    there = set(records.committed(run.store, name))
    missing = [i for i in scope if i not in there and given_up.get(i, ()) is not None]
    at_work = {i for place, i in known.packs.keys() - known.final if place == name}
    failed = [i for i in missing if i not in given_up or (name, i) in known.final]
    failed = [i for i in failed if i not in at_work]
    lost = losses.failed_for_good(run.store, job, source, failed)
    if losses.count(job, lost.values()) > losses.allowed(job, source) or given_up.keys() & lost:
        raise _over(run, source, lost.values())
    skipped = [i for i in missing if i not in lost]
    if skipped or not losable:
        return skipped
    standing = losses.give_up(run.store, job, lost) if lost or not given_up else given_up
    if lost.keys() - standing.keys():
        raise _over(run, source, lost.values())
    partly = [i for i in lost if i in wanted and standing[i] is not None]
    known.start_anew((name, i) for i in partly)
    parent.say(anew=[[name, i] for i in partly])
    return partly


def _stop_if_too_many(run: Context, known: Known) -> None:
    """End the run where this block alone lost more tasks than the whole run may."""
    for name in {stage for stage, _ in known.final}:
        stage = run.job.stage(name)
        tasks = [index for place, index in known.final if place == name]
        lost = losses.failed_for_good(run.store, run.job, stage, tasks)
        if losses.count(run.job, lost.values()) > losses.allowed(run.job, stage):
            raise _over(run, stage, lost.values())


def _over(run: Context, stage: Stage, lost: Collection[Failure]) -> Over:
    message = losses.describe(run.job, stage, lost)
    manifests.finish(run.store, run.job, "failed", message)
    return Over(message)


def _leave_artifacts(run: Context, commits: Iterable[Commit], closed: bool) -> None:
    """Copy the winners' commits, and the result's manifest, to where an engine collects them."""
    folder = os.environ.get("MAPRED_ARTIFACTS")
    if not folder:
        return
    texts = [commit.to_bytes() for commit in commits]
    try:
        os.makedirs(folder, exist_ok=True)
        Path(folder, "commits.json").write_bytes(b"[" + b",\n".join(texts) + b"]\n")
        if closed:
            Path(folder, "result.json").write_bytes(run.store.read(layout.MANIFEST))
    except OSError as error:
        raise StorageError(f"MAPRED_ARTIFACTS={folder!r} cannot be written: {error}") from error


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
