"""The progress of a pipeline as plain lines: one for each step that began, and one for its end."""

from __future__ import annotations

from typing import TextIO

from mapred.display.format import one_line
from mapred.display.live import Clock, Stream
from mapred.display.pipelines import rows
from mapred.display.pipelines.rows import Row
from mapred.display.pipelines.text import pipeline_line
from mapred.model.pipelines import PipelineStatus


class Lines:
    """A line whenever the state of a step changes."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._out, self._clock = Stream(stream), clock
        self._told: dict[str, str] = {}

    def __call__(self, status: PipelineStatus) -> None:
        for row in rows.rows(status):
            if self._told.get(row.number) != row.step.state:
                self._told[row.number] = row.step.state
                self._out.write(step_line(row) + "\n")

    def close(self, status: PipelineStatus | None = None) -> None:
        if status is not None:
            self(status)
            self._out.write(pipeline_line(status, self._clock()) + "\n")


def step_line(row: Row) -> str:
    """`step 3, report: succeeded after 2 min 5 s`."""
    step = row.step
    done = "" if step.state in ("running", "waiting") else rows.took_text(step)
    after = f" after {done}" if done else ""
    return f"step {row.number}, {one_line(step.name, 60)}: {one_line(step.state, 40)}{after}"
