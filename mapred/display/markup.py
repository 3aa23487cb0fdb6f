"""Parts of HTML for a notebook: inline styles alone, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mapred.display.format import escape_html, shorten

MUTED = "opacity:.75"
INDENT = "margin-left:14px"
LEFT = "text-align:left;padding:1px 14px 1px 0;background:none;border:0"
RIGHT = "text-align:right;padding:1px 14px 1px 0;background:none;border:0;white-space:nowrap"
PRE = (
    "margin:4px 0 4px 14px;padding:6px 8px;font-size:12px;white-space:pre-wrap;"
    "overflow-wrap:anywhere;color:inherit;background:rgba(127,127,127,.12)"
)


def row(number: str, content: str) -> str:
    return cells((RIGHT, escape_html(number)), (LEFT, content))


def cells(*cells: tuple[str, str]) -> str:
    inside = "".join(f'<td style="{style}">{content}</td>' for style, content in cells)
    return f'<tr style="background:none">{inside}</tr>'


def table(rows: Iterable[str], more: str = "") -> str:
    style = f"border:0;border-collapse:collapse;margin:4px 0 4px 0;font-size:inherit;{more}"
    return f'<table style="{style}"><tbody>{"".join(rows)}</tbody></table>'


def details(head: str, inside: str, opened: bool = False) -> str:
    return (
        f'<details style="margin:3px 0"{" open" if opened else ""}>'
        f'<summary style="cursor:pointer">{head}</summary>{inside}</details>'
    )


def pre(text: str) -> str:
    return f'<pre style="{PRE}">{escape_html(text)}</pre>'


def line(content: str, style: str = "") -> str:
    return f'<div style="{style}">{content}</div>' if style else f"<div>{content}</div>"


def code(text: str, width: int) -> str:
    return f'<code style="background:none;color:inherit;padding:0">{escape_html(shorten(text, width))}</code>'


def lines_and_table(rows: Sequence[Sequence[str]], lines: Sequence[str]) -> str:
    """Rows of cells that are HTML, and lines below them that are to be copied."""
    made = table(cells(*((LEFT, cell) for cell in row)) for row in rows)
    copied = [f'<pre style="{PRE}">{text}</pre>' for text in lines]
    return page([f'<div style="overflow-x:auto">{made}</div>', *copied])


def page(parts: Iterable[str]) -> str:
    """HTML in the style of this package, fit to stand alone in an output cell."""
    style = "font-family:sans-serif;font-size:13px;line-height:1.5;max-width:1200px"
    return f'<div class="mapred" style="{style}">{"".join(parts)}</div>'
