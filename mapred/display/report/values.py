"""What a report shows, as values: read once from a run's folder, cut and without secrets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from mapred.display.advice import Advice
from mapred.display.sweeps import SweepPoints
from mapred.model.status import RunStatus, TaskTime


@dataclass(frozen=True)
class Source:
    """The source of a function as the run stored it; `note` says why there is none."""

    name: str
    where: str
    text: str = ""
    note: str = ""


@dataclass(frozen=True)
class PlanFacts:
    """The plan: named facts, and the size of each shard, a number of `unit`s, byte or item."""

    facts: tuple[tuple[str, str], ...] = ()
    sizes: npt.NDArray[Any] | None = None
    unit: str = "byte"


@dataclass(frozen=True)
class SlowTask:
    """One of the slowest tasks of its stage, with what it read and how many medians it took."""

    time: TaskTime
    times_median: float
    where: str


@dataclass(frozen=True)
class LogTail:
    """The end of what an attempt printed."""

    stage: str
    task: int
    attempt: str
    text: str
    size: int


@dataclass(frozen=True)
class Recipe:
    """What to do in words, and the line that does it."""

    words: str
    line: str


@dataclass(frozen=True)
class Report:
    """All that a page about a run shows; `unread` says what could not be read, and why."""

    status: RunStatus
    made: float
    version: str
    facts: tuple[tuple[str, str], ...] = ()
    sources: tuple[Source, ...] = ()
    plan: PlanFacts = field(default_factory=PlanFacts)
    slow: tuple[SlowTask, ...] = ()
    asked: tuple[tuple[str, int | None], ...] = ()
    advice: Advice | None = None
    sweep: SweepPoints | None = None
    sweep_result: str | None = None
    logs: tuple[LogTail, ...] = ()
    logs_in_all: int = 0
    audit: str = ""
    whole: bool | None = None
    written: tuple[tuple[str, str], ...] = ()
    recipes: tuple[Recipe, ...] = ()
    unread: tuple[str, ...] = ()
