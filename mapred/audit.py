"""Proof that a run is whole: every byte, item and record of the plan against the commits."""

from __future__ import annotations

import functools
import hashlib
import itertools
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mapred import layout, records
from mapred.errors import DatasetError, StorageError
from mapred.formats import parquet
from mapred.formats.reading import Range
from mapred.model import Commit, Job, Stage
from mapred.storage import Store, each, open_source

_PIECE = 2**20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what `kind`, where, and in words."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}"


@dataclass(frozen=True)
class Audit:
    """What was checked, and the problems: none means that the run is whole."""

    run: str
    shards: int
    ranges: int
    bytes: int
    items: int
    records: int
    commits: int
    outputs: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        head = (
            f"{self.run}: {self.commits:,} commits, {self.shards:,} shards, {self.ranges:,} ranges, "
            f"{self.bytes:,} bytes, {self.records:,} records, {self.outputs:,} outputs checked: "
        )
        if self.ok:
            return head + "whole"
        lines = [str(problem) for problem in self.problems[:50]]
        more = len(self.problems) - len(lines)
        return "\n".join([head + f"{len(self.problems):,} problems", *lines]) + (
            f"\n… and {more:,} more" if more else ""
        )

    __repr__ = __str__


def audit(store: Store, job: Job) -> Audit:
    """Check a run's folder; reads every plan file, commit and output once."""
    problems = [*_digests(store, job)]
    plan = _plan(store, job)
    problems += _coverage(plan, job)
    given_up = records.read_given_up(store)
    counts = {"records": 0, "commits": 0, "outputs": 0}
    for stage in job.stages:
        attempts: dict[str, int] = {}
        skipped = given_up if stage.kind == "map" else {}
        tasks = [i for i in range(stage.tasks) if skipped.get(i, ()) is not None]
        found = each(store, functools.partial(_checked, store, stage), tasks)
        for index, (commit, bad_outputs) in zip(tasks, found, strict=True):
            where = f"{stage.name} task {index}"
            if commit is None:
                text = f"no commit; it reads {records.where_of(store, stage, index)}"
                problems.append(Problem("missing", where, text))
                continue
            counts["commits"] += 1
            counts["records"] += commit.records if stage.kind == "map" else 0
            problems += _identity(commit, stage, index, attempts)
            problems += bad_outputs
            counts["outputs"] += (commit.output.path is not None) + len(commit.files)
            if stage.kind == "map":
                problems += _reading(plan, commit, index, job)
    problems += _seams(store, plan, job)
    problems += _row_groups(store, plan, job)
    return Audit(
        run=job.run_id,
        shards=job.shards,
        ranges=plan.num_rows,
        bytes=job.bytes,
        items=job.items,
        records=counts["records"],
        commits=counts["commits"],
        outputs=counts["outputs"],
        problems=tuple(problems),
    )


def _checked(store: Store, stage: Stage, index: int) -> tuple[Commit | None, list[Problem]]:
    """A task's commit, and what is wrong with its outputs."""
    commit = records.read_commit(store, stage.name, index)
    if commit is None:
        return None, []
    return commit, list(_outputs(store, commit, f"{stage.name} task {index}"))


def _digests(store: Store, job: Job) -> Iterator[Problem]:
    for path, digest in sorted(job.digests.items()):
        try:
            found = hashlib.sha256(store.read(path)).hexdigest()
        except FileNotFoundError:
            yield Problem("missing", path, "a file that the job names is gone")
            continue
        if found != digest:
            yield Problem("changed", path, f"SHA-256 is {found}, the job names {digest}")


