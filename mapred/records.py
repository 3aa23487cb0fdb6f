"""A run's own records: commits, what was given up, the manifest and the last word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred import layout
from mapred.arrays import from_arrow
from mapred.errors import RunError, StorageError
from mapred.model import Commit, Job, Stage
from mapred.planner import PlanFile, read_plan, read_shard
from mapred.storage import Store, each

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from mapred.attempts import Failure


def read_commit(store: Store, stage: str, index: int) -> Commit | None:
    """The commit of a task, None where there is none."""
    path = layout.commit(stage, index)
    try:
        commit = found_commit(store, path)
    except FileNotFoundError:
        return None
    if (commit.stage, commit.task) != (stage, index):
        raise _unreadable(store, path, f"it is that of {commit.stage} task {commit.task}")
    return commit


def found_commit(store: Store, path: str) -> Commit:
    """The commit in a file, whichever task it is of."""
    try:
        return Commit.from_bytes(store.read(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(store, path, str(error)) from error


def _unreadable(store: Store, path: str, reason: str) -> StorageError:
    return StorageError(
        f"{store.uri}/{path} cannot be read: {reason}; to have its task run again, delete it and "
        "resume the run"
    )


def read_commits(store: Store, stage: str, indices: Iterable[int]) -> Iterator[Commit | None]:
    """The commits of many tasks, in the order asked for; None where there is none."""
    return each(store, lambda index: read_commit(store, stage, index), indices)


def committed(store: Store, stage: str) -> list[int]:
    """The indices of the committed tasks of a stage, by one listing."""
    return [layout.index_of(path) for path, _ in store.list(layout.commits(stage))]


def done(store: Store, stage: Stage) -> list[int]:
    """The tasks of a stage to look for commits of: all, once the run succeeded.

    Else those that a listing shows, which may lag behind.
    """
    end = read_end(store)
    if end is not None and end.get("state") == "succeeded":
        return list(range(stage.tasks))
    return committed(store, stage.name)


def read_failures(
    store: Store,
    stage: str,
    only: Container[int] | None = None,
    but: Container[int] = frozenset(),
) -> Iterator[Failure]:
    """The records of the failed attempts at a stage's tasks, or at some of them."""
    paths = [path for path, _ in store.list(layout.errors(stage))]
    tasks = ((path, layout.index_of(path)) for path in paths)
    chosen = [path for path, task in tasks if task not in but and (only is None or task in only)]
    from mapred.attempts import Failure

    for path, data in zip(chosen, each(store, store.read, chosen), strict=True):
        # One that cannot be read tells of an attempt, and decides nothing.
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            failure = Failure.from_bytes(data)
            if (failure.stage, failure.task) == (stage, layout.index_of(path)):
                yield failure


def kept(store: Store) -> set[int]:
    """The map tasks of which failed attempts kept the values of some items."""
    return {layout.kept_index(path) for path, _ in store.list(layout.all_kept())}


def read_given_up(store: Store) -> dict[int, list[int] | None]:
    """The map tasks of failed.json; a list names single items of a task, None all of it."""
    try:
        tasks = json.loads(store.read(layout.FAILED))["tasks"]
        return {int(task): _items_given_up(items) for task, items in tasks.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{store.uri}/{layout.FAILED} cannot be read: {error}; it says what the run gave up: to "
            "have that tried again, delete it and resume the run"
        ) from error


def _items_given_up(items: Any) -> list[int] | None:
    if items is not None and not all(isinstance(item, int) for item in items):
        raise ValueError(f"{items!r} are not numbers of items")
    return items if items is None else list(items)


def put_given_up(
    store: Store, tasks: Mapping[int, list[int] | None]
) -> Mapping[int, list[int] | None]:
    """Put failed.json; the word that stands, which is another driver's if that was faster."""
    if store.put_if_absent(layout.FAILED, json.dumps({"tasks": tasks}).encode()):
        return tasks
    return read_given_up(store)


