"""A block of tasks as one process sees it: its inputs first, then its tasks, one after the other.

An attempt that fails ends the process, so that the next one starts afresh; what is known by
then goes from process to process in `Known`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mapred.errors import AccessError, FullError, FunctionError, MapredError, StorageError
from mapred.functions import versions
from mapred.model import policy, retries
from mapred.model.events import (
    Absent,
    Action,
    Actions,
    Again,
    Committed,
    Confirm,
    End,
    Ended,
    Event,
    Failed,
    Folder,
    GiveUp,
    Items,
    Run,
    Stands,
)
from mapred.model.packs import Note
from mapred.model.policy import State, Trouble, decide
from mapred.model.records import Commit
from mapred.model.retries import DONE, FAILED, KILLED, MISMATCH, TRY_AGAIN
from mapred.model.spec import Stage
from mapred.process import threads
from mapred.runfolder import failures
from mapred.worker.context import Context, context
from mapred.worker.tasks import read_commits, run_task

RESULT = "result"  # in place of a stage's name: what closes a run whose last stage has many tasks

TaskPlace = tuple[str, int]  # a stage's name, and a task of it


class RunOver(Exception):
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
class BlockState:
    """What the children told; each child starts with a copy.

    `troubles` are those of tasks whose attempts failed, and `due` when each may run again.
    """

    troubles: dict[TaskPlace, Trouble] = field(default_factory=dict)
    due: dict[TaskPlace, float] = field(default_factory=dict)
    lost: list[Loss] = field(default_factory=list)
    timeout: float | None = None
    killed: bool = False  # an attempt, by the system

    def trouble(self, place: TaskPlace) -> Trouble:
        return self.troubles.get(place) or Trouble()

    def hear(self, place: TaskPlace, said: Mapping[str, Any]) -> None:
        """Take over what a child says of a task that is not done."""
        self.troubles[place] = Trouble.from_json(said["trouble"])
        self.due[place] = said["due"]

    def start_anew(self, places: Iterable[TaskPlace]) -> None:
        """Forget the attempts at some tasks."""
        for place in places:
            self.troubles.pop(place, None)


class Parent(Protocol):
    """Who started this process, and starts the next one."""

    def say(self, **message: Any) -> None: ...

    @property
    def note(self) -> Note:
        """Tells of an item before it is called."""
        ...

    def log(self) -> str:
        """Return what this process printed since it last asked."""
        ...


def work_on_block(block: Block, known: BlockState, parent: Parent) -> int | None:
    """Return the status to exit with, or None: go on in a fresh process."""
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
        return _report_storage_error(error)
    parent.say(timeout=run.job.timeout)
    try:
        for loss in known.lost:
            _record_loss(run, loss, known, parent)
        known.lost = []
        return KILLED if known.killed else _work(run, block, known, parent)
    except StorageError as error:
        return _report_storage_error(error)
    except (RunOver, MapredError) as error:
        say(str(error))
        return FAILED


def _record_loss(run: Context, loss: Loss, known: BlockState, parent: Parent) -> None:
    """Record an attempt that took its process down, and what follows for its task."""
    stage, index = run.job.stage(loss.place[0]), loss.place[1]
    trouble = known.trouble(loss.place)
    number = trouble.attempt
    if loss.item is not None:
        number = max(number, trouble.pack.attempt(loss.item))
    final = loss.spent and retries.ends_for_good(run.job, loss.kind)
    how = loss.kind, loss.message, loss.log, loss.spent, loss.item, final
    failure = failures.record_process_death(run.folder, run.job, stage, index, number, *how)
    if loss.spent:
        _note_event(run, stage, index, Failed(trouble.call, failure, more=True), known, parent)


def _note_event(
    run: Context, stage: Stage, index: int, event: Event, known: BlockState, parent: Parent
) -> None:
    """Note what follows from an attempt without a commit: what is tried again, and when.

    What is given up is decided where the task's output is read.
    """
    place = stage.name, index
    state = _state(run, stage, known, [index], [index])
    state.open = {index}
    for action in _confirm_actions(run, stage, state, decide(state, event)):
        if isinstance(action, Again):
            known.due[place] = time.monotonic() + retries.pause(action.failed)
    if index in state.troubles:
        known.troubles[place] = trouble = state.troubles[index]
        parent.say(place=place, trouble=trouble.to_json(), due=known.due.get(place, 0.0))


def _state(
    run: Context, stage: Stage, known: BlockState, tasks: Collection[int], wanted: Collection[int]
) -> State:
    """Return the tasks of a stage, as the processes of this block know them."""
    troubles = {index: t for (name, index), t in known.troubles.items() if name == stage.name}
    return State(policy.rules(run.job, stage), tasks, wanted, troubles)


def _confirm_actions(run: Context, stage: Stage, state: State, actions: Actions) -> list[Action]:
    """Return what the policy says, with the commits looked up that it wants to know; raises at the
    end."""
    pending, said = list(actions), list[Action]()
    while pending:
        action = pending.pop(0)
        if isinstance(action, End):
            raise _fail_run(run, stage, state.lost.values())
        if isinstance(action, Confirm):
            there = run.commit(stage.name, action.task) is not None
            event = Committed([action.task]) if there else Absent(action.task, action.number)
            pending += decide(state, event)
        else:
            said.append(action)
    return said


def _report_storage_error(error: StorageError) -> int:
    """Return a pod in place of this one has the same credentials and the same root: a refusal is
    final."""
    say(str(error))
    return MISMATCH if isinstance(error, AccessError | FullError) else TRY_AGAIN


def _work(run: Context, block: Block, known: BlockState, parent: Parent) -> int | None:
    """Do what is left of the block, and close the run where that is its part."""
    end = run.folder.end()
    if end is not None and end.state != "succeeded":
        raise RunOver(f"the run is over: {end.state} {end.message}")
    last = run.job.stages[-1]
    commits: dict[int, Commit] = {}
    closes = block.stage == RESULT
    if not closes:
        stage = run.job.stage(block.stage)
        tasks = list(block.tasks(stage.tasks))
        found = _run_tasks(run, stage, tasks, known, parent)
        if found is None:
            return None
        commits = found
        closes = stage is last and stage.tasks == 1
        ended = {i for i in tasks if known.trouble((stage.name, i)).ended}
        if not closes and ended - commits.keys():
            return FAILED
    if closes:
        if not _settle(run, last, range(last.tasks), known, parent):
            return None
        state = run.folder.finish(run.job, "succeeded", "")
        if state != "succeeded":
            raise RunOver(f"the run was {state} meanwhile")
    _leave_artifacts(run, commits.values(), closes)
    return DONE


def _run_tasks(
    run: Context, stage: Stage, tasks: list[int], known: BlockState, parent: Parent
) -> dict[int, Commit] | None:
    """Return the commits of the tasks but those lost for good; None: go on in a fresh process."""
    threads.limit(stage.resources.cpu)
    if stage.inputs is not None:
        inputs = {i for index in tasks for i in stage.input_range(index)}
        if not _settle(run, run.job.stage(stage.inputs), inputs, known, parent):
            return None
    commits = read_commits(run, stage, tasks)
    given_up = run.given_up() if stage.kind == "map" else {}
    state = _state(run, stage, known, tasks, tasks)
    todo = _tasks_to_run(
        _confirm_actions(run, stage, state, decide(state, Folder(commits.keys(), given_up)))
    )
    left = run.job.max_tasks_per_worker or len(todo)
    for index in _soonest_first(stage, todo, known):
        commit = _attempt(run, stage, index, known, parent) if left else None
        if commit is None:
            return None
        commits[index], left = commit, left - 1
    return dict(sorted(commits.items()))


def _soonest_first(stage: Stage, todo: list[int], known: BlockState) -> list[int]:
    """Tasks in order, but those that failed a moment ago after the others."""
    now = time.monotonic()
    return sorted(todo, key=lambda index: max(now, known.due.get((stage.name, index), 0.0)))


def _attempt(
    run: Context, stage: Stage, index: int, known: BlockState, parent: Parent
) -> Commit | None:
    """Return the task's commit; None if the attempt failed, or did a part of the task."""
    place = stage.name, index
    time.sleep(max(0.0, known.due.get(place, 0.0) - time.monotonic()))
    trouble = known.trouble(place)
    parent.say(at=place)
    number, pack = trouble.attempt, trouble.known_items
    outcome = run_task(run, stage, index, number, parent.log, pack, parent.note)
    parent.say(ended=True)
    if outcome.failure is not None:
        say(f"{stage.name} task {index}: {outcome.failure.traceback}")
        event: Event = Failed(trouble.call, outcome.failure, outcome.more)
        _note_event(run, stage, index, event, known, parent)
    elif outcome.commit is None:
        _note_event(run, stage, index, Ended(index, trouble.call, outcome.more), known, parent)
    return outcome.commit


