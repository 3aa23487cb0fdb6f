"""Taking a run from stage to stage over any `concurrent.futures.Executor`."""

from __future__ import annotations

import functools
import itertools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.engine.base import Vanished
from mapred.engine.calls import run_block
from mapred.engine.process_pool import ProcessExecutor, WorkerLost
from mapred.errors import AccessError, BackendError, FullError, MapredError, StorageError
from mapred.model import layout, retries
from mapred.model.packs import NO_ITEM, Pack
from mapred.model.spec import Commit, GivenUp, Job, Outcome, RunStatus, Stage
from mapred.runfolder import losses, manifests, records, starts
from mapred.runfolder.tally import Tally
from mapred.storage import Store

if TYPE_CHECKING:
    from mapred.model.failure import Failure

_STORAGE_TRIES = 5
_WINDOW = 1000
_BLOCK, _BLOCK_SECONDS = 16, 0.01
_LOOK_SECONDS = 0.2
_FOLDER_SECONDS = 5.0


class _Stopped(Exception):
    """The run is over before its stages are: `state` is its last word, None for none."""

    def __init__(self, state: str | None, message: str = "") -> None:
        super().__init__(message)
        self.state, self.message = state, message


@dataclass
class _Progress:
    """What the driver knows beside the commits; guarded by the driver's lock.

    `forgiven` are the failures within max_failed, `failures` those that count.
    """

    state: str = "running"
    message: str = ""
    started: float = field(default_factory=time.time)
    finished: float | None = None
    running: dict[str, int] = field(default_factory=dict)
    failures: dict[tuple[str, int], Failure] = field(default_factory=dict)
    forgiven: dict[tuple[str, int], Failure] = field(default_factory=dict)


@dataclass
class _Follower:
    """A reduce task that was started beside the maps, in a pool of its own.

    Where an attempt failed there is no `future` until the next one is `due`.
    """

    stage: Stage
    executor: Executor
    future: Future[Any] | None = None
    attempt: int = 1
    due: float = 0.0


