"""Outputs of a run as the items of another one: which there are, and how a worker loads them.

A plan names the commit of the task that stored a value, its size and checksum, and its place among
the task's values. What was there at that time is read, or nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mapred.errors import DatasetError, MapredError, RecordError, StaleDatasetError, StorageError
from mapred.formats.base import Range
from mapred.model import layout
from mapred.model.records import Output
from mapred.model.spec import Format, Job
from mapred.process.lazy import pa
from mapred.runfolder import outputs, plans, tabular
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.places import Place

if TYPE_CHECKING:
    import pyarrow

_AGAIN = "start this run anew"


class Listed(NamedTuple):
    """The outputs of a run: a row for each task, or part of it; whether all are tables.

    Rows have the path, the size and the tag of what a task stored, how many `values` that are,
    and the `count` of them from the place `first` on that are outputs.
    """

    rows: pyarrow.Table
    tables: bool


def list_outputs(folder: RunFolder, job: Job) -> Listed:
    """Return the outputs of a run that succeeded, by its manifest: what was given up is left out."""
    stage = job.stages[-1]
    done = [(task, output) for task, output, _ in folder.outputs(job) if output is not None]
    if stage.kind == "shuffle":
        done = [pair for pair in done if pair[1].kind != "none"]
        done = [pair for pair in done if pair[1].rows] or done[:1]
    places = {} if stage.kind != "map" else _kept_places(folder, job)
    rows = []
    for task, output in done:
        path = f"{folder.uri}/{layout.commit(stage.name, task)}"
        number = max(1, output.count)
        for first, count in places.get(task, ((0, number),)):
            rows.append((path, output.size, _tag(output), number, first, count))
    columns = list(zip(*rows, strict=True)) or [()] * 6
    types = (pa.large_string(), pa.int64(), pa.string(), *[pa.int64()] * 3)
    names = ("path", "size", "etag", "values", "first", "count")
    table = pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=names)
    return Listed(table, outputs.are_tabular([output for _, output in done]))


def _kept_places(folder: RunFolder, job: Job) -> Mapping[int, Sequence[tuple[int, int]]]:
    """Return first place and number of the values that are left, for tasks that gave up some."""
    lost = folder.given_up(job).lost
    if not lost or not job.format.once_per_item:
        return {}
    firsts = plans.first_items(folder.store, job)
    found = {}
    for task, items in lost.items():
        first = int(firsts[task])
        stop = int(firsts[task + 1]) if task + 1 < len(firsts) else job.items
        edges = [-1, *(item - first for item in sorted(items)), stop - first]
        gaps = itertools.pairwise(edges)
        found[task] = [(one + 1, other - one - 1) for one, other in gaps if other - one > 1]
    return found


def _tag(output: Output) -> str:
    return f"{output.crc32:08x}"


def fetch(folder: RunFolder, place: Place, planned: Range) -> Fetched:
    """Return what a task stored, and its bytes if they are small; it has to be what was planned."""
    path = f"{folder.uri}/{layout.commit(place.stage, place.task)}"
    try:
        commit = folder.sound_commit(place.stage, place.task)
        if commit is None:
            raise gone_error(folder, f"{path} is gone")
        output = commit.output
        if (output.size, _tag(output)) != (planned.size, planned.etag):
            raise StaleDatasetError(
                f"{path} was replaced after it was planned: the task ran again; {_AGAIN}"
            )
        return Fetched(folder, place, output, outputs.fetch(folder.store, output))
    except (StorageError, RecordError) as error:
        raise _as_dataset_error(folder, error) from error


class Fetched(NamedTuple):
    """What a task of another run stored: where, and the bytes of what is small."""

    folder: RunFolder
    place: Place
    output: Output
    data: bytes | None


class Values:
    """The values that a task of another run stored, each loaded when it is needed, in order."""

    def __init__(self, fetched: Fetched, format: Format) -> None:
        self._fetched, self._next = fetched, 0
        self._values = _load(fetched, format)

    def value(self, place: int) -> Any:
        """Return the value at a place of the task's, a higher one with each call."""
        value: Any = None
        try:
            while self._next <= place:
                value = next(self._values)
                self._next += 1
        except (StorageError, RecordError) as error:
            raise _as_dataset_error(self._fetched.folder, error) from error
        if isinstance(value, outputs.Broken):
            raise DatasetError(f"what {self._fetched.place} returned {value}") from value.error
        return value


def _load(fetched: Fetched, format: Format) -> Iterator[Any]:
    """Yield the values as they were returned, or tables as the function asks for them."""
    folder, _, output, data = fetched
    if output.kind == "none":
        yield from [None] * max(1, output.count)
        return
    if format.as_ == "item":
        yield from outputs.load(folder.store, output, data)
        return
    from mapred.formats import handover  # outputs that are handed over as they are need no reader

    convert = handover.converter(format)
    for pair in outputs.load_tables(folder.store, output, data):
        if pair is None:
            yield None
        elif pair[0] == format.as_:
            yield tabular.from_arrow(pair[1], pair[0])
        else:
            table = convert(tabular.drop_numbering(pair[1], pair[0]))
            yield iter(table.to_batches()) if format.as_ == "batches" else table


def _as_dataset_error(folder: RunFolder, error: MapredError) -> DatasetError:
    """Return an error of another run's folder as one of the input: no other attempt helps."""
    gone = isinstance(error.__cause__, FileNotFoundError)
    return gone_error(folder, str(error)) if gone else DatasetError(str(error))


def gone_error(folder: RunFolder, what: str) -> StaleDatasetError:
    """Return the error for a run, or a file of it, that was removed after it was planned."""
    there = folder.has_job()
    text = what if there else f"{folder.uri}, a run whose outputs this one reads, was removed"
    return StaleDatasetError(f"{text}; run that again, and this one anew")
