"""A run's own records: commits, what was given up, the manifest and the last word."""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred import layout
from mapred.arrays import from_arrow
from mapred.errors import RunError
from mapred.model import Commit, Job, Output, Stage, StoredFile
from mapred.planner import PlanFile, read_plan, read_shard
from mapred.storage import Store, each

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from mapred.attempts import Failure

_INLINE_TOTAL = 8 * 2**20


def read_commit(store: Store, stage: str, index: int) -> Commit | None:
    """The commit of a task, None where there is none."""
    try:
        return Commit.from_bytes(store.read(layout.commit(stage, index)))
    except FileNotFoundError:
        return None


def read_commits(store: Store, stage: str, indices: Iterable[int]) -> Iterator[Commit | None]:
    """The commits of many tasks, in the order asked for; None where there is none."""
    return each(store, lambda index: read_commit(store, stage, index), indices)


def committed(store: Store, stage: str) -> list[int]:
    """The indices of the committed tasks of a stage, by one listing."""
    return [layout.index_of(path) for path, _ in store.list(layout.commits(stage))]


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

    return map(Failure.from_bytes, each(store, store.read, chosen))


def kept(store: Store) -> set[int]:
    """The map tasks of which failed attempts kept the values of some items."""
    return {layout.kept_index(path) for path, _ in store.list(layout.all_kept())}


def read_given_up(store: Store) -> dict[int, list[int] | None]:
    """The map tasks of failed.json; a list names single items of a task, None all of it."""
    try:
        tasks = json.loads(store.read(layout.FAILED))["tasks"]
    except FileNotFoundError:
        return {}
    return {int(task): items for task, items in tasks.items()}


def put_given_up(
    store: Store, tasks: Mapping[int, list[int] | None]
) -> Mapping[int, list[int] | None]:
    """Put failed.json; the word that stands, which is another driver's if that was faster."""
    if store.put_if_absent(layout.FAILED, json.dumps({"tasks": tasks}).encode()):
        return tasks
    return read_given_up(store)


def read_end(store: Store) -> dict[str, Any] | None:
    """The last word of a run: `state`, `message` and `time`; None while there is none."""
    try:
        return dict(json.loads(store.read(layout.END)))
    except FileNotFoundError:
        return None


def finish(
    store: Store,
    job: Job,
    state: str,
    message: str,
    commits: Mapping[int, Commit | None] | None = None,
    when: float | None = None,
) -> str:
    """Write the manifest of a run that succeeded and the last word; the word that stands.

    `commits` are those of the last stage that are known already. A run whose last stage
    lacks a commit does not succeed, whatever an engine says. `when` it ended is now if not given.
    """
    if state == "succeeded":
        write_manifest(store, job, commits or {})
    ended = time.time() if when is None else when
    word = json.dumps({"state": state, "message": message, "time": ended}).encode()
    if store.put_if_absent(layout.END, word):
        return state
    return str((read_end(store) or {"state": state})["state"])


def write_manifest(store: Store, job: Job, known: Mapping[int, Commit | None]) -> None:
    """The outputs of every task of the last stage, in order; one that is there stands."""
    stage = job.stages[-1]
    given_up = read_given_up(store) if stage.kind == "map" and job.max_failed else {}
    entries: list[list[Any]] = []
    room = _INLINE_TOTAL
    lost = {index for index, items in given_up.items() if items is None}
    unknown = [i for i in range(stage.tasks) if i not in lost and known.get(i) is None]
    read = read_commits(store, stage.name, unknown)
    for index in range(stage.tasks):
        if index in lost:
            entries.append([index, None, []])
            continue
        commit = known.get(index) or next(read)
        if commit is None:
            raise RunError(f"{store.uri}: task {index} of {stage.name} was never committed")
        output = dict(vars(commit.output))
        room -= len(output["inline"] or "")
        if room < 0 and output["inline"]:
            output["inline"] = ""
        entries.append([index, output, [vars(file) for file in commit.files]])
    data = json.dumps({"stage": stage.name, "tasks": entries}, separators=(",", ":"))
    store.put_if_absent(layout.MANIFEST, data.encode())


def read_manifest(store: Store) -> list[tuple[int, Output | None, tuple[StoredFile, ...]]]:
    """What `write_manifest` wrote: task, output (None if given up) and files."""
    try:
        values = json.loads(store.read(layout.MANIFEST))
    except FileNotFoundError:
        raise RunError(f"{store.uri} has no manifest: the run did not succeed") from None
    found = []
    outputs = [output and Output(**output) for _, output, _ in values["tasks"]]
    left_out = [
        index
        for (index, _, _), output in zip(values["tasks"], outputs, strict=True)
        if _left_out(output)
    ]
    commits = read_commits(store, values["stage"], left_out)
    for (index, _, files), known in zip(values["tasks"], outputs, strict=True):
        if _left_out(known):
            commit = next(commits)
            if commit is None:
                raise RunError(f"{store.uri}: the commit of task {index} is gone")
            known = commit.output
        found.append((index, known, tuple(StoredFile(**file) for file in files)))
    return found


def _left_out(output: Output | None) -> bool:
    """Whether a value that its commit holds was too much for the manifest."""
    return output is not None and output.kind == "inline" and not output.inline


def plan_of(store: Store, number: int) -> pa.Table:
    """One plan file as a table."""
    return read_plan(store.read(layout.plan_file(number)))


def shard_ranges(store: Store, shard: int) -> pa.Table:
    """The plan's rows of one shard."""
    return read_shard(store.read(layout.plan_file(shard // layout.PLAN_SHARDS)), shard)


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
        return read_plan(store.read(layout.plan_file(number)), ("shard", column))

    for plan in each(store, columns, plan_numbers(job)):
        np.add.at(sums, from_arrow(plan["shard"]), from_arrow(plan[column]))
    return sums


def shard_items(store: Store, shards: Sequence[int]) -> Iterator[range]:
    """The indices of the items of some shards, which must be in order."""
    plan: tuple[int, PlanFile] | None = None
    for shard in shards:
        number = shard // layout.PLAN_SHARDS
        if plan is None or plan[0] != number:
            plan = number, PlanFile(store.read(layout.plan_file(number)))
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
