"""What is known of a pipeline at one moment, for displays and programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from mapred.model.frozen import dataclass


@dataclass(frozen=True)
class StepStatus:
    """A step of a pipeline, as it is now.

    Attributes:
        kind: `run`, `pipeline`, `recorded` or `gate`.
        name: The name of the run, the value or the gate.
        state: Of a run or a pipeline, its state; of a gate `waiting` or `answered`; else `recorded`.
        text: What it is about: the dataset, the question, the value.
        uri: The folder of a run or a pipeline, else empty.
        started: When it was made, in seconds since the epoch.
        seconds: How long it has taken so far, or took.
        needs: The places of the steps whose outputs it reads.
    """

    kind: str
    name: str
    state: str
    text: str = ""
    uri: str = ""
    started: float = 0.0
    seconds: float | None = None
    needs: tuple[int, ...] = ()


@dataclass(frozen=True)
class PipelineStatus:
    """A pipeline, as it is now.

    Attributes:
        name: The name of the pipeline.
        state: `running`, `waiting` for the answer of a gate, `succeeded`, `failed`, `cancelled` or
            `interrupted`: its driver has ended without an end of the pipeline.
        steps: Its steps, in the order in which they were asked for.
        message: Why it failed.
        started: When it was submitted, in seconds since the epoch.
        finished: When it ended; None while it is at work.
        parameters: What its function was called with, as text.
    """

    name: str
    state: str
    steps: tuple[StepStatus, ...] = ()
    message: str = ""
    started: float = 0.0
    finished: float | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether a driver is at work on it, or an answer is awaited."""
        return self.state in ("running", "waiting")

    def __getitem__(self, place: int) -> StepStatus:
        return self.steps[place]
