"""Where the items of a run come from that are outputs of other runs: their commits, named by the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mapred.errors import DatasetError
from mapred.model import layout, seeds
from mapred.model.spec import Format, RunReference

if TYPE_CHECKING:
    import pyarrow as pa


class Place(NamedTuple):
    """The task of another run that stored a value."""

    run: RunReference
    stage: str
    task: int

    def __str__(self) -> str:
        return f"{self.stage} task {self.task} of {self.run.run_id}"


def place_of(format: Format, path: str) -> Place:
    """Return whose commit a plan names."""
    for run in format.runs:
        if path.startswith(f"{run.uri}/"):
            inside = path.removeprefix(f"{run.uri}/")
            task = layout.index_of(inside)
            if (
                task is not None
                and layout.commit(stage := inside.partition("/")[0], task) == inside
            ):
                return Place(run, stage, task)
    raise DatasetError(f"{path} is not a commit of a run that the job names")


def describe(format: Format, ranges: pa.Table) -> dict[int, str]:
    """Return what stored each item of a shard, by its number."""
    return {item: f"from {place}" for item, place, _ in _iter_items(format, ranges)}


def spellings(format: Format, ranges: pa.Table) -> dict[int, str]:
    """Return by what each item of a shard draws its random numbers: where its value comes from."""
    return {
        item: seeds.of_item((place.run.run_id, place.stage, place.task, number))
        for item, place, number in _iter_items(format, ranges)
    }


def _iter_items(format: Format, ranges: pa.Table) -> Iterator[tuple[int, Place, int]]:
    """Yield each item of a shard, the task that stored it, and its number among the task's values."""
    names = ("path", "offset", "first", "count")
    for path, offset, first, count in zip(*(ranges[n].to_pylist() for n in names), strict=True):
        place = place_of(format, path)
        yield from ((first + number, place, offset + number) for number in range(count))
