"""Rows to states, and states to fewer states; `answers` makes the answer of them.

A state is what several rows of a key come down to in one row: a sum, a count, a mean with its
moment, the list of all values. States of parts merge to the states of the whole, so maps combine
before they send. Keys are the columns `k0`, `k1`, …; states `s0`, `s1`, ….
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import from_arrow, to_arrow
from mapred.errors import DatasetError
from mapred.model.shuffle import Aggregation
from mapred.process.lazy import pa, pc
from mapred.shuffle import lists
from mapred.shuffle.dense import sum_by_offset
from mapred.shuffle.groups import Groups, grouped_by, groups_of, take_or_null
from mapred.shuffle.kinds import result_types
from mapred.shuffle.sums import Limbs, sum_type, surely_fits

if TYPE_CHECKING:
    import numpy.typing as npt

Aggregations = tuple[Aggregation, ...]

# The states that each aggregate needs.
STATES = {
    "sum": ("sum",),
    "count": ("count",),
    "min": ("min",),
    "max": ("max",),
    "first": ("first",),
    "last": ("last",),
    "any": ("any",),
    "all": ("all",),
    "mean": ("sum", "count"),
    "variance": ("moments",),
    "stddev": ("moments",),
    "median": ("values",),
    "quantile": ("values",),
    "nunique": ("distinct",),
    "list": ("rows",),
}
# How Arrow merges the states that it can merge.
_ARROW = {"sum": "sum", "count": "sum", "min": "min", "max": "max", "any": "any", "all": "all"}
_MOMENTS = 3


def number_states(aggregates: Aggregations) -> dict[tuple[str, str], int]:
    """Return the number of the first `s` column of every (column, state); several answers may share
    it."""
    numbers: dict[tuple[str, str], int] = {}
    number = 0
    for aggregate in aggregates:
        for state in STATES[aggregate.function]:
            if (aggregate.column, state) not in numbers:
                numbers[aggregate.column, state] = number
                number += _MOMENTS if state == "moments" else 1
    return numbers


def lift(table: pa.Table, by: Sequence[str], aggregates: Aggregations) -> pa.Table:
    """Every row as a key and its states."""
    result_types(table.schema, aggregates)
    columns = {f"k{i}": table.column(name) for i, name in enumerate(by)}
    for name, state in number_states(aggregates):
        for column in _lift_column(table.column(name), name, state):
            columns[f"s{len(columns) - len(by)}"] = column
    return pa.table(columns)


def _lift_column(column: pa.ChunkedArray, name: str, state: str) -> list[Any]:
    """One state of every row; that of a null is the state of no values."""
    if state == "sum":
        return [_cast_to_sum_type(column)]
    if state == "count":
        return [pc.is_valid(column).cast(pa.int64())]
    if state == "moments":
        zeros = pa.chunked_array([to_arrow(np.zeros(len(column)))])
        values = pc.coalesce(_floats(column, name), zeros)
        return [pc.is_valid(column).cast(pa.int64()), values, zeros]
    if state in ("values", "distinct", "rows"):
        return [lists.to_singletons(column, nulls=state == "rows")]
    if state in ("any", "all"):
        # In a table without values the column may be of type null.
        return [column.cast(pa.bool_())]
    return [column]


def _cast_to_sum_type(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a cast to the type of its sum; a decimal of more digits is the same bytes."""
    type_ = sum_type(column.type)
    if not (pa.types.is_decimal128(type_) and pa.types.is_decimal128(column.type)):
        return column.cast(type_)
    chunks = [
        pa.Array.from_buffers(type_, len(chunk), chunk.buffers(), chunk.null_count, chunk.offset)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type_)


