"""The outputs of a whole run, in plan order: one by one, as a list, as a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mapred.errors import FunctionError
from mapred.model.records import Output
from mapred.model.spec import Job, Stage
from mapred.process.lazy import ds, pa
from mapred.runfolder import outputs, plans
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, map_ahead

Entry = tuple[int, Output | None]  # a task and its output, None if it was given up


def result(folder: RunFolder, job: Job) -> Any:
    """Return the reduced value, or without a reduce a lazy dataset of the tables, else a list.

    In the list of a job that runs once per item there is one place for every item, None if it
    returned None or was given up; other lists leave None out.
    """
    store, entries = folder.store, entries_of(folder, job)
    if job.stages[-1].kind == "reduce":
        return load_reduced(store, job, entries)
    if outputs.are_tabular([output for _, output in entries]):
        from mapred.runfolder import gathering  # not for the values of a small run

        return gathering.open_dataset(store, job.stages[-1].name, entries)
    if job.shuffle is not None:  # whose function gave no table at all
        return ds.dataset(pa.table({}))
    return [value for _, value in load_numbered(store, job, entries)]


def entries_of(folder: RunFolder, job: Job) -> list[Entry]:
    """Return what every task of the last stage gave, by the run's manifest."""
    return [(task, output) for task, output, _ in folder.outputs(job)]


def load_reduced(store: Store, job: Job, entries: list[Entry]) -> Any:
    output = entries[0][1]
    if output is None:
        return None
    value = next(outputs.load(store, output), None)
    if isinstance(value, outputs.Broken):
        raise FunctionError(f"the result of {job.stages[-1].name} {value}") from value.error
    return value


def choose_stage(job: Job, stage: str | None) -> Stage:
    """Return the stage whose outputs are read: by default the map, or the end of a keyed reduce."""
    chosen = job.stage(stage or (job.stages[-1].name if job.shuffle else "map"))
    if job.shuffle is not None and chosen is not job.stages[-1]:
        raise FunctionError(
            f"{chosen.name} tasks of a keyed reduce return nothing that can be read by itself; "
            f"leave stage= out, or pass stage={job.stages[-1].name!r}"
        )
    return chosen


def iter_values(
    folder: RunFolder, job: Job, chosen: Stage, tasks: Sequence[int], errors: str
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each item or task, and the value that it returned, if committed."""
    store = folder.store
    read = folder.commit if errors == "skip" else folder.sound_commit
    commits = map_ahead(store, lambda task: read(chosen.name, task), tasks)
    entries = [(commit.task, commit.output) for commit in commits if commit is not None]
    per_item = chosen.kind == "map" and job.format.once_per_item
    firsts = plans.first_items(store, job) if per_item else None
    for task, place, value in load_values(store, entries):
        number = task if firsts is None else int(firsts[task]) + place
        if not isinstance(value, outputs.Broken):
            yield number, value
        elif errors == "raise":
            raise broken_error(chosen.name, task, number if per_item else None, value)


def broken_error(stage: str, task: int, item: int | None, value: outputs.Broken) -> FunctionError:
    which = f"{stage} task {task}" + ("" if item is None else f", item {item}")
    error = FunctionError(
        f"what {which} returned {value}; run.outputs(errors='skip') gives what can be loaded"
    )
    error.__cause__ = value.error
    return error


def load_values(store: Store, entries: Sequence[Entry]) -> Iterator[tuple[int, int, Any]]:
    """Yield task, place in the task, and value; for a task that returned nothing, None."""
    stored = [(task, output) for task, output in entries if output is not None]
    fetched = map_ahead(store, lambda entry: outputs.fetch(store, entry[1]), stored)
    for (task, output), data in zip(stored, fetched, strict=True):
        place = -1
        for place, value in enumerate(outputs.load(store, output, data)):
            yield task, place, value
        if place < 0:
            yield task, 0, None


def load_numbered(store: Store, job: Job, entries: list[Entry]) -> Iterator[tuple[int, Any]]:
    """Yield the number and value of every item, or of every shard whose value is not None."""
    if not job.format.once_per_item:
        for task, _, value in load_values(store, entries):
            if isinstance(value, outputs.Broken):
                raise broken_error("map", task, None, value)
            if value is not None:
                yield task, value
        return
    number = 0
    loaded = load_values(store, entries)
    counts = [count_items(store, job, task, output) for task, output in entries]
    for (task, output), count in zip(entries, counts, strict=True):
        for item in range(number, number + count):
            value = None if output is None else next(loaded)[2]
            if isinstance(value, outputs.Broken):
                raise broken_error("map", task, item, value)
            yield item, value
        number += count


def task_values(
    folder: RunFolder, job: Job, task: int, output: Output
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each item, or of the shard, and the value of one map task."""
    per_item = job.format.once_per_item
    first = int(plans.first_items(folder.store, job)[task]) if per_item else task
    for _, place, value in load_values(folder.store, [(task, output)]):
        if isinstance(value, outputs.Broken):
            raise broken_error("map", task, first + place if per_item else None, value)
        yield first + place, value


def count_items(store: Store, job: Job, task: int, output: Output | None) -> int:
    """Count the items of a task, which was given up if it has no output."""
    if output is not None:
        return output.count
    return len(plans.items_of(plans.shard_ranges(store, task, job)))
