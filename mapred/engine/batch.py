"""Calls to a pool for the tasks of one stage: sent within a window, answered by events."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any, NamedTuple

from mapred.engine.base import Kills, SubmitsFresh
from mapred.engine.process_pool import ProcessExecutor
from mapred.engine.worker_process import WorkerLost
from mapred.errors import AccessError, BackendError, FullError, MapredError, StorageError
from mapred.model import retries
from mapred.model.events import Again, Bystander, Ended, Event, Failed, Refused, Stopped
from mapred.model.failure import Failure
from mapred.model.packs import NO_ITEM, Pack
from mapred.model.records import Block, Commit, Outcome
from mapred.model.spec import Job, Stage
from mapred.runfolder.folder import RunFolder

# How many calls a pool of unknown size gets at once: enough for the workers of a large cluster, and
# few enough that a store or a function that fails is noticed before most tasks are sent.
_WINDOW = 1000
# Tasks sent as one call while they are so short that the driver's share of each would count.
_BLOCK, _BLOCK_SECONDS = 16, 0.01
_LOOK_SECONDS = 0.2

Queue = queue.SimpleQueue["Future[Any] | None"]


class Calls(NamedTuple):
    """How the tasks of a run are called: what a pool gets with each call."""

    folder: RunFolder
    job: Job
    digest: str
    function: Callable[[Block], list[Outcome]]
    answers: Queue
    window: int | None


class _Call(NamedTuple):
    """Some tasks, sent to the pool as one; of a task whose items failed, with its `pack`."""

    tasks: tuple[int, ...]
    number: int
    attempt: int = 1
    pack: Pack | None = None


class Batch:
    """The calls for one stage; those that `follow` begin before their inputs are all there."""

    def __init__(
        self, calls: Calls, stage: Stage, executor: Executor, *, follow: bool = False
    ) -> None:
        self.executor, self.follow = executor, follow
        self._calls, self._stage = calls, stage
        self._in_flight: dict[Future[Any], _Call] = {}
        self._tasks = 0  # in flight
        self._delayed: list[tuple[float, _Call]] = []
        self._waiting: Iterator[int] = iter(())
        self._more, self._number = False, 0
        self._kept: frozenset[int] = frozenset()
        self._seconds, self._commits = 0.0, 0
        self._workers = executor.max_workers if isinstance(executor, ProcessExecutor) else None
        # The pool keeps both limits for each call, so a call has to be one task.
        one_by_one = calls.job.timeout is not None or calls.job.max_tasks_per_worker is not None
        self._blocks = self._workers is not None and not one_by_one
        # A worker always has a call to continue with, and what is sent can still be taken back.
        self._window = calls.window or (3 * self._workers if self._workers else _WINDOW)

    def begin(self, tasks: Iterable[int], number: int, kept: Iterable[int]) -> None:
        """Send these tasks as there is room; the folder may hold something of those `kept`."""
        self._waiting, self._more = iter(tasks), True
        self._number, self._kept = number, frozenset(kept)

    def repeat(self, again: Again) -> None:
        """Call a task again, after the pause that is due, while others continue."""
        call = _Call((again.task,), again.call, again.attempt, again.pack)
        pause = 0.1 * 2**again.refusals if again.refusals else retries.pause(again.failed)
        if pause:
            self._delayed.append((time.monotonic() + pause, call))
        else:
            self._submit(call)

    def send(self) -> bool:
        """Send the next tasks, if there are any and there is room."""
        if not self._more or len(self._in_flight) >= self._window:
            return False
        tasks = tuple(itertools.islice(self._waiting, self._size()))
        self._more = bool(tasks)
        if tasks:
            self._submit(_Call(tasks, self._number), fresh=self._kept.isdisjoint(tasks))
        return self._more

    def send_due(self, now: float) -> None:
        """Send what has waited long enough."""
        if self._delayed:
            due = [entry for entry in self._delayed if entry[0] <= now]
            self._delayed = [entry for entry in self._delayed if entry[0] > now]
            for _, call in due:
                self._submit(call)

    @property
    def running(self) -> int:
        """How many tasks are with the workers."""
        return min(self._tasks, self._workers or self._tasks)

    @property
    def begun(self) -> int | None:
        """How many tasks have a worker now or stand in its call; None if the pool does not tell."""
        if self._workers is None:
            return None
        return sum(
            len(call.tasks) for future, call in [*self._in_flight.items()] if future.running()
        )

    def wait_seconds(self) -> float:
        """Return how long to wait for an answer before something else is due."""
        now = time.monotonic()
        due = min((when for when, _ in self._delayed), default=now + _LOOK_SECONDS)
        return min(_LOOK_SECONDS, max(0.0, due - now))

    def holds(self, future: Future[Any]) -> bool:
        """Whether a future is one of these calls."""
        return future in self._in_flight

    def collect(self, future: Future[Any]) -> tuple[list[Commit], Sequence[Event]]:
        """Return the commits that a call made or met, and what else happened to its tasks."""
        call = self._in_flight.pop(future)
        self._tasks -= len(call.tasks)
        commits: list[Commit] = []
        try:
            outcomes = future.result(0)
        except BaseException as error:
            return commits, list(self._handle_error(call, error))
        events: list[Event] = []
        for outcome in outcomes:
            if outcome.commit is not None:
                commits.append(outcome.commit)
                self._seconds += outcome.commit.seconds
                self._commits += 1
            elif outcome.failure is not None:
                events.append(Failed(call.number, outcome.failure, outcome.more))
            else:
                events.append(Ended(outcome.task, call.number, outcome.more))
        return commits, events

    def close(self) -> None:
        """Let the workers go. Processes close what they hold while the run continues."""
        self.executor.shutdown(wait=not isinstance(self.executor, ProcessExecutor))

    def kill(self) -> None:
        """End what runs, where the pool can."""
        if isinstance(self.executor, Kills):
            self.executor.kill()
        else:
            self.executor.shutdown(wait=False, cancel_futures=True)

    def _size(self) -> int:
        """How many tasks to send at once: several while they take a few milliseconds only."""
        if not self._blocks or not self._commits:
            return 1
        return max(1, min(_BLOCK, int(_BLOCK_SECONDS / (self._seconds / self._commits + 1e-6))))

    def _submit(self, call: _Call, *, fresh: bool = False) -> None:
        """Send some tasks; `fresh` ones had nothing in the folder when the stage began."""
        calls = self._calls
        block = Block(
            calls.folder.uri,
            calls.digest,
            self._stage.name,
            call.tasks,
            call.attempt,
            follow=self.follow,
            fresh=fresh,
            pack=call.pack,
        )
        submit: Callable[..., Future[Any]] = self.executor.submit
        # What a failed attempt left in its process may be what makes the next one fail.
        again = call.attempt > 1 or call.pack is not None
        if again and isinstance(self.executor, SubmitsFresh):
            submit = self.executor.submit_fresh
        try:
            future = submit(calls.function, block)
        except (RuntimeError, BrokenExecutor) as error:
            raise self._broken_pool_error(error) from error
        self._in_flight[future] = call
        self._tasks += len(call.tasks)
        future.add_done_callback(calls.answers.put)

    def _handle_error(self, call: _Call, error: BaseException) -> Iterator[Event]:
        """Yield what a call that raised says of its tasks; raise what ends the run."""
        if isinstance(error, WorkerLost):
            yield from self._handle_lost_worker(call, error)
        elif isinstance(error, CancelledError):
            yield Stopped("the pool cancelled a task")
        elif isinstance(error, StorageError) and not isinstance(error, AccessError | FullError):
            yield from (Refused(task, call.number, error) for task in call.tasks)
        elif isinstance(error, BrokenExecutor):
            raise self._broken_pool_error(error) from error
        elif isinstance(error, MapredError):
            raise error  # it would be raised again, whichever task is called
        elif isinstance(error, KeyboardInterrupt):
            # Ctrl-C reaches the processes of a pool as well.
            yield Stopped("interrupted; resume it with run.resume()")
        else:
            text = f"the pool failed: {type(error).__name__}: {error}"
            raise BackendError(text) from error

    def _handle_lost_worker(self, call: _Call, lost: WorkerLost) -> Iterator[Event]:
        """Yield a failure of the task and item that the dead worker was at, and of no other task.

        The other tasks of the call may have been done, or never begun: they are called again, and
        lose no attempt. Where the worker left no note of its task, all are called by themselves,
        and it shows which one it is.
        """
        at, item = lost.at or (None, NO_ITEM)
        if len(call.tasks) == 1:
            at = call.tasks[0]
        for task in call.tasks:
            if task == at:
                failure = self._record_death(call, task, lost, None if item == NO_ITEM else item)
                yield Failed(call.number, failure, more=True)
            else:
                yield Bystander(task, call.number)

    def _record_death(self, call: _Call, task: int, lost: WorkerLost, item: int | None) -> Failure:
        """Return the record of an attempt whose process died: only the function can be blamed."""
        from mapred.runfolder import failures  # few drivers have to name a failure

        job, attempt = self._calls.job, call.attempt
        if item is not None and call.pack is not None:
            attempt = max(attempt, call.pack.attempt(item))
        return failures.record_process_death(
            self._calls.folder,
            job,
            self._stage,
            task,
            attempt,
            lost.kind,
            str(lost),
            lost.log,
            item=item,
            final=retries.ends_for_good(job, lost.kind),
            placed=item is not None or lost.at is not None,
        )

    def _broken_pool_error(self, error: BaseException) -> BackendError:
        if isinstance(self.executor, ProcessExecutor):
            return BackendError(
                "the worker processes are gone: the process that starts them was killed from "
                "outside; what is committed is kept: resume the run"
            )
        return BackendError(
            f"the pool broke ({error}); what is committed is kept: resume the run, or use "
            "backend='local', where a worker that dies takes only its own task with it"
        )
