"""What `by=`, `aggregate=`, `sort_by=` and `partitions=` ask for, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mapred.errors import PlanError, ReduceError
from mapred.model import Shuffle
from mapred.reducers import Reducer
from mapred.shuffle.aggregations import Aggregate, as_aggregates
from mapred.shuffle.files import joined
from mapred.shuffle.hashing import MAX_PARTITIONS
from mapred.shuffle.schemas import unified

if TYPE_CHECKING:
    import pyarrow as pa

By = str | Sequence[str]
SortBy = str | Sequence[str | tuple[str, str]]

_ORDERS = {"ascending": False, "descending": True}


def as_shuffle(
    by: By | None, aggregate: Aggregate | None, sort_by: SortBy | None, partitions: int | None
) -> Shuffle | None:
    """The shuffle that the arguments of `run` ask for; its `partitions` are 0 for the default."""
    if by is None and sort_by is None:
        if aggregate is not None or partitions is not None:
            raise ReduceError("aggregate= and partitions= need by=, the key's columns")
        return None
    if by is not None and sort_by is not None:
        raise ReduceError("sort_by= puts all rows in order and by= groups them: pass one of both")
    if partitions is not None and not (
        type(partitions) is int and 1 <= partitions <= MAX_PARTITIONS
    ):
        raise PlanError(
            f"partitions={partitions!r} must be a whole number from 1 to {MAX_PARTITIONS:,}"
        )
    if sort_by is not None:
        if aggregate is not None:
            raise ReduceError("aggregate= goes with by=, not with sort_by=")
        names, descending = _order(sort_by)
        return Shuffle(_columns("sort_by", names), partitions or 0, descending=descending)
    keys = _columns("by", [by] if isinstance(by, str) else by or ())
    aggregates = () if aggregate is None else as_aggregates(aggregate, keys)
    return Shuffle(keys, partitions or 0, aggregates)


def _columns(what: str, names: Iterable[Any]) -> tuple[str, ...]:
    found = tuple(names)
    if {type(name) for name in found} != {str}:
        raise ReduceError(f"{what}={found!r} must be a column's name, or a list of them")
    if len(set(found)) < len(found):
        raise ReduceError(f"{what}={found!r} names a column twice")
    return found


def _order(sort_by: SortBy) -> tuple[list[str], tuple[bool, ...]]:
    entries = [sort_by] if isinstance(sort_by, str) else list(sort_by)
    pairs = [(entry, "ascending") if isinstance(entry, str) else entry for entry in entries]
    for pair in pairs:
        if tuple(pair[1:]) not in {("ascending",), ("descending",)}:
            raise ReduceError(
                f"sort_by={sort_by!r}: {pair!r} must be a column's name, or a pair such as "
                "('price', 'descending')"
            )
    return [name for name, _ in pairs], tuple(_ORDERS[order] for _, order in pairs)


def keyed_reducer(
    shuffle: Shuffle,
    reduce: Callable[..., Any] | Reducer | None,
    fan_in: int | None,
    finalize: Callable[[Any], Any] | None,
) -> Reducer | None:
    """The functions of a keyed reduce: `step` of a partition's rows, `finish` of the whole."""
    if fan_in is not None:
        raise ReduceError("fan_in= makes a tree of one reduce; with by= say partitions=")
    if shuffle.aggregates or shuffle.descending:
        if reduce is not None:
            what = "aggregate=" if shuffle.aggregates else "sort_by="
            raise ReduceError(f"pass either reduce= or {what}, not both")
        return None if finalize is None else Reducer("finalize", whole, whole, finalize)
    if isinstance(reduce, Reducer):
        raise ReduceError(
            f"reduce={reduce.name} merges whole outputs; with by= pass a function of the pa.Table "
            "of a key's rows, or aggregate={'column': 'sum'}"
        )
    if not callable(reduce):
        raise ReduceError("by= needs aggregate={'column': 'sum', …} or reduce=, of a pa.Table")
    name = getattr(reduce, "__name__", type(reduce).__name__)
    return Reducer(name, reduce, whole, finalize)


def whole(tables: Iterable[pa.Table]) -> pa.Table:
    """The answers of all partitions as one table."""
    import pyarrow as pa

    found = list(tables)
    if not found:
        return pa.table({})
    rows = [table for table in found if table.num_rows] or found[:1]
    return joined(rows, unified([table.schema for table in rows], ()))
