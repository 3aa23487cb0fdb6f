"""Check the plan for gaps, and compare it with what the commits say was read."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mapred.arrow.buffers import from_arrow, scalar
from mapred.client.audit.commits import commits
from mapred.client.audit.problems import Problem
from mapred.errors import DatasetError
from mapred.formats import parquet
from mapred.formats.base import Range
from mapred.formats.compression import compression_of
from mapred.model.records import Commit, GivenUp
from mapred.model.spec import Format, Job
from mapred.runfolder.folder import RunFolder
from mapred.storage import looking, open_source

_LINES = ("text", "csv", "json")


def coverage(plan: pa.Table, job: Job) -> Iterator[Problem]:
    """Yield gaps and overlaps of the plan itself: bytes of each file, items of the dataset."""
    if not plan.num_rows:
        return
    if job.format.once_per_item:
        first, count = from_arrow(plan["first"]), from_arrow(plan["count"])
        expected = np.concatenate([[0], np.cumsum(count)[:-1]])
        for row in np.flatnonzero(first != expected)[:20]:
            text = f"starts at item {first[row]}, not at {expected[row]}"
            yield Problem("gap or overlap", f"shard {plan['shard'][int(row)]}", text)
        if int(count.sum()) != job.items:
            yield Problem("gap or overlap", "plan", f"{count.sum()} items of {job.items}")
        return
    path = plan["path"].combine_chunks()
    offset, length = from_arrow(plan["offset"]), from_arrow(plan["length"])
    size = from_arrow(plan["size"])
    same = np.zeros(len(offset), bool)
    if len(offset) > 1:
        same[1:] = from_arrow(pc.equal(path[1:], path[:-1]))
    expected = np.where(same, np.concatenate([[0], (offset + length)[:-1]]), 0)
    last = np.concatenate([~same[1:], [True]])
    for row in np.flatnonzero((offset != expected) | (last & (offset + length != size)))[:20]:
        text = (
            f"bytes {offset[row]} to {offset[row] + length[row]} of {size[row]}, "
            f"expected from {expected[row]}"
        )
        yield Problem("gap or overlap", str(path[int(row)]), text)


def planned_size(plan: pa.Table, path: str) -> int | None:
    """Return the size of an input file by its ranges; None where it has none."""
    rows = plan.filter(pc.equal(plan["path"], scalar(path)))
    stops = from_arrow(rows["offset"]) + from_arrow(rows["length"])
    return int(stops.max()) if len(stops) else None


def unread_bytes(plan: pa.Table, shards: Collection[int]) -> int:
    """Return the planned bytes of shards that nobody read."""
    lengths = from_arrow(plan["length"]) if plan.num_rows else np.zeros(0, np.int64)
    return int(lengths[np.isin(from_arrow(plan["shard"]), list(shards))].sum())


def reading(
    plan: pa.Table, commit: Commit, index: int, job: Job, given_up: GivenUp
) -> Iterator[Problem]:
    """Yield a reader that stopped before the end of its ranges, or took the wrong number of items."""
    rows = _rows(plan, index)
    where = f"map task {index}"
    if commit.ranges < rows.num_rows:
        cut = rows.slice(commit.ranges, 1).to_pylist()[0]
        stop = cut["offset"] + cut["length"]
        text = (
            f"{commit.ranges} of {rows.num_rows} ranges were read to their end; it stopped in "
            f"{cut['path'] or 'the items'} bytes {cut['offset']}–{stop}"
        )
        yield Problem("cut off", where, text)
    elif commit.bytes != (planned := _planned_bytes(rows, commit)):
        text = f"its commit says that {commit.bytes} bytes were read, and its ranges have {planned}"
        yield Problem("changed", where, text)
    elif _too_many(commit, rows, job):
        text = f"{commit.records} records were read from {commit.bytes} bytes"
        yield Problem("changed", where, text)
    if job.format.once_per_item:
        items = sum(rows["count"].to_pylist())
        # An item that was given up may be one that cannot be read.
        if not given_up.kept.get(index, items) <= commit.records <= items:
            yield Problem("cut off", where, f"read {commit.records} of {items} items")


def _too_many(commit: Commit, rows: pa.Table, job: Job) -> bool:
    """Whether a commit counts more lines than bytes, the most that is known without the data."""
    if job.format.name not in _LINES or 0 <= commit.records + commit.skipped <= commit.bytes:
        return False
    paths = rows["path"].unique().to_pylist()
    return all(compression_of(job.format, path) is None for path in paths)


def _planned_bytes(rows: pa.Table, commit: Commit) -> int:
    """Return the bytes of all ranges of a task: those really read, where spans name them."""
    lengths = dict(enumerate(rows["length"].to_pylist()))
    lengths |= {span.range: span.stop - span.start for span in commit.spans}
    return sum(lengths.values())


def _rows(plan: pa.Table, shard: int) -> pa.Table:
    shards = from_arrow(plan["shard"])
    start, stop = np.searchsorted(shards, [shard, shard + 1])
    return plan.slice(start, stop - start)


def seams(folder: RunFolder, plan: pa.Table, job: Job) -> Iterator[Problem]:
    """Where a file of lines was cut, one reader must stop at the byte where the next starts.

    A range in which no line begins has an empty span: those before and after it must meet.
    """
    if job.format.name not in _LINES or not plan.num_rows:
        return
    spans = _spans(folder, plan, job)
    for path, ranges in itertools.groupby(spans, key=lambda span: str(span[1]["path"])):
        # Up to `stop` the file was read, last by `reader`; where a range was not read to its end,
        # nothing can be said of the seam behind it.
        stop, reader, size, whole = 0, -1, 0, True
        for shard, row, span in ranges:
            size = row["size"]
            reader = shard if reader < 0 else reader
            if span is None:
                whole = False
            elif span[0] < span[1]:
                if whole and span[0] != stop:
                    kind = "gap" if span[0] > stop else "overlap"
                    text = f"task {reader} stopped at byte {stop}, task {shard} began at {span[0]}"
                    yield Problem(kind, path, text)
                stop, reader, whole = span[1], shard, True
        if whole and stop != size:
            text = f"task {reader} stopped at byte {stop} of {size}, the last"
            yield Problem("gap", path, text)


def _spans(
    folder: RunFolder, plan: pa.Table, job: Job
) -> Iterator[tuple[int, dict[str, Any], tuple[int, int] | None]]:
    """Yield shard, planned range and the bytes really read (None: unknown) of every range."""
    for shard, commit in enumerate(commits(folder, "map", range(job.shards))):
        listed = {span.range: (span.start, span.stop) for span in commit.spans} if commit else {}
        rows = _rows(plan, shard).select(["path", "offset", "length", "size"]).to_pylist()
        for number, row in enumerate(rows):
            planned = row["offset"], row["offset"] + row["length"]
            read = commit is not None and number < commit.ranges
            yield shard, row, listed.get(number, planned) if read else None


def row_groups(
    folder: RunFolder, plan: pa.Table, job: Job, given_up: GivenUp, *, contact: bool
) -> Iterator[Problem]:
    """Check that each Parquet row group belongs to one range, whose reader took its rows.

    Without `contact`, files that only the run's record leads to are not opened.
    """
    if job.format.name != "parquet":
        return
    rows = plan.select(["shard", "path", "offset", "length", "size"]).to_pylist()
    planned = _RowGroups()
    for path, group in itertools.groupby(rows, key=lambda row: str(row["path"])):
        ranges = list(group)
        if not all(row["shard"] in given_up.tasks for row in ranges):
            why = None if contact else looking.refusal(path, job.format.storage)
            yield from _count_row_groups(path, ranges, job.format, planned, why)
    numbers = sorted(planned.groups.keys() - given_up.tasks - planned.unread)
    for shard, commit in zip(numbers, commits(folder, "map", numbers), strict=True):
        if commit is None:
            continue
        where = f"map task {shard}"
        if commit.units != planned.groups[shard]:
            text = f"read {commit.units} of {planned.groups[shard]} row groups"
            yield Problem("cut off", where, text)
        elif job.format.filter is None and commit.records != planned.records[shard]:
            text = f"read {commit.records} of {planned.records[shard]} rows"
            yield Problem("cut off", where, text)


@dataclass
class _RowGroups:
    """What the ranges of each shard hold by the footers of their files.

    `unread` are the shards with a file whose footer was not read.
    """

    groups: Counter[int] = field(default_factory=Counter)
    records: Counter[int] = field(default_factory=Counter)
    unread: set[int] = field(default_factory=set)


def _count_row_groups(
    path: str, ranges: list[dict[str, Any]], format: Format, planned: _RowGroups, why: str | None
) -> Iterator[Problem]:
    """Count what the ranges of a file hold; `why` says why not to read its footer, if so."""
    if why is not None:
        text = f"its footer was not read: {why}; if you trust it: audit(contact=True)"
        yield Problem("not read", path, text)
        planned.unread.update(row["shard"] for row in ranges)
        return
    try:
        with open_source(path, storage=format.storage) as file:
            footer = pq.read_metadata(file)
    except (DatasetError, OSError, pa.ArrowException) as error:
        yield Problem("changed", path, f"its footer cannot be read any more: {error}")
        return
    seen: list[int] = []
    for row in ranges:
        part = Range(0, path, row["offset"], row["length"], row["size"], "", 0, 0)
        mine = parquet.row_groups(footer, part)
        seen += mine
        planned.groups[row["shard"]] += len(mine)
        planned.records[row["shard"]] += sum(footer.row_group(group).num_rows for group in mine)
    if seen != list(range(footer.num_row_groups)):
        text = f"row groups {seen} of {footer.num_row_groups} belong to its ranges"
        yield Problem("gap or overlap", path, text)
