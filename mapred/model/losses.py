"""What a stage may lose within max_failed, and which failed attempts lose a task or its items."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from mapred.model.events import Items
from mapred.model.frozen import dataclass

if TYPE_CHECKING:
    from mapred.model.failure import Failure
    from mapred.model.spec import Job, Stage


@dataclass(frozen=True)
class Rules:
    """What a job lays down for a stage.

    `allowed` counts tasks, or items where the function runs once per item: `per_task` is how
    many a task has then, and 0 otherwise.
    """

    attempts: int = 1
    allowed: int = 0
    per_task: int = 0


def rules_of(job: Job, stage: Stage) -> Rules:
    """Return the rules for a stage: only what map tasks give can be done without."""
    if stage.kind != "map":
        return Rules(job.attempts)
    per_task = max(1, job.items // max(1, job.shards)) if job.format.once_per_item else 0
    return Rules(job.attempts, job.failures_allowed, per_task)


def is_final(attempts: int, failure: Failure) -> bool:
    """Whether what failed in an attempt is not to be tried again."""
    return failure.final or failure.attempts >= attempts


def lost_items(attempts: int, failure: Failure) -> tuple[int, ...]:
    """Those of the failed items that are not to be tried again."""
    return failure.items if is_final(attempts, failure) else failure.lost


def count_lost(rules: Rules, lost: Iterable[Items]) -> int:
    """How many tasks are lost; items, where the function runs once per item."""
    if not rules.per_task:
        return sum(1 for _ in lost)
    return sum(len(items) if items else rules.per_task for items in lost)


def reason(job: Job, stage: Stage, lost: Collection[Items], before: int = 0) -> str:
    """Why a run failed that lost more than it may; `before` were given up already."""
    per_item = stage.kind == "map" and job.format.once_per_item
    number = count_lost(rules_of(job, stage), lost)
    what = ("item" if per_item else "task") + "s" * (number != 1)
    limit = f" (max_failed allows {job.failures_allowed})" if job.max_failed else ""
    beside = f", and {before} given up before" if before else ""
    return f"{number} {what} of {stage.name} failed{beside}{limit}"


def add_loss(lost: Mapping[int, Items], task: int, items: Items) -> Items:
    """Return what a task has lost with these items; all of it, where one attempt lost all of it."""
    before = lost.get(task, ())
    return None if before is None or not items else tuple(sorted({*before, *items}))
