"""Cutting files into ranges and dealing these to shards, by numpy alone.

Files larger than the target are cut into near-equal ranges; ranges, in order, are dealt to
shards by the bytes before them. A shard is a run of consecutive ranges, so a plan is a few
arrays: the ranges, and where each shard starts.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from mapred.arrow.buffers import from_arrow, large_strings, strings, to_arrow
from mapred.errors import PlanError
from mapred.model import layout
from mapred.model.resources import parse_bytes
from mapred.planner.ranges import Ints, Plan, sizes_of
from mapred.process.lazy import pa
from mapred.storage import is_local

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_TASKS = 10_000
MAX_ITEM_TASKS = 1_000
MOST_SHARDS = 1_000_000
# What opening a file counts as, in bytes: little on a disk, a request on a network.
LOCAL_FILE_COST, REMOTE_FILE_COST = 32 * 2**10, 256 * 2**10
_SMALLEST_TARGET, _LARGEST_TARGET, _SPREAD = 2**20, 32 * 2**20, 32


def plan(
    files: pa.Table,
    *,
    target_bytes: int | str | None = None,
    max_tasks: int | None = None,
    splittable: bool | npt.ArrayLike = True,
    once_per_file: bool = False,
    reason: str = "",
) -> Plan:
    """Cut and pack the files of a listing (`path`, `size` in bytes, `etag`) into shards.

    A shard holds at most `target_bytes` plus its largest range. `target_bytes` is a 32nd of
    all bytes between 1 MiB and 32 MiB unless given, and grows where there would be more
    than `max_tasks` shards (unless given: 10,000, or no bound for a target that was given).
    `splittable` says whether files may be cut, for all or each; `reason` why not.
    `once_per_file`: the function is called per file, so that a file is never cut, and counts
    32 KiB more than it has if it lies on this machine, else 256 KiB. Raises `PlanError`.
    """
    sizes = sizes_of(files)
    may_cut = _may_cut(splittable, len(sizes), once_per_file)
    size = _total(sizes)
    cost = _file_cost(files) if once_per_file else 0
    total = size + cost * len(sizes)
    target, shards, limit = _targets(total, target_bytes, max_tasks)

    cut = sizes > target
    if may_cut is not True:
        cut &= may_cut
    file, offset, length = _ranges(sizes, np.flatnonzero(cut), target)
    ends = np.cumsum(length + cost if cost else length)
    whole = None if may_cut is True else np.broadcast_to(~np.asarray(may_cut), sizes.shape)
    return Plan(
        listing=files,
        file=file,
        offset=offset,
        length=length,
        first=file,
        count=np.broadcast_to(np.int64(once_per_file), file.shape),
        starts=_starts(ends, total, shards),
        limit=limit,
        bytes=size,
        items=len(sizes) if once_per_file else 0,
        files=len(sizes),
        target_bytes=target,
        unsplittable_files=0 if whole is None else int(np.count_nonzero(whole)),
        unsplittable_bytes=0 if whole is None else int(sizes.sum(where=whole)),
        unsplittable_reason=_why(whole, reason, once_per_file),
    )


def plan_items(
    count: int,
    *,
    per_task: int | None = None,
    max_tasks: int | None = None,
    offsets: npt.ArrayLike | None = None,
) -> Plan:
    """Deal `count` items to tasks of `per_task` (one) each, or evenly to `max_tasks` (1,000).

    `offsets` are the `count + 1` byte offsets of the pickles in the run's items file; an
    array needs none. Raises `PlanError` where the two limits contradict each other.
    """
    _positive(per_task=per_task, max_tasks=max_tasks)
    if count <= 0:
        raise PlanError(f"{count} items: there is nothing to run")
    shards, limit = _item_shards(count, per_task, max_tasks)
    starts = np.arange(shards + 1, dtype=np.int64)
    first = _first_items(starts, count, per_task)
    at = np.zeros_like(first) if offsets is None else _offsets(offsets, count)[first]
    listing = {
        "path": large_strings(["" if offsets is None else layout.ITEMS]),
        "size": to_arrow(at[-1:]),
        "etag": strings([""]),
    }
    return Plan(
        listing=pa.Table.from_pydict(listing),
        file=np.zeros(shards, np.int64),
        offset=at[:-1],
        length=np.diff(at),
        first=first[:-1],
        count=np.diff(first),
        starts=starts,
        limit=limit,
        bytes=int(at[-1]),
        items=count,
        files=0,
    )


def plan_outputs(
    outputs: pa.Table,
    *,
    target_bytes: int | str | None = None,
    per_task: int | None = None,
    max_tasks: int | None = None,
) -> Plan:
    """Deal the values of other runs to tasks: by number as `plan_items`, or by `target_bytes`.

    A row of `outputs` stands for `count` values from the place `first` on, of the `values` that one
    task stored in `size` bytes; `path` and `etag` name what it stored. The offset of a range is the
    place of its first value. Raises `PlanError` where limits contradict each other.
    """
    _positive(per_task=per_task, max_tasks=max_tasks)
    columns = ("size", "values", "first", "count")
    size, values, first, count = (from_arrow(outputs[name]) for name in columns)
    begins, items, target = np.cumsum(count) - count, int(count.sum()), None
    if target_bytes is None:
        shards, limit = _item_shards(items, per_task, max_tasks)
        heads = _first_items(np.arange(shards + 1, dtype=np.int64), items, per_task)
    elif per_task is not None:
        raise PlanError(f"give target_bytes={target_bytes!r} or per_task={per_task}, not both")
    else:
        ends = np.cumsum(_size_of_each(size, values, first, count))
        target, shards, limit = _targets(int(ends[-1]), target_bytes, max_tasks)
        heads = _starts(ends, int(ends[-1]), shards)
    edges = np.union1d(begins, heads[:-1])
    file = np.searchsorted(begins, edges, "right") - 1
    place, number = first[file] + edges - begins[file], np.diff(edges, append=items)
    length = _share(size[file], values[file], place, place + number)
    return Plan(
        listing=outputs.select(["path", "size", "etag"]),
        file=file,
        offset=place,
        length=length,
        first=edges,
        count=number,
        starts=np.searchsorted(edges, heads),
        limit=limit,
        bytes=int(length.sum()),
        items=items,
        files=0,
        target_bytes=target,
    )


def _size_of_each(size: Ints, values: Ints, first: Ints, count: Ints) -> Ints:
    """Return about how many bytes each value has."""
    file = np.repeat(np.arange(len(count)), count)
    place = first[file] + np.arange(len(file)) - (np.cumsum(count) - count)[file]
    return _share(size[file], values[file], place, place + 1)


def _share(size: Ints, values: Ints, start: Ints, stop: Ints) -> Ints:
    """Return about how many bytes the values `start` to `stop` have of those stored together."""
    each, more = size // values, size % values
    shares: Ints = (stop - start) * each + np.minimum(stop, more) - np.minimum(start, more)
    return shares


def _first_items(starts: Ints, count: int, per_task: int | None) -> Ints:
    """Return the first item of each task, and `count` behind the last."""
    if per_task is not None:
        return np.minimum(starts * per_task, count)
    share, rest = divmod(count, len(starts) - 1)
    return starts * share + np.minimum(starts, rest)


def _file_cost(files: pa.Table) -> int:
    return LOCAL_FILE_COST if is_local(files["path"][0].as_py()) else REMOTE_FILE_COST


def _total(sizes: Ints) -> int:
    """All bytes; a PlanError where 64 bits could not count them."""
    if len(sizes) * float(sizes.max()) >= 2.0**62 and float(sizes.sum(dtype=float)) >= 2.0**62:
        raise PlanError("the files hold more than 4 EiB together: plan them in parts")
    return int(sizes.sum())


def _may_cut(splittable: Any, files: int, once_per_file: bool) -> Any:
    """Return true, False, or a boolean for each file."""
    if once_per_file:
        return False
    if isinstance(splittable, bool | np.bool_):
        return bool(splittable)
    array = np.asarray(splittable, dtype=bool)
    if array.shape != (files,):
        raise PlanError(f"splittable has {array.size} values for {files} files")
    return True if array.all() else array


def _why(whole: Any, reason: str, once_per_file: bool) -> str:
    if whole is None:
        return ""
    return reason or ("each is read whole" if once_per_file else "not splittable")


def _targets(
    total: int, target_bytes: int | str | None, max_tasks: int | None
) -> tuple[int, int, str]:
    """Return the target in bytes, the number of shards to aim at, and what chose it."""
    _positive(max_tasks=max_tasks)
    if target_bytes is None:
        target = min(max(-(-total // _SPREAD), _SMALLEST_TARGET), _LARGEST_TARGET)
        most, limit = max_tasks or MAX_TASKS, f"target_bytes={target} (default)"
    else:
        target = parse_bytes(target_bytes, "target_bytes")
        most, limit = max_tasks or MOST_SHARDS, f"target_bytes={target}"
    shards = max(1, -(-total // target))
    if shards > most:
        if target_bytes is not None and max_tasks is None:
            raise PlanError(
                f"target_bytes={target} makes {shards} shards of {total} bytes, above the "
                f"{MOST_SHARDS} that a plan may have; raise target_bytes or set max_tasks"
            )
        shards, target = most, -(-total // most)
        limit = f"max_tasks={most}" + ("" if max_tasks else " (default)")
    return target, shards, limit


def _ranges(sizes: Ints, cut: Ints, target: int) -> tuple[Ints, Ints, Ints]:
    """File, offset and length of every range; the files `cut` in ceil(size / target) each."""
    if not len(cut):
        return np.arange(len(sizes), dtype=np.int64), np.zeros(len(sizes), np.int64), sizes
    parts = -(-sizes[cut] // target)
    before = np.cumsum(parts) - parts
    share, rest = np.divmod(sizes[cut], parts)
    number = np.arange(int(parts.sum()), dtype=np.int64) - np.repeat(before, parts)
    share, rest = np.repeat(share, parts), np.repeat(rest, parts)
    at = np.repeat(cut + before - np.arange(len(cut)), parts) + number

    ranges = len(sizes) - len(cut) + len(at)
    is_first = np.ones(ranges, bool)
    is_first[at] = number == 0
    file = np.cumsum(is_first, dtype=np.int64)
    file -= 1
    offset = np.zeros(ranges, np.int64)
    offset[at] = number * share + np.minimum(number, rest)
    length = sizes[file]
    length[at] = share + (number < rest)
    return file, offset, length


def _starts(ends: Ints, total: int, shards: int) -> Ints:
    """Return the first range of each shard.

    Of the ranges that end at `ends`, one belongs to shard floor(bytes before it / width),
    with a width of total / shards. Numbers that no range got are left out.
    """
    number = np.arange(1, shards, dtype=np.int64)
    width, rest = divmod(total, shards)
    edges = number * width - (-number * rest) // shards
    first = np.searchsorted(ends, edges) + 1
    first = first[first < len(ends)]
    kept = np.concatenate(([True], first[1:] != first[:-1]))[: len(first)]
    return np.concatenate(([0], first[kept], [len(ends)])).astype(np.int64, copy=False)


def _item_shards(count: int, per_task: int | None, max_tasks: int | None) -> tuple[int, str]:
    if per_task is None:
        most = max_tasks or MAX_ITEM_TASKS
        if count <= most:
            return count, "per_task=1 (default)"
        return most, f"max_tasks={most}" + ("" if max_tasks else " (default)")
    shards = -(-count // per_task)
    if max_tasks is not None and shards > max_tasks:
        raise PlanError(
            f"per_task={per_task} makes {shards} tasks of {count} items, above "
            f"max_tasks={max_tasks}; give one of the two"
        )
    if shards > MOST_SHARDS:
        raise PlanError(
            f"per_task={per_task} makes {shards} tasks of {count} items, above the "
            f"{MOST_SHARDS} that a plan may have; raise per_task"
        )
    return shards, f"per_task={per_task}"


def _offsets(offsets: npt.ArrayLike, count: int) -> Ints:
    array = np.asarray(offsets, dtype=np.int64)
    if array.shape != (count + 1,) or array[0] != 0 or (np.diff(array) < 0).any():
        raise PlanError(f"offsets must be {count + 1} rising byte offsets from 0")
    return array


def _positive(**limits: Any) -> None:
    for name, value in limits.items():
        if value is None:
            continue
        whole = isinstance(value, SupportsIndex) and type(value) is not bool
        number = operator.index(value) if whole else 0
        if number < 1:
            raise PlanError(f"{name}={value!r} must be a whole number above zero")
        if name == "max_tasks" and number > MOST_SHARDS:
            raise PlanError(f"max_tasks={value} is above the {MOST_SHARDS} a plan may have")
