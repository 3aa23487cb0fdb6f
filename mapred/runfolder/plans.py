"""The plan files of a run: which ranges and items each map task reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from mapred.arrow.buffers import from_arrow
from mapred.errors import NotAFile, RecordError
from mapred.model import layout
from mapred.model.coding import EMPTY, is_blank
from mapred.model.spec import Job, Stage
from mapred.planner import PlanFile, read_plan
from mapred.process.lazy import pa
from mapred.storage import Store, map_ahead

if TYPE_CHECKING:
    import numpy.typing as npt

_NO_PLAN = "restore it from a copy, or start a new run"


def load_plan_file(store: Store, number: int) -> pa.Table:
    with _plan_file(store, number) as data:
        return read_plan(data)


def shard_ranges(store: Store, shard: int, job: Job | None = None) -> pa.Table:
    """Return the plan's rows of one shard; checks the plan's digest if `job` is given."""
    with _plan_file(store, shard // layout.PLAN_SHARDS, job) as data:
        return PlanFile(data).shard(shard)


@contextmanager
def _plan_file(store: Store, number: int, job: Job | None = None) -> Iterator[bytes]:
    """Give a plan file to parse; raise `RecordError` if it is lost, damaged or not the job's."""
    path = layout.plan_file(number)
    why, data = "is gone", b""
    try:
        data = store.read(path)
        if job is not None and job.digests.get(path) != hashlib.sha256(data).hexdigest():
            raise ValueError("its SHA-256 is not the one that the job names")
        yield data
        return
    except FileNotFoundError:
        pass
    except NotAFile as error:
        why = f"cannot be read ({error})"
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        why = EMPTY if is_blank(data) else f"is damaged ({error})"
    raise RecordError(f"{store.uri}/{path} {why}; {_NO_PLAN}")


def items_of(ranges: pa.Table) -> range:
    """Return the items of a shard, which follow each other, by its rows of the plan."""
    first = ranges["first"][0].as_py() if ranges.num_rows else 0
    return range(first, first + sum(ranges["count"].to_pylist()))


def shard_bytes(store: Store, job: Job) -> npt.NDArray[np.int64]:
    return _sum_by_shard(store, job, "length")


def first_items(store: Store, job: Job) -> npt.NDArray[np.int64]:
    """Return the number of the first item of every shard."""
    counts = _sum_by_shard(store, job, "count")
    return np.cumsum(counts) - counts


def plan_numbers(job: Job) -> range:
    """Return the numbers of the plan files."""
    return range(-(-job.shards // layout.PLAN_SHARDS))


def _sum_by_shard(store: Store, job: Job, column: str) -> npt.NDArray[np.int64]:
    sums = np.zeros(job.shards, np.int64)

    def columns(number: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        with _plan_file(store, number, job) as data:
            plan = read_plan(data, ("shard", column))
            shards, values = from_arrow(plan["shard"]), from_arrow(plan[column])
            if len(shards) and not 0 <= shards.min() <= shards.max() < job.shards:
                raise ValueError(f"it has other shards than the {job.shards} of the job")
            return shards, values

    for shards, values in map_ahead(store, columns, plan_numbers(job)):
        np.add.at(sums, shards, values)
    return sums


def shard_items(store: Store, shards: Sequence[int]) -> Iterator[range]:
    """Yield the items of some shards, which must be in order."""
    plan: tuple[int, PlanFile] | None = None
    for shard in shards:
        number = shard // layout.PLAN_SHARDS
        if plan is None or plan[0] != number:
            with _plan_file(store, number) as data:
                plan = number, PlanFile(data)
        yield items_of(plan[1].shard(shard))


def describe_task_input(store: Store, stage: Stage, index: int) -> str:
    """Describe what a task reads: items, files and bytes, or outputs of other tasks."""
    if stage.kind == "shuffle":
        return f"partition {index} of {stage.tasks}"
    if stage.kind != "map":
        inputs = stage.input_range(index)
        return f"outputs {inputs.start} to {inputs.stop - 1} of {stage.inputs}"
    rows = shard_ranges(store, index)
    if not rows.num_rows:
        return "an empty shard"
    first, more = rows.slice(0, 1).to_pylist()[0], rows.num_rows - 1
    if items := items_of(rows):
        if len(items) > 1:
            return f"items {items[0]} to {items[-1]}"
        file = "" if first["path"] in ("", layout.ITEMS) else f": {first['path']}"
        return f"item {items[0]}{file}"
    text = f"{first['path']} bytes {first['offset']}–{first['offset'] + first['length']}"
    return text + (f" and {more} more range{'s' * (more > 1)}" if more else "")
