"""Parts of a page: tables, boxes of code and sections, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mapred.display.format import escape_html


def section(anchor: str, head: str, *parts: str) -> str:
    """Return a section with its heading; nothing where all of its parts are empty."""
    inside = "".join(parts)
    return (
        f'<section id="{anchor}"><h2>{escape_html(head)}</h2>{inside}</section>' if inside else ""
    )


def paragraph(text: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f"<p{style}>{escape_html(text)}</p>" if text else ""


def code(text: str) -> str:
    return f"<pre><code>{escape_html(text)}</code></pre>"


def facts_table(facts: Iterable[tuple[str, str]]) -> str:
    """Return named facts, one a row."""
    rows = "".join(
        f'<tr><th scope="row">{escape_html(name)}</th><td>{escape_html(text)}</td></tr>'
        for name, text in facts
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>' if rows else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table; the columns of `numbers` stand to the right."""
    made = "".join(
        "<tr>"
        + "".join(
            f"<td{_right(place in numbers)}>{escape_html(cell)}</td>"
            for place, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    if not made:
        return ""
    top = "".join(
        f'<th scope="col"{_right(place in numbers)}>{escape_html(name)}</th>'
        for place, name in enumerate(head)
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{made}</tbody></table></div>'
    )


def _right(number: bool) -> str:
    return ' class="number"' if number else ""
