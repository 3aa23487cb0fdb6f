"""The sections of a report, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mapred.display.advice import advice_html
from mapred.display.format import (
    escape_html,
    format_bytes,
    format_count,
    format_seconds,
    one_line,
    pluralize,
    shorten,
    tail,
)
from mapred.display.report.histograms import histogram
from mapred.display.report.parts import code, facts_table, paragraph, section, table
from mapred.display.report.values import Report
from mapred.display.summary import FailureGroup, group_failures, pace
from mapred.display.svg import FAILED, colour, shard_picture, timeline_picture
from mapred.display.sweeps import sweep_html
from mapred.display.text.failures import group_line, places_text
from mapred.display.text.run import count_facts, heavy_text, pace_facts, stages_to_show
from mapred.model.status import TaskTime

_GROUPS = 20
_COUNTERS = 200
_WIDTH = 500  # characters of a line of a traceback


def tiles(report: Report) -> list[tuple[str, str]]:
    """Return the figures at the head of the page: what, and how much."""
    status = report.status
    done = sum(stage.done for stage in status.stages)
    total = sum(stage.total for stage in status.stages)
    elapsed = pace(status, report.made).elapsed
    peak = max((time.peak_memory for time in status.times), default=0)
    found = [
        ("tasks done", format_count(done) + f" of {format_count(total)}" * (done != total)),
        ("elapsed", "" if elapsed is None else format_seconds(elapsed)),
        ("input", format_bytes(status.bytes_done) if status.bytes else ""),
        ("records", format_count(status.records) if status.records else ""),
        ("peak memory", format_bytes(peak) if peak else ""),
        ("retries", format_count(len(status.retries)) if status.retries else ""),
        ("failures", format_count(len(status.failures)) if status.failures else ""),
        ("given up", format_count(len(status.given_up.indices)) if status.given_up.indices else ""),
    ]
    return [(what, text) for what, text in found if text]


def sections(report: Report) -> Iterator[str]:
    """Yield the sections that have something to say."""
    yield section("unread", "What could not be read", *(paragraph(t, "bad") for t in report.unread))
    yield section("failures", "Failures", *_failures(report))
    yield section("ran", "What ran", *_what_ran(report))
    yield section("plan", "Plan", *_plan(report))
    yield section("timeline", "Timeline", *_timeline(report))
    yield section("times", "Skew and stragglers", *_times(report))
    yield section("memory", "Memory", *_memory(report))
    if report.sweep is not None:
        how = 'run.report("report.html", result={})'
        yield section("sweep", "Sweep", sweep_html(report.sweep, report.sweep_result, how))
    yield section("counters", "Counters", *_counters(report))
    yield section("logs", "Logs", *_logs(report))
    yield section("written", "What was written", facts_table(report.written))
    yield section("audit", "Audit", *_audit(report))
    if report.advice is not None:
        yield section("next", "Next time", advice_html(report.advice))
    recipes = (paragraph(recipe.words) + code(recipe.line) for recipe in report.recipes)
    yield section("again", "Do it again", *recipes)


def _failures(report: Report) -> Iterator[str]:
    groups = group_failures(report.status.failures)
    for group in groups[:_GROUPS]:
        yield _failure(group)
    more = groups[_GROUPS:]
    if more:
        count = format_count(sum(group.count for group in more))
        yield paragraph(f"and {count} more, of {pluralize(len(more), 'kind')}")


def _failure(group: FailureGroup) -> str:
    first = group.first
    parts = [f'<h3><span class="bad">✗</span> {escape_html(group_line(group))}</h3>']
    places = "".join(f"<li>{escape_html(place)}</li>" for place in places_text(group))
    parts.append(f"<ul>{places}</ul>" if places else "")
    if first.traceback:
        parts.append(code(_narrow(tail(first.traceback, 60, 8000))))
    if first.log:
        parts.append(paragraph("Its log ends with") + code(tail(first.log, 20, 3000)))
    return "".join(parts)


def _narrow(text: str) -> str:
    """Cut lines that are long values rather than code."""
    return "\n".join(
        line if len(line) <= _WIDTH else line[:_WIDTH] + "…" for line in text.split("\n")
    )


def _what_ran(report: Report) -> Iterator[str]:
    yield facts_table(report.facts)
    for source in report.sources:
        yield f"<h3>{escape_html(one_line(source.name, 120))}</h3>"
        yield paragraph(one_line(source.where, 300), "quiet")
        yield code(source.text) if source.text else paragraph(source.note)


def _plan(report: Report) -> Iterator[str]:
    plan = report.plan
    yield facts_table(plan.facts)
    if plan.sizes is not None and len(plan.sizes) > 1:
        yield shard_picture(plan.sizes, plan.unit)


def _timeline(report: Report) -> Iterator[str]:
    status = report.status
    rows = [
        (
            stage.name,
            f"{format_count(stage.done)} of {format_count(stage.total)}",
            ", ".join(count_facts(stage)),
        )
        for stage in stages_to_show(status)
    ]
    yield table(("stage", "tasks done", ""), rows)
    yield paragraph(" · ".join(pace_facts(status, report.made)))
    if status.times:
        yield timeline_picture(status)
    kinds: dict[tuple[str, str], list[int]] = {}
    for retry in status.retries:
        kinds.setdefault((retry.kind, retry.error), []).append(retry.task)
    tries = [
        (f"{kind}: {one_line(error, 80)}", format_count(len(tasks)), _numbers(tasks))
        for (kind, error), tasks in sorted(kinds.items(), key=lambda item: -len(item[1]))[:20]
    ]
    yield table(("failed attempts at tasks that succeeded later", "how many", "tasks"), tries, (1,))


def _numbers(tasks: list[int]) -> str:
    found = sorted(set(tasks))
    return ", ".join(map(str, found[:12])) + (" …" if len(found) > 12 else "")


def by_stage(report: Report) -> dict[str, list[TaskTime]]:
    found: dict[str, list[TaskTime]] = {}
    for time in report.status.times:
        found.setdefault(time.stage, []).append(time)
    return found


def _times(report: Report) -> Iterator[str]:
    stages = {name: times for name, times in by_stage(report).items() if len(times) > 1}
    names = list(by_stage(report))
    for name, times in stages.items():
        seconds = [time.seconds for time in times]
        median, slowest = float(np.median(seconds)), max(seconds)
        text = f"{name}: {pluralize(len(times), 'task')}, median {format_seconds(median)}, "
        text += f"95 % within {format_seconds(float(np.quantile(seconds, 0.95)))}, slowest "
        text += format_seconds(slowest)
        text += f" ({slowest / median:,.1f} × the median)" if median else ""
        yield paragraph(text)
        marks = [("median", median, "currentColor"), ("slowest", slowest, FAILED)]
        fill = colour(names.index(name))
        yield histogram(f"{name}: seconds", seconds, format_seconds, marks, fill)
    rows = [
        (
            slow.time.stage,
            str(slow.time.task),
            format_seconds(slow.time.seconds),
            f"{slow.times_median:,.1f} ×",
            format_bytes(slow.time.bytes) if slow.time.bytes else "",
            format_bytes(slow.time.peak_memory) if slow.time.peak_memory else "",
            shorten(slow.time.worker, 40),
            shorten(slow.where, 120),
        )
        for slow in report.slow
    ]
    head = ("stage", "task", "took", "of median", "read", "memory", "worker", "input")
    if rows:
        yield "<h3>The slowest tasks</h3>" + table(head, rows, (1, 2, 3, 4, 5))


def _memory(report: Report) -> Iterator[str]:
    asked = dict(report.asked)
    names = list(by_stage(report))
    for name, times in by_stage(report).items():
        peaks = [time.peak_memory for time in times if time.peak_memory]
        limit = asked.get(name)
        if not peaks:
            yield paragraph(f"{name}: not recorded")
            continue
        text = f"{name}: at most {format_bytes(max(peaks))}, median {format_bytes(float(np.median(peaks)))}"
        text += f"; asked for {format_bytes(limit)}" if limit else "; no limit was asked for"
        text += f", {max(peaks) / limit:.0%} of it used" if limit else ""
        yield paragraph(text)
        marks = [("most", float(max(peaks)), "currentColor")]
        marks += [("asked for", float(limit), FAILED)] if limit else []
        fill = colour(names.index(name))
        yield histogram(f"{name}: peak memory", peaks, format_bytes, marks, fill)


def _counters(report: Report) -> Iterator[str]:
    counters = list(report.status.counters.items())
    rows = [(one_line(name, 120), format_count(value)) for name, value in counters[:_COUNTERS]]
    yield table(("counter", "sum"), rows, (1,))
    if len(counters) > _COUNTERS:
        yield paragraph(f"and {format_count(len(counters) - _COUNTERS)} more")
    yield from (paragraph(text) for text in heavy_text(report.status)[:_COUNTERS])


def _logs(report: Report) -> Iterator[str]:
    tails = [
        f"--- {log.stage} task {log.task}, attempt {log.attempt}\n{tail(log.text, 20, 3000)}"
        for log in report.logs
    ]
    yield code("\n".join(tails)) if tails else ""
    more = report.logs_in_all - len(report.logs)
    if more > 0:
        yield paragraph(f"{format_count(more)} more: mapred logs {report.status.uri}")


def _audit(report: Report) -> Iterator[str]:
    if report.whole is not None:
        found = "is whole" if report.whole else "is not whole"
        kind = "good" if report.whole else "bad"
        yield paragraph(f"The run {found}, by the sizes of its files.", kind)
        yield code(report.audit)
    else:
        yield paragraph(report.audit)
