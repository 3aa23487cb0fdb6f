"""A block of tasks as one process sees it: its inputs first, then its tasks, one after the other.

A failed attempt ends the process, so that the next one starts afresh; a `BlockState` goes from
process to process.
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
from mapred.model import events, losses, retries
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
    """The run has ended, or ends now: there is nothing left to do for its tasks."""


@dataclass(frozen=True)
class Block:
    """The block of tasks that the command line names."""

    run_uri: str
    digest: str
    stage: str
    number: int
    size: int

    def tasks(self, total: int) -> range:
        return range(self.number * self.size, min((self.number + 1) * self.size, total))


@dataclass(frozen=True)
class Loss:
    """An attempt whose process died, to be recorded by the next child."""

    place: TaskPlace
    kind: str
    message: str
    log: str
    spent: bool = True  # whether it counts as one of the job's attempts
    item: int | None = None


@dataclass
class BlockState:
    """What the children reported; each child starts with a copy.

    `troubles` are those of tasks whose attempts failed, and `due` when each may run again.
    """

    troubles: dict[TaskPlace, Trouble] = field(default_factory=dict)
    due: dict[TaskPlace, float] = field(default_factory=dict)
    lost: list[Loss] = field(default_factory=list)
    timeout: float | None = None
    killed: bool = False  # an attempt, by the system

    def trouble(self, place: TaskPlace) -> Trouble:
        return self.troubles.get(place) or Trouble()

    def update(self, place: TaskPlace, message: Mapping[str, Any]) -> None:
        """Note a child's message about a task that is not done."""
        self.troubles[place] = Trouble.from_json(message["trouble"])
        self.due[place] = message["due"]

    def start_anew(self, places: Iterable[TaskPlace]) -> None:
        """Forget the attempts at some tasks."""
        for place in places:
            self.troubles.pop(place, None)


class Parent(Protocol):
    """The process that started this one, and starts the next one."""

    def send(self, **message: Any) -> None: ...

    note: Note

    def log(self) -> str:
        """Return what this process printed since the last call."""
        ...


def work_on_block(block: Block, state: BlockState, parent: Parent) -> int | None:
    """Return the status to exit with, or None to continue in a fresh process."""
    try:
        run = context(block.run_uri, block.digest)
        versions.check(run.job)
        for stage in run.job.stages:
            if stage.name == block.stage:
                run.check_python(stage)
    except FileNotFoundError:
        log_line(f"{block.run_uri} holds no run")
        return FAILED
    except FunctionError as error:
        log_line(str(error))
        return MISMATCH
    except StorageError as error:
        return _report_storage_error(error)
    parent.send(timeout=run.job.timeout)
    worker = _BlockWorker(run, state, parent)
    try:
        worker.record_losses()
        return KILLED if state.killed else worker.work(block)
    except StorageError as error:
        return _report_storage_error(error)
    except (RunOver, MapredError) as error:
        log_line(str(error))
        return FAILED


def _report_storage_error(error: StorageError) -> int:
    log_line(str(error))
    # A pod in place of this one has the same credentials and the same root: a refusal is final.
    return MISMATCH if isinstance(error, AccessError | FullError) else TRY_AGAIN


