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
    """Yield the values that a task reduces; if it is to follow, wait for them."""
    source = attempt.run.job.stage(attempt.stage.inputs or "")
    return values_of(attempt.run, source, attempt.inputs, attempt.reading, attempt.follow)


def values_of(
    run: Context, source: Stage, indices: Iterable[int], reading: Reading, follow: bool = False
) -> Iterator[Any]:
    """Yield the values of a stage's tasks but those given up, in order."""
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
    """Return a committed task's output, and its bytes if they are small."""
    commit = run.folder.commit(source.name, index)
    if commit is None:
        raise StorageError(f"{run.store.uri}: the commit of {source.name} task {index} is gone")
    return commit.output, outputs.fetch(run.store, commit.output)


def _ready(run: Context, source: Stage, wanted: list[int]) -> Iterator[list[int]]:
    """Yield the tasks that can be read next, in order, as their commits come."""
    here = run.store.local_path("") is not None
    shortest, longest = _FOLLOW_HERE if here else _FOLLOW_REMOTE
    wait = shortest
    while wanted:
        ready = run.folder.committed_prefix(source.name, wanted)
        if not ready and wait == longest and run.folder.commit(source.name, wanted[0]) is not None:
            ready = wanted[:1]  # the listing lags behind
        if ready:
            yield ready
            wanted, wait = wanted[len(ready) :], shortest
        else:
            time.sleep(wait)
            wait = min(longest, 1.5 * wait)
