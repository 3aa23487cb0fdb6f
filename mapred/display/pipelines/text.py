"""A pipeline as plain text: its steps in order, what waits, what failed, and when each ran."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mapred.display.format import format_seconds, one_line, pluralize, shorten
from mapred.display.pipelines import rows
from mapred.display.pipelines.rows import Row, Words
from mapred.model.pipelines import PipelineStatus

_NAME, _STATE = 24, 22  # characters at most
_LANES, _LABEL = 20, 18


def pipeline_line(status: PipelineStatus, now: float | None = None) -> str:
    """Return a pipeline on one line: its id, name, state, steps and time."""
    name = f" of {one_line(status.name, 60)}" if status.name else ""
    state = one_line(status.state, 40)
    return f"Pipeline {one_line(status.id)}{name} {state}: {rows.head_text(status, now)}"


def pipeline_text(
    status: PipelineStatus,
    now: float | None = None,
    width: int = 80,
    *,
    word: Words = shlex.quote,
    python: bool = True,
) -> str:
    """Return a pipeline as text of `width` columns, but for lines that are to be copied.

    `word` names a folder on a command line; with `python`, lines of Python are among the advice.
    """
    found = rows.rows(status)
    lines = [pipeline_line(status, now)]
    if status.parameters:
        lines.append(f"  with {rows.parameters_text(status)}")
    if status.message:
        lines.append(f"  {rows.message_text(status)}")
    lines += _steps(rows.shown(found), status, width, word, python=python)
    lines += _lanes(found, status, now, width)
    if python and rows.is_resumable(status):
        lines += ["to resume it:", rows.resume_line(status)]
    return "\n".join(line.rstrip() for line in lines)


def _steps(
    listed: Sequence[Row | int], status: PipelineStatus, width: int, word: Words, *, python: bool
) -> list[str]:
    """Return a line for each step, with what is to be said of it below."""
    own = [row for row in listed if isinstance(row, Row)]
    sizes = [
        max((len(text(row)) for row in own), default=0) for text in (_number, _name, _state, _took)
    ]
    lines = []
    for row in listed:
        if isinstance(row, int):
            lines.append(f"  {rows.more_text(row)}")
            continue
        number, name, state = (
            text(row).ljust(size)
            for text, size in zip((_number, _name, _state), sizes[:3], strict=True)
        )
        start = f"  {number}  {name}  {state}  {_took(row).rjust(sizes[3])}  "
        lines.append(start + rows.about_text(row, max(16, width - len(start))))
        below = [*rows.error_texts(row, word)]
        if rows.is_open(row):
            below += rows.gate_texts(row)
            below += [rows.python_line(row, status.uri)] if python else []
            below.append(rows.shell_line(row, word))
        lines += [f"  {'':{sizes[0]}}    {text}" for text in below]
    return lines


def _number(row: Row) -> str:
    return f"{'  ' * row.depth}{row.number}"


def _name(row: Row) -> str:
    return shorten(row.step.name, _NAME)


def _state(row: Row) -> str:
    return shorten(rows.state_text(row.step), _STATE)


def _took(row: Row) -> str:
    return rows.took_text(row.step)


def _lanes(
    found: Sequence[Row], status: PipelineStatus, now: float | None, width: int
) -> list[str]:
    """Return when each step ran, as a lane of blocks; nothing where there is one step, or many."""
    timed = [row for row in found if row.step.seconds and row.step.kind != "recorded"]
    if not 2 <= len(timed) <= _LANES:
        return []
    ends = [row.step.finished or now or row.step.started for row in timed]
    stop = max([status.finished or 0.0, *ends])
    span = stop - status.started
    if span <= 0:
        return []
    labels = [f"{row.number} {shorten(row.step.name, _LABEL)}" for row in timed]
    room = max(map(len, labels))
    cells = max(10, width - room - 5)
    lines = []
    for row, label, end in zip(timed, labels, ends, strict=True):
        first = min(cells - 1, max(0, int((row.step.started - status.started) / span * cells)))
        last = min(cells, max(first + 1, round((end - status.started) / span * cells)))
        mark = "░" if row.step.kind == "gate" else "▒" if row.step.kind == "pipeline" else "█"
        lane = " " * first + mark * (last - first)
        lines.append(f"  {label:<{room}} │{lane:<{cells}}│")
    ruler = f"  {'':<{room}}  0 s" + f"{format_seconds(span):>{cells - 3}}"
    marks = {"run": "█ run", "pipeline": "▒ pipeline", "gate": "░ waits for an answer"}
    used = [text for kind, text in marks.items() if any(row.step.kind == kind for row in timed)]
    return [*lines, ruler, f"  {'':<{room}}  {'  '.join(used)}"]


def open_gates_text(status: PipelineStatus, word: Words = shlex.quote) -> str:
    """Return the gates that wait for an answer, each with the command that answers it."""
    waiting = rows.open_gates(status)
    if not waiting:
        return f"pipeline {one_line(status.id)} waits for no answer"
    lines = [f"{pluralize(len(waiting), 'gate')} of pipeline {one_line(status.id)}:"]
    for row in waiting:
        lines.append(f"  {one_line(row.step.name)}: {rows.about_text(row, 400)}".rstrip(": "))
        lines += [f"    {text}" for text in rows.gate_texts(row)]
        lines.append(f"    {rows.shell_line(row, word)}")
    return "\n".join(lines)
