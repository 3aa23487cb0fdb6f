"""What a run may lose: the tasks and items that failed for good, within max_failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mapred.errors import RecordError
from mapred.model import layout
from mapred.model.records import GivenUp
from mapred.model.spec import Job, Stage
from mapred.runfolder import records
from mapred.storage import Store

if TYPE_CHECKING:
    from mapred.model.failure import Failure


def allowed(job: Job, stage: Stage) -> int:
    """How many tasks of a stage (items, where the function runs once per item) may be lost."""
    return job.failures_allowed if stage.kind == "map" else 0


def count(job: Job, failures: Iterable[Failure]) -> int:
    """How many tasks have failed; items, where the function runs once per item."""
    if not job.format.once_per_item:
        return sum(1 for _ in failures)
    per_task = max(1, job.items // max(1, job.shards))
    return sum(len(failure.items) or per_task for failure in failures)


def describe(job: Job, stage: Stage, failures: Collection[Failure], before: int = 0) -> str:
    """Why a run failed that lost more than it may; `before` were given up already."""
    items = stage.kind == "map" and job.format.once_per_item
    number = count(job, failures) if items else len(failures)
    what = ("item" if items else "task") + "s" * (number != 1)
    limit = f" (max_failed allows {job.failures_allowed})" if job.max_failed else ""
    beside = f", and {before} given up before" if before else ""
    return f"{number} {what} of {stage.name} failed{beside}{limit}"


def give_up(
    store: Store, job: Job, failed: Mapping[int, Failure]
) -> Mapping[int, list[int] | None]:
    """Put failed.json with map tasks that failed for good; gives what stands there.

    Of a task whose failures name items, those alone are given up, and it has to run again.
    """
    tasks: dict[int, list[int] | None] = {}
    for index, failure in failed.items():
        whole = not job.format.once_per_item or not failure.items
        tasks[index] = None if whole else list(failure.items)
    return records.put_given_up(store, tasks)


def given_up(
    store: Store, job: Job, tasks: Mapping[int, list[int] | None] | None = None
) -> GivenUp:
    """What failed.json (`tasks`, where it is known) says, by the items that the plan has."""
    if tasks is None:
        tasks = records.read_given_up(store) if job.max_failed else {}
    chosen = sorted(tasks)
    if chosen and not 0 <= chosen[0] <= chosen[-1] < job.shards:
        raise _not_of(store, f"tasks {chosen[0]} to {chosen[-1]}, and the run has {job.shards}")
    if not job.format.once_per_item:
        return GivenUp("shard", {task: (task,) for task in chosen}, dict.fromkeys(chosen, 0))
    lost: dict[int, tuple[int, ...]] = {}
    kept: dict[int, int] = {}
    for task, planned in zip(chosen, records.shard_items(store, chosen), strict=True):
        named = tasks[task]
        if named is not None and not set(named) <= set(planned):
            raise _not_of(store, f"items of task {task} that are those of other tasks")
        lost[task] = tuple(planned if named is None else named)
        kept[task] = len(planned) - len(lost[task])
    return GivenUp("item", lost, kept)


def _not_of(store: Store, what: str) -> RecordError:
    return RecordError(
        f"{store.uri}/{layout.FAILED} names {what}; delete it, then resume the run: what was "
        "given up is tried again"
    )


def final(job: Job, failure: Failure) -> bool:
    """Whether what failed in an attempt is not to be tried again."""
    return failure.final or failure.attempts >= job.attempts


def lost_items(job: Job, failure: Failure) -> tuple[int, ...]:
    """Those of the failed items that are not to be tried again."""
    return failure.items if final(job, failure) else failure.lost


def failed_for_good(
    store: Store, job: Job, stage: Stage, tasks: Iterable[int]
) -> dict[int, Failure]:
    """Those of the tasks that lost something for good, by their records; each with its last one.

    Its items are all that the task lost, in whatever attempt; none where all of it is lost.
    """
    wanted = set(tasks)
    tries = records.read_failures(store, stage.name, wanted) if wanted else ()
    found: dict[int, Failure] = {}
    for failure in tries:
        lost = lost_items(job, failure)
        if lost or final(job, failure):
            found[failure.task] = merged(found.get(failure.task), replace(failure, items=lost))
    return dict(sorted(found.items()))


def merged(before: Failure | None, failure: Failure) -> Failure:
    """The later of two failures of a task, with the items of both."""
    if before is None:
        return failure
    later = max(before, failure, key=lambda each: each.time)
    values = {**before.values, **failure.values}
    if not before.items or not failure.items:
        return replace(later, items=(), values=values)
    items = tuple(sorted({*before.items, *failure.items}))
    return replace(later, items=items, values=values)
