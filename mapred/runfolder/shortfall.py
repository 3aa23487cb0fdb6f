"""What a run goes without: the tasks and items that failed for good, within max_failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mapred.errors import RecordError
from mapred.model import losses
from mapred.model.records import GivenUp
from mapred.model.spec import Job

if TYPE_CHECKING:
    from mapred.model.failure import Failure


def given_up(
    job: Job, tasks: Mapping[int, list[int] | None], planned: Iterable[range], where: str
) -> GivenUp:
    """Return what failed.json, which lies at `where`, says by its `tasks`.

    `planned` has the items of these tasks, in order; it is read where single items count alone.
    """
    chosen = sorted(tasks)
    if chosen and not 0 <= chosen[0] <= chosen[-1] < job.shards:
        raise _not_of(where, f"tasks {chosen[0]} to {chosen[-1]}, and the run has {job.shards}")
    if not job.format.once_per_item:
        return GivenUp("shard", {task: (task,) for task in chosen}, dict.fromkeys(chosen, 0))
    lost: dict[int, tuple[int, ...]] = {}
    kept: dict[int, int] = {}
    for task, items in zip(chosen, planned, strict=True):
        named = tasks[task]
        if named is not None and not set(named) <= set(items):
            raise _not_of(where, f"items of task {task} that are those of other tasks")
        lost[task] = tuple(items if named is None else named)
        kept[task] = len(items) - len(lost[task])
    return GivenUp("item", lost, kept)


def _not_of(where: str, what: str) -> RecordError:
    return RecordError(
        f"{where} names {what}; delete it, then resume the run: what was given up is tried again"
    )


def failed_for_good(job: Job, tries: Iterable[Failure]) -> dict[int, Failure]:
    """Return the tasks that lost something for good, by their failed attempts; each with its last
    one.

    Its items are all that the task lost, in whatever attempt; none where all of it is lost.
    """
    from mapred.model.failure import merge_failures

    found: dict[int, Failure] = {}
    for failure in tries:
        lost = losses.lost_items(job.attempts, failure)
        if lost or losses.is_final(job.attempts, failure):
            found[failure.task] = merge_failures(
                found.get(failure.task), replace(failure, items=lost)
            )
    return dict(sorted(found.items()))


def last(job: Job, tries: list[Failure], given_up: list[int] | None, *, committed: bool) -> Failure:
    """Return what is told of the failed attempts at a task: all items that it lost.

    Of one that is done, these are the items given up, and else those that failed beside them.
    """
    from mapred.model.failure import merge_failures

    latest = max(tries, key=lambda failure: failure.time)
    if not latest.items:
        return latest
    lost = {item for failure in tries for item in losses.lost_items(job.attempts, failure)}
    before = lost.intersection(given_up or ())
    told = before if committed or lost == before else lost - before
    found = None
    for failure in tries:
        if items := told.intersection(losses.lost_items(job.attempts, failure)):
            found = merge_failures(found, replace(failure, items=tuple(sorted(items))))
    return found or latest
