"""What the function of a run was called with, item by item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mapred.errors import FunctionError
from mapred.functions import pickling
from mapred.model import layout
from mapred.model.spec import Job
from mapred.runfolder import pieces, plans
from mapred.storage import Store


def load_parameters(store: Store, job: Job) -> list[dict[str, Any]]:
    """Return the parameters of every item by their names; empty if it has a number alone."""
    if job.format.name == "items":
        items = list(_load_items(store, job))
        return items if job.format.as_ == "keywords" else [{"item": item} for item in items]
    if job.format.name == "files":
        tables = (plans.load_plan_file(store, number) for number in plans.plan_numbers(job))
        return [{"item": path} for table in tables for path in table["path"].to_pylist()]
    return []


def _load_items(store: Store, job: Job) -> Iterator[Any]:
    with pieces.open_input(store, job.digests, layout.ITEMS) as file:
        for number in range(job.items):
            try:
                yield pickling.load(file)
            except pickling.Refused:
                raise
            except Exception as error:  # classes of users raise what they like
                raise FunctionError(
                    f"item {number} cannot be loaded here: {type(error).__name__}: {error}; "
                    "run.result() and run.outputs() do not need the items"
                ) from error
