"""Taking a run from stage to stage over any `concurrent.futures.Executor`."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mapred.engine.base import Vanished
from mapred.engine.batch import Batch, Calls
from mapred.engine.calls import run_block
from mapred.engine.process_pool import ProcessExecutor
from mapred.engine.progress import Progress
from mapred.engine.watch import Watch
from mapred.model import events, losses
from mapred.model.policy import State, decide
from mapred.model.records import Block, Outcome
from mapred.model.spec import Job, Stage
from mapred.model.status import Look, RunStatus, WorkerStatus
from mapred.runfolder import plans, starts
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store


class _RunOver(Exception):
    """The run is over before its stages are: `state` is its end record, None for none."""

    def __init__(self, state: Literal["failed", "cancelled"] | None, message: str) -> None:
        super().__init__(message)
        self.state, self.message = state, message


@dataclass
class _StageWork:
    """A stage that is at work: what is known of its tasks, and the calls for them."""

    stage: Stage
    state: State
    batch: Batch | None = None


class Driver:
    """Takes a run from stage to stage: has a pool do what the policy says, and tells it the facts.

    `executor` makes the pool of a stage; `call` is what it runs, `run_block` or what does the
    same. Everything of worth is in the run's folder: a driver may die at any time.
    """

    def __init__(
        self,
        store: Store,
        job: Job,
        digest: str,
        executor: Callable[[Stage], Executor],
        call: Callable[[Block], list[Outcome]] = run_block,
        *,
        window: int | None = None,
        follows: bool = False,
    ) -> None:
        self.folder, self.job, self.digest = RunFolder(store), job, digest
        self.error: BaseException | None = None
        self._executor, self._follows = executor, follows
        self._due = math.inf
        if job.deadline is not None:
            self._due = time.monotonic() + starts.seconds_left(
                job, self.folder.start(), time.time()
            )
        self._early: _StageWork | None = None  # the reduce that was started beside the maps
        self._leaving: list[Batch] = []
        self._at_work: _StageWork | None = None
        self._progress = Progress(job, store.uri)
        self._progress.watch_calls(self._count_begun)
        self._watch = Watch(self.folder)
        self._resumed = False
        self._stop = threading.Event()
        self._answers: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        self._calls = Calls(self.folder, job, digest, call, self._answers, window)

    def run(self) -> None:
        """Run every stage; what goes wrong is kept in `error`, the end record in end.json."""
        state, message = None, ""
        try:
            for stage in self.job.stages:
                self._run_stage(stage)
            state = "succeeded"
        except _RunOver as over:
            state, message = over.state, over.message
        except Exception as error:
            # The store or the pool gave out: the run has no end record and can be resumed.
            self.error, message = error, str(error)
        if self._early is not None and self._early.batch is not None:
            self._early.batch.kill()
        try:
            self._watch.check_folder()
        except Vanished as error:
            self.error, state, message = error, None, str(error)
        except Exception:
            pass  # A store that gives out says so when the end record is put.
        try:
            if state is not None:
                state = self.folder.finish(self.job, state, message, self._progress.results)
        except Exception as error:
            self.error, state, message = error, None, str(error)
        for batch in self._leaving:
            batch.executor.shutdown(wait=True)
        self._progress.end(state or "interrupted", message)

    def stop(self) -> None:
        """End the run without an end record, so that it can be resumed."""
        self._stop.set()
        self._answers.put(None)

    def status(self) -> RunStatus:
        return self._progress.status()

    def look(self, seen: int) -> Look:
        """Return `Look`, after one that had seen so many tasks end."""
        return self._progress.look(seen, self._workers)

    def _batches(self) -> list[tuple[Stage, Batch]]:
        works = (self._at_work, self._early)
        return [(work.stage, work.batch) for work in works if work and work.batch]

    def _count_begun(self) -> dict[str, int] | None:
        counts = {stage.name: batch.begun for stage, batch in self._batches()}
        known = {name: number for name, number in counts.items() if number is not None}
        return known if len(known) == len(counts) else None

    def _workers(self) -> tuple[WorkerStatus, ...] | None:
        pools = {id(batch.executor): batch.executor for _, batch in self._batches()}.values()
        known = [pool.at_work() for pool in pools if isinstance(pool, ProcessExecutor)]
        return tuple(worker for found in known for worker in found) if known else None

    def _run_stage(self, stage: Stage) -> None:
        given_up = self._given_up_before(stage)
        committed = self._committed_before(stage)
        self._watch.begin()
        work = self._adopt_early_work(stage)
        event: events.Event = events.Committed(committed)
        if work is None:
            tasks = range(stage.tasks)
            work = _StageWork(stage, State(losses.rules_of(self.job, stage), tasks, tasks))
            event = events.Folder(committed, given_up)
        self._at_work = work
        try:
            self._handle_event(work, event)
            self._complete_stage(work)
        except BaseException:
            self._progress.keep_calls()
            if work.batch is not None:
                work.batch.kill()
            raise
        if work.batch is not None:
            work.batch.close()
            self._leaving.append(work.batch)
            self._watch.check_commits(stage, self._progress.done_tasks(stage))

    def _given_up_before(self, stage: Stage) -> Mapping[int, events.Items]:
        """Return what an earlier driver of this run gave up of a stage; note its failures."""
        if stage.kind != "map" or not self.job.max_failed:
            return {}
        standing = self.folder.given_up_tasks()
        if standing:
            self._progress.give_up(stage, self.folder.given_up(self.job, standing))
            failures = self.folder.failed_for_good(self.job, stage, standing)
            self._progress.forgive(stage, failures)
        return standing

    def _committed_before(self, stage: Stage) -> set[int]:
        committed = set()
        for index, commit in self.folder.sound_commits(stage.name):
            committed.add(index)
            self._progress.add(commit)
        if stage is self.job.stages[0]:
            self._resumed = bool(committed)
        for failure in self.folder.failed_attempts(stage.name) if self._resumed else ():
            self._progress.note(failure)
        return committed

    def _follow(self, stage: Stage) -> None:
        """Start a lone reduce task beside the maps: it merges their outputs as they come.

        Otherwise it would begin when the last map has ended, and leave all but one processor
        idle. It is not started where it might wait for what never comes.
        """
        after = next((later for later in self.job.stages if later.inputs == stage.name), None)
        if after is None or not self._follows or self.job.max_failed or self.job.timeout:
            return
        if (stage.kind, after.kind, after.tasks) != ("map", "reduce", 1):
            return
        if after.resources.gpu:
            return  # it would keep a device from the maps that it waits for
        if self.folder.list_committed(after.name):
            return
        state = State(losses.rules_of(self.job, after), [0], [0])
        batch = Batch(self._calls, after, self._executor(after), follow=True)
        self._early = _StageWork(after, state, batch)
        self._handle_event(self._early, events.Folder((), {}))
        batch.send()

    def _adopt_early_work(self, stage: Stage) -> _StageWork | None:
        early = self._early
        if early is None or early.stage is not stage or early.batch is None:
            return None
        self._early, early.batch.follow = None, False
        source = self.job.stage(stage.inputs or "")
        self._watch.await_inputs(source, self._progress.done_tasks(source))
        return early

    def _complete_stage(self, work: _StageWork) -> None:
        """Have the pool run tasks until the policy says that the stage is done."""
        batch, state = work.batch, work.state
        if batch is None:
            return
        while state.verdict is None:
            if batch.send():
                self._handle_answers(work, batch, block=False)
            else:
                self._progress.run(work.stage, batch.running)
                self._handle_answers(work, batch, block=True)

    def _handle_answers(self, work: _StageWork, batch: Batch, *, block: bool) -> None:
        """Handle the answers that are there; if `block`, wait for one."""
        self._poll(work, batch)
        answers = self._answers
        try:
            future = answers.get(block, batch.wait_seconds() if block else None)
            while True:
                if future is None:
                    self._poll(work, batch)
                elif batch.holds(future):
                    self._handle_answer(work, batch, future)
                elif self._early is not None and self._early.batch is not None:
                    self._handle_answer(self._early, self._early.batch, future)
                if work.state.verdict is not None or answers.empty():
                    return
                future = answers.get_nowait()
        except queue.Empty:
            return

    def _poll(self, work: _StageWork, batch: Batch) -> None:
        """Look at the clock, at a request to stop, and at what others did to the folder."""
        now = time.monotonic()
        if self._stop.is_set():
            self._handle_event(work, events.Stopped("stopped"))
        if now > self._due:
            self._handle_event(work, events.Overdue(starts.overdue_message(self.job)))
        batch.send_due(now)
        if self._early is not None and self._early.batch is not None:
            self._early.batch.send_due(now)
        self._watch.look(now)

    def _handle_answer(self, work: _StageWork, batch: Batch, future: Future[Any]) -> None:
        commits, facts = batch.collect(future)
        for commit in commits:
            self._progress.add(commit)
        if commits:
            self._handle_event(work, events.Committed([commit.task for commit in commits]))
        for event in facts:
            if isinstance(event, events.Failed):
                self._progress.fail(event.failure)
            self._handle_event(work, event)

    def _handle_event(self, work: _StageWork, event: events.Event) -> None:
        """Tell the policy what happened, and do what it says."""
        for action in decide(work.state, event):
            fact = self._perform(work, action)
            if fact is not None:
                self._handle_event(work, fact)

    def _perform(self, work: _StageWork, action: events.Action) -> events.Event | None:
        """Carry out an action of the policy; return the fact that it asks for, if any."""
        if isinstance(action, events.Run):
            self._start(work, action)
        elif isinstance(action, events.Again):
            assert work.batch is not None
            work.batch.repeat(action)
        elif isinstance(action, events.Confirm):
            return self._confirm_commit(work, action)
        elif isinstance(action, events.GiveUp):
            return self._give_up(work.stage, action)
        elif isinstance(action, events.End):
            raise _RunOver(action.state, action.message or self._reason(work.stage))
        elif isinstance(action, events.Leave):
            raise action.error or _RunOver(None, action.message)
        return None

    def _start(self, work: _StageWork, action: events.Run) -> None:
        stage, tasks = work.stage, action.tasks
        if work.batch is None:
            if len(tasks) > 1:
                self._follow(stage)
            work.batch = Batch(self._calls, stage, self._executor(stage))
            work.batch.begin(self._longest_first(stage, tasks), 0, self._kept_before(work))
        else:
            work.batch.begin(tasks, action.call, tasks)

    def _confirm_commit(self, work: _StageWork, action: events.Confirm) -> events.Event:
        """Look for a commit of a task that failed here: someone else may have put one."""
        task = action.task
        commit = self.folder.commit(work.stage.name, task)
        if commit is not None:
            self._progress.add(commit)
            return events.Committed([task])
        self._progress.lose(work.stage, task, work.state.doubts[task].lost)
        return events.Absent(task, action.number)

    def _give_up(self, stage: Stage, action: events.GiveUp) -> events.Event:
        """Put failed.json: another driver may have put it, whose word is final."""
        standing = self.folder.put_given_up(action.tasks)
        if standing:
            self._progress.give_up(stage, self.folder.given_up(self.job, standing))
        return events.Stands(standing)

    def _reason(self, stage: Stage) -> str:
        failed = [failure.items or None for failure in self._progress.failures(stage)]
        before = self._progress.given_up() if stage.kind == "map" else 0
        return losses.reason(self.job, stage, failed, before)

    def _kept_before(self, work: _StageWork) -> set[int]:
        """Return the tasks of which an earlier driver's failed attempts may have kept something."""
        several = work.stage.kind == "map" and self.job.items > self.job.shards
        return self.folder.kept_tasks().union(work.state.given_up) if several else set()

    def _longest_first(self, stage: Stage, todo: Sequence[int]) -> Sequence[int]:
        """Order tasks by falling size: a long one that begins last holds up the stage.

        Within a class of sizes they keep their order, as plan files are read by the run.
        """
        if stage.kind != "map" or len(todo) < 3:
            return todo
        sizes = plans.shard_bytes(self.folder.store, self.job)[todo]
        classes = np.frexp(sizes.astype(float))[1]
        return [todo[i] for i in np.argsort(-classes, kind="stable")]
