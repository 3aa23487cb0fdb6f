"""A sweep as columns, whatever of it is there: its parameters, results, and what became of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

from mapred.functions import pickling
from mapred.model.failure import Failure
from mapred.model.spec import Job
from mapred.runfolder import items, plans, results
from mapred.runfolder.folder import RunFolder

# A sweep of more points is not drawn: each is loaded for it.
MOST_POINTS = 100_000
_DEEPEST = 4  # mappings within mappings


@dataclasses.dataclass(frozen=True)
class Swept:
    """Columns with a value for each point; `states` holds `done`, `failed` or `missing`.

    `refused` says why results were not loaded, if they were not.
    """

    parameters: Mapping[str, Sequence[Any]]
    results: Mapping[str, Sequence[Any]]
    states: Sequence[str]
    refused: str = ""


def load_swept(folder: RunFolder, job: Job) -> Swept | None:
    """Return the points of a run over a sweep, also of one at work; None for any other run."""
    if job.format.as_ != "keywords" or not job.items or job.items > MOST_POINTS:
        return None
    parameters = items.load_parameters(folder.store, job)
    states = ["missing"] * len(parameters)
    rows: list[Mapping[str, Any]] = [{} for _ in parameters]
    tasks = folder.list_committed("map")
    for numbers in plans.shard_items(folder.store, tasks):
        states[numbers.start : numbers.stop] = ["done"] * len(numbers)
    for failure in folder.failures(job):
        for item in _failed_items(folder, failure):
            states[item] = "failed"
    refused = ""
    try:
        readable = [] if job.shuffle else tasks
        for number, value in results.iter_values(folder, job, job.stages[0], readable, "skip"):
            if states[number] == "done":
                rows[number] = dict(_flatten(value))
    except pickling.Refused:
        refused = "results that are more than plain values are not loaded here"
    return Swept(_columns(parameters), _columns(rows), states, refused)


def _failed_items(folder: RunFolder, failure: Failure) -> Sequence[int]:
    if failure.stage != "map" or failure.items:
        return failure.items if failure.stage == "map" else ()
    return next(plans.shard_items(folder.store, [failure.task]))


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {str(name): [row.get(name) for row in rows] for name in names}


def _flatten(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield names and values: the keys of mappings and the fields of records, else `result`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        inside = value._asdict()
    elif isinstance(value, Mapping):
        inside = dict(value)
    elif type(value).__name__ == "Series" and hasattr(value, "to_dict"):
        inside = value.to_dict()
    else:
        inside = None
    if inside is None or depth == _DEEPEST:
        if isinstance(value, str | bool | Real) or hasattr(value, "item"):
            yield name or "result", value
        return
    for key, inner in inside.items():
        yield from _flatten(inner, f"{name}.{key}" if name else str(key), depth + 1)
