"""A pipeline as HTML for a notebook: its steps as a table, with what waits and what failed."""

from __future__ import annotations

import shlex

from mapred.display.format import escape_html, one_line, shorten, visible
from mapred.display.markup import LEFT, MUTED, RIGHT, cells, code, line, page, pre, table
from mapred.display.pipelines import rows
from mapred.display.pipelines.picture import pipeline_picture, state_colour
from mapred.display.pipelines.rows import Row, Words
from mapred.display.svg import FAILED
from mapred.model.pipelines import PipelineStatus

_TOP = "vertical-align:top"  # beside lines that are to be copied
_TIGHT = f"{LEFT};white-space:nowrap;{_TOP}"


def pipeline_html(
    status: PipelineStatus, now: float | None = None, *, word: Words = shlex.quote
) -> str:
    """Return a pipeline: its steps, when they ran, what waits for an answer, and how to resume it.

    `word` names a folder on a command line.
    """
    parts = _head(status, now)
    found = [_step(row, status, word) for row in rows.shown(rows.rows(status))]
    if found:
        parts.append(f'<div style="overflow-x:auto">{table(found)}</div>')
    parts.append(pipeline_picture(status, now))
    if rows.is_resumable(status):
        parts.append(line("next:", MUTED) + pre(rows.resume_line(status)))
    return page(parts)


def _head(status: PipelineStatus, now: float | None) -> list[str]:
    badge = f"<b>{_dot(status.state)} {escape_html(one_line(status.state, 40))}</b>"
    name = f" · {escape_html(one_line(status.name, 80))}" if status.name else ""
    parts = [
        line(f"<b>Pipeline {escape_html(one_line(status.id))}</b>{name} {badge}"),
        line(code(status.uri, 200), MUTED),
    ]
    if status.parameters:
        parts.append(line("with " + code(rows.parameters_text(status), 500)))
    if status.message:
        parts.append(line(escape_html(rows.message_text(status))))
    return [*parts, line(escape_html(rows.head_text(status, now)))]


def _step(row: Row | int, status: PipelineStatus, word: Words) -> str:
    """Return a row of the table; what is to be said below a step stands in its last cell."""
    if isinstance(row, int):
        return cells((LEFT, ""), (LEFT, ""), (LEFT, escape_html(rows.more_text(row))))
    step, about = row.step, escape_html(rows.about_text(row, 120))
    name = (
        f'<span style="margin-left:{14 * row.depth}px">{escape_html(shorten(step.name, 40))}</span>'
    )
    if errors := rows.error_texts(row, word):
        error, more = errors
        about += line(f'<span style="color:{FAILED}">✗</span> {code(error, 400)}') + pre(more)
    if rows.is_open(row):
        about += "".join(line(escape_html(visible(text)), MUTED) for text in rows.gate_texts(row))
        about += pre(f"{rows.python_line(row, status.uri)}\n{rows.shell_line(row, word)}")
    return cells(
        (_TIGHT, escape_html(row.number)),
        (_TIGHT, name),
        (_TIGHT, f"{_dot(step.state)} {escape_html(rows.state_text(step))}"),
        (f"{RIGHT};{_TOP}", escape_html(rows.took_text(step))),
        (f"{LEFT};{_TOP}", about),
    )


def _dot(state: str) -> str:
    return f'<span style="color:{state_colour(state)}">●</span>'
