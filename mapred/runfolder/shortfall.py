"""What a run goes without: the tasks and items that failed for good, within max_failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mapred.errors import RecordError
from mapred.model import layout, policy
from mapred.model.records import GivenUp
from mapred.model.spec import Job, Stage
from mapred.runfolder import records
from mapred.storage import Store

if TYPE_CHECKING:
    from mapred.model.failure import Failure


def read(store: Store, job: Job, tasks: Mapping[int, list[int] | None] | None = None) -> GivenUp:
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


def failures(store: Store, job: Job, stage: Stage, tasks: Iterable[int]) -> dict[int, Failure]:
    """Those of the tasks that lost something for good, by their records; each with its last one.

    Its items are all that the task lost, in whatever attempt; none where all of it is lost.
    """
    from mapred.model.failure import merged

    wanted = set(tasks)
    tries = records.read_failures(store, stage.name, wanted) if wanted else ()
    found: dict[int, Failure] = {}
    for failure in tries:
        lost = policy.lost_items(job.attempts, failure)
        if lost or policy.is_final(job.attempts, failure):
            found[failure.task] = merged(found.get(failure.task), replace(failure, items=lost))
    return dict(sorted(found.items()))