class Driver:
    """Takes a run from stage to stage: submits tasks, repeats failed ones, says the last word.

    `executor` makes the pool of a stage; `call` is what it runs, `run_block` or a function of
    its signature. Everything of worth is in the run's folder: a driver may die at any time.
    """

    def __init__(
        self,
        store: Store,
        job: Job,
        digest: str,
        executor: Callable[[Stage], Executor],
        call: Callable[..., list[Outcome]] = run_block,
        *,
        window: int | None = None,
        follows: bool = False,
    ) -> None:
        self.store, self.job, self.digest = store, job, digest
        self.error: BaseException | None = None
        self._executor, self._call, self.window = executor, call, window
        self._follows = follows
        self._due = math.inf
        if job.deadline is not None:
            self._due = time.monotonic() + starts.left(job, starts.read(store), time.time())
        self._follower: _Follower | None = None
        self._awaited: Stage | None = None  # whose commits the reduce that followed it takes in
        self._look_due = math.inf
        self._leaving: list[Executor] = []
        self._progress = _Progress()
        self._tally = Tally(
            job, store.uri, GivenUp("item" if job.format.once_per_item else "shard")
        )
        self._commits: dict[str, dict[int, Commit | None]] = {}
        self._known: set[int] = set()
        self._resumed = False
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._events: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Run every stage; what goes wrong is kept in `error`, the last word in end.json."""
        state, message = None, ""
        try:
            for stage, after in itertools.zip_longest(self.job.stages, self.job.stages[1:]):
                self._run_stage(stage, after)
            state = "succeeded"
        except _Stopped as stop:
            state, message = stop.state, stop.message
        except Exception as error:
            # The store or the pool gave out: the run has no last word and can be resumed.
            self.error, message = error, str(error)
        if self._follower is not None:
            _kill(self._follower.executor)
        try:
            self._check_folder()
        except Vanished as error:
            self.error, state, message = error, None, str(error)
        except Exception:
            pass  # A store that gives out says so when the last word is put.
        try:
            if state is not None:
                last = self.job.stages[-1].name
                known = self._commits.get(last)
                state = manifests.finish(self.store, self.job, state, message, known)
        except Exception as error:
            self.error, state, message = error, None, str(error)
        for executor in self._leaving:
            executor.shutdown(wait=True)
        with self._lock:
            self._progress.state = state or "interrupted"
            self._progress.message = message
            self._progress.finished = time.time()

    def stop(self) -> None:
        """End the run without a last word, so that it can be resumed."""
        self._stop.set()
        self._events.put(None)

    def status(self) -> RunStatus:
        """The progress so far, as a frozen value."""
        with self._lock:
            known = self._progress
            return self._tally.status(
                known.state,
                message=known.message,
                started=known.started,
                finished=known.finished,
                running=known.running,
                failures={**known.forgiven, **known.failures}.values(),
            )

    def _run_stage(self, stage: Stage, after: Stage | None) -> None:
        self._commits[stage.name] = {}
        given_up = self._given_up_before(stage)
        committed = set()
        for index, commit in records.sound_commits(self.store, stage.name):
            committed.add(index)
            self._note_commit(stage, index, commit)
        if stage is self.job.stages[0]:
            self._resumed = bool(committed)
        for failure in records.read_failures(self.store, stage.name) if self._resumed else ():
            with self._lock:
                self._tally.note(failure)
        todo = [index for index in range(stage.tasks) if index not in committed]
        todo = [index for index in todo if given_up.get(index, []) is not None]
        self._known = self._known_before(stage, given_up) if todo else set()
        if after is not None and len(todo) > 1:
            self._follow(stage, after)
        self._look_due = time.monotonic() + _FOLDER_SECONDS
        failed = self._run_tasks(stage, self._longest_first(stage, todo)) if todo else {}
        if failed:
            partly = self._give_up(stage, failed)
            self._known = set(partly)
            if partly and self._run_tasks(stage, partly):
                raise self._failed(stage)
        elif stage.kind == "map" and self.job.max_failed and not given_up:
            # What a reduce or the manifest is about to take in, nobody may give up any more.
            records.put_given_up(self.store, {})
        if todo:
            self._check_commits(stage)

    def _look_at_folder(self) -> None:
        """Raise, now and then, where what the run needs was taken away from its folder."""
        if time.monotonic() < self._look_due:
            return
        with suppress(StorageError):  # A store that gives no answer now has taken nothing away.
            self._check_folder()
            if self._awaited is not None:
                self._check_commits(self._awaited)
        self._look_due = time.monotonic() + _FOLDER_SECONDS

    def _check_folder(self) -> None:
        try:
            self.store.read(layout.JOB, 0, 1)
        except FileNotFoundError:
            raise Vanished(
                f"{self.store.uri}/{layout.JOB} is gone: somebody removed it, or the whole folder, "
                "while the run was at work; start a new run"
            ) from None

    def _check_commits(self, stage: Stage) -> None:
        """Raise where a commit that was there is gone; a listing that lags is not believed."""
        listed = set(records.committed(self.store, stage.name))
        for index in self._commits[stage.name].keys() - listed:
            if records.read_commit(self.store, stage.name, index) is None:
                raise BackendError(
                    f"{self.store.uri}/{layout.commit(stage.name, index)} is gone: somebody "
                    "removed it while the run was at work; resume the run, which does its task anew"
                )

    def _known_before(self, stage: Stage, given_up: Mapping[int, Any]) -> set[int]:
        """The tasks of which failed attempts of an earlier driver may have kept something."""
        several = stage.kind == "map" and self.job.items > self.job.shards
        return records.kept(self.store).union(given_up) if several else set()

    def _given_up_before(self, stage: Stage) -> Mapping[int, list[int] | None]:
        """What an earlier driver of this run gave up of a stage, whose failures are shown too."""
        if stage.kind != "map" or not self.job.max_failed:
            return {}
        standing = records.read_given_up(self.store)
        if standing:
            given_up = losses.given_up(self.store, self.job, standing)
            found = losses.failed_for_good(self.store, self.job, stage, standing)
            with self._lock:
                self._tally.given_up = given_up
                self._progress.forgiven = {(stage.name, i): f for i, f in found.items()}
        return standing

    def _follow(self, stage: Stage, after: Stage) -> None:
        """Start a lone reduce task beside the maps: it merges their outputs as they come.

        Otherwise it would begin when the last map has ended, and leave all but one processor
        idle. It is not started where it might wait for what never comes.
        """
        alone = stage.kind == "map" and after.kind == "reduce" and after.tasks == 1
        if not self._follows or not alone or self.job.max_failed or self.job.timeout:
            return
        if after.resources.gpu:
            return  # it would keep a device from the maps that it waits for
        if records.committed(self.store, after.name):
            return
        self._follower = _Follower(after, self._executor(after))
        self._go_on_following()

    def _go_on_following(self) -> None:
        """Start the next attempt of the follower, if it is time."""
        follower = self._follower
        if follower is None or follower.future is not None or time.monotonic() < follower.due:
            return
        executor = follower.executor
        submit = getattr(executor, "submit_fresh", executor.submit)
        place = self.store.uri, self.digest, follower.stage.name, (0,)
        follower.future = submit(self._call, *place, follower.attempt, True)
        follower.future.add_done_callback(self._events.put)

    def _hear_follower(self, future: Future[Any]) -> None:
        """End the run if the reduce failed for good before the maps are done.

        Whatever else became of it is looked at when its own stage begins.
        """
        follower = self._follower
        if follower is None or future is not follower.future:
            return
        failure: Failure | None
        try:
            (outcome,) = future.result(0)
        except WorkerLost as lost:
            failure = self._died(follower.stage, 0, follower.attempt, lost, None)
        except BaseException:
            return
        else:
            failure = outcome.failure
        if failure is None:
            return
        self._note_failure(follower.stage, 0, failure)
        if losses.final(self.job, failure):
            raise self._failed(follower.stage)
        follower.due = time.monotonic() + retries.pause(follower.attempt)
        follower.future, follower.attempt = None, follower.attempt + 1

    def _died(
        self, stage: Stage, index: int, attempt: int, lost: WorkerLost, item: int | None
    ) -> Failure:
        """A worker that died under a task: only the function can be blamed, so it counts."""
        from mapred.runfolder import failures

        final = retries.ends_for_good(self.job, lost.kind)
        return failures.died(
            self.store,
            self.job,
            stage,
            index,
            attempt,
            lost.kind,
            str(lost),
            lost.log,
            item=item,
            final=final,
            placed=item is not None or lost.at is not None,
        )

    def _longest_first(self, stage: Stage, todo: list[int]) -> list[int]:
        """Tasks by falling size class; within one in order, as plan files are read by the run."""
        if stage.kind != "map" or len(todo) < 3:
            return todo
        sizes = records.shard_bytes(self.store, self.job)[todo]
        classes = np.frexp(sizes.astype(float))[1]
        return [todo[i] for i in np.argsort(-classes, kind="stable")]

    def _run_tasks(self, stage: Stage, todo: Iterable[int]) -> dict[int, Failure]:
        """Run tasks until each is committed or has failed for good; the failed ones."""
        follower = self._follower
        if follower is not None and follower.stage is stage:
            self._follower, executor = None, follower.executor
            self._awaited = self.job.stage(stage.inputs or "")
            batch = _Batch(self, stage, executor)
            batch.adopt(0, follower)
            todo = ()
        else:
            executor = self._executor(stage)
            batch = _Batch(self, stage, executor)
        try:
            failed = batch.run(list(todo))
        except BaseException:
            _kill(executor)
            raise
        # Worker processes close what they hold while the run goes on.
        executor.shutdown(wait=not isinstance(executor, ProcessExecutor))
        self._leaving.append(executor)
        return failed

    def _give_up(self, stage: Stage, failed: Mapping[int, Failure]) -> list[int]:
        """Write failed.json if the failures are within max_failed; tasks to run once more."""
        if self._too_many(stage, failed.values()):
            raise self._failed(stage)
        # Another driver may have given up other tasks: its word is final, and these failed.
        standing = losses.give_up(self.store, self.job, failed)
        if any(not self._there(stage, index) for index in failed if index not in standing):
            raise self._failed(stage)
        given_up = losses.given_up(self.store, self.job, standing)
        with self._lock:
            self._tally.given_up = given_up
            known = self._progress
            for index in failed.keys() & standing.keys():
                known.failures.pop((stage.name, index), None)
                known.forgiven[stage.name, index] = failed[index]
        return [index for index in failed if standing.get(index) is not None]

    def _there(self, stage: Stage, index: int) -> bool:
        """Whether somebody else has committed a task that failed here."""
        commit = records.read_commit(self.store, stage.name, index)
        self._note_commit(stage, index, commit)
        return commit is not None

    def _too_many(self, stage: Stage, failed: Iterable[Failure]) -> bool:
        return losses.count(self.job, failed) > losses.allowed(self.job, stage)

    def _failed(self, stage: Stage) -> _Stopped:
        with self._lock:
            found = [f for (name, _), f in self._progress.failures.items() if name == stage.name]
            before = len(self._tally.given_up.indices) if stage.kind == "map" else 0
        return _Stopped("failed", losses.describe(self.job, stage, found, before))

    def _note_failure(self, stage: Stage, index: int, failure: Failure) -> None:
        with self._lock:
            self._progress.failures[stage.name, index] = failure
            self._tally.note(failure)

    def _note_commit(self, stage: Stage, index: int, commit: Commit | None) -> None:
        if commit is None:
            return
        with self._lock:
            known = self._progress
            commits = self._commits[stage.name]
            if index in commits:
                return
            # Only the last stage's outputs are needed again; the others' stay on disk.
            commits[index] = commit if stage.last else None
            known.failures.pop((stage.name, index), None)
            self._tally.add(commit)


@dataclass(frozen=True)
class _Call:
    """Some tasks, sent to the pool as one; of a task whose items failed, with its `pack`."""

    tasks: tuple[int, ...]
    attempt: int = 1
    pack: Pack | None = None


class _Batch:
    """Some tasks of one stage in flight."""

    def __init__(self, driver: Driver, stage: Stage, executor: Executor) -> None:
        self.driver, self.stage, self.executor = driver, stage, executor
        self.failed: dict[int, Failure] = {}
        self.flying: dict[Future[Any], _Call] = {}
        self.spent = self.count = 0.0
        self.workers = executor.max_workers if isinstance(executor, ProcessExecutor) else None
        one_by_one = driver.job.timeout is not None or driver.job.max_tasks_per_worker is not None
        self.blocks = self.workers is not None and not one_by_one
        self.window = driver.window or (3 * self.workers if self.workers else _WINDOW)
        self.troubles: dict[int, int] = {}
        self.later: list[tuple[float, _Call]] = []

    def adopt(self, task: int, follower: _Follower) -> None:
        """Take over an attempt that is under way, or about to be."""
        call = _Call((task,), follower.attempt)
        if follower.future is None:
            self.later.append((follower.due, call))
            return
        self.flying[follower.future] = call
        follower.future.add_done_callback(self.driver._events.put)

    def run(self, todo: list[int]) -> dict[int, Failure]:
        waiting = iter(todo)
        more = True
        while True:
            while more and len(self.flying) < self.window:
                block = tuple(itertools.islice(waiting, self._block()))
                more = bool(block)
                if block:
                    self._submit(_Call(block), fresh=self.driver._known.isdisjoint(block))
                    self._take(block=False)
            self._submit_later()
            self._note_running()
            if not self.flying and not self.later and not more:
                return self.failed
            self._take(block=True)

    def _block(self) -> int:
        """How many tasks to send at once: several while they take a few milliseconds only."""
        if not self.blocks or not self.count:
            return 1
        return max(1, min(_BLOCK, int(_BLOCK_SECONDS / (self.spent / self.count + 1e-6))))

    def _submit(self, call: _Call, *, fresh: bool = False) -> None:
        """Send some tasks; `fresh` ones had nothing in the folder when the stage began."""
        driver = self.driver
        function = driver._call
        if fresh:
            function = functools.partial(function, fresh=True)
        if call.pack is not None:
            function = functools.partial(function, pack=call.pack)
        submit = self.executor.submit
        if call.attempt > 1 or call.pack is not None:
            submit = getattr(self.executor, "submit_fresh", submit)
        place = driver.store.uri, driver.digest, self.stage.name
        try:
            future = submit(function, *place, call.tasks, call.attempt)
        except (RuntimeError, BrokenExecutor) as error:
            raise _broken(error, self.executor) from error
        self.flying[future] = call
        future.add_done_callback(driver._events.put)

    def _note_running(self) -> None:
        flying = sum(len(call.tasks) for call in self.flying.values())
        with self.driver._lock:
            self.driver._progress.running[self.stage.name] = min(flying, self.workers or flying)

    def _submit_later(self) -> None:
        """Send what has waited long enough."""
        now = time.monotonic()
        due = [entry for entry in self.later if entry[0] <= now]
        for entry in due:
            self.later.remove(entry)
            self._submit(entry[1])

    def _patience(self) -> float:
        """Seconds to wait for an answer, until something else is to be looked at."""
        due = min((when for when, _ in self.later), default=time.monotonic() + _LOOK_SECONDS)
        return min(_LOOK_SECONDS, max(0.0, due - time.monotonic()))

    def _take(self, *, block: bool) -> None:
        """Handle the answers that are there; wait for one if asked to."""
        driver = self.driver
        while True:
            if driver._stop.is_set():
                raise _Stopped(None, "stopped")
            if time.monotonic() > driver._due:
                raise _Stopped("failed", starts.overdue(driver.job))
            driver._go_on_following()
            driver._look_at_folder()
            try:
                future = driver._events.get(block, self._patience() if block else None)
            except queue.Empty:
                return
            block = False
            if future is not None and future in self.flying:
                self._settle(future, self.flying.pop(future))
            elif future is not None:
                driver._hear_follower(future)

    def _settle(self, future: Future[Any], call: _Call) -> None:
        try:
            outcomes = future.result(0)
        except CancelledError:
            raise _Stopped(None, "the pool cancelled a task") from None
        except WorkerLost as lost:
            self._lost(call, lost)
            return
        except (AccessError, FullError):
            # The function would be called again for nothing.
            raise
        except StorageError as error:
            for index in call.tasks:
                self._repeat_for_storage(replace(call, tasks=(index,)), error)
            return
        except BrokenExecutor as error:
            raise _broken(error, self.executor) from error
        except MapredError:
            raise
        except KeyboardInterrupt:
            # Ctrl-C reaches the processes of a pool as well.
            raise _Stopped(None, "interrupted; resume it with run.resume()") from None
        except BaseException as error:
            raise BackendError(f"the pool failed: {type(error).__name__}: {error}") from error
        for outcome in outcomes:
            if outcome.commit is not None:
                self.spent, self.count = self.spent + outcome.commit.seconds, self.count + 1
                self.driver._note_commit(self.stage, outcome.task, outcome.commit)
            else:
                self._not_done(replace(call, tasks=(outcome.task,)), outcome)

    def _not_done(self, call: _Call, outcome: Outcome) -> None:
        """Go on with a task that has no commit yet."""
        failure, index = outcome.failure, outcome.task
        if failure is None:
            if outcome.more:
                self._submit(call)
            return
        self.driver._note_failure(self.stage, index, failure)
        if failure.items:
            self._items_failed(call, failure, more=outcome.more)
        elif losses.final(self.driver.job, failure):
            self._give_up(index, failure)
        else:
            self._again(replace(call, attempt=call.attempt + 1), failure)

    def _items_failed(self, call: _Call, failure: Failure, *, more: bool) -> None:
        """Try failed items again, by themselves; those that are lost are the task's failure."""
        job, (index,) = self.driver.job, call.tasks
        lost = losses.lost_items(job, failure)
        if lost:
            self._give_up(
                index, losses.merged(self.failed.get(index), replace(failure, items=lost))
            )
        if more or not lost:
            pack = (call.pack or Pack()).after(failure, losses.lost_items(job, failure))
            self._again(replace(call, pack=pack), failure)

    def _again(self, call: _Call, failure: Failure) -> None:
        """Submit a task after the pause that is due, while others go on."""
        pause = retries.pause(failure.attempts)
        if pause:
            self.later.append((time.monotonic() + pause, call))
        else:
            self._submit(call)

    def _give_up(self, index: int, failure: Failure) -> None:
        """A task, or some items of it, failed for good: the run fails if these are too many."""
        driver = self.driver
        if driver._there(self.stage, index):
            return
        self.failed[index] = failure
        self.driver._note_failure(self.stage, index, failure)
        if driver._too_many(self.stage, self.failed.values()):
            raise driver._failed(self.stage)

    def _lost(self, call: _Call, lost: WorkerLost) -> None:
        """Blame the task and the item that the dead worker was at; the others run again."""
        at, item = lost.at or (None, NO_ITEM)
        if len(call.tasks) == 1:
            at = call.tasks[0]
        for index in call.tasks:
            one = replace(call, tasks=(index,))
            if index != at:
                # Where nobody knows, it shows when each runs by itself.
                self._submit(one)
                continue
            known = call.pack or Pack()
            attempt = call.attempt if item == NO_ITEM else max(call.attempt, known.attempt(item))
            found = None if item == NO_ITEM else item
            failure = self.driver._died(self.stage, index, attempt, lost, found)
            self._not_done(one, Outcome(index, failure=failure, more=True))

    def _repeat_for_storage(self, call: _Call, error: StorageError) -> None:
        (index,) = call.tasks
        tries = self.troubles[index] = self.troubles.get(index, 0) + 1
        if tries >= _STORAGE_TRIES:
            raise error
        self.later.append((time.monotonic() + 0.1 * 2**tries, call))


def _broken(error: BaseException, executor: Executor) -> BackendError:
    if isinstance(executor, ProcessExecutor):
        return BackendError(
            "the worker processes are gone: the process that starts them was ended from outside; "
            "what is committed is kept: resume the run"
        )
    return BackendError(
        f"the pool broke ({error}); what is committed is kept: resume the run, or use "
        "backend='local', where a dying worker takes down its own task alone"
    )


def _kill(executor: Executor) -> None:
    kill = getattr(executor, "kill", None)
    if kill is not None:
        kill()
    else:
        executor.shutdown(wait=False, cancel_futures=True)
