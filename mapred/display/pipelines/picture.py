"""When each step of a pipeline ran, and whose outputs it read: bars over time, with lines between."""

from __future__ import annotations

from collections.abc import Sequence

from mapred.display import scales
from mapred.display.format import format_seconds, one_line, pluralize, shorten
from mapred.display.pipelines import rows
from mapred.display.pipelines.rows import Row
from mapred.display.svg import OTHER, STATES
from mapred.model.pipelines import PipelineStatus

_LANE, _MOST = 20, 60
_WAITS = "#b87a14"


def pipeline_picture(status: PipelineStatus, now: float | None) -> str:
    """Return the bars of all steps that took time; nothing where there is one step, or very many."""
    timed = [row for row in rows.rows(status) if row.step.started and row.step.kind != "recorded"]
    ends = [row.step.finished or now or row.step.started for row in timed]
    span = max([status.finished or 0.0, *ends], default=0.0) - status.started
    if not 2 <= len(timed) <= _MOST or span <= 0:
        return ""
    labels = [f"{row.number} {shorten(row.step.name, 18)}" for row in timed]
    left = scales.margin(max(labels, key=len))
    floor = _LANE * len(timed) + 4

    def place(when: float) -> float:
        return left + min(max(0.0, when - status.started), span) / span * (100 - left)

    spots = {
        row.number: (place(row.step.started), place(end), number * _LANE + _LANE / 2 + 2)
        for number, (row, end) in enumerate(zip(timed, ends, strict=True))
    }
    parts = [scales.axis(span, left, 0, floor)]
    for row, label in zip(timed, labels, strict=True):
        parts.append(_bar(row, spots[row.number], label, left))
    parts += [line for row in timed for line in _needs(row, spots)]
    name = f"{pluralize(len(timed), 'step')} of a pipeline in {format_seconds(span)}"
    about = "; ".join(_describe(row) for row in timed)
    return scales.picture(name, about, floor + 20, "".join(parts))


def state_colour(state: str) -> str:
    """Return the colour of a state of a step or a pipeline."""
    done = {"answered": "succeeded", "recorded": "succeeded"}
    return _WAITS if state == "waiting" else STATES.get(done.get(state, state), OTHER)


def _bar(row: Row, spot: tuple[float, float, float], label: str, left: float) -> str:
    first, last, y = spot
    fill = state_colour(row.step.state)
    look = f'fill="{fill}"'
    if row.step.kind == "gate" or row.step.steps or row.step.finished is None:
        look += f' fill-opacity=".35" stroke="{fill}"'
    return (
        scales.label(left - 1, y + 4, label, "end")
        + scales.rule(left, y + _LANE / 2 - 0.5, 100, scales.FAINT)
        + f'<rect x="{first:.2f}%" y="{y - 6:.1f}" width="{max(last - first, 0.4):.2f}%" height="12"'
        f" {look}>{scales.title(_describe(row))}</rect>"
    )


def _needs(row: Row, spots: dict[str, tuple[float, float, float]]) -> list[str]:
    """Return the lines from the ends of the steps whose outputs a step reads to its own start."""
    begin, _, y = spots[row.number]
    lines = []
    for number in rows.needed(row):
        if number in spots:
            _, end, above = spots[number]
            way = 'stroke="currentColor" stroke-width="1.5" opacity=".55"'
            lines.append(
                f'<line x1="{end:.2f}%" x2="{end:.2f}%" y1="{above:.1f}" y2="{y:.1f}" {way}/>'
                f'<line x1="{end:.2f}%" x2="{begin:.2f}%" y1="{y:.1f}" y2="{y:.1f}" {way}/>'
                f'<circle cx="{end:.2f}%" cy="{above:.1f}" r="2.5" fill="currentColor"/>'
            )
    return lines


def _describe(row: Row) -> str:
    """Return a step in words: `3 report: succeeded, 40 s, outputs of 1`."""
    facts: Sequence[str] = (
        rows.state_text(row.step), rows.took_text(row.step), rows.about_text(row, 80)
    )  # fmt: skip
    return f"{row.number} {one_line(row.step.name, 60)}: {', '.join(filter(None, facts))}"
