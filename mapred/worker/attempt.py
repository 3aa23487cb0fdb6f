"""One attempt at one task: what it works on, and the names of what it stores.

An attempt writes its data under a name of its own, then puts the commit if absent; one that
loses leaves the winner alone.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

from mapred.formats import Reading
from mapred.functions.task import Task
from mapred.model import layout
from mapred.model.frozen import dataclass
from mapred.model.spec import Job, Stage
from mapred.storage import Store
from mapred.worker.context import Context


@dataclass(frozen=True)
class Attempt:
    """An attempt at task `index` of a stage; `reading` notes what it has read so far.

    `read_log` gives what the process printed since its last call. A reduce that is to `follow`
    waits for inputs that are not committed yet.
    """

    run: Context
    stage: Stage
    index: int
    name: str
    task: Task
    reading: Reading
    read_log: Callable[[], str] | None = None
    follow: bool = False

    @property
    def job(self) -> Job:
        return self.run.job

    @property
    def store(self) -> Store:
        return self.run.store

    @property
    def is_map(self) -> bool:
        return self.stage.kind == "map"

    @property
    def calls_items(self) -> bool:
        """Whether the function is called once per item."""
        return self.is_map and self.job.format.once_per_item

    def data_path(self, suffix: str) -> str:
        """Where its values lie in the run's folder."""
        return layout.data(self.stage.name, self.index, self.name, suffix)

    def file_path(self, name: str) -> str:
        """Where a file of `task.output` lies in the run's folder."""
        return layout.output(self.stage.name, self.index, self.name, name)


def begin(
    run: Context,
    stage: Stage,
    index: int,
    number: int,
    read_log: Callable[[], str] | None = None,
    follow: bool = False,
) -> Attempt:
    """Return a new attempt; `number` counts from 1 and is part of its name."""
    name = f"{number}-{uuid.uuid4().hex[:8]}"
    task = new_task(run, stage, index, number, f"mapred-{os.getpid()}-{name}")
    return Attempt(run, stage, index, name, task, Reading(), read_log, follow)


def begin_replay(run: Context, stage: Stage, index: int) -> Attempt:
    """Return an attempt that will store nothing; its files stay on this machine, to be looked at."""
    name = f"replay-{uuid.uuid4().hex[:8]}"
    return Attempt(
        run, stage, index, name, new_task(run, stage, index, 1, f"mapred-{name}"), Reading()
    )


def new_task(run: Context, stage: Stage, index: int, number: int, folder: str) -> Task:
    """Return what the function is told; `folder` begins the name of the one for `task.output`."""
    return Task(stage=stage.name, shard=index, attempt=number, seed=run.job.seed, folder=folder)
