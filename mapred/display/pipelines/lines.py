"""The progress of a pipeline as plain lines: one for each step that began, and one for its end."""

from __future__ import annotations

from typing import TextIO

from mapred.display.format import format_count, one_line, pluralize
from mapred.display.live import Clock, Stream
from mapred.display.pipelines import rows
from mapred.display.pipelines.rows import Row, Words
from mapred.display.pipelines.text import pipeline_line
from mapred.model.pipelines import PipelineStatus


class Lines:
    """A line whenever the state of a step changes."""

    def __init__(self, stream: TextIO, clock: Clock, word: Words) -> None:
        self._out, self._clock, self._word = Stream(stream), clock, word
        self._told: dict[str, str] = {}

    def __call__(self, status: PipelineStatus) -> None:
        for row in rows.rows(status):
            began = row.step.started > 0.0  # Before that a run waits for its input.
            if began and self._told.get(row.number) != row.step.state:
                self._told[row.number] = row.step.state
                more = f"; {rows.shell_line(row, self._word)}" if rows.is_open(row) else ""
                self._out.write(f"{step_line(row)}{more}\n")

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


def describe_pipeline(status: PipelineStatus, word: Words) -> tuple[str, float, dict[str, str]]:
    """Return the step that a pipeline is at, the fraction of it that is done, and facts by kind."""
    gates = rows.open_gates(status)
    found = [row for row in rows.rows(status) if not row.step.steps]
    at = [row for row in found if row.step.state == "running"] or found[-1:]
    if gates:
        name = f"step {gates[0].number} {one_line(gates[0].step.name, 40)}"
        return name, 0.0, {"state": "waiting", "message": rows.shell_line(gates[0], word)}
    if not at:
        return one_line(status.state, 40), 0.0, {}
    step, facts = at[0].step, dict[str, str]()
    if step.tasks and step.done is not None:
        facts["count"] = f"{format_count(step.done)}/{format_count(step.tasks)}"
    if len(at) > 1:
        facts["left"] = f"and {pluralize(len(at) - 1, 'other step')}"
    done = (step.done or 0) / step.tasks if step.tasks else 0.0
    return f"step {at[0].number} {one_line(step.name, 40)}", done, facts
