"""How far a run is: a moment's view of its stages, with the times of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from mapred.model.failure import Failure, Retry
from mapred.model.frozen import dataclass
from mapred.model.records import GivenUp


@dataclass(frozen=True)
class StageStatus:
    """Progress of one stage, in tasks.

    `given_up` counts the tasks of which nothing is left, and `given_up_items` the items given
    up in all tasks, those that are done otherwise among them.
    """

    name: str
    total: int
    done: int = 0
    running: int = 0
    failed: int = 0
    given_up: int = 0
    given_up_items: int = 0


@dataclass(frozen=True)
class TaskTime:
    """When one task ran, for a timeline: `started` in seconds since the epoch."""

    stage: str
    task: int
    started: float
    seconds: float
    worker: str
    bytes: int = 0
    peak_memory: int = 0


@dataclass(frozen=True)
class WorkerStatus:
    """What a worker process is at: a task of a stage, and an item of it where one has begun.

    `since` is when it got its call, in seconds since the epoch; `memory` the bytes that it holds
    now (0: unknown); `log` the end of what it printed.
    """

    worker: str
    stage: str
    task: int | None = None
    item: int | None = None
    since: float = 0.0
    memory: int = 0
    log: str = ""


@dataclass(frozen=True, repr=False)
class RunStatus:
    """What is known of a run at one moment, as `Run.status` returns it.

    Attributes:
        run_id: The run's id.
        uri: The run's folder.
        name: The run's name.
        state: `running`, `succeeded`, `failed`, `cancelled`, `suspended` or `interrupted` (no end
            record was written, and nothing runs); on a cluster also `queued` (none of its pods runs,
            and some wait for their turn) or `unknown` (what the cluster says cannot be read).
        stages: The progress of each stage: `name`, and the numbers of its tasks `total`, `done`,
            `running`, `failed` and `given_up`.
        started: When it was submitted, in seconds since the epoch.
        finished: When it ended, in seconds since the epoch; None while it is at work.
        bytes: How many bytes the plan has.
        bytes_done: How many of them are done.
        records: How many records were read, without what was given up.
        skipped: How many malformed rows were left out.
        message: Why it failed, what it waits for, or why its state is unknown.
        counters: The sums of `task.count`, by name.
        heavy: The keys of a reduce by key that stand out, with an estimate of their rows.
        given_up: The shards or items that it goes without.
        times: When each task ran, for a timeline.
        failures: The failures that count.
        pauses: Pairs of times between which nothing worked on it.
        parameters: The values that `Job.bind` or `--param` gave, by name.
        retries: Failed attempts at tasks that succeeded later.
        queued_since: When it started to wait for its turn, in seconds since the epoch.
        items: How many items the function is to be called with; 0 where it gets shards.
        tries: Failed attempts at tasks that did not succeed.
        waiting: How many tasks of each stage nobody has begun, where that is known: of a run that is
            driven from here.

    Examples:
        >>> status = mapred.run(abs, [-1, -2]).status()
        >>> status.state, status.live, status.stages[0].done
        ('succeeded', False, 2)
    """

    run_id: str
    uri: str
    name: str
    state: str
    stages: tuple[StageStatus, ...]
    started: float
    finished: float | None = None
    bytes: int = 0
    bytes_done: int = 0
    records: int = 0
    skipped: int = 0
    message: str = ""
    counters: Mapping[str, float] = field(default_factory=dict)
    heavy: Mapping[str, int] = field(default_factory=dict)
    given_up: GivenUp = field(default_factory=GivenUp)
    times: tuple[TaskTime, ...] = ()
    failures: tuple[Failure, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    retries: tuple[Retry, ...] = ()
    queued_since: float | None = None
    items: int = 0
    tries: tuple[Retry, ...] = ()
    waiting: Mapping[str, int] = field(default_factory=dict, compare=False)

    @property
    def live(self) -> bool:
        """Whether the run continues by itself, as far as is known."""
        return self.state in ("running", "queued", "unknown")

    def __repr__(self) -> str:
        done = ", ".join(f"{stage.done} of {stage.total} {stage.name}" for stage in self.stages)
        return f"<RunStatus of {self.run_id}: {self.state}, {done}>"


@dataclass(frozen=True)
class Look:
    """A look at a run at work that costs as little as there is news, however many tasks it has.

    The `times` of `status` are left out; `news` are those of the tasks that ended since the look
    before, which had `seen` of them. `workers` are the processes at work, None where nobody here
    knows them; `attempts` (stage, task, attempt) are the latest that committed.
    """

    status: RunStatus
    news: Sequence[TaskTime] = ()
    seen: int = 0
    workers: tuple[WorkerStatus, ...] | None = None
    attempts: tuple[tuple[str, int, str], ...] = ()
