"""Rows with named cells as a table: text of a given width, or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mapred.display.format import escape_html, fold, one_line
from mapred.display.markup import lines_and_table

_NARROWEST = 8  # to which a column shrinks


def table_text(
    rows: Sequence[Mapping[str, Any]], width: int | None, shrink: Sequence[str] = ()
) -> str:
    """Rows with aligned columns, numbers to the right.

    Where they need more than `width` characters, the widest of the columns in `shrink` gives way;
    where that is not enough, the last columns are left out, and named below.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    widest = dict.fromkeys(shrink, width or 0)
    cells = {
        name: [one_line(name, 40), *(cell_text(row.get(name), widest.get(name, 0)) for row in rows)]
        for name in names
    }
    sizes = _fit({name: max(map(len, column)) for name, column in cells.items()}, width, shrink)
    numbers = {name for name in names if all(_is_number(row.get(name)) for row in rows)}
    lines = []
    for number in range(len(rows) + 1):
        parts = []
        for name, size in sizes.items():
            text = cells[name][number]
            text = text if len(text) <= size else _cut(text, size)
            parts.append(text.rjust(size) if name in numbers else text.ljust(size))
        lines.append("  ".join(parts).rstrip())
    if len(sizes) < len(names):
        lines.append(fold(f"not shown: {', '.join(names[len(sizes) :])}", width))
    return "\n".join(lines)


def _fit(sizes: dict[str, int], width: int | None, shrink: Sequence[str]) -> dict[str, int]:
    """Return the widths of the columns that are shown."""
    for shown in range(len(sizes), 0, -1) if width is not None else ():
        fitted = dict(list(sizes.items())[:shown])
        over = sum(fitted.values()) + 2 * (shown - 1) - (width or 0)
        while over > 0 and (wide := [name for name in shrink if fitted.get(name, 0) > _NARROWEST]):
            fitted[max(wide, key=lambda name: fitted[name])] -= 1
            over -= 1
        if over <= 0 or shown == 1:
            return fitted
    return sizes


def _cut(text: str, size: int) -> str:
    """Cut a text that is too wide at its end; a path in the middle, since its end says most."""
    head = size // 3 if "/" in text else size - 1
    return f"{text[:head]}…{text[len(text) - (size - 1 - head) :]}"


def cell_text(value: Any, widest: int = 0) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return one_line("" if value is None else str(value), max(widest, 60))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def table_html(rows: Sequence[Mapping[str, Any]], below: Sequence[str] = ()) -> str:
    """Rows as HTML that stands alone in an output cell, with lines of text below."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[escape_html(cell_text(row.get(name))) for name in names] for row in rows]
    head = [f"<b>{escape_html(one_line(name, 40))}</b>" for name in names]
    return lines_and_table([head, *cells] if rows else [], [escape_html(text) for text in below])
