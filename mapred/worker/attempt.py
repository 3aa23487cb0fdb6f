"""One attempt at one task: what it works on, and the names of what it stores.

An attempt writes its data under a name of its own, then puts the commit if absent: the loser of
two attempts leaves the winner's data alone.
"""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from mapred.formats import Reading
from mapred.functions.task import Task
from mapred.model import layout
from mapred.model.frozen import dataclass
from mapred.model.spec import Stage
from mapred.worker.context import Context

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Attempt:
    """An attempt at task `index` of a stage; `reading` notes what it has read so far.

    `stem` begins the names of its files in the run's folder.
    `read_log` returns what the process printed since its last call. A reduce that is to `follow`
    waits for inputs that are not committed yet.
    """

    run: Context
    stage: Stage
    index: int
    name: str
    stem: str
    task: Task
    reading: Reading
    read_log: Callable[[], str] | None = None
    follow: bool = False

    @property
    def is_map(self) -> bool:
        return self.stage.kind == "map"

    @property
    def calls_items(self) -> bool:
        return self.is_map and self.run.job.format.once_per_item

    @functools.cached_property
    def ranges(self) -> pa.Table:
        """The plan's rows of a map task."""
        return self.run.ranges(self.index)

    @functools.cached_property
    def inputs(self) -> range:
        """The tasks of the stage before whose outputs it reduces."""
        return self.stage.input_range(self.index)


def begin(
    run: Context,
    stage: Stage,
    index: int,
    number: int,
    read_log: Callable[[], str] | None = None,
    follow: bool = False,
) -> Attempt:
    """Begin an attempt; `number` counts from 1 and is part of its name."""
    name = f"{number}-{uuid.uuid4().hex[:8]}"
    folder = f"mapred-{os.getpid()}-{name}"
    task = Task(stage=stage.name, shard=index, attempt=number, seed=run.job.seed, folder=folder)
    stem = layout.stem(index, name)
    return Attempt(run, stage, index, name, stem, task, Reading(), read_log, follow)


def begin_replay(run: Context, stage: Stage, index: int) -> Attempt:
    """Begin an attempt that stores nothing; its files stay on this machine, to be looked at."""
    name = f"replay-{uuid.uuid4().hex[:8]}"
    folder = f"mapred-{name}"
    task = Task(stage=stage.name, shard=index, attempt=1, seed=run.job.seed, folder=folder)
    return Attempt(run, stage, index, name, layout.stem(index, name), task, Reading())