def _settle(
    run: Context, source: Stage, wanted: Collection[int], known: BlockState, parent: Parent
) -> bool:
    """See to it that tasks of a stage are committed or given up; False: go on in a fresh process.

    What is neither was skipped, whatever an engine says, and is run here. What failed for good
    is given up within max_failed, and ends the run beyond it.
    """
    while missing := _find_unsettled(run, source, wanted, known, parent):
        for index in missing:
            if _attempt(run, source, index, known, parent) is None:
                return False
    return True


def _find_unsettled(
    run: Context, source: Stage, wanted: Collection[int], known: BlockState, parent: Parent
) -> Sequence[int]:
    """Return the tasks to run: what is missing, and what goes on once failed.json stands."""
    state = _state(run, source, known, range(source.tasks), wanted)
    given_up = run.given_up() if source.kind == "map" else {}
    there = set(run.folder.list_committed(source.name))
    missing = set(state.tasks if state.rules.allowed else wanted) - there
    tries = run.folder.failed_attempts(source.name, missing) if missing else ()
    actions = _confirm_actions(run, source, state, decide(state, Folder(there, given_up, tries)))
    for action in actions:
        if isinstance(action, GiveUp):
            stands = Stands(run.folder.put_given_up(action.tasks))
            partly = _tasks_to_run(_confirm_actions(run, source, state, decide(state, stands)))
            known.start_anew((source.name, i) for i in partly)
            parent.say(anew=[[source.name, i] for i in partly])
            return partly
    return _tasks_to_run(actions)


def _tasks_to_run(actions: Iterable[Action]) -> list[int]:
    return [task for action in actions if isinstance(action, Run) for task in action.tasks]


def _fail_run(run: Context, stage: Stage, lost: Collection[Items]) -> RunOver:
    message = policy.reason(run.job, stage, lost)
    run.folder.finish(run.job, "failed", message)
    return RunOver(message)


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
            Path(folder, "result.json").write_bytes(run.folder.manifest_data())
    except OSError as error:
        raise StorageError(f"MAPRED_ARTIFACTS={folder!r} cannot be written: {error}") from error


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
