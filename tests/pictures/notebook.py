"""Cells that a kernel runs, and what a notebook shows of them as SVG."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from xml.sax.saxutils import escape

import nbformat
from nbclient import NotebookClient
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from pictures.home import Home

SECONDS = 180
WIDTH = 880
_STYLE = """
.page {{ font: 13px/1.5 system-ui, sans-serif; color: #1f2328 }}
.card {{ fill: #fff; stroke: #d0d7de }}
.code {{ font: 13px/1.5 {fonts}; white-space: pre; background: #f6f8fa; border-radius: 6px;
  padding: 8px 12px; margin: 0 0 10px }}
.code pre {{ margin: 0; font: inherit }}
.text {{ font: 12.5px/1.45 {fonts}; white-space: pre-wrap; margin: 0 0 6px }}
.dataframe {{ border-collapse: collapse; font-size: 12.5px; border: 0 }}
.dataframe th, .dataframe td {{ text-align: right; padding: 3px 10px; border: 0 }}
.dataframe thead {{ border-bottom: 1px solid #8888 }}
{light}
@media (prefers-color-scheme: dark) {{
.page {{ color: #e6edf3 }}
.card {{ fill: #16191f; stroke: #3d444d }}
.code {{ background: #21262d }}
{dark}
}}
"""
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_MEASURE = """node => {
  const box = node.getBoundingClientRect();
  return [Math.ceil(box.height), new XMLSerializer().serializeToString(node)];
}"""


@dataclass
class Cell:
    """What a cell showed: each display as it was at first, and each of its updates."""

    source: str
    outputs: list[Any] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)


class _Watched(NotebookClient):  # type: ignore[misc]
    """A client that keeps what a display showed before it was updated."""

    def process_message(self, msg: Mapping[str, Any], cell: Any, cell_index: int) -> Any:
        if msg["msg_type"] in ("display_data", "update_display_data"):
            page = msg["content"]["data"].get("text/html")
            cell.metadata.setdefault("pages", []).append(page)
        return super().process_message(msg, cell, cell_index)


def executed(home: Home, notebook: Any, **variables: str) -> Any:
    """The notebook, run in the work folder of a home; without times of the machine."""
    with mock.patch.dict(os.environ, {**home.environment, **variables}, clear=True):
        where = {"metadata": {"path": str(home.work)}}
        client = _Watched(
            notebook,
            timeout=SECONDS,
            record_timing=False,
            allow_errors=True,
            resources=where,
        )
        client.execute()
    return notebook


def run(home: Home, sources: Sequence[str]) -> list[Cell]:
    """Run cells one after the other in a new kernel."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = executed(home, nbformat.v4.new_notebook(cells=cells, metadata=kernel))
    return [
        Cell(cell.source, cell.outputs, [page for page in cell.metadata.get("pages", []) if page])
        for cell in notebook.cells
    ]


def stored(file: Path, code: str) -> Cell:
    """The first cell of a notebook's file that holds this code, with its stored outputs."""
    cells = nbformat.read(file, as_version=4).cells
    cell = next(cell for cell in cells if cell.cell_type == "code" and code in cell.source)
    return Cell(cell.source, cell.outputs)


def midway(cell: Cell, part: float = 0.6) -> str:
    """What the display showed when this part of its updates had come."""
    running = [page for page in cell.pages if "running" in page]
    return running[int(len(running) * part)]


def shown_outputs(cell: Cell) -> str:
    """The outputs of a cell as HTML: of an error what mapred shows, not the traceback below."""
    shown = [output for output in cell.outputs if output.output_type != "error"]
    return "".join(map(_html_of, shown))


def _html_of(output: Any) -> str:
    if output.output_type == "stream":
        return f'<div class="text">{html.escape(output.text.rstrip())}</div>'
    data = output.data
    if "text/html" in data:
        return re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.S)
    return f'<div class="text">{html.escape(data["text/plain"])}</div>'


def svg(browser: Any, home: Home, source: str, content: str, title: str) -> str:
    """A cell with its code and what it shows; the browser says how high that is."""
    code = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip("\n")
    inside = f'<div class="code">{code}</div>{home.shown(content)}'
    style = _STYLE.format(
        fonts=_FONTS,
        light=_colours("default", ".code"),
        dark=_colours("github-dark", ".code"),
    )
    page = browser.new_page(viewport={"width": WIDTH, "height": 600})
    try:
        frame = f'<div class="page" style="width:{WIDTH - 40}px;display:flow-root">{inside}</div>'
        head = f"<!doctype html><meta charset=utf-8><style>{style}</style>"
        page.set_content(f"{head}<body style='margin:0'>{frame}</body>")
        height, made = page.locator(".page").evaluate(_MEASURE)
    finally:
        page.close()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height + 36}" '
        f'width="{WIDTH}" role="img">\n<title>{escape(title)}</title>\n<style>{style}</style>\n'
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height + 35}" rx="8"/>\n'
        f'<foreignObject x="20" y="18" width="{WIDTH - 40}" height="{height + 10}">{made}'
        "</foreignObject>\n</svg>\n"
    )


def _colours(style: str, selector: str) -> str:
    lines: Iterator[str] = iter(HtmlFormatter(style=style).get_style_defs(selector).splitlines())
    # Not the background, nor what is not in a line of code.
    return "\n".join(
        re.sub(r"\s*/\*.*?\*/", "", line) for line in lines if re.match(r"\.code \.\w", line)
    )
