"""What the commits of a run add up to: the same for a run at work and one read from its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from itertools import filterfalse
from operator import attrgetter
from types import MappingProxyType

from mapred.functions import parameters
from mapred.model.failure import Failure, Retry
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job, Stage
from mapred.model.status import RunStatus, StageStatus, TaskTime

# The fields of these that commits and failures have too.
_time_fields = attrgetter(*(field.name for field in fields(TaskTime)))
_NO_BYTES = (
    "items",
    "array",
    "outputs",
)  # of which progress is told in items, not in bytes of pickles
_retry_fields = attrgetter(*(field.name for field in fields(Retry)))


class Tally:
    """The sums over the commits added so far; what was given up does not count as done."""

    def __init__(self, job: Job, uri: str, given_up: GivenUp) -> None:
        self.given_up = given_up
        self.done: dict[str, set[int]] = {stage.name: set() for stage in job.stages}
        self.times: list[TaskTime] = []
        self._job, self._uri = job, uri
        self._bytes = self._records = self._skipped = 0
        self._counters: dict[str, float] = {}
        self._heavy: dict[str, int] = {}
        self.tries: dict[tuple[str, int, str], Retry] = {}

    def add(self, commit: Commit) -> bool:
        """Count a commit; return False for one that was counted before."""
        done = self.done[commit.stage]
        if commit.task in done:
            return False
        done.add(commit.task)
        self.times.append(TaskTime(*_time_fields(commit)))
        for name, value in commit.counters.items():
            self._counters[name] = self._counters.get(name, 0) + value
        self._heavy.update(commit.heavy)
        if commit.stage == "map":
            self._bytes += commit.bytes
            self._skipped += commit.skipped
            self._records += self.given_up.kept.get(commit.task, commit.records)
        return True

    def note(self, failure: Failure) -> None:
        """Note a failed attempt, which is a retry if the task succeeds."""
        attempt = failure.stage, failure.task, failure.attempt
        self.tries[attempt] = Retry(*_retry_fields(failure))

    def _succeeded_later(self, retry: Retry) -> bool:
        lost = self.given_up.lost.get(retry.task, ()) if retry.stage == "map" else ()
        given_up = bool(retry.items) and set(retry.items) <= set(lost)
        return retry.task in self.done[retry.stage] and not given_up

    def status(
        self,
        state: str,
        *,
        started: float,
        message: str = "",
        finished: float | None = None,
        running: Mapping[str, int] = MappingProxyType({}),
        failures: Iterable[Failure] = (),
        times: bool = True,
    ) -> RunStatus:
        """Return the sums; `running` counts the tasks of stages of a run that is not over."""
        job, failures = self._job, sorted(failures, key=attrgetter("stage", "task"))
        tries = self._sorted_tries()
        files = job.format.name not in _NO_BYTES
        return RunStatus(
            run_id=job.run_id,
            uri=self._uri,
            name=job.name,
            state=state,
            stages=self._stages(running if state == "running" else {}, failures),
            started=started,
            finished=finished,
            bytes=job.bytes if files else 0,
            bytes_done=self._bytes if files else 0,
            records=self._records,
            skipped=self._skipped,
            message=message,
            counters=dict(self._counters),
            heavy=dict(self._heavy),
            given_up=self.given_up,
            times=tuple(self.times) if times else (),
            failures=tuple(failures),
            parameters=parameters.from_json(job.parameters),
            retries=tuple(filter(self._succeeded_later, tries)),
            items=job.items if job.format.once_per_item else 0,
            tries=tuple(filterfalse(self._succeeded_later, tries)),
        )

    def _sorted_tries(self) -> list[Retry]:
        """Return them by time: a driver hears of them in another order than the folder lists."""
        return sorted(self.tries.values(), key=attrgetter("time", "stage", "task", "items"))

    def _stages(
        self, running: Mapping[str, int], failures: Iterable[Failure]
    ) -> tuple[StageStatus, ...]:
        return tuple(self._stage(stage, running, failures) for stage in self._job.stages)

    def _stage(
        self, stage: Stage, running: Mapping[str, int], failures: Iterable[Failure]
    ) -> StageStatus:
        given_up = self.given_up if stage.kind == "map" else GivenUp()
        done, lost = self.done[stage.name], given_up.tasks
        failed = {failure.task for failure in failures if failure.stage == stage.name}
        done_now = len(done) - len(done & lost)
        return StageStatus(
            stage.name,
            stage.tasks,
            done=done_now,
            running=min(running.get(stage.name, 0), stage.tasks - done_now - len(lost)),
            failed=len(failed - done - lost),
            given_up=len(lost),
            given_up_items=len(given_up.indices) if given_up.what == "item" else 0,
        )