def _plan(store: Store, job: Job) -> pa.Table:
    numbers = range(-(-job.shards // layout.PLAN_SHARDS))
    tables = list(each(store, lambda number: records.plan_of(store, number), numbers))
    return pa.concat_tables(tables) if tables else pa.table({"shard": pa.array([], pa.int64())})


def _coverage(plan: pa.Table, job: Job) -> Iterator[Problem]:
    """Gaps and overlaps of the plan itself: bytes of each file, items of the dataset."""
    if not plan.num_rows:
        return
    if job.format.once_per_item:
        first, count = plan["first"].to_numpy(), plan["count"].to_numpy()
        expected = np.concatenate([[0], np.cumsum(count)[:-1]])
        for row in np.flatnonzero(first != expected)[:20]:
            text = f"starts at item {first[row]}, not at {expected[row]}"
            yield Problem("gap or overlap", f"shard {plan['shard'][int(row)]}", text)
        if int(count.sum()) != job.items:
            yield Problem("gap or overlap", "plan", f"{count.sum()} items of {job.items}")
        return
    path = plan["path"].combine_chunks()
    offset, length = plan["offset"].to_numpy(), plan["length"].to_numpy()
    size = plan["size"].to_numpy()
    same = np.zeros(len(offset), bool)
    if len(offset) > 1:
        same[1:] = np.asarray(pa.compute.equal(path[1:], path[:-1]).to_numpy(zero_copy_only=False))
    expected = np.where(same, np.concatenate([[0], (offset + length)[:-1]]), 0)
    last = np.concatenate([~same[1:], [True]])
    for row in np.flatnonzero((offset != expected) | (last & (offset + length != size)))[:20]:
        text = (
            f"bytes {offset[row]} to {offset[row] + length[row]} of {size[row]}, "
            f"expected from {expected[row]}"
        )
        yield Problem("gap or overlap", str(path[int(row)]), text)


def _identity(
    commit: Commit, stage: Stage, index: int, attempts: dict[str, int]
) -> Iterator[Problem]:
    where = f"{stage.name} task {index}"
    if (commit.stage, commit.task) != (stage.name, index):
        text = f"the commit is that of {commit.stage} task {commit.task}"
        yield Problem("doubled", where, text)
    elif commit.attempt in attempts:
        text = f"attempt {commit.attempt} is also the one of task {attempts[commit.attempt]}"
        yield Problem("doubled", where, text)
    attempts.setdefault(commit.attempt, index)


def _outputs(store: Store, commit: Commit, where: str) -> Iterator[Problem]:
    stored = [(file.path, file.size, file.crc32) for file in commit.files]
    if commit.output.path is not None:
        stored.append((commit.output.path, commit.output.size, commit.output.crc32))
    for path, size, crc32 in stored:
        try:
            found = _measured(store, path, size)
        except (FileNotFoundError, StorageError):
            yield Problem("missing", where, f"its output {path} is gone")
            continue
        if found != (size, crc32):
            yield Problem("changed", where, f"its output {path} is not what was committed")


def _measured(store: Store, path: str, size: int) -> tuple[int, int]:
    """Bytes and CRC-32 of a file that should have `size` bytes; a large one comes in pieces."""
    if size <= _PIECE:
        data = store.read(path)
        return len(data), zlib.crc32(data)
    count = crc32 = 0
    with store.open(path) as file:
        while piece := file.read(_PIECE):
            count, crc32 = count + len(piece), zlib.crc32(piece, crc32)
    return count, crc32


def _reading(plan: pa.Table, commit: Commit, index: int, job: Job) -> Iterator[Problem]:
    """A reader that stopped before the end of its ranges, or took the wrong number of items."""
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
    if job.format.once_per_item:
        items = sum(rows["count"].to_pylist())
        if commit.records != items:
            yield Problem("cut off", where, f"read {commit.records} of {items} items")


def _rows(plan: pa.Table, shard: int) -> pa.Table:
    shards = plan["shard"].to_numpy()
    start, stop = np.searchsorted(shards, [shard, shard + 1])
    return plan.slice(start, stop - start)


def _seams(store: Store, plan: pa.Table, job: Job) -> Iterator[Problem]:
    """Where a file of lines was cut, one reader must stop at the byte where the next starts.

    A range in which no line begins has an empty span: those before and after it must meet.
    """
    if job.format.name not in ("text", "csv", "json") or not plan.num_rows:
        return
    path, stop, by, size = "", 0, -1, 0
    known = True  # whether every range of this file so far was read to its end
    for shard, row, span in _spans(store, plan, job):
        if row["path"] != path:
            if known and stop != size:
                yield Problem("gap", path, f"task {by} stopped at byte {stop} of {size}, the last")
            path, stop, by, size, known = row["path"], 0, shard, row["size"], True
        if span is None:
            known = False
        elif span[0] < span[1]:
            if known and span[0] != stop:
                kind = "gap" if span[0] > stop else "overlap"
                text = f"task {by} stopped at byte {stop}, task {shard} began at {span[0]}"
                yield Problem(kind, path, text)
            stop, by, known = span[1], shard, True
    if known and stop != size:
        yield Problem("gap", path, f"task {by} stopped at byte {stop} of {size}, the last")


def _spans(
    store: Store, plan: pa.Table, job: Job
) -> Iterator[tuple[int, dict[str, Any], tuple[int, int] | None]]:
    """Shard, planned range and the bytes really read (None: unknown) of every range."""
    for shard, commit in enumerate(records.read_commits(store, "map", range(job.shards))):
        listed = {span.range: (span.start, span.stop) for span in commit.spans} if commit else {}
        rows = _rows(plan, shard).select(["path", "offset", "length", "size"]).to_pylist()
        for number, row in enumerate(rows):
            planned = row["offset"], row["offset"] + row["length"]
            read = commit is not None and number < commit.ranges
            yield shard, row, listed.get(number, planned) if read else None


def _row_groups(store: Store, plan: pa.Table, job: Job) -> Iterator[Problem]:
    """Each row group of each Parquet file belongs to one range, and its reader took its rows."""
    if job.format.name != "parquet":
        return
    rows = plan.select(["shard", "path", "offset", "length", "size"]).to_pylist()
    groups, records_, shards = Counter[int](), Counter[int](), set[int]()
    for path, ranges in itertools.groupby(rows, key=lambda row: str(row["path"])):
        try:
            with open_source(path, storage=job.format.storage) as file:
                footer = pq.read_metadata(file)
        except (DatasetError, OSError, pa.ArrowException) as error:
            yield Problem("changed", path, f"its footer cannot be read any more: {error}")
            continue
        seen: list[int] = []
        for row in ranges:
            mine = parquet.row_groups(footer, _range(row))
            seen += mine
            shards.add(row["shard"])
            groups[row["shard"]] += len(mine)
            records_[row["shard"]] += sum(footer.row_group(group).num_rows for group in mine)
        if seen != list(range(footer.num_row_groups)):
            text = f"row groups {seen} of {footer.num_row_groups} belong to its ranges"
            yield Problem("gap or overlap", path, text)
    numbers = sorted(shards)
    commits = records.read_commits(store, "map", numbers)
    for shard, commit in zip(numbers, commits, strict=True):
        if commit is None:
            continue
        where = f"map task {shard}"
        if commit.units != groups[shard]:
            text = f"read {commit.units} of {groups[shard]} row groups"
            yield Problem("cut off", where, text)
        elif job.format.filter is None and commit.records != records_[shard]:
            text = f"read {commit.records} of {records_[shard]} rows"
            yield Problem("cut off", where, text)


def _range(row: dict[str, Any]) -> Range:
    return Range(0, row["path"], row["offset"], row["length"], row["size"], "", 0, 0)
