"""The steps of a pipeline as rows, and the words that text and HTML share."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.display.format import (
    format_count,
    format_seconds,
    format_time,
    join_numbers,
    one_line,
    pluralize,
    visible,
)
from mapred.model.pipelines import PipelineStatus, StepStatus
from mapred.process.secrecy import mask

Words = Callable[[str], str]
_MOST, _FIRST = 60, 20  # steps that are listed, and of these the first ones of many
_CUT = ("failed", "unreadable", "waiting", "running", "interrupted", "suspended")


@dataclass(frozen=True)
class Row:
    """A step with its number, such as `5.1` inside of the pipeline that is step 5.

    `owner` is the folder of the pipeline that asked for it.
    """

    number: str
    depth: int
    step: StepStatus
    owner: str


def rows(status: PipelineStatus) -> list[Row]:
    """Return all steps, those of pipelines inside of this one after the step that they are."""
    return list(_rows(status.steps, status.uri, "", 0))


def _rows(steps: Sequence[StepStatus], owner: str, before: str, depth: int) -> Iterator[Row]:
    for place, step in enumerate(steps):
        number = f"{before}{place + 1}"
        yield Row(number, depth, step, owner)
        yield from _rows(step.steps, step.uri, f"{number}.", depth + 1)


def shown(found: Sequence[Row]) -> list[Row | int]:
    """Return the rows to list; of many those that need a look, and numbers for those between."""
    if len(found) <= _MOST:
        return list(found)
    last = len(found) - (_MOST - _FIRST)
    listed: list[Row | int] = []
    for place, row in enumerate(found):
        if place < _FIRST or place >= last or row.step.state in _CUT:
            listed.append(row)
        elif listed and isinstance(listed[-1], int):
            listed[-1] += 1
        else:
            listed.append(1)
    return listed


def head_text(status: PipelineStatus, now: float | None) -> str:
    """Return how far a pipeline is: `5 steps done, 1 waiting, 3.2 s elapsed`."""
    number, done = len(status.steps), status.done
    until = status.finished if status.finished is not None else now
    took = None if until is None else format_seconds(max(0.0, until - status.started))
    if status.state == "succeeded":
        return f"{pluralize(number, 'step')}" + (f" in {took}" if took else "")
    parts = [f"{pluralize(done, 'step')} done"]
    for state in dict.fromkeys(step.state for step in status.steps if not step.is_done):
        count = sum(step.state == state for step in status.steps)
        parts.append(f"{format_count(count)} {one_line(state, 40)}")
    return ", ".join([*parts, *([f"{took} elapsed"] if took else [])])


def state_text(step: StepStatus) -> str:
    """Return the state, as in `running 3/12`, with the tasks that are done where some are not."""
    if step.done is None or not step.tasks or step.state == "succeeded":
        return one_line(step.state, 40)
    return f"{one_line(step.state, 40)} {format_count(step.done)}/{format_count(step.tasks)}"


def took_text(step: StepStatus) -> str:
    return "" if step.seconds is None or step.kind == "recorded" else format_seconds(step.seconds)


def about_text(row: Row, width: int = 200) -> str:
    """Return what a step is about: its dataset, arguments, value, or question and answer."""
    step = row.step
    text = mask(step.text[: 20 * width])
    if numbers := needed(row):
        *most, last = numbers
        text = f"outputs of {', '.join(most)}{' and ' * bool(most)}{last}"
    if step.kind == "gate" and step.answer is not None:
        text = f"{text} {choice_word(step.answer)}".strip()
        text += f" ({mask(step.message)})" if step.message else ""
    return one_line(text, width)


def needed(row: Row) -> list[str]:
    """Return the numbers of the steps whose outputs a step reads."""
    before = row.number.rpartition(".")[0]
    return [f"{before}.{place + 1}" if before else f"{place + 1}" for place in row.step.needs]


def open_gates(status: PipelineStatus) -> list[Row]:
    """Return the gates that wait for an answer, those of pipelines inside of this one too."""
    return [row for row in rows(status) if is_open(row)]


def is_open(row: Row) -> bool:
    """Whether a step is a gate that waits for an answer."""
    return row.step.kind == "gate" and row.step.state == "waiting" and bool(row.step.choices)


def choice_word(choice: Any) -> str:
    """Return a choice as a command line takes it: `yes`, `17`, `a text`."""
    if isinstance(choice, bool):
        return "yes" if choice else "no"
    return choice if isinstance(choice, str) else json.dumps(choice)


def gate_texts(row: Row) -> list[str]:
    """Return what may be answered, and what is taken without an answer."""
    step = row.step
    words = [one_line(choice_word(choice), 40) for choice in step.choices]
    texts = ["answer by one of: " + ", ".join(words)]
    if step.due is not None:
        default = one_line(choice_word(step.default), 40)
        texts.append(f"without an answer by {format_time(step.due)}: {default}")
    return texts


def python_line(row: Row, top: str) -> str:
    """Return the line of Python that answers a gate; `run` is the pipeline whose folder is `top`."""
    opened = "run" if row.owner == top else f"mapred.open({row.owner!r})"
    return f"{opened}.approve({row.step.name!r}, {row.step.choices[0]!r})"


def shell_line(row: Row, word: Words) -> str:
    """Return the command that answers a gate; `word` names a folder on a command line."""
    value = shlex.quote(choice_word(row.step.choices[0]))
    line = f"mapred approve {word(row.owner)} {shlex.quote(row.step.name)} --value {value}"
    return visible(line).replace("\n", "\\n")


def error_texts(row: Row, word: Words) -> list[str]:
    """Return why a step failed, and what shows more of it; nothing where its own steps say so."""
    step = row.step
    if not step.message or step.kind == "gate" or any(inner.message for inner in step.steps):
        return []
    error = one_line(mask(step.message.partition("\n")[0]), 400)
    return [error, visible(f"mapred show {word(step.uri)}").replace("\n", "\\n")]


def message_text(status: PipelineStatus) -> str:
    """Return the first line of why a pipeline failed."""
    return one_line(mask(status.message.partition("\n")[0]), 400)


def parameters_text(status: PipelineStatus) -> str:
    """`date='2026-11-03', limit=3`."""
    return one_line(", ".join(f"{name}={text}" for name, text in status.parameters.items()), 400)


def is_resumable(status: PipelineStatus) -> bool:
    return status.state in ("failed", "interrupted", "cancelled")


def resume_line(status: PipelineStatus) -> str:
    return f"import mapred; run = mapred.open({status.uri!r}).resume()"


def more_text(number: int) -> str:
    return f"… {join_numbers([number])} more that are done"