def read_end(store: Store) -> dict[str, Any] | None:
    """The last word of a run: `state`, `message` and `time`; None while there is none.

    One that cannot be read, as a power cut may leave it, counts as none: the run can be resumed.
    """
    try:
        word = dict(json.loads(store.read(layout.END)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not isinstance(word.get("state"), str):
        return None
    ended = word.get("time")
    when = float(ended) if isinstance(ended, int | float) else None
    return {**word, "message": str(word.get("message", "")), "time": when}


def plan_of(store: Store, number: int) -> pa.Table:
    """One plan file as a table."""
    with _plan_file(store, number) as data:
        return read_plan(data)


def shard_ranges(store: Store, shard: int, job: Job | None = None) -> pa.Table:
    """The plan's rows of one shard, by the plan that the job names, if it is given."""
    with _plan_file(store, shard // layout.PLAN_SHARDS, job) as data:
        return read_shard(data, shard)


@contextmanager
def _plan_file(store: Store, number: int, job: Job | None = None) -> Iterator[bytes]:
    """A plan file to read from; a `StorageError` where it is damaged or not the job's."""
    path = layout.plan_file(number)
    try:
        data = store.read(path)
        if job is not None and job.digests.get(path) != hashlib.sha256(data).hexdigest():
            raise ValueError("its SHA-256 is not the one that the job names")
        yield data
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{path} is gone") from error
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"{store.uri}/{path} is damaged: {error}; start a new run") from error


def items_of(ranges: pa.Table) -> list[int]:
    """The numbers of the items of a shard, in order."""
    pairs = zip(ranges["first"].to_pylist(), ranges["count"].to_pylist(), strict=True)
    return [item for first, count in pairs for item in range(first, first + count)]


def shard_bytes(store: Store, job: Job) -> npt.NDArray[np.int64]:
    """Planned bytes of every shard."""
    return _summed(store, job, "length")


def first_items(store: Store, job: Job) -> npt.NDArray[np.int64]:
    """The number of the first item of every shard."""
    counts = _summed(store, job, "count")
    return np.cumsum(counts) - counts


def plan_numbers(job: Job) -> range:
    """The numbers of the plan files."""
    return range(-(-job.shards // layout.PLAN_SHARDS))


def _summed(store: Store, job: Job, column: str) -> npt.NDArray[np.int64]:
    """A column of the plan, summed for every shard."""
    sums = np.zeros(job.shards, np.int64)

    def columns(number: int) -> pa.Table:
        with _plan_file(store, number, job) as data:
            return read_plan(data, ("shard", column))

    for plan in each(store, columns, plan_numbers(job)):
        np.add.at(sums, from_arrow(plan["shard"]), from_arrow(plan[column]))
    return sums


def shard_items(store: Store, shards: Sequence[int]) -> Iterator[range]:
    """The indices of the items of some shards, which must be in order."""
    plan: tuple[int, PlanFile] | None = None
    for shard in shards:
        number = shard // layout.PLAN_SHARDS
        if plan is None or plan[0] != number:
            with _plan_file(store, number) as data:
                plan = number, PlanFile(data)
        yield _items(plan[1].shard(shard))


def _items(rows: pa.Table) -> range:
    """The indices of the items of a shard, by its rows of the plan."""
    first = rows["first"][0].as_py()
    return range(first, first + sum(rows["count"].to_pylist()))


def where_of(store: Store, stage: Stage, index: int) -> str:
    """The items, or the files and bytes, that a map task reads, in words."""
    if stage.kind == "shuffle":
        return f"partition {index} of {stage.tasks}"
    if stage.kind != "map":
        inputs = stage.input_range(index)
        return f"outputs {inputs.start} to {inputs.stop - 1} of {stage.inputs}"
    rows = shard_ranges(store, index)
    if not rows.num_rows:
        return "an empty shard"
    first, more = rows.slice(0, 1).to_pylist()[0], rows.num_rows - 1
    if items := _items(rows):
        if len(items) > 1:
            return f"items {items[0]} to {items[-1]}"
        file = "" if first["path"] in ("", layout.ITEMS) else f": {first['path']}"
        return f"item {items[0]}{file}"
    text = f"{first['path']} bytes {first['offset']}–{first['offset'] + first['length']}"
    return text + (f" and {more} more range{'s' * (more > 1)}" if more else "")
