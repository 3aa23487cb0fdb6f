"""What `by=`, `aggregate=`, `sort_by=` and `partitions=` ask for, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from mapred.errors import ReduceError
from mapred.model.checking import check, short_repr
from mapred.model.rules import Rule, Unfit, as_tuple
from mapred.model.shuffle import Aggregate, By, Shuffle, SortBy
from mapred.process.lazy import pa
from mapred.reducers import Reducer
from mapred.shuffle.aggregations import as_aggregates
from mapred.shuffle.part_files import concat_with_schema
from mapred.shuffle.schemas import unify_schemas

_ORDERS = {"ascending": False, "descending": True}


def as_shuffle(
    by: By | None, aggregate: Aggregate | None, sort_by: SortBy | None, partitions: int | None
) -> Shuffle | None:
    """Return the shuffle that the arguments of `run` ask for; its `partitions` are 0 for the
    default."""
    if by is None and sort_by is None:
        if aggregate is not None or partitions is not None:
            raise ReduceError(
                f"aggregate={short_repr(aggregate)} and partitions={partitions} need by=, the key's columns"
            )
        return None
    if by is not None and sort_by is not None:
        raise ReduceError("sort_by= puts all rows in order and by= groups them: pass one of both")
    if sort_by is not None:
        if aggregate is not None:
            raise ReduceError("aggregate= goes with by=, not with sort_by=")
        names, descending = _order(sort_by)
        return Shuffle(_columns("sort_by", names), partitions or 0, descending=descending)
    keys = _columns("by", [by] if isinstance(by, str) else by)
    aggregates = () if aggregate is None else as_aggregates(aggregate, keys)
    return Shuffle(keys, partitions or 0, aggregates)


def _columns(what: str, names: Any) -> tuple[str, ...]:
    hint = Annotated[tuple[str, ...], Rule("a column's name, or a list of them", _names)]
    columns: tuple[str, ...] = check(what, names, hint, ReduceError)
    if len(set(columns)) < len(columns):
        raise ReduceError(f"{what}={columns!r} names a column twice")
    return columns


def _names(value: Any) -> tuple[str, ...]:
    names = as_tuple(value)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise Unfit
    return tuple(map(str, names))


def _order(sort_by: Any) -> tuple[list[str], tuple[bool, ...]]:
    try:
        entries = as_tuple(sort_by)
    except Unfit:
        entries = (sort_by,)
    pairs = [(entry, "ascending") if isinstance(entry, str) else entry for entry in entries]
    for pair in pairs:
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not isinstance(pair[0], str) or pair[1] not in _ORDERS:
            raise ReduceError(
                f"sort_by={short_repr(sort_by)}: {short_repr(pair)} must be a column's name, or a pair such "
                "as ('price', 'descending')"
            )
    return [name for name, _ in pairs], tuple(_ORDERS[order] for _, order in pairs)


def keyed_reducer(
    shuffle: Shuffle,
    reduce: Callable[..., Any] | Reducer | None,
    fan_in: int | None,
    finalize: Callable[[Any], Any] | None,
) -> Reducer | None:
    """Return the functions of a keyed reduce: `step` of a partition's rows, `finish` of the whole."""
    if fan_in is not None:
        raise ReduceError("fan_in= makes a tree of one reduce; with by= pass partitions=")
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
    """Return the answers of all partitions as one table."""
    answers = list(tables)
    if not answers:
        return pa.table({})
    rows = [table for table in answers if table.num_rows] or answers[:1]
    return concat_with_schema(rows, unify_schemas([table.schema for table in rows], ()))
