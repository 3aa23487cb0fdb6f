"""What the commits of a run add up to: the same for a run at work and one read from its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType

from mapred.functions import parameters
from mapred.model.failure import Failure, Retry
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job, Stage
from mapred.model.status import RunStatus, StageStatus, TaskTime

# The fields of these that commits and failures have too.
_time_fields = attrgetter(*(field.name for field in fields(TaskTime)))
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
    ) -> RunStatus:
        """Return the sums as a frozen value, together with what commits do not contain.

        `running` counts tasks by stage; it is ignored for a run that is over.
        """
        job = self._job
        failures = sorted(failures, key=lambda failure: (failure.stage, failure.task))
        at_work = running if state == "running" else {}
        return RunStatus(
            run_id=job.run_id,
            uri=self._uri,
            name=job.name,
            state=state,
            stages=tuple(self._stage(stage, at_work, failures) for stage in job.stages),
            started=started,
            finished=finished,
            bytes=job.bytes,
            bytes_done=self._bytes,
            records=self._records,
            skipped=self._skipped,
            message=message,
            counters=dict(self._counters),
            heavy=dict(self._heavy),
            given_up=self.given_up,
            times=tuple(self.times),
            failures=tuple(failures),
            parameters=parameters.from_json(job.parameters),
            retries=tuple(filter(self._succeeded_later, self.tries.values())),
        )

    def _stage(
        self, stage: Stage, running: Mapping[str, int], failures: Iterable[Failure]
    ) -> StageStatus:
        given_up = self.given_up if stage.kind == "map" else GivenUp()
        done, lost = self.done[stage.name], given_up.tasks
        failed = {failure.task for failure in failures if failure.stage == stage.name}
        return StageStatus(
            stage.name,
            stage.tasks,
            done=len(done) - len(done & lost),
            running=running.get(stage.name, 0),
            failed=len(failed - done - lost),
            given_up=len(lost),
            given_up_items=len(given_up.indices) if given_up.what == "item" else 0,
        )
