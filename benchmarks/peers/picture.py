"""A picture of RESULTS-PEERS.md for the documentation: `python -m benchmarks.peers.picture`."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/RESULTS-PEERS.md"
PICTURE = ROOT / "docs/pictures/peers.svg"

# The workloads that are shown, and what a reader calls them.
SHOWN = {
    "Word count by a Python function": "Count the words of 750 MB, in Python",
    "TPC-H Q1": "Aggregate 2.5 GB of Parquet (TPC-H Q1)",
    "TPC-H: sum of l_quantity by l_partkey": "Sum by 2,000,000 keys",
    "TeraSort": "Sort 1 GB",
    "A parameter sweep": "A sweep of 2,000 points of 10 ms",
    "Many small files": "Read 100,000 files of 10 KB",
}
LONGEST = 5  # times as long as mapred; a longer bar is cut, and its figure tells
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 13px } .figure { fill: #59636e } .card { fill: #fff; stroke: #d0d7de }
.other { fill: #b4bfcd } .mapred { fill: #3b6fd4 } .one { stroke: #3b6fd4; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .figure { fill: #9aa5b1 } .card { fill: #14171d; stroke: #3a414b }
  .other { fill: #5c6878 } .mapred { fill: #5b8df0 } .one { stroke: #5b8df0 }
}"""
_WIDTH, _COLUMN, _ROW, _LABEL, _FIGURE = 880, 430, 19, 92, 78


class Result(NamedTuple):
    """One contender: its seconds, and how often mapred's time that is."""

    name: str
    seconds: float
    ratio: float


def read_results(text: str) -> dict[str, list[Result]]:
    """Return the contenders with a figure, by workload, the fastest first."""
    found = {}
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        title, _, table = section.partition("\n")
        rows = re.findall(r"^\| ([\w ]+) \| ([\d.]+) s \([^|]*\| ([\d.]+) \|", table, re.M)
        found[title] = sorted(
            (Result(name, float(seconds), float(ratio)) for name, seconds, ratio in rows),
            key=lambda result: result.seconds,
        )
    return found


def draw(results: dict[str, list[Result]]) -> str:
    """Return the picture: a chart for each workload that is shown, in two columns."""
    parts: list[str] = []
    floors = [14, 14]
    for number, (workload, title) in enumerate(SHOWN.items()):
        column = number % 2
        chart, height = _chart(title, results[workload])
        parts.append(
            f'<g transform="translate({18 + column * _COLUMN} {floors[column]})">{chart}</g>'
        )
        floors[column] += height + 16
    height = max(floors)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        'role="img"><title>How long mapred and other tools take</title>'
        f"<style>{_STYLE}\n</style>"
        f'<rect class="card" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _chart(title: str, results: list[Result]) -> tuple[str, int]:
    room = _COLUMN - _LABEL - _FIGURE - 18
    lines = [f'<text class="title" y="12">{html.escape(title)}</text>']
    for place, result in enumerate(results):
        y = 22 + place * _ROW
        length = min(result.ratio, LONGEST) / LONGEST * room
        kind = "mapred" if result.name == "mapred" else "other"
        figure = _LABEL + max(length, room / LONGEST) + 6
        lines.append(
            f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{html.escape(result.name)}</text>'
            f'<rect class="{kind}" x="{_LABEL}" y="{y + 1}" width="{length:.1f}" height="14" rx="2"/>'
            f'<text class="figure" x="{figure:.1f}" y="{y + 12}">'
            f"{_seconds(result.seconds)} s{' …' * (result.ratio > LONGEST)}</text>"
        )
    height = 22 + len(results) * _ROW
    one = _LABEL + room / LONGEST
    lines.append(f'<path class="one" d="M{one:.1f} 20V{height}"/>')
    return "\n".join(lines), height


def _seconds(seconds: float) -> str:
    return f"{seconds:.{2 if seconds < 10 else 1 if seconds < 100 else 0}f}"


if __name__ == "__main__":
    PICTURE.write_text(draw(read_results(RESULTS.read_text())))
