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
    """Return what the function returns for a shard: one value, or none."""
    run, task = attempt.run, attempt.task
    inputs = formats.read(run.job.format, attempt.ranges, run.open, attempt.reading)
    task.begin(None, seeds.of_shard(attempt.ranges))
    value = run.function(inputs, **dict.fromkeys(run.task_parameters, task))
    return [] if value is None else [value]


def map_items(attempt: Attempt, turn: Turn, note: Note | None = None) -> list[Any]:
    """Return what the function returns for the items of a shard."""
    run, task = attempt.run, attempt.task
    inputs = _read_items(attempt)
    extra: dict[str, Any] = dict.fromkeys(run.task_parameters, task)
    plain = not extra and not _takes_keywords(run)
    function = run.function if plain else functools.partial(_call, run, extra)
    spelling = _spelling(run, attempt.ranges)

    def call(value: Any) -> Any:
        item = task.item
        assert item is not None
        task.begin(item, spelling(item, value))
        return function(value)

    return turn.call_each(inputs, call, attempt.reading, note)


def _read_items(attempt: Attempt) -> Any:
    run = attempt.run
    if run.job.format.name == "outputs":
        from mapred.worker import other_runs  # few runs read what others returned

        return other_runs.read(run, attempt.ranges, attempt.reading)
    return formats.read(run.job.format, attempt.ranges, run.open, attempt.reading)


def _takes_keywords(run: Context) -> bool:
    return run.job.format.as_ == "keywords"


def _spelling(run: Context, ranges: pa.Table) -> Callable[[int, Any], str]:
    """Return what spells an item for its seed, by its index and value."""
    if run.job.format.name == "files":
        paths = dict(zip(ranges["first"].to_pylist(), ranges["path"].to_pylist(), strict=True))
        return lambda item, value: seeds.of_item(paths[item])
    if run.job.format.name == "outputs":
        from mapred.runfolder import places

        spelled = places.spellings(run.job.format, ranges)
        return lambda item, value: spelled[item]
    spell = seeds.of_point if _takes_keywords(run) else seeds.of_item
    counts = run.occurrences
    return lambda item, value: spell(value, 0 if counts is None else counts[item])


def _call(run: Context, extra: dict[str, Any], value: Any) -> Any:
    if _takes_keywords(run):
        if not run.takes_repeat:
            value.pop("repeat", None)
        return run.function(**value, **extra)
    return run.function(value, **extra)