def _floats(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        return column.cast(pa.float64(), safe=pa.types.is_integer(column.type))
    except pa.ArrowInvalid as error:
        value = str(error).partition(" not in range")[0]
        raise DatasetError(
            f"column {name!r}: {value} is beyond float64, in which variance and stddev are computed; "
            "subtract an offset, or cast the column to float64, which rounds"
        ) from error


def lift_and_merge(table: pa.Table, by: Sequence[str], aggregates: Aggregations) -> pa.Table:
    """`merged_to_send(lift(…))`, in less time where keys are few: counting makes no column of ones."""
    states = number_states(aggregates)
    sums = (table.column(name) for name, state in states if state == "sum")
    if not all(state in _ARROW for _, state in states) or not all(
        surely_fits(column, sum_type(column.type)) for column in sums if sum_type(column.type)
    ):
        return merge_to_send(lift(table, by, aggregates), aggregates)
    result_types(table.schema, aggregates)
    columns = {f"k{i}": table.column(name) for i, name in enumerate(by)}
    keys, specs = list(columns), []
    for (name, state), place in states.items():
        column = table.column(name)
        columns[f"s{place}"] = column if state == "count" else _lift_column(column, name, state)[0]
        specs.append((f"s{place}", "count" if state == "count" else _ARROW[state]))
    grouped = grouped_by(pa.table(columns), keys, specs)
    arrays = [grouped.column(name) for name in (*keys, *("_".join(spec) for spec in specs))]
    return pa.Table.from_arrays(arrays, list(columns))


def merge(table: pa.Table, aggregates: Aggregations) -> pa.Table:
    """One row of states for each key.

    A column of sums that do not all fit its type has a wider one: see `Limbs.array`.
    """
    states = {f"s{place}": state for (_, state), place in number_states(aggregates).items()}
    dense = sum_by_offset(table) if set(states.values()) <= {"sum", "count"} else None
    if dense is not None:
        return dense
    keys = [name for name in table.column_names if name[0] == "k"]
    plain = [
        name
        for name, state in states.items()
        if state in _ARROW and (state != "sum" or surely_fits(table[name], table[name].type))
    ]
    specs = [(name, _ARROW[states[name]]) for name in plain]
    if len(plain) == len(states):
        grouped, groups = grouped_by(table.select([*keys, *plain]), keys, specs), None
    else:
        grouped, groups = groups_of(table, keys, specs)
    columns = {name: grouped.column(name) for name in keys}
    columns |= {
        name: grouped.column("_".join(spec)) for name, spec in zip(plain, specs, strict=True)
    }
    for name, state in states.items():
        if groups is not None and name not in columns:
            columns |= _merge_state(table, name, state, groups)
    return pa.table({name: columns[name] for name in table.column_names})


def merge_to_send(table: pa.Table, aggregates: Aggregations) -> pa.Table:
    """`merge`, or the states as they are where a sum of some of them does not fit its type.

    Others may bring it back into its range, so only the sum of all of them is refused.
    """
    merged = merge(table, aggregates)
    return merged if merged.schema.equals(table.schema) else table


def _merge_state(table: pa.Table, name: str, state: str, groups: Groups) -> dict[str, Any]:
    """Return the states of groups that Arrow does not merge."""
    column = table.column(name)
    if state == "sum":
        limbs = Limbs(column.type, groups.count)
        numbers, start = groups.numbers, 0
        for chunk in column.chunks:
            limbs.add(numbers[start : start + len(chunk)], chunk)
            start += len(chunk)
        return {name: limbs.array()}
    if state in ("first", "last"):
        return {name: take_or_null(column, _ends(column, groups, last=state == "last"))}
    if state == "moments":
        return _merge_moments(table, int(name[1:]), groups)
    together = lists.distinct if state == "distinct" else lists.concat_groups
    return {name: together(column, groups)}


def _ends(column: pa.ChunkedArray, groups: Groups, *, last: bool) -> npt.NDArray[np.int64]:
    """Return the place of the first or last value that is not null of each group; -1 where there is
    none."""
    rows = np.arange(len(column)) if last else np.arange(len(column))[::-1]
    if column.null_count:
        rows = rows[from_arrow(column.is_valid())[rows]]
    ends = np.full(groups.count, -1, np.int64)
    # Of several assignments to one place the last one stays.
    ends[groups.numbers[rows]] = rows
    return ends


def _merge_moments(table: pa.Table, first: int, groups: Groups) -> dict[str, Any]:
    """Return counts, means and sums of squared distances of groups, without losing digits."""
    n, mean, square = (from_arrow(table.column(f"s{first + i}")) for i in range(_MOMENTS))
    numbers, count = groups.numbers, groups.count
    total = np.bincount(numbers, n, count)
    with np.errstate(invalid="ignore"):
        center = np.bincount(numbers, n * mean, count) / np.maximum(total, 1)
        square = np.bincount(numbers, square + n * (mean - center[numbers]) ** 2, count)
    columns = (total.astype(np.int64), center, square)
    return {f"s{first + i}": to_arrow(column) for i, column in enumerate(columns)}
