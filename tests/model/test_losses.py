"""What a stage may lose, and how many of its items or tasks count as lost."""

from __future__ import annotations

from typing import Any

import pytest

from mapred.model.failure import Failure
from mapred.model.losses import Rules, add_loss, count_lost, is_final, lost_items, reason, rules_of
from mapred.model.spec import Format, Job, Stage

MAP, REDUCE = Stage("map", "map", 4), Stage("reduce-1", "reduce", 1)
BY_ITEM, BY_SHARD = Format("items", "item"), Format("text", "lines")


def job(format: Format, items: int = 12, shards: int = 4, **more: Any) -> Job:
    return Job(
        run_id="r", name="n", created="2026-03-01T12:00:00Z", format=format, stages=(MAP, REDUCE),
        shards=shards, items=items, files=0, bytes=0, function="function.pkl", **more,
    )  # fmt: skip


def test_only_map_tasks_may_be_lost_and_items_where_each_is_a_call() -> None:
    by_item = job(BY_ITEM, attempts=5, max_failed=2)
    assert rules_of(by_item, MAP) == Rules(attempts=5, allowed=2, per_task=3)
    assert rules_of(by_item, REDUCE) == Rules(attempts=5, allowed=0, per_task=0)
    assert rules_of(job(BY_SHARD, max_failed=2), MAP) == Rules(3, allowed=2, per_task=0)
    # A task has one item at least, as long as nobody has counted them.
    assert rules_of(job(BY_ITEM, items=1, shards=1), MAP).per_task == 1
    assert rules_of(job(BY_ITEM, items=0, shards=0), MAP).per_task == 1
    assert rules_of(job(BY_ITEM, items=2, shards=4), MAP).per_task == 1


@pytest.mark.parametrize(
    ("format", "stage", "lost", "before", "max_failed", "text"),
    [
        (BY_ITEM, MAP, [(1,)], 0, 0, "1 item of map failed"),
        (BY_ITEM, MAP, [(1, 4)], 0, 0, "2 items of map failed"),
        (BY_ITEM, MAP, [None], 0, 0, "3 items of map failed"),
        (BY_SHARD, MAP, [None], 0, 0, "1 task of map failed"),
        (BY_SHARD, MAP, [None, None], 0, 1, "2 tasks of map failed (max_failed allows 1)"),
        (BY_ITEM, REDUCE, [None], 0, 0, "1 task of reduce-1 failed"),
        (
            BY_ITEM, MAP, [(1,)], 1, 0.1,
            "1 item of map failed, and 1 given up before (max_failed allows 1)",
        ),
    ],
)  # fmt: skip
def test_a_reason_counts_what_was_lost(
    format: Format, stage: Stage, lost: list[Any], before: int, max_failed: float, text: str
) -> None:
    assert reason(job(format, max_failed=max_failed), stage, lost, before) == text


def test_items_count_one_by_one_and_a_whole_task_as_all_of_its_items() -> None:
    assert count_lost(Rules(per_task=0), [None, (1, 2), ()]) == 3
    assert count_lost(Rules(per_task=3), [None, (1, 2), ()]) == 8
    assert count_lost(Rules(per_task=3), []) == 0


def test_losses_of_a_task_add_up_until_all_of_it_is_lost() -> None:
    assert add_loss({}, 7, (2, 1)) == (1, 2)
    assert add_loss({7: (3, 1)}, 7, (2, 1)) == (1, 2, 3)
    assert add_loss({7: (3,)}, 7, None) is add_loss({7: (3,)}, 7, ()) is None
    assert add_loss({7: None}, 7, (1,)) is None
    assert add_loss({8: (3,)}, 7, (1,)) == (1,)


def failure(attempts: int, **more: Any) -> Failure:
    return Failure("map", 0, "n", "function", "E", "m", attempts=attempts, **more)


def test_the_last_attempt_loses_all_that_failed_and_others_what_they_say() -> None:
    assert not is_final(3, failure(2))
    assert is_final(3, failure(3))
    assert is_final(3, failure(1, final=True))
    assert lost_items(3, failure(2, items=(1, 2), lost=(2,))) == (2,)
    assert lost_items(3, failure(3, items=(1, 2), lost=(2,))) == (1, 2)
