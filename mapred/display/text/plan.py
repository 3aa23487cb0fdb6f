"""A plan as plain text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mapred.display.format import format_bytes, one_line, pluralize, shorten
from mapred.display.summary import Column, PlanSummary, bins
from mapred.display.text.bars import sparkline

# A plan shows so many columns.
COLUMNS = 40
_BYTES = re.compile(r"bytes=(\d{4,18})\b")


def plan_text(summary: PlanSummary, width: int = 60) -> str:
    """Return what would run, with the shard sizes as a line of `width` blocks in plan order.

    Of more shards than blocks, each block shows the largest that it stands for.
    """
    lines = [
        f"Plan of {one_line(summary.dataset)} ({one_line(summary.format)})",
        "  " + plan_size(summary),
    ]
    if summary.limit:
        lines.append(f"  limit    {limit_text(summary)}")
    if summary.largest and summary.shards > 1:
        lines.append("  shards   " + skew(summary))
        lines.append("           " + sparkline(bins(summary.shard_bytes, width).largest))
    if summary.columns:
        lines.append("  columns")
        lines += [f"    {line}" for line in column_lines(summary.columns)]
    if summary.largest_files:
        lines.append("  largest files")
        for path, size in summary.largest_files:
            lines.append(f"    {format_bytes(size):>8}  {shorten(path, 100)}")
    if summary.unsplittable:
        lines.append("  cannot be split")
        for count, size, reason in summary.unsplittable:
            lines.append(
                f"    {pluralize(count, 'file')}, {format_bytes(size)}: {one_line(reason)}"
            )
    return "\n".join(line.rstrip() for line in lines)


def column_lines(columns: Sequence[Column]) -> list[str]:
    """`price  float64`, a line a column, with notes; of very many columns the first."""
    names = [shorten(one_line(column.name), 40) for column in columns[:COLUMNS]]
    wide = max(map(len, names), default=0)
    lines = [
        f"{name:<{wide}}  {shorten(column.type, 60)}"
        + (f"  ({column.note})" if column.note else "")
        for name, column in zip(names, columns, strict=False)
    ]
    more = len(columns) - COLUMNS
    return lines if more <= 0 else [*lines, f"and {pluralize(more, 'more column')}"]


def plan_size(summary: PlanSummary) -> str:
    """`1,234 files, 694 MB in 43 shards, 43 tasks`."""
    parts = []
    if summary.files:
        parts.append(pluralize(summary.files, "file"))
    if summary.items:
        parts.append(pluralize(summary.items, "item"))
    if summary.bytes or not parts:
        parts.append(format_bytes(summary.bytes))
    return f"{', '.join(parts)} in {pluralize(summary.shards, 'shard')}, " + pluralize(
        summary.tasks, "task"
    )


def limit_text(summary: PlanSummary) -> str:
    """Return what chose the number of shards; a long count of bytes in a unit as well."""
    return _BYTES.sub(
        lambda match: f"{match[0]} ({format_bytes(int(match[1]))})", one_line(summary.limit)
    ).replace(") (default)", ", default)")


def _items(number: float) -> str:
    return pluralize(int(number), "item")


def skew(summary: PlanSummary) -> str:
    """Return the smallest, median and largest shard, and how far the largest stands out."""
    size = format_bytes if summary.unit == "byte" else _items
    if summary.smallest == summary.largest:
        return f"{size(summary.largest)} each"
    text = (
        f"smallest {size(summary.smallest)}, median {size(summary.median)}, "
        f"largest {size(summary.largest)}"
    )
    ratio = summary.largest / summary.median if summary.median else 0
    return f"{text} ({ratio:,.1f} × the median)" if ratio >= 1.1 else text
