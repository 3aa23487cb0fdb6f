"""Outputs of a run as iterators that say how many of how many they have."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from mapred.errors import FunctionError
from mapred.model.checking import short_repr
from mapred.runfolder import results
from mapred.runfolder.completed import Completed, Reader
from mapred.storage import is_local

T = TypeVar("T")

_SOONEST = 0.05  # seconds between two looks at a run
_LATEST_HERE, _LATEST_AWAY = 0.5, 10.0  # on a disk, and in a bucket, while nothing new comes
_SHARE = 10  # a look takes at most one part in so many of the time
_READ = 200  # commits at a time


class Outputs(Iterator[T], Generic[T]):
    """The outputs of a run, one by one, in a `for` loop.

    Attributes:
        done: How many items or shards have an output: of the run, or so far of `as_completed()`.
        total: How many the run has in all.
        what: What is counted: `item`, `point` of a sweep, `shard`, or `task` of a reduce.

    Examples:
        >>> mapred.run(abs, [-1, -2]).outputs()
        <Outputs: 2 of 2 items>
    """

    def __init__(self, values: Iterator[T], what: str, done: int, total: int) -> None:
        self._values, self.what, self.done, self.total = values, what, done, total

    def load_by(self, load: Callable[[Iterator[T]], Iterator[T]]) -> None:
        """Have the values come by way of another iterator."""
        self._values = load(self._values)

    @property
    def partial(self) -> bool:
        """Whether some outputs are missing."""
        return self.done < self.total

    def __iter__(self) -> Outputs[T]:
        return self

    def __next__(self) -> T:
        value = next(self._values)
        if isinstance(value, Completed) and value.error is None:
            self.done += 1
        return value

    def __repr__(self) -> str:
        return f"<Outputs: {self.done:,} of {self.total:,} {self.what}s>"


def iter_completed(
    reader: Reader,
    wait_over: Callable[[float], bool],
    check: Callable[[], None],
    *,
    partial: bool,
) -> Iterator[Completed]:
    """Yield what each task of a run gave as soon as it is committed, and at the end what failed.

    `wait_over` waits so many seconds for the end of the run, and says whether it has come; `check`
    raises the error of a run that did not succeed. A look lists the commits and reads the new
    ones. The longer a listing takes, and the longer nothing new has come, the rarer they are.
    """
    folder, stage = reader.folder, reader.stage
    seen: set[int] = set()
    latest = _LATEST_HERE if is_local(folder.uri) else _LATEST_AWAY
    over, pause = wait_over(0), _SOONEST
    while True:
        before, began = len(seen), time.monotonic()
        tasks = folder.list_done_tasks(stage) if over else folder.list_committed(stage.name)
        new = sorted(set(tasks) - seen)
        took = time.monotonic() - began
        found = (commit for commit in reader.commits(new, sound=over) if commit is not None)
        while some := list(itertools.islice(found, _READ)):
            seen.update(commit.task for commit in some)
            yield from reader.values(some)
        if over:
            yield from reader.failed(set(range(stage.tasks)) - seen)
            break
        pause = pause * 1.5 if len(seen) == before else _SOONEST
        pause = min(pause, latest)
        over = wait_over(max(pause, took * _SHARE))
    if not partial:
        check()


def outputs(reader: Reader, errors: str) -> tuple[Outputs[tuple[int, Any]], int]:
    """Return the outputs that are there now, and how many tasks have none."""
    if errors not in ("raise", "skip"):
        raise FunctionError(f"errors={short_repr(errors)} is neither 'raise' nor 'skip'")
    tasks = reader.folder.list_done_tasks(reader.stage)
    given_up = reader.given_up()
    lost = sum(len(given_up.lost.get(task, ())) for task in tasks)
    done = sum(len(reader.indices(task)) for task in tasks) - lost
    values = results.iter_values(reader.folder, reader.job, reader.stage, tasks, errors)
    missing = set(range(reader.stage.tasks)) - set(tasks) - given_up.tasks
    return Outputs(values, reader.what, done, reader.total), len(missing)
