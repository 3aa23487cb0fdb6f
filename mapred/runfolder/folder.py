"""A run's folder as one object: the only reader and writer of what lies in it about the run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mapred.model import layout
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job, Stage
from mapred.model.status import RunStatus
from mapred.runfolder import liveness, plans, shortfall, starts
from mapred.runfolder.manifests import EndRecords
from mapred.runfolder.starts import Start
from mapred.runfolder.tally import Tally

if TYPE_CHECKING:
    from mapred.model.failure import Failure


_SHARD_COLUMNS = ("attempt", "bytes", "records", "skipped", "seconds", "peak_memory", "worker")


class RunFolder(EndRecords):
    """The folder of a run in a store: its files, its records, and what they add up to.

    It inherits a chain of parts, each in a module of its own: `Files`, `TaskRecords`,
    `RunRecords`, `EndRecords`; other packages use this class alone. Nothing is kept in memory,
    since others write the folder at the same time.
    """

    def status(self, job: Job, start: Start | None = None, *, alive: bool) -> RunStatus:
        """Compute the run's status from its folder alone, by reading every commit.

        `start` is its last one, if it is known; `alive` says whether its driver lives.
        """
        end, start = self.end(), start or self.start()
        state = end.state if end else "running" if alive else start.state
        status = self._tally(job, self.given_up(job)).status(
            state if state != "running" or alive else "interrupted",
            message=end.message if end else "",
            started=starts.submission_time(job),
            failures=self.failures(job),
        )
        return starts.add_times(status, job, start, end)

    def _tally(self, job: Job, given_up: GivenUp) -> Tally:
        tally = Tally(job, self.uri, given_up)
        for stage in job.stages:
            for commit in self.commits(stage.name, self.list_committed(stage.name)):
                if commit is not None:
                    tally.add(commit)
            for failure in self.failed_attempts(stage.name):
                tally.note(failure)
        return tally

    def progress(self, job: Job) -> RunStatus:
        """Return the status of a run at work by the names of its commits, without reading them."""
        tally = Tally(job, self.uri, self.given_up(job))
        for stage in job.stages:
            tally.done[stage.name].update(self.list_committed(stage.name))
        status = tally.status("running", started=starts.submission_time(job))
        first = status.stages[0]
        done = first.done / first.total if first.total else 1.0
        return replace(status, bytes_done=int(done * status.bytes))

    def running_status(self, job: Job) -> RunStatus:
        """Return the status of a run at work without its progress, and read no record."""
        return Tally(job, self.uri, GivenUp()).status(
            "running", started=starts.submission_time(job)
        )

    def given_up(self, job: Job, tasks: Mapping[int, list[int] | None] | None = None) -> GivenUp:
        """Return what a run gave up, by the plan and failed.json, whose `tasks` may be given."""
        if tasks is None:
            tasks = self.given_up_tasks() if job.max_failed else {}
        planned = plans.shard_items(self.store, sorted(tasks))
        return shortfall.given_up(job, tasks, planned, f"{self.uri}/{layout.FAILED}")

    def failures(self, job: Job) -> tuple[Failure, ...]:
        """Return the last failure of each task that has no commit, or that gave up some items.

        It names all items that the task lost, in any of its attempts.
        """
        failures: list[Failure] = []
        for stage in job.stages:
            done = frozenset(self.list_committed(stage.name))
            given_up = self.given_up_tasks() if stage.kind == "map" else {}
            latest: dict[int, list[Failure]] = {}
            for failure in self.failed_attempts(stage.name, but=done - given_up.keys()):
                latest.setdefault(failure.task, []).append(failure)
            for task, tries in latest.items():
                last = shortfall.last_failure(
                    job, tries, given_up.get(task), committed=task in done
                )
                failures.append(last)
        return tuple(sorted(failures, key=lambda failure: (failure.stage, failure.task)))

    def shards(self, job: Job) -> Iterator[dict[str, Any]]:
        """Yield a row for every map task, for a table of them."""
        sizes = plans.shard_bytes(self.store, job)
        given_up = self.given_up(job)
        failed = {failure.task for failure in self.failures(job) if failure.stage == "map"}
        for shard, commit in enumerate(self.commits("map", range(job.shards))):
            row: dict[str, Any] = {"shard": shard, "planned_bytes": int(sizes[shard])}
            if commit is not None:
                row |= {name: getattr(commit, name) for name in _SHARD_COLUMNS}
                row["records"] = given_up.kept.get(shard, commit.records)
            row["state"] = _state(shard, commit, given_up, failed)
            row["given_up"] = len(given_up.lost.get(shard, ()))
            yield row

    def add_times(self, status: RunStatus, job: Job, start: Start) -> RunStatus:
        """Add the run's times to a driver's status."""
        return starts.add_times(status, job, start, None if status.live else self.end())

    def failed_for_good(self, job: Job, stage: Stage, tasks: Iterable[int]) -> dict[int, Failure]:
        """Return those of the tasks that lost something for good, each with its last failure."""
        wanted = set(tasks)
        tries = self.failed_attempts(stage.name, wanted) if wanted else ()
        return shortfall.failed_for_good(job, tries)

    def last_activity_time(self) -> float:
        """Return when the last attempt ended, by all commits and failures; 0.0 without any."""
        tally = self._tally(self.job(), GivenUp())
        return max([0.0, *starts.activity_times(tally.times, tally.tries.values())])

    def item_texts(self, job: Job, shard: int, items: Collection[int]) -> dict[int, str]:
        """Return what the function is called with for items of a shard, as text by their numbers."""
        from mapred.runfolder import points  # few runs are shown item by item

        return points.stored_values(self.store, job, shard, items)

    def driver(self, start: Start | None = None) -> liveness.Driver | None:
        """Return the process that drives the run; None if there is none, or a cluster does."""
        return liveness.driver(self.store, start or self.start())

    def send_heartbeats(self, ref: str) -> AbstractContextManager[None]:
        return liveness.send_heartbeats(self.store, ref)


def _state(shard: int, commit: Commit | None, given_up: GivenUp, failed: set[int]) -> str:
    if shard in given_up.tasks:
        return "given up"
    if commit is not None:
        return "done"
    return "failed" if shard in failed else "waiting"
