"""The outputs that a reduce task reads, in plan order, from the commits of the stage before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from mapred.errors import StorageError
from mapred.formats import Reading
from mapred.model.records import Output
from mapred.model.spec import Stage
from mapred.runfolder import outputs
from mapred.storage import map_ahead
from mapred.worker.attempt import Attempt
from mapred.worker.context import Context

_FOLLOW_HERE, _FOLLOW_REMOTE = (0.01, 0.01), (0.1, 1.0)  # seconds: shortest and longest wait


def values_for(attempt: Attempt) -> Iterator[Any]:
    """Yield the outputs that a task reduces; one that is to follow waits for them."""
    stage = attempt.stage
    source = attempt.job.stage(stage.inputs or "")
    indices = stage.input_range(attempt.index)
    yield from values_of(attempt.run, source, indices, attempt.reading, attempt.follow)


def values_of(
    run: Context,
    source: Stage,
    indices: Iterable[int],
    reading: Reading,
    follow: bool = False,
) -> Iterator[Any]:
    given_up = run.given_up() if source.kind == "map" else {}
    wanted = [i for i in indices if given_up.get(i, ()) is not None]
    for ready in _ready(run, source, wanted) if follow else [wanted]:
        fetched = map_ahead(run.store, lambda i: _fetch(run, source, i), ready)
        for output, data in fetched:
            reading.ranges += 1
            for value in outputs.decode(run.store, output, data):
                if value is not None:
                    reading.records += 1
                    yield value


def _fetch(run: Context, source: Stage, index: int) -> tuple[Output, bytes | None]:
    """Return what a committed task gave, and its bytes if they are to be fetched ahead."""
    commit = run.commit(source.name, index)
    if commit is None:
        raise StorageError(f"{run.store.uri}: the commit of {source.name} task {index} is gone")
    return commit.output, outputs.fetch(run.store, commit.output)


def _ready(run: Context, source: Stage, wanted: list[int]) -> Iterator[list[int]]:
    """Yield the wanted tasks in order, as their commits come: those that can be read next."""
    here = run.store.local_path("") is not None
    shortest, longest = _FOLLOW_HERE if here else _FOLLOW_REMOTE
    wait = shortest
    while wanted:
        ready = run.folder.committed_prefix(source.name, wanted)
        if not ready and wait == longest and run.commit(source.name, wanted[0]) is not None:
            ready = wanted[:1]  # which a listing that lags behind does not show yet
        if ready:
            yield ready
            wanted, wait = wanted[len(ready) :], shortest
        else:
            time.sleep(wait)
            wait = min(longest, 1.5 * wait)
