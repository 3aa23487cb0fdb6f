"""What to ask for next time, as a value that shows itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mapred.display.format import escape_html, one_line
from mapred.display.markup import lines_and_table, page


@dataclass(frozen=True)
class Recommendation:
    """One thing to ask for differently: what was asked for, what was used, what to ask for, and why."""

    what: str
    asked: str
    used: str
    ask: str
    reason: str


@dataclass(frozen=True, repr=False)
class Advice:
    """What a run asked for against what it used, and what to ask for next time.

    Attributes:
        run: The id of the run.
        recommendations: A tuple of what to change, each with what was asked for, what was used,
            what to ask for, and why.
        options: The options to change, as `mapred.run(…, **advice.options)` takes them.
        python: The same as a line to paste, empty where there is nothing to change.
        shell: The same for `mapred run`.
        notes: What fits, and what is not known.

    Examples:
        >>> run = mapred.run(abs, [-1, -2], resources=mapred.Resources(memory="8Gi"))
        >>> [(each.what, each.asked) for each in run.advise().recommendations]
        [('memory of a map task', '8Gi')]
    """

    run: str
    recommendations: tuple[Recommendation, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    python: str = ""
    shell: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        if not self.recommendations:
            yield f"Advice for run {one_line(self.run)}: nothing to change"
        else:
            yield f"Advice for run {one_line(self.run)}:"
        for each in self.recommendations:
            yield f"  {each.what}: asked for {each.asked}, used {each.used}; ask for {each.ask}"
            yield f"    {each.reason}"
        yield from (f"  {note}" for note in self.notes)
        if self.python:
            yield f"In Python: mapred.run(…, {self.python})"
        if self.shell:
            yield f"In a shell: mapred run … {self.shell}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head = f"<div><b>Advice for run {escape_html(one_line(self.run))}</b></div>"
        return {"text/plain": str(self), "text/html": page([head, advice_html(self)])}


def advice_html(advice: Advice) -> str:
    """Return the advice as a table, notes, and lines to paste."""
    parts = []
    if advice.recommendations:
        head = [f"<b>{name}</b>" for name in ("", "asked for", "used", "ask for", "why")]
        rows = [
            [escape_html(text) for text in (each.what, each.asked, each.used)]
            + [
                f'<b style="white-space:nowrap">{escape_html(each.ask)}</b>',
                escape_html(each.reason),
            ]
            for each in advice.recommendations
        ]
        lines = [f"mapred.run(…, {advice.python})"] * bool(advice.python)
        lines += [f"mapred run … {advice.shell}"] * bool(advice.shell)
        parts.append(lines_and_table([head, *rows], [escape_html(line) for line in lines]))
    else:
        parts.append("<div>Nothing to change.</div>")
    return "".join([*parts, _notes(advice.notes)])


def _notes(notes: Sequence[str]) -> str:
    return "".join(f'<div style="opacity:.8">{escape_html(note)}</div>' for note in notes)
