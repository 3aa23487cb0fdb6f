"""What a map task computes: the function's value for a shard, or its values for the items."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mapred import formats
from mapred.model import seeds
from mapred.model.packs import Note
from mapred.worker.attempt import Attempt
from mapred.worker.context import Context
from mapred.worker.turns import Turn

if TYPE_CHECKING:
    import pyarrow as pa


def map_shard(attempt: Attempt) -> list[Any]:
    """Return the value that the function returns for one shard."""
    run, task = attempt.run, attempt.task
    ranges = run.ranges(attempt.index)
    inputs = formats.read(run.job.format, ranges, run.open, attempt.reading)
    task.begin(None, seeds.of_shard(ranges))
    value = run.function(inputs, **dict.fromkeys(run.task_parameters, task))
    return [] if value is None else [value]


def map_items(attempt: Attempt, turn: Turn, note: Note | None = None) -> list[Any]:
    """Return the values that the function returns for the items of one shard."""
    run, task = attempt.run, attempt.task
    ranges = run.ranges(attempt.index)
    inputs = formats.read(run.job.format, ranges, run.open, attempt.reading)
    given: dict[str, Any] = dict.fromkeys(run.task_parameters, task)
    called = functools.partial(_call, run, given) if given or _keywords(run) else run.function
    spelling = _spelling(run, ranges)

    def call(value: Any) -> Any:
        item = task.item
        assert item is not None
        task.begin(item, spelling(item, value))
        return called(value)

    return turn.call_each(inputs, call, attempt.reading, note)


def _keywords(run: Context) -> bool:
    return run.job.format.as_ == "keywords"


def _spelling(run: Context, ranges: pa.Table) -> Callable[[int, Any], str]:
    """Return what spells an item, by its index and value."""
    if run.job.format.name == "files":
        numbered = zip(ranges["first"].to_pylist(), ranges["path"].to_pylist(), strict=True)
        paths = dict(numbered)
        return lambda item, value: seeds.of_item(paths[item])
    spell = seeds.of_point if _keywords(run) else seeds.of_item
    counted = run.occurrences
    return lambda item, value: spell(value, 0 if counted is None else counted[item])


def _call(run: Context, given: dict[str, Any], value: Any) -> Any:
    if _keywords(run):
        if not run.takes_repeat:
            value.pop("repeat", None)
        return run.function(**value, **given)
    return run.function(value, **given)
