"""A run's own records: commits, what was given up, the manifest and the last word."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from mapred.arrow.buffers import from_arrow
from mapred.errors import NotAFile, RecordError, RunError, StorageError
from mapred.model import layout
from mapred.model.coding import EMPTY, Count, Seconds, decode, encode, is_blank
from mapred.model.frozen import dataclass
from mapred.model.records import Commit
from mapred.model.spec import Job, Stage
from mapred.planner import PlanFile, read_plan, read_shard
from mapred.process.lazy import pa
from mapred.storage import Store, each

if TYPE_CHECKING:
    import numpy.typing as npt

    from mapred.model.failure import Failure


T = TypeVar("T")

LARGEST = 2**30  # bytes; the manifest of a million tasks is smaller
_USUAL = 16 * 2**20

# What can be done about a record that cannot be read; the commits are kept whatever it is.
_REMEDIES = {
    layout.JOB: "put a copy of it back; without it nothing of the run can be used",
    layout.FAILED: "delete it, then resume the run: what was given up is tried again",
}
_AGAIN = "delete it, then resume the run: its task runs again"
_NO_PLAN = "put a copy of it back, or start a new run"


@dataclass(frozen=True)
class End:
    """The last word of a run; `time` is in seconds since the epoch.

    `job` and `manifest` are the SHA-256 of these files as they were then.
    """

    state: Literal["succeeded", "failed", "cancelled"]
    message: str = ""
    time: Seconds | None = None
    job: str = ""
    manifest: str = ""


@dataclass(frozen=True)
class Lost:
    """What failed.json says: the map tasks that gave up items, None for all of a task."""

    tasks: Mapping[int, list[Count] | None]


@dataclass(frozen=True)
class Write:
    """A dataset that a run writes to, and the name of the run there."""

    uri: str
    id: str
    time: Seconds = 0.0


def read(store: Store, path: str, cls: type[T]) -> T:
    """The record in a file of the run's folder.

    Raises `FileNotFoundError` where there is none, and a `RecordError`, which names the file,
    the field and what was expected, for what is not such a record.
    """
    return decoded(store, path, cls, read_data(store, path))


def read_data(store: Store, path: str) -> bytes:
    """The bytes of a record, and no more than one may have."""
    data = store.read(path, 0, _USUAL + 1)
    if len(data) <= _USUAL:
        return data
    here = store.local_path(path)
    if here is None or os.path.getsize(here) <= LARGEST:
        data = store.read(path, 0, LARGEST + 1)
        if len(data) <= LARGEST:
            return data
    raise RecordError(f"{store.uri}/{path} is larger than {LARGEST:,} bytes, which no record is")


def decoded(store: Store, path: str, cls: type[T], data: bytes) -> T:
    """The record in the bytes of a file."""
    where = f"{store.uri}/{path}"
    try:
        if cls is Job:
            return Job.from_bytes(data, where)  # type: ignore[return-value]
        return decode(cls, data, where)
    except RecordError as error:
        raise _with_remedy(error, path) from None


def _with_remedy(error: RecordError, path: str) -> RecordError:
    remedy = _AGAIN if "/commits/" in path else _REMEDIES.get(path)
    if remedy is None or error.newer:
        return error
    return RecordError(f"{error}; {remedy}", newer=error.newer, blank=error.blank)


def read_if_sound(store: Store, path: str, cls: type[T]) -> T | None:
    """A record; None where there is none, or none that can be read, as after a power cut.

    That of a newer version is a `RecordError` here too.
    """
    try:
        return read(store, path, cls)
    except FileNotFoundError:
        return None
    except RecordError as error:
        if error.newer:
            raise
        return None


def refuse_newer(store: Store, paths: Iterable[str]) -> None:
    """Raise a `RecordError` if one of these records was made by a newer mapred.

    What is not there or is damaged passes.
    """

    def check(path: str) -> None:
        with suppress(NotAFile):
            read_if_sound(store, path, _AnyRecord)

    for _ in each(store, check, paths):
        pass


@dataclass(frozen=True)
class _AnyRecord:
    """A record of whatever kind: its version alone is read."""


def read_job(store: Store) -> Job:
    """The specification of a run; a `RunError` where there is none."""
    try:
        job = read(store, layout.JOB, Job)
    except FileNotFoundError:
        raise RunError(f"{store.uri} holds no run: there is no {layout.JOB} in it") from None
    check_id(store, job.run_id)
    return job


def check_id(store: Store, run_id: str) -> None:
    """Refuse what job.json says as an id and cannot be one: it becomes part of lines to paste."""
    if not layout.is_run_id(run_id):
        raise RecordError(
            f"{store.uri}/{layout.JOB}: what it says as run_id is not the id of a run"
        )


def read_commit(store: Store, stage: str, index: int) -> Commit | None:
    """The commit of a task; None where there is none, and one that cannot be read counts as none."""
    try:
        return sound_commit(store, stage, index)
    except NotAFile:
        return None
    except RecordError as error:
        if error.newer:
            raise
        return None


def sound_commit(store: Store, stage: str, index: int) -> Commit | None:
    """The commit of a task, None where there is none; a `RecordError` for one that is damaged."""
    try:
        return checked_commit(store, stage, index)
    except FileNotFoundError:
        return None


def checked_commit(store: Store, stage: str, index: int, path: str | None = None) -> Commit:
    """The commit of a task, in its file or another; a `RecordError` says why it is not readable."""
    path = path or layout.commit(stage, index)
    commit = found_commit(store, path)
    if (commit.stage, commit.task) != (stage, index):
        raise RecordError(f"{store.uri}/{path} is the commit of {commit.stage} task {commit.task}")
    return commit


def found_commit(store: Store, path: str) -> Commit:
    """The commit in a file, whichever task it is of."""
    return read(store, path, Commit)


def read_commits(store: Store, stage: str, indices: Iterable[int]) -> Iterator[Commit | None]:
    """The commits of many tasks, in the order asked for; None where there is none."""
    return each(store, lambda index: read_commit(store, stage, index), indices)


def committed(store: Store, stage: str) -> list[int]:
    """The indices of the committed tasks of a stage, by one listing."""
    return [index for index, size in _listed_commits(store, stage) if size]


def _listed_commits(store: Store, stage: str) -> Iterator[tuple[int, int]]:
    """Index and size of every file that has the name of a commit."""
    for path, size in store.list(layout.commits(stage)):
        index = layout.index_of(path)
        if index is not None and path == layout.commit(stage, index):
            yield index, size


def sound_commits(store: Store, stage: str) -> Iterator[tuple[int, Commit]]:
    """Index and commit of every committed task, for a driver that goes on with the rest.

    What cannot be read, such as an empty file after a power cut, is moved aside: its task runs
    again, and can commit.
    """
    found = [index for index, _ in _listed_commits(store, stage)]
    for index, commit in zip(found, read_commits(store, stage, found), strict=True):
        if commit is None:
            move_aside(store, stage, index)
        else:
            yield index, commit


def move_aside(store: Store, stage: str, index: int) -> None:
    """Give what cannot be read as a commit another name, `….broken`, unless that was done."""
    path = layout.commit(stage, index)
    aside = f"{path}.{uuid.uuid4().hex[:8]}.broken"
    root = store.local_path("")
    with suppress(FileNotFoundError):
        if root is None:
            store.copy(path, aside)
            if read_commit(store, stage, index) is None:
                store.delete(path)
            return
        try:
            # By the folder's own place: what lies there may be a link, which no other call takes.
            os.rename(f"{root}{path}", f"{root}{aside}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot move {store.uri}/{path}: {error.strerror}") from error
        with suppress(RecordError, NotAFile):
            # Another driver was faster, and a task has committed meanwhile: that stands.
            store.put_if_absent(path, checked_commit(store, stage, index, aside).to_bytes())


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
    """The records of the failed attempts at a stage's tasks, or at some of them.

    For one that cannot be read there is a failure that says so.
    """
    chosen = []
    for path, _ in store.list(layout.errors(stage)):
        task = layout.index_of(path)
        if task is not None and task not in but and (only is None or task in only):
            chosen.append((path, task))
    return each(store, lambda found: _failure(store, stage, *found), chosen)


def _failure(store: Store, stage: str, path: str, task: int) -> Failure:
    from mapred.model.failure import Failure

    try:
        found = read(store, path, Failure)
        if (found.stage, found.task) == (stage, task):
            return found
        text = f"{store.uri}/{path} is the failure of {found.stage} task {found.task}"
    except FileNotFoundError:
        text = f"{store.uri}/{path} is gone"
    except (RecordError, NotAFile) as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        text = str(error)
    attempt = layout.attempt_of(path)
    told = Failure(stage, task, attempt, "lost", RecordError.__name__, text, signature=attempt)
    return replace(told, attempts=0)  # It tells of an attempt, and decides nothing.


def kept(store: Store) -> set[int]:
    """The map tasks of which failed attempts kept the values of some items."""
    found = {layout.kept_index(path) for path, _ in store.list(layout.all_kept())}
    return {index for index in found if index is not None}


def read_given_up(store: Store) -> dict[int, list[int] | None]:
    """The map tasks of failed.json; a list names single items of a task, None all of it."""
    try:
        return dict(read(store, layout.FAILED, Lost).tasks)
    except FileNotFoundError:
        return {}


def put_given_up(
    store: Store, tasks: Mapping[int, list[int] | None]
) -> Mapping[int, list[int] | None]:
    """Put failed.json; the word that stands, which is another driver's if that was faster."""
    if store.put_if_absent(layout.FAILED, encode(Lost(tasks))):
        return tasks
    return read_given_up(store)


def read_end(store: Store) -> dict[str, Any] | None:
    """The last word of a run: `state`, `message` and `time`; None while there is none.

    One that cannot be read, as a power cut may leave it, counts as none: the run can be resumed.
    """
    found = read_if_sound(store, layout.END, End)
    return None if found is None else dict(vars(found))


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
    """A plan file to read from; a `RecordError` where it is lost, damaged or not the job's."""

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

    def columns(number: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        with _plan_file(store, number, job) as data:
            plan = read_plan(data, ("shard", column))
            shards, values = from_arrow(plan["shard"]), from_arrow(plan[column])
            if len(shards) and not 0 <= shards.min() <= shards.max() < job.shards:
                raise ValueError(f"it has other shards than the {job.shards} of the job")
            return shards, values

    for shards, values in each(store, columns, plan_numbers(job)):
        np.add.at(sums, shards, values)
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
