"""How much of a run a table shows: all of it, or what is done; and what became of each row."""

from __future__ import annotations

import bisect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mapred.arrow.buffers import nullable, to_arrow
from mapred.model.failure import Failure
from mapred.model.records import Commit, Output
from mapred.model.spec import Job
from mapred.process.lazy import np, pa
from mapred.runfolder import outputs
from mapred.runfolder.completed import Outcome, Reader
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.results import Entry, broken_error, entries_of, load_values
from mapred.storage import Store

if TYPE_CHECKING:
    import pandas as pd

DETAILS = ("error", "seconds", "attempt")
_OF_TASK = "_task"  # the end of these names where a parameter or a result has them


@dataclass(frozen=True)
class Mark:
    """How many of how many items, points, shards or tasks there are of a run in this state."""

    run: str
    state: str
    what: str
    done: int
    failed: int
    total: int

    def __str__(self) -> str:
        return f"{self.done:,} of {self.total:,} {self.what}s"


@dataclass(frozen=True)
class Extent:
    """The tasks of a run that a table is made of, in plan order.

    An entry without an output is a task that was given up or failed. `commits` and `lost` (the
    failures, by item or shard) tell what became of each row, where `detailed`; `mark` says that
    the run is not whole.
    """

    reader: Reader
    entries: list[Entry]
    reduced: bool = False
    detailed: bool = False
    commits: Mapping[int, Commit] = field(default_factory=dict)
    lost: Mapping[int, Failure] = field(default_factory=dict)
    mark: Mark | None = None
    valued: set[int] = field(default_factory=set)  # what was loaded, and has a value after all

    @property
    def job(self) -> Job:
        return self.reader.job

    @property
    def store(self) -> Store:
        return self.reader.folder.store

    @property
    def outputs(self) -> list[Output | None]:
        return [output for _, output in self.entries]

    def load(self) -> Iterator[tuple[int, Any]]:
        """Yield number and value of every row's item; of every shard that returned something."""
        loaded = load_values(self.store, [entry for entry in self.entries if entry[1] is not None])
        for task, output in self.entries:
            indices = self.reader.indices(task)
            if output is None:
                yield from ((index, None) for index in indices if self.has_row(index))
                continue
            values = [next(loaded)[2] for _ in range(max(1, output.count))]
            for index, value in zip(indices, values, strict=False):
                if isinstance(value, outputs.Broken):
                    item = index if self.reader.per_item else None
                    raise broken_error(self.reader.stage.name, task, item, value)
                if value is not None:
                    self.valued.add(index)
                if value is not None or self.has_row(index):
                    yield index, value

    def has_row(self, index: int) -> bool:
        """Whether an item or shard without a value has a row all the same."""
        task = self._task(index)
        if index in self.lost and task not in self.commits:
            return self.detailed
        return self.reader.per_item and (self.mark is None or task in self.commits)

    def details(self, numbers: Sequence[int], taken: Collection[str]) -> pa.Table | None:
        """Return `error`, `seconds` and `attempt` for rows of these items or shards.

        None where the table has no such columns.
        """
        if not self.detailed:
            return None
        indices, places = np.unique(np.asarray(numbers, np.int64), return_inverse=True)
        found = [self._outcome(index) for index in indices.tolist()]
        arrays = [
            nullable([outcome.error for outcome in found], str),
            nullable([outcome.seconds for outcome in found], float),
            nullable([outcome.attempt for outcome in found], int),
        ]
        names: list[str] = []
        for name in DETAILS:
            while name in taken or name in names:
                name += _OF_TASK
            names.append(name)
        return pa.table(arrays, names=names).take(to_arrow(places.astype(np.int64)))

    def mark_table(self, table: pa.Table) -> pa.Table:
        if self.mark is None:
            return table
        told = json.dumps({"partial": True, **vars(self.mark)}).encode()
        return table.replace_schema_metadata({**(table.schema.metadata or {}), b"mapred": told})

    def mark_frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.mark is not None:
            frame.attrs["mapred"] = {"partial": True, **vars(self.mark)}
            if frame.columns.nlevels == 1:  # A prompt and a notebook show it.
                frame.columns = frame.columns.rename(str(self.mark))
        return frame

    def _outcome(self, index: int) -> Outcome:
        task = self._task(index)
        failure = None if index in self.valued else self.lost.get(index)
        return self.reader.outcome(index, task, self.commits.get(task), failure)

    def _task(self, index: int) -> int:
        return bisect.bisect_right(self._starts, index) - 1 if self.reader.per_item else index

    @cached_property
    def _starts(self) -> list[int]:
        return [self.reader.indices(task).start for task in range(self.reader.stage.tasks)]


def whole(folder: RunFolder, job: Job, details: bool | None) -> Extent:
    """Return all of a run that succeeded."""
    reader, entries = Reader(folder, job), entries_of(folder, job)
    if job.stages[-1].kind == "reduce":
        return Extent(reader, entries, reduced=True)
    if not _detailed(reader, details):
        return Extent(reader, entries)
    done = [task for task, output in entries if output is not None]
    commits = {commit.task: commit for commit in reader.commits(done) if commit is not None}
    lost = reader.losses(commits.keys(), committed=True)
    lost |= reader.losses([task for task, output in entries if output is None], committed=False)
    return Extent(reader, entries, detailed=True, commits=commits, lost=lost)


def so_far(folder: RunFolder, job: Job, details: bool | None, *, over: bool | None) -> Extent:
    """Return what is done of a run, and what failed for good: the map's, or a keyed reduce's.

    `over` says whether nothing works on it any more; None where that cannot be known from here.
    """
    state = "unknown" if over is None else _state(folder) if over else "running"
    if state == "succeeded":
        return whole(folder, job, details)
    reader = Reader(folder, job)
    found = reader.commits(folder.list_committed(reader.stage.name))
    commits = {commit.task: commit for commit in found if commit is not None}
    others = set(range(reader.stage.tasks)) - commits.keys()
    lost = reader.losses(commits.keys(), committed=True)
    done = sum(len(reader.indices(task)) for task in commits) - len(lost)
    lost |= reader.losses(others, committed=False)
    failed = {failure.task: None for failure in lost.values() if failure.task in others}
    entries = {**failed, **{task: commit.output for task, commit in commits.items()}}
    return Extent(
        reader,
        sorted(entries.items(), key=lambda entry: entry[0]),
        detailed=_detailed(reader, details is not False),
        commits=commits,
        lost=lost,
        mark=Mark(job.run_id, state, reader.what, done, len(lost), reader.total),
    )


def _state(folder: RunFolder) -> str:
    """Return the state of a run that nothing works on."""
    if (end := folder.end()) is not None:
        return end.state
    state = folder.start().state
    return "interrupted" if state == "running" else state


def _detailed(reader: Reader, details: bool | None) -> bool:
    """Whether rows tell what became of their items: by default those of sweeps, and of losses."""
    if details is None:
        return reader.per_item and (reader.what == "point" or bool(reader.job.max_failed))
    return details and reader.job.shuffle is None
