"""A plan, a run and its failures as HTML for a notebook: inline styles, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mapred.display.format import (
    escape_html,
    format_bytes,
    format_count,
    one_line,
    pluralize,
    shorten,
    tail,
    visible,
)
from mapred.display.summary import FailureGroup, PlanSummary, group_failures
from mapred.display.svg import FAILED, colour, shard_picture, timeline_picture
from mapred.display.text.failures import group_line, places_text
from mapred.display.text.plan import COLUMNS, limit_text, plan_size, skew
from mapred.display.text.run import (
    count_facts,
    given_up_text,
    heavy_text,
    pace_facts,
    slowest_text,
    stages_to_show,
    state_text,
)
from mapred.functions.parameters import text_of
from mapred.model.failure import Failure
from mapred.model.status import RunStatus, StageStatus

_STATES = {"succeeded": "#2f9e77", "running": colour(0), "failed": FAILED}
_LESS = "#c77a12"  # succeeded, without what was given up
_MUTED = "opacity:.7"
_LEFT = "text-align:left;padding:1px 14px 1px 0;background:none;border:0"
_RIGHT = "text-align:right;padding:1px 14px 1px 0;background:none;border:0;white-space:nowrap"
_PRE = (
    "margin:4px 0 4px 14px;padding:6px 8px;font-size:12px;white-space:pre-wrap;"
    "overflow-wrap:anywhere;color:inherit;background:rgba(127,127,127,.12)"
)


def plan_html(summary: PlanSummary) -> str:
    """Return what would run, with a picture of the shard sizes in plan order."""
    parts = [
        _line(
            f"<b>Plan of {escape_html(one_line(summary.dataset))}</b> ({escape_html(summary.format)})"
        ),
        _line(escape_html(plan_size(summary))),
    ]
    if summary.limit:
        parts.append(_line(f"limit: {escape_html(limit_text(summary))}"))
    if summary.largest and summary.shards > 1:
        parts.append(shard_picture(summary.shard_bytes))
        parts.append(_line("shards: " + escape_html(skew(summary))))
    if summary.columns:
        columns = summary.columns[:COLUMNS]
        rows = [
            _cells(
                *(
                    (_LEFT, cell)
                    for cell in (_code(c.name, 80), escape_html(c.type), escape_html(c.note))
                )
            )
            for c in columns
        ]
        rows += [_cells((_LEFT, "…"))] * (len(columns) < len(summary.columns))
        head = pluralize(len(summary.columns), "column")
        noted = sum(1 for column in summary.columns if column.note)
        head += f", {noted} with a note" * bool(noted)
        parts.append(_details(head, _table(rows), opened=len(columns) <= 12))
    if summary.largest_files:
        rows = [_row(format_bytes(size), _code(path, 160)) for path, size in summary.largest_files]
        parts.append(_details("largest files", _table(rows)))
    if summary.unsplittable:
        rows = [
            _row(f"{pluralize(count, 'file')}, {format_bytes(size)}", escape_html(one_line(reason)))
            for count, size, reason in summary.unsplittable
        ]
        parts.append(_line("cannot be split:") + _table(rows))
    return page(parts)


def status_html(status: RunStatus, now: float | None = None, timeline: bool = True) -> str:
    """Return a run: its stages, pace, counters, failures and, if asked, the timeline of its tasks.

    `now`, in seconds since the epoch, is what elapsed time and the estimate go by.
    """
    whole = status.state != "succeeded" or not status.given_up.indices
    shade = _STATES.get(status.state, "#8a8a8a") if whole else _LESS
    badge = f'<b style="color:{shade}">● {escape_html(state_text(status))}</b>'
    name = f" · {escape_html(one_line(status.name, 80))}" if status.name else ""
    parts = [
        _line(f"<b>Run {escape_html(status.run_id)}</b>{name} {badge}"),
        _line(_code(status.uri, 200), _MUTED),
    ]
    if status.message:
        parts.append(_line(escape_html(visible(status.message)), "white-space:pre-wrap"))
    if status.parameters:
        parts.append(_line("with " + _code(text_of(status.parameters), 500)))
    parts.append(
        _table(_stage(number, stage) for number, stage in enumerate(stages_to_show(status)))
    )
    if status.given_up.indices:
        parts.append(_line(escape_html(given_up_text(status.given_up))))
    facts = pace_facts(status, now)
    if facts:
        parts.append(_line(escape_html(" · ".join(facts))))
    if status.counters:
        rows = [
            _row(format_count(value), escape_html(one_line(name, 80)))
            for name, value in status.counters.items()
        ]
        parts.append(_details("counters", _table(rows), opened=len(rows) <= 12))
    parts += [_line(escape_html(text)) for text in heavy_text(status)]
    if timeline and status.times:
        parts.append(timeline_picture(status))
        parts += [_line(escape_html(text), _MUTED) for text in slowest_text(status)]
    if status.failures:
        parts.append(failures_html(status.failures))
    return page(parts)


def failures_html(failures: Sequence[Failure], most: int = 10) -> str:
    """Failures grouped by signature, the most frequent first, each with its folded details."""
    groups = group_failures(failures)
    parts = [_line(f"<b>{pluralize(len(failures), 'failure')}</b>")] if failures else []
    parts += [_failure(group) for group in groups[:most]]
    if len(groups) > most:
        rest = sum(group.count for group in groups[most:])
        more = f"and {format_count(rest)} more of {pluralize(len(groups) - most, 'kind')}"
        parts.append(_line(escape_html(more), _MUTED))
    return "".join(parts)


def _failure(group: FailureGroup) -> str:
    first = group.first
    inside = ""
    for number, place in enumerate(places_text(group)):
        inside += _line(("" if number else "at ") + _code(place, 400), "margin-left:14px")
    if first.traceback:
        inside += f'<pre style="{_PRE}">{escape_html(tail(first.traceback, 30))}</pre>'
    if first.log:
        inside += _line("log ends with", f"margin-left:14px;{_MUTED}")
        inside += f'<pre style="{_PRE}">{escape_html(tail(first.log, 20))}</pre>'
    head = f'<span style="color:{FAILED}">✗</span> {escape_html(group_line(group))}'
    return _details(head, inside) if inside else _line(head)


def _stage(number: int, stage: StageStatus) -> str:
    total = max(stage.total, 1)
    widths = (
        (colour(number), stage.done),
        (FAILED, stage.given_up),
        (colour(number) + "66", stage.running),
    )
    filled = "".join(
        f'<span style="display:inline-block;height:10px;vertical-align:top;'
        f'width:{min(100 * count / total, 100):.2f}%;background:{fill}"></span>'
        for fill, count in widths
        if count
    )
    bar = (
        f'<div role="progressbar" aria-label="{escape_html(stage.name)}" aria-valuemin="0"'
        f' aria-valuemax="{stage.total}" aria-valuenow="{stage.done + stage.given_up}"'
        ' style="width:260px;height:10px;line-height:0;white-space:nowrap;overflow:hidden;'
        f'border-radius:3px;background:rgba(127,127,127,.25)">{filled}</div>'
    )
    done = f"{format_count(stage.done)} of {pluralize(stage.total, 'task')}"
    counts = [done, *count_facts(stage)]
    return _cells(
        (_LEFT, escape_html(stage.name)), (_LEFT, bar), (_LEFT, escape_html(", ".join(counts)))
    )


def _row(number: str, content: str) -> str:
    return _cells((_RIGHT, escape_html(number)), (_LEFT, content))


def _cells(*cells: tuple[str, str]) -> str:
    inside = "".join(f'<td style="{style}">{content}</td>' for style, content in cells)
    return f'<tr style="background:none">{inside}</tr>'


def _table(rows: Iterable[str]) -> str:
    style = "border:0;border-collapse:collapse;margin:4px 0 4px 0;font-size:inherit"
    return f'<table style="{style}"><tbody>{"".join(rows)}</tbody></table>'


def _details(head: str, inside: str, opened: bool = False) -> str:
    return (
        f'<details style="margin:3px 0"{" open" if opened else ""}>'
        f'<summary style="cursor:pointer">{head}</summary>{inside}</details>'
    )


def _line(content: str, style: str = "") -> str:
    return f'<div style="{style}">{content}</div>' if style else f"<div>{content}</div>"


def _code(text: str, width: int) -> str:
    return f'<code style="background:none;color:inherit;padding:0">{escape_html(shorten(text, width))}</code>'


def lines_and_table(rows: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    """Rows of cells that are HTML, and lines below them that are to be copied."""
    table = _table(_cells(*((_LEFT, cell) for cell in row)) for row in rows)
    copied = [f'<pre style="{_PRE}">{line}</pre>' for line in lines]
    return page([f'<div style="overflow-x:auto">{table}</div>', *copied])


def page(parts: Iterable[str]) -> str:
    """HTML in the style of this package, fit to stand alone in an output cell."""
    style = "font-family:sans-serif;font-size:13px;line-height:1.5;max-width:800px"
    return f'<div class="mapred" style="{style}">{"".join(parts)}</div>'
