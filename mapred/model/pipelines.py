"""What is known of a pipeline at one moment, for displays and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from mapred.model.frozen import dataclass


@dataclass(frozen=True)
class StepStatus:
    """A step of a pipeline, as it is now.

    Attributes:
        kind: `run`, `pipeline`, `recorded` or `gate`.
        name: The name of the run, the value or the gate.
        state: Of a run or a pipeline, its state; of a gate `waiting` or `answered`;
            else `recorded`, or `waiting` before that.
        text: What it is about: the dataset, the question, the value.
        uri: The folder of a run or a pipeline, else empty.
        started: When it was made, in seconds since the epoch.
        seconds: How long it has taken so far, or took.
        finished: When it ended, or was stopped; None while it is at work, and where it is not known.
        needs: The places of the steps whose outputs it reads.
        message: Why it failed.
        done: How many tasks of a run are done, if that is known.
        tasks: How many tasks a run has.
        choices: What a gate may be answered by.
        answer: What it was answered by; None while it waits.
        due: When its default is taken, in seconds since the epoch.
        default: What is taken then.
        steps: The steps of a pipeline inside of this one.

    Examples:
        >>> @mapred.pipeline
        ... def signs():
        ...     return mapred.run(abs, [-1, -2])
        >>> step = signs.run().status()[0]
        >>> step.kind, step.name, step.state, step.text
        ('run', 'abs', 'succeeded', '2 items: [-1, -2]')
    """

    kind: str
    name: str
    state: str
    text: str = ""
    uri: str = ""
    started: float = 0.0
    seconds: float | None = None
    finished: float | None = None
    needs: tuple[int, ...] = ()
    message: str = ""
    done: int | None = None
    tasks: int | None = None
    choices: tuple[Any, ...] = ()
    answer: Any = None
    due: float | None = None
    default: Any = None
    steps: tuple[StepStatus, ...] = ()

    @property
    def id(self) -> str:
        """The name of the folder of a run or a pipeline, else empty."""
        return self.uri.rpartition("/")[2]

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to wait for, however it ended."""
        return self.state in ("succeeded", "recorded", "answered")


@dataclass(frozen=True)
class PipelineStatus:
    """A pipeline, as it is now.

    Attributes:
        name: The name of the pipeline.
        state: `running`, `waiting` for the answer of a gate, `succeeded`, `failed`, `cancelled`,
            `interrupted`: its driver has ended without an end of the pipeline, or `unknown` where the
            cluster that drives it does not answer.
        steps: Its steps, in the order in which they were asked for.
        message: Why it failed.
        started: When it was submitted, in seconds since the epoch.
        finished: When it ended; None while it is at work.
        parameters: What its function was called with, as text.
        uri: Its folder.

    Examples:
        >>> @mapred.pipeline
        ... def largest(numbers):
        ...     return mapred.run(abs, numbers, reduce=max).result()
        >>> status = largest.run([-3, 2]).status()
        >>> status.name, status.state, status.parameters["numbers"], len(status.steps)
        ('largest', 'succeeded', '[-3, 2]', 1)
    """

    name: str
    state: str
    steps: tuple[StepStatus, ...] = ()
    message: str = ""
    started: float = 0.0
    finished: float | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    uri: str = ""

    @property
    def id(self) -> str:
        """The name of the pipeline's folder below its root."""
        return self.uri.rpartition("/")[2]

    @property
    def live(self) -> bool:
        """Whether a driver is at work on it, or an answer is awaited."""
        return self.state in ("running", "waiting")

    @property
    def done(self) -> int:
        """How many of its steps succeeded, were answered or are recorded."""
        return sum(step.is_done for step in self.steps)

    def __getitem__(self, place: int) -> StepStatus:
        return self.steps[place]