@dataclass(frozen=True)
class _BlockWorker:
    """One process at work on a block of a run."""

    run: Context
    progress: BlockState
    parent: Parent

    def record_losses(self) -> None:
        """Record the attempts whose processes died, and what follows for their tasks."""
        job = self.run.job
        for loss in self.progress.lost:
            stage, index = job.stage(loss.place[0]), loss.place[1]
            trouble = self.progress.trouble(loss.place)
            number = trouble.attempt
            if loss.item is not None:
                number = max(number, trouble.pack.attempt(loss.item))
            final = loss.spent and retries.ends_for_good(job, loss.kind)
            how = loss.kind, loss.message, loss.log, loss.spent, loss.item, final
            folder = self.run.folder
            failure = failures.record_process_death(folder, job, stage, index, number, *how)
            if loss.spent:
                self._note_event(stage, index, events.Failed(trouble.call, failure, more=True))
        self.progress.lost = []

    def _note_event(self, stage: Stage, index: int, event: events.Event) -> None:
        """Note what follows from an attempt without a commit: whether it is repeated, and when.

        What is given up is decided later, where the task's output is read.
        """
        place = stage.name, index
        state = self._policy_state(stage, [index], [index])
        state.open = {index}
        for action in self._decide(stage, state, event):
            if isinstance(action, events.Again):
                self.progress.due[place] = time.monotonic() + retries.pause(action.failed)
        if index in state.troubles:
            self.progress.troubles[place] = trouble = state.troubles[index]
            due = self.progress.due.get(place, 0.0)
            self.parent.send(place=place, trouble=trouble.to_json(), due=due)

    def _policy_state(self, stage: Stage, tasks: Collection[int], wanted: Collection[int]) -> State:
        """Return the tasks of a stage, as the processes of this block know them."""
        troubles = self.progress.troubles.items()
        mine = {index: trouble for (name, index), trouble in troubles if name == stage.name}
        return State(losses.rules_of(self.run.job, stage), tasks, wanted, mine)

    def _decide(self, stage: Stage, state: State, event: events.Event) -> list[events.Action]:
        """Return what the policy answers to an event, or raise `RunOver` if that ends the run.

        Where it asks whether a task has committed after all, this looks.
        """
        pending, decided = list(decide(state, event)), list[events.Action]()
        while pending:
            action = pending.pop(0)
            if isinstance(action, events.End):
                message = losses.reason(self.run.job, stage, state.lost.values())
                self.run.folder.finish(self.run.job, "failed", message)
                raise RunOver(message)
            if isinstance(action, events.Confirm):
                committed = self.run.folder.commit(stage.name, action.task) is not None
                absent = events.Absent(action.task, action.number)
                pending += decide(state, events.Committed([action.task]) if committed else absent)
            else:
                decided.append(action)
        return decided

    def work(self, block: Block) -> int | None:
        """Do what is left of the block, and close the run if that is its part."""
        run = self.run
        end = run.folder.end()
        if end is not None and end.state != "succeeded":
            raise RunOver(f"the run is over: {end.state} {end.message}")
        last = run.job.stages[-1]
        commits: dict[int, Commit] = {}
        closes = block.stage == RESULT
        if not closes:
            stage = run.job.stage(block.stage)
            tasks = list(block.tasks(stage.tasks))
            done = self._run_tasks(stage, tasks)
            if done is None:
                return None
            commits = done
            closes = stage is last and stage.tasks == 1
            ended = {i for i in tasks if self.progress.trouble((stage.name, i)).ended}
            if not closes and ended - commits.keys():
                return FAILED
        if closes:
            if not self._settle(last, range(last.tasks)):
                return None
            state = run.folder.finish(run.job, "succeeded", "")
            if state != "succeeded":
                raise RunOver(f"the run was {state} meanwhile")
        _leave_artifacts(run, commits.values(), closes)
        return DONE

    def _run_tasks(self, stage: Stage, tasks: list[int]) -> dict[int, Commit] | None:
        """Return the commits of the tasks but those lost for good; None to continue in a fresh process."""
        run = self.run
        threads.limit(stage.resources.cpu)
        if stage.inputs is not None:
            inputs = {i for index in tasks for i in stage.input_range(index)}
            if not self._settle(run.job.stage(stage.inputs), inputs):
                return None
        commits = read_commits(run, stage, tasks)
        given_up = run.given_up() if stage.kind == "map" else {}
        state = self._policy_state(stage, tasks, tasks)
        actions = self._decide(stage, state, events.Folder(commits.keys(), given_up))
        todo = self._soonest_first(stage, _tasks_to_run(actions))
        left = run.job.max_tasks_per_worker or len(todo)
        for index in todo:
            commit = self._attempt(stage, index) if left else None
            if commit is None:
                return None
            commits[index], left = commit, left - 1
        return dict(sorted(commits.items()))

    def _soonest_first(self, stage: Stage, tasks: list[int]) -> list[int]:
        """Return the tasks in order, but those that failed a moment ago after the others."""
        now, due = time.monotonic(), self.progress.due
        return sorted(tasks, key=lambda index: max(now, due.get((stage.name, index), 0.0)))

    def _attempt(self, stage: Stage, index: int) -> Commit | None:
        """Return the task's commit; None if the attempt failed, or did a part of the task."""
        place = stage.name, index
        time.sleep(max(0.0, self.progress.due.get(place, 0.0) - time.monotonic()))
        trouble = self.progress.trouble(place)
        parent = self.parent
        parent.send(at=place)
        number, pack = trouble.attempt, trouble.known_items
        outcome = run_task(self.run, stage, index, number, parent.log, pack, parent.note)
        parent.send(ended=True)
        if outcome.failure is not None:
            log_line(f"{stage.name} task {index}: {outcome.failure.traceback}")
            event = events.Failed(trouble.call, outcome.failure, outcome.more)
            self._note_event(stage, index, event)
        elif outcome.commit is None:
            self._note_event(stage, index, events.Ended(index, trouble.call, outcome.more))
        return outcome.commit

    def _settle(self, source: Stage, wanted: Collection[int]) -> bool:
        """Have tasks of a stage committed or given up; False to continue in a fresh process.

        A task that is neither was skipped, whatever an engine says, and is run here. What failed
        for good is given up within max_failed, and ends the run beyond it.
        """
        while missing := self._find_unsettled(source, wanted):
            for index in missing:
                if self._attempt(source, index) is None:
                    return False
        return True

    def _find_unsettled(self, source: Stage, wanted: Collection[int]) -> Sequence[int]:
        """Return the tasks to run: those missing, and those that continue once failed.json stands."""
        folder = self.run.folder
        state = self._policy_state(source, range(source.tasks), wanted)
        given_up = self.run.given_up() if source.kind == "map" else {}
        committed = set(folder.list_committed(source.name))
        # max_failed is a budget of the whole stage, so what failed outside of `wanted` counts too.
        missing = set(state.tasks if state.rules.allowed else wanted) - committed
        # Other pods ran these tasks: only the records of their attempts say what failed for good.
        tries = folder.failed_attempts(source.name, missing) if missing else ()
        actions = self._decide(source, state, events.Folder(committed, given_up, tries))
        for action in actions:
            if isinstance(action, events.GiveUp):
                # Several pods get here, with listings of different moments, and all have to leave
                # out the same: the first failed.json stands, and each decides again by what it
                # says. A task that it gives up in part runs again for its other items, with its
                # attempts counted again.
                stands = events.Stands(folder.put_given_up(action.tasks))
                partly = _tasks_to_run(self._decide(source, state, stands))
                self.progress.start_anew((source.name, i) for i in partly)
                self.parent.send(anew=[[source.name, i] for i in partly])
                return partly
        return _tasks_to_run(actions)


def _tasks_to_run(actions: Iterable[events.Action]) -> list[int]:
    return [task for action in actions if isinstance(action, events.Run) for task in action.tasks]


def _leave_artifacts(run: Context, commits: Iterable[Commit], closed: bool) -> None:
    """Copy the commits, and the manifest of a closed run, to where an engine collects them."""
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


def log_line(text: str) -> None:
    sys.stderr.write(text + "\n")
