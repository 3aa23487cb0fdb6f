"""What a driver knows of its run beside the folder, for those who ask while it is at work."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from mapred.model.events import Items
from mapred.model.failure import Failure
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job, Stage
from mapred.model.status import Look, RunStatus, WorkerStatus
from mapred.runfolder.tally import Tally

Place = tuple[str, int]  # a stage's name, and a task of it
_LATEST = 8  # attempts that a look names


class Progress:
    """Written by the driver's thread, read by any."""

    def __init__(self, job: Job, uri: str) -> None:
        self._tally = Tally(job, uri, GivenUp("item" if job.format.once_per_item else "shard"))
        self._last = job.stages[-1].name
        # The last stage's commits alone are needed again; those of others stay in the store.
        self.results: dict[int, Commit | None] = {}
        self._state, self._message = "running", ""
        self._started = time.time()
        self._finished: float | None = None
        self._running: dict[str, int] = {}
        self._failures: dict[Place, Failure] = {}  # those that count
        self._forgiven: dict[Place, Failure] = {}  # those within max_failed
        self._lost: dict[Place, Failure] = {}
        self._latest: deque[tuple[str, int, str]] = deque(maxlen=_LATEST)
        self._begun: Callable[[], Mapping[str, int] | None] = dict
        self._lock = threading.Lock()

    def status(self, *, times: bool = True) -> RunStatus:
        with self._lock:
            status = self._tally.status(
                self._state,
                message=self._message,
                started=self._started,
                finished=self._finished,
                running=self._running,
                failures={**self._forgiven, **self._failures}.values(),
                times=times,
            )
            begun = self._begun()
        return status if begun is None else replace(status, waiting=_waiting(status, begun))

    def look(self, seen: int, workers: Callable[[], tuple[WorkerStatus, ...] | None]) -> Look:
        """Return what there is to say, with the times of the tasks behind the first `seen`."""
        status = self.status(times=False)
        with self._lock:
            news, latest = self._tally.times[seen:], tuple(self._latest)
        return Look(status, news, seen + len(news), workers(), latest)

    def watch_calls(self, begun: Callable[[], Mapping[str, int] | None]) -> None:
        """Ask `begun` how many tasks of each stage are with workers; None if nobody knows."""
        self._begun = begun

    def keep_calls(self) -> None:
        """Keep what is with workers now, as they are about to be ended."""
        begun = self._begun()
        self._begun = lambda: begun

    def done_tasks(self, stage: Stage) -> set[int]:
        return self._tally.done[stage.name]

    def add(self, commit: Commit) -> None:
        """Note a commit; one that is known already changes nothing."""
        with self._lock:
            if self._tally.add(commit):
                self._latest.append((commit.stage, commit.task, commit.attempt))
                if commit.stage == self._last:
                    self.results[commit.task] = commit
                self._failures.pop((commit.stage, commit.task), None)

    def note(self, failure: Failure) -> None:
        """Note an attempt of an earlier driver, which is a retry if its task succeeds."""
        with self._lock:
            self._tally.note(failure)

    def fail(self, failure: Failure) -> None:
        """Note an attempt that failed now."""
        with self._lock:
            self._failures[failure.stage, failure.task] = failure
            self._tally.note(failure)

    def failures(self, stage: Stage) -> list[Failure]:
        """Return the failures at tasks of a stage that are neither done nor given up."""
        with self._lock:
            return [f for (name, _), f in self._failures.items() if name == stage.name]

    def given_up(self) -> int:
        with self._lock:
            return len(self._tally.given_up.indices)

    def lose(self, stage: Stage, task: int, items: Items) -> None:
        """Note what a task has lost for good: its last failure tells of that alone."""
        place = stage.name, task
        with self._lock:
            failure = self._failures.get(place) or _silent_failure(*place)
            before = self._lost.get(place, failure)
            values = {**before.values, **failure.values}
            failure = replace(failure, items=tuple(items or ()), values=values)
            self._lost[place] = self._failures[place] = failure

    def give_up(self, stage: Stage, given_up: GivenUp) -> None:
        """Note what the run goes without: what failed for it is forgiven."""
        with self._lock:
            self._tally.given_up = given_up
            for task in given_up.lost:
                place = stage.name, task
                if place in self._lost:
                    self._failures.pop(place, None)
                    self._forgiven[place] = self._lost.pop(place)

    def forgive(self, stage: Stage, failures: Mapping[int, Failure]) -> None:
        """Note the failures of what an earlier driver gave up."""
        with self._lock:
            places = {(stage.name, task): failure for task, failure in failures.items()}
            self._forgiven.update(places)

    def run(self, stage: Stage, tasks: int) -> None:
        with self._lock:
            self._running[stage.name] = tasks

    def end(self, state: str, message: str) -> None:
        with self._lock:
            self._state, self._message, self._finished = state, message, time.time()


def _waiting(status: RunStatus, begun: Mapping[str, int]) -> dict[str, int]:
    """Return how many tasks of each stage no worker has got."""
    return {
        stage.name: max(
            0, stage.total - stage.done - stage.given_up - stage.failed - begun.get(stage.name, 0)
        )
        for stage in status.stages
    }


def _silent_failure(stage: str, task: int) -> Failure:
    text = "an attempt ended for an unknown reason, with neither a commit nor a record of a failure"
    return Failure(stage, task, "", "lost", "WorkerLost", text, time=time.time())
