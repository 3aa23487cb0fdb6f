"""A plan, a run and its failures as HTML for a notebook: inline styles, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mapred.display.format import (
    escape_html,
    format_bytes,
    format_count,
    format_seconds,
    one_line,
    pluralize,
    shorten,
    visible,
)
from mapred.display.markup import (
    INDENT,
    LEFT,
    MUTED,
    RIGHT,
    cells,
    code,
    details,
    line,
    page,
    pre,
    row,
    table,
)
from mapred.display.summary import FailureGroup, PlanSummary, Preview, Scene, group_failures
from mapred.display.svg import (
    FAILED,
    OTHER,
    STATES,
    colour,
    lane_names,
    shard_picture,
    timeline_picture,
)
from mapred.display.text.failures import group_line, masked_tail, places_text
from mapred.display.text.plan import COLUMNS, limit_text, plan_size, skew
from mapred.display.text.run import (
    count_facts,
    given_up_text,
    heavy_text,
    pace_facts,
    rest_facts,
    retry_lines,
    slowest_text,
    stages_to_show,
    state_text,
)
from mapred.functions.parameters import text_of
from mapred.model.failure import Failure
from mapred.model.status import RunStatus, StageStatus, WorkerStatus
from mapred.process.secrecy import mask

_LESS = "#b87a14"  # succeeded, without what was given up
COLOURS = (*STATES.values(), _LESS, OTHER)
_WORKERS = 16  # that are listed while they are at work


def plan_html(summary: PlanSummary) -> str:
    """Return what would run, with a picture of the shard sizes in plan order."""
    parts = [
        line(
            f"<b>Plan of {escape_html(one_line(summary.dataset))}</b> ({escape_html(summary.format)})"
        ),
        line(escape_html(plan_size(summary))),
    ]
    if summary.limit:
        parts.append(line(f"limit: {escape_html(limit_text(summary))}"))
    if summary.largest and summary.shards > 1:
        if summary.smallest < summary.largest:
            parts.append(shard_picture(summary.shard_bytes, summary.unit))
        parts.append(line("shards: " + escape_html(skew(summary))))
    if summary.columns:
        columns = summary.columns[:COLUMNS]
        rows = [
            cells(
                *(
                    (LEFT, cell)
                    for cell in (code(c.name, 80), escape_html(c.type), escape_html(c.note))
                )
            )
            for c in columns
        ]
        rows += [cells((LEFT, "…"))] * (len(columns) < len(summary.columns))
        head = pluralize(len(summary.columns), "column")
        noted = sum(1 for column in summary.columns if column.note)
        head += f", {noted} with a note" * bool(noted)
        parts.append(details(head, table(rows), opened=len(columns) <= 12))
    if summary.largest_files:
        rows = [row(format_bytes(size), code(path, 160)) for path, size in summary.largest_files]
        parts.append(details("largest files", table(rows)))
    if summary.unsplittable:
        rows = [
            row(f"{pluralize(count, 'file')}, {format_bytes(size)}", escape_html(one_line(reason)))
            for count, size, reason in summary.unsplittable
        ]
        parts.append(line("cannot be split:") + table(rows))
    return page(parts)


def status_html(
    status: RunStatus,
    now: float | None = None,
    timeline: bool = True,
    scene: Scene | None = None,
) -> str:
    """Return a run: its stages, pace, counters, failures and, if asked, the timeline of its tasks.

    `now`, in seconds since the epoch, is what elapsed time and the estimate go by. `scene` adds
    what is known beside the status: workers, lines printed, the result.
    """
    scene = scene or Scene()
    parts = [*_head(status), _stages(status)]
    if status.given_up.indices:
        parts.append(line(escape_html(given_up_text(status.given_up))))
    facts = pace_facts(status, now) + _memory(scene.workers or ())
    if facts:
        parts.append(line(escape_html(" · ".join(facts))))
    if status.counters:
        rows = [
            row(format_count(value), escape_html(one_line(name, 80)))
            for name, value in status.counters.items()
        ]
        parts.append(details("counters", table(rows), opened=len(rows) <= 12))
    parts += [line(escape_html(text)) for text in heavy_text(status)]
    if status.live and now is not None and scene.workers:
        parts.append(_workers(scene, now))
    if timeline:
        parts += _timeline(status, now, scene)
    if scene.printed:
        parts.append(_printed(scene.printed, status.live))
    parts += [_retries(status), failures_html(status.failures)]
    if scene.result is not None:
        parts.append(_result(scene.result))
    if scene.picture:
        parts.append(f'<div style="margin:6px 0">{scene.picture}</div>')
    if scene.next_line:
        parts.append(line("next:", MUTED) + pre(scene.next_line))
    return page(parts)


def _retries(status: RunStatus) -> str:
    if not status.retries:
        return ""
    lines = "".join(line(code(text, 400), INDENT) for text in retry_lines(status, 20))
    return details(pluralize(len(status.retries), "retry", "retries"), lines)


def _head(status: RunStatus) -> list[str]:
    whole = status.state != "succeeded" or not status.given_up.indices
    shade = STATES.get(status.state, OTHER) if whole else _LESS
    badge = f'<b><span style="color:{shade}">●</span> {escape_html(state_text(status))}</b>'
    name = f" · {escape_html(one_line(status.name, 80))}" if status.name else ""
    parts = [
        line(f"<b>Run {escape_html(status.run_id)}</b>{name} {badge}"),
        line(code(status.uri, 200), MUTED),
    ]
    if status.message:
        parts.append(line(escape_html(visible(mask(status.message))), "white-space:pre-wrap"))
    if status.parameters:
        parts.append(line("with " + code(text_of(status.parameters), 500)))
    return parts


def _stages(status: RunStatus) -> str:
    rows = [
        _stage(number, stage, rest_facts(status, stage))
        for number, stage in enumerate(stages_to_show(status))
    ]
    return table(rows, "width:100%;max-width:860px")


def _memory(workers: Sequence[WorkerStatus]) -> list[str]:
    used = sum(worker.memory for worker in workers)
    return [f"{format_bytes(used)} in {pluralize(len(workers), 'worker')}"] if used else []


def _workers(scene: Scene, now: float) -> str:
    """Return what each worker is at; of many those that have been longest at it."""
    workers = scene.workers or ()
    names = dict(
        zip([w.worker for w in workers], lane_names([w.worker for w in workers]), strict=True)
    )
    chosen = sorted(workers, key=lambda worker: worker.since)[:_WORKERS]
    rows = [
        cells(
            (LEFT, escape_html(shorten(names[worker.worker], 24))),
            (LEFT, escape_html(_place(worker, scene))),
            (RIGHT, escape_html(format_seconds(max(0.0, now - worker.since)))),
            (RIGHT, escape_html(format_bytes(worker.memory) if worker.memory else "")),
        )
        for worker in sorted(chosen, key=lambda worker: (len(worker.worker), worker.worker))
    ]
    if len(workers) > len(chosen):
        rows.append(cells((LEFT, f"and {len(workers) - len(chosen)} more")))
    head = cells(*((LEFT, f'<span style="{MUTED}">{text}</span>') for text in _WORKER_HEAD))
    return f'<div style="overflow-x:auto">{table([head, *rows])}</div>'


_WORKER_HEAD = ("worker", "is at", "for", "memory")


def _place(worker: WorkerStatus, scene: Scene) -> str:
    if worker.task is None:
        return f"a task of {worker.stage}"
    text = f"{worker.stage} task {worker.task}"
    if worker.item == worker.task:
        text = f"{worker.stage} item {worker.item}"
    elif worker.item is not None:
        text += f", item {worker.item}"
    if worker.item is not None and worker.item in scene.points:
        text += f": {shorten(mask(scene.points[worker.item]), 60)}"
    return text


def _timeline(status: RunStatus, now: float | None, scene: Scene) -> list[str]:
    drawn = status if scene.drawn is None else replace(status, times=scene.drawn)
    picture = timeline_picture(drawn, now, scene)
    done = sum(stage.done for stage in status.stages)
    if not picture:
        return []
    parts = [picture]
    if scene.drawn is not None and len(scene.drawn) < done:
        parts.append(line(f"drawn are the last {len(scene.drawn):,} of {done:,} tasks", MUTED))
    if scene.drawn is None and status.times:
        parts += [line(escape_html(text), MUTED) for text in slowest_text(status)]
    return parts


def _printed(lines: Sequence[str], live: bool) -> str:
    head = "printed last" if live else "printed last; all of it: run.logs()"
    return details(head, pre(mask("\n".join(lines))), opened=live)


def _result(preview: Preview) -> str:
    head = f"<b>result</b> {escape_html(preview.head)}"
    if preview.rows:
        names = list(dict.fromkeys(name for row in preview.rows for name in row))
        found = [[f"<b>{escape_html(one_line(name, 40))}</b>" for name in names]]
        found += [[escape_html(str(row.get(name, ""))) for name in names] for row in preview.rows]
        made = table(cells(*((RIGHT, cell) for cell in row)) for row in found)
        return line(head) + f'<div style="overflow-x:auto">{made}</div>'
    return line(head) + (pre(preview.text) if preview.text else "")


def failures_html(failures: Sequence[Failure], most: int = 10) -> str:
    """Failures grouped by signature, the most frequent first, each with its folded details."""
    groups = group_failures(failures)
    parts = [line(f"<b>{pluralize(len(failures), 'failure')}</b>")] if failures else []
    parts += [_failure(group) for group in groups[:most]]
    if len(groups) > most:
        rest = sum(group.count for group in groups[most:])
        more = f"and {format_count(rest)} more of {pluralize(len(groups) - most, 'kind')}"
        parts.append(line(escape_html(more), MUTED))
    return "".join(parts)


def _failure(group: FailureGroup) -> str:
    first = group.first
    inside = ""
    for number, place in enumerate(places_text(group)):
        inside += line(("" if number else "at ") + code(place, 400), INDENT)
    if first.traceback:
        inside += pre(masked_tail(first.traceback, 30))
    if first.log:
        inside += line("log ends with", f"{INDENT};{MUTED}")
        inside += pre(masked_tail(first.log, 20))
    head = f'<span style="color:{FAILED}">✗</span> {escape_html(group_line(group))}'
    return details(head, inside) if inside else line(head)


def _stage(number: int, stage: StageStatus, rest: Sequence[str]) -> str:
    total = max(stage.total, 1)
    widths = (
        (colour(number), stage.done),
        (FAILED, stage.given_up + stage.failed),
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
        ' style="width:100%;min-width:100px;height:10px;line-height:0;white-space:nowrap;overflow:hidden;'
        f'border-radius:3px;background:rgba(127,127,127,.25)">{filled}</div>'
    )
    done = f"{format_count(stage.done)} of {pluralize(stage.total, 'task')}"
    counts = [done, *count_facts(stage), *rest]
    return cells(
        (f"{LEFT};width:1%;white-space:nowrap", escape_html(stage.name)),
        (f"{LEFT};width:50%", bar),
        (LEFT, escape_html(", ".join(counts))),
    )
