"""What became of items and shards, one by one: what was returned, or why nothing was."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mapred.model import losses
from mapred.model.checking import short_repr
from mapred.model.failure import Failure
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Job
from mapred.runfolder import items, outputs, plans, results
from mapred.runfolder.failures import error_line
from mapred.runfolder.folder import RunFolder
from mapred.storage import map_ahead


@dataclass(frozen=True, eq=False, repr=False)
class Completed:
    """What the function returned for one item or shard, or why it failed. `Run.as_completed` gives it.

    Attributes:
        index: The number of the item, or of the shard where the function takes shards.
        value: What was returned; None if it failed.
        item: What the function was called with: the parameters of a point as a dict, an item, the
            path of a file, the number in an array; None for a shard.
        error: Why the value is missing: the class of the exception and its message, on one line; None
            if there is one.
        task: The number of the task that had it.
        seconds: How long it took. Items that share a task share its time equally.
        attempt: The number of the attempt that returned the value, or failed last.

    Examples:
        >>> run = mapred.run(abs, [-1, -2])
        >>> for out in run.as_completed():
        ...     print(out.item, out.value)
        -1 1
        -2 2
    """

    index: int
    value: Any = None
    item: Any = None
    error: str | None = None
    task: int = 0
    seconds: float | None = None
    attempt: int | None = None

    def __repr__(self) -> str:
        item = "" if self.item is None else f", item={short_repr(self.item)}"
        what = f"value={short_repr(self.value)}" if self.error is None else f"error={self.error!r}"
        return f"Completed(index={self.index}{item}, {what})"


@dataclass(frozen=True)
class Outcome:
    """Why an item or shard has no value, how long it took, and in which attempt."""

    error: str | None = None
    seconds: float | None = None
    attempt: int | None = None


class Reader:
    """Reads what became of the tasks of one stage: the map, or the end of a keyed reduce."""

    def __init__(self, folder: RunFolder, job: Job, stage: str | None = None) -> None:
        self.folder, self.job = folder, job
        self.stage = results.choose_stage(job, stage)
        self.per_item = self.stage.kind == "map" and job.format.once_per_item

    @property
    def what(self) -> str:
        """What is counted: `point`, `item`, `shard`, or `task` of another stage."""
        if self.per_item:
            return "point" if self.job.format.as_ == "keywords" else "item"
        return "shard" if self.stage.kind == "map" else "task"

    @property
    def total(self) -> int:
        return self.job.items if self.per_item else self.stage.tasks

    @cached_property
    def _firsts(self) -> list[int]:
        firsts: list[int] = plans.first_items(self.folder.store, self.job).tolist()
        return [*firsts, self.job.items]

    def indices(self, task: int) -> range:
        """Return the items of a task; the task itself, where it is a shard."""
        if not self.per_item:
            return range(task, task + 1)
        return range(self._firsts[task], self._firsts[task + 1])

    @cached_property
    def parameters(self) -> list[dict[str, Any]]:
        """What the function was called with, by its names; empty if that is a number alone."""
        return items.load_parameters(self.folder.store, self.job) if self.per_item else []

    def item(self, index: int) -> Any:
        if not self.per_item:
            return None
        if not self.parameters:
            return index
        named = self.parameters[index]
        return named if self.job.format.as_ == "keywords" else named["item"]

    def commits(self, tasks: Iterable[int], *, sound: bool = False) -> Iterator[Commit | None]:
        """Yield the commit of each task; with `sound`, a damaged one is a `RecordError`."""
        read = self.folder.sound_commit if sound else self.folder.commit
        return map_ahead(self.folder.store, lambda task: read(self.stage.name, task), tasks)

    def values(self, commits: Iterable[Commit]) -> Iterator[Completed]:
        """Yield each value of some tasks, in the order of the commits, with its outcome."""
        chosen = list(commits)
        lost = self.losses({commit.task for commit in chosen}, committed=True)
        by_task = {commit.task: commit for commit in chosen}
        entries = [(commit.task, commit.output) for commit in chosen]
        for task, place, value in results.load_values(self.folder.store, entries):
            indices = self.indices(task)
            if place >= len(indices):
                continue  # a task without items
            index = indices[place]
            if isinstance(value, outputs.Broken):
                item = index if self.per_item else None
                raise results.broken_error(self.stage.name, task, item, value)
            failure = lost.get(index) if value is None else None
            outcome = self.outcome(index, task, by_task[task], failure)
            yield Completed(index, value, self.item(index), task=task, **vars(outcome))

    def failed(self, tasks: Collection[int]) -> Iterator[Completed]:
        """Yield the items and shards of tasks without a commit that failed for good."""
        for index, failure in sorted(self.losses(tasks, committed=False).items()):
            outcome = self.outcome(index, failure.task, None, failure)
            yield Completed(index, None, self.item(index), task=failure.task, **vars(outcome))

    def outcome(
        self, index: int, task: int, commit: Commit | None, failure: Failure | None
    ) -> Outcome:
        """Return what the commit of a task, or its last failure, says of an item."""
        error = None
        if failure is not None:
            own = error_line(failure.error, failure.message)
            error = failure.errors.get(index, own) if self.per_item else own
        share = max(1, len(self.indices(task)))
        if commit is not None:
            number = commit.attempt.partition("-")[0]
            attempt = int(number) if number.isdecimal() else None
            return Outcome(error, commit.seconds / share, attempt)
        if failure is not None and failure.attempt:
            return Outcome(error, failure.seconds / share, failure.attempts)
        return Outcome(error)

    def losses(self, tasks: Collection[int], *, committed: bool) -> dict[int, Failure]:
        """Return the last failure of each item or shard that failed for good, of these tasks.

        Of a task with a commit, an item that has a value has not: its failure is older.
        """
        if not tasks or (committed and not (self.job.max_failed and self.stage.kind == "map")):
            return {}
        given_up = self.given_up()
        if committed and given_up.lost:  # It is settled which tasks lost anything.
            tasks = given_up.lost.keys() & set(tasks)
        known = {index for task in tasks for index in given_up.lost.get(task, ())}
        start = self.folder.start()
        lost: dict[int, Failure] = {}
        tries = self.folder.failed_attempts(self.stage.name, frozenset(tasks))
        for failure in sorted(tries, key=lambda failure: failure.time):
            # What failed before the run was resumed was tried again, or is given up.
            current = not start.pauses or failure.time >= start.time
            for index in self._lost_in(failure):
                if current or index in known:
                    lost[index] = failure
        for task in tasks:
            for index in given_up.lost.get(task, ()):
                lost.setdefault(index, Failure(self.stage.name, task, "", "lost", "", "given up"))
        return lost

    def given_up(self) -> GivenUp:
        """Return what the run goes without, as far as that is settled."""
        if self.stage.kind != "map" or not self.job.max_failed:
            return GivenUp()
        return self.folder.given_up(self.job)

    def _lost_in(self, failure: Failure) -> Iterable[int]:
        if self.per_item and failure.items:
            return losses.lost_items(self.job.attempts, failure)
        final = losses.is_final(self.job.attempts, failure)
        return self.indices(failure.task) if final else ()
