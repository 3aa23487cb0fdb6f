"""What is missing in a run: the tasks and items that failed for good, within max_failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mapred.errors import RecordError
from mapred.model import losses
from mapred.model.failure import Failure, merge_failures
from mapred.model.records import GivenUp
from mapred.model.spec import Job


def given_up(
    job: Job, tasks: Mapping[int, list[int] | None], planned: Iterable[range], where: str
) -> GivenUp:
    """Check the `tasks` of the failed.json at `where` against the plan.

    `planned` has the items of these tasks, in order; it is read if the function runs once per item.
    """
    chosen = sorted(tasks)
    if chosen and not 0 <= chosen[0] <= chosen[-1] < job.shards:
        raise _misfit_error(
            where, f"tasks {chosen[0]} to {chosen[-1]}, and the run has {job.shards}"
        )
    if not job.format.once_per_item:
        return GivenUp("shard", {task: (task,) for task in chosen}, dict.fromkeys(chosen, 0))
    lost: dict[int, tuple[int, ...]] = {}
    kept: dict[int, int] = {}
    for task, items in zip(chosen, planned, strict=True):
        named = tasks[task]
        if named is not None and not set(named) <= set(items):
            raise _misfit_error(where, f"items of task {task} that are those of other tasks")
        lost[task] = tuple(items if named is None else named)
        kept[task] = len(items) - len(lost[task])
    return GivenUp("item", lost, kept)


def _misfit_error(where: str, what: str) -> RecordError:
    return RecordError(
        f"{where} names {what}; delete it, then resume the run: what was given up is tried again"
    )


def failed_for_good(job: Job, tries: Iterable[Failure]) -> dict[int, Failure]:
    """Return the last failure of each task that lost something for good.

    Its items are all that the task lost, in any attempt; none if all of the task is lost.
    """
    failed: dict[int, Failure] = {}
    for failure in tries:
        lost, task = losses.lost_items(job.attempts, failure), failure.task
        if lost or losses.is_final(job.attempts, failure):
            failed[task] = merge_failures(failed.get(task), replace(failure, items=lost))
    return dict(sorted(failed.items()))


def last_failure(
    job: Job, tries: list[Failure], given_up: list[int] | None, *, committed: bool
) -> Failure:
    """Merge the failed attempts at a task into one failure, with all items that it lost.

    Of a task that is done, these are the items given up, and else those that failed beside them.
    """
    latest = max(tries, key=lambda failure: failure.time)
    if not latest.items:
        return latest
    lost = {item for failure in tries for item in losses.lost_items(job.attempts, failure)}
    before = lost.intersection(given_up or ())
    named = before if committed or lost == before else lost - before
    merged = None
    for failure in tries:
        if items := named.intersection(losses.lost_items(job.attempts, failure)):
            merged = merge_failures(merged, replace(failure, items=tuple(sorted(items))))
    return merged or latest
