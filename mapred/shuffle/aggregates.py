"""Aggregates in three steps: rows to states, states to fewer states, states to the answer.

A state is what several rows of a key come down to in one row: a sum, a count, a mean with its
moment. States of parts merge to the states of the whole, so maps combine before they send.
Keys are the columns `k0`, `k1`, …; states `s0`, `s1`, ….
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrays import as_numbers, as_strings, from_arrow, to_arrow
from mapred.errors import FunctionError, ReduceError
from mapred.shuffle.dense import summed

if TYPE_CHECKING:
    import pyarrow as pa

# How the states of each aggregate are merged.
_MERGES = {
    "sum": ("sum",),
    "count": ("sum",),
    "min": ("min",),
    "max": ("max",),
    "first": ("first",),
    "last": ("last",),
    "any": ("any",),
    "all": ("all",),
    "mean": ("sum", "sum"),
    "variance": ("moments",) * 3,
    "stddev": ("moments",) * 3,
}
_NUMERIC = ("sum", "mean", "variance", "stddev")

Aggregates = tuple[tuple[str, str], ...]


def as_aggregates(aggregate: Mapping[str, str | Sequence[str]]) -> Aggregates:
    """`{"qty": "sum", "price": ["min", "max"]}` as (column, function) pairs, checked."""
    if not hasattr(aggregate, "items") or not aggregate:
        raise ReduceError(f"aggregate={aggregate!r} must be a mapping such as {{'qty': 'sum'}}")
    pairs = [
        (str(column), function)
        for column, named in aggregate.items()
        for function in ([named] if isinstance(named, str) else named)
    ]
    for column, function in pairs:
        if function not in _MERGES:
            raise ReduceError(
                f"aggregate={{{column!r}: {function!r}}}: states of {function!r} cannot be "
                f"combined; there are {', '.join(_MERGES)}; anything else is a reduce=, which "
                "sees all rows of a key"
            )
    if len(set(pairs)) < len(pairs):
        raise ReduceError(f"aggregate={dict(aggregate)!r} names an aggregate twice")
    return tuple(pairs)


def lift(table: pa.Table, by: Sequence[str], aggregates: Aggregates) -> pa.Table:
    """Every row as a key and its states."""
    columns = {f"k{i}": table.column(name) for i, name in enumerate(by)}
    types = _result_types(table.schema, by, aggregates)
    for (name, function), type_ in zip(aggregates, types, strict=True):
        for state in _states(table.column(name), function, type_):
            columns[f"s{len(columns) - len(by)}"] = state
    import pyarrow as pa

    return pa.table(columns)


def combined(table: pa.Table, by: Sequence[str], aggregates: Aggregates) -> pa.Table:
    """`merge(lift(…))`, in less time where keys are few.

    Counting makes no column of ones, and what several answers share is added up once.
    """
    import pyarrow as pa

    if any("moments" in _MERGES[function] for _, function in aggregates):
        return merge(lift(table, by, aggregates), aggregates)
    columns = {f"k{i}": table.column(name) for i, name in enumerate(by)}
    specs: dict[tuple[str, str, Any], tuple[str, str]] = {}
    keys, states = list(columns), []
    types = _result_types(table.schema, by, aggregates)
    for (name, function), type_ in zip(aggregates, types, strict=True):
        column = table.column(name)
        parts = zip(_parts(column, function, type_), _MERGES[function], strict=True)
        for part, how in parts:
            how, part = ("count", column) if part is None else (how, part)
            same = name, how, part.type
            if same not in specs:
                specs[same] = f"v{len(specs)}", how
                columns[specs[same][0]] = part
            states.append("_".join(specs[same]))
    grouped = grouped_by(pa.table(columns), keys, list(specs.values()))
    names = [*keys, *(f"s{i}" for i in range(len(states)))]
    return pa.Table.from_arrays([grouped.column(each) for each in (*keys, *states)], names)


def merge(table: pa.Table, aggregates: Aggregates) -> pa.Table:
    """One row of states for each key, in the order of first sight or of the keys."""
    merges = [name for _, function in aggregates for name in _MERGES[function]]
    dense = summed(table) if set(merges) == {"sum"} else None
    if dense is not None:
        return dense
    keys = [name for name in table.column_names if name[0] == "k"]
    specs = [(f"s{i}", name) for i, name in enumerate(merges) if name != "moments"]
    if "moments" in merges:
        table = table.append_column("row", to_arrow(np.arange(table.num_rows)))
        specs.append(("row", "list"))
    grouped = grouped_by(table, keys, specs)
    columns = {name: grouped.column(name) for name in keys}
    groups = None
    for i, name in enumerate(merges):
        if name != "moments":
            columns[f"s{i}"] = grouped.column(f"s{i}_{name}")
        elif f"s{i}" not in columns:
            groups = _group_numbers(grouped) if groups is None else groups
            columns |= _merged_moments(table, i, groups, grouped.num_rows)
    import pyarrow as pa

    return pa.table({name: columns[name] for name in table.column_names if name != "row"})


def grouped_by(table: pa.Table, keys: list[str], specs: list[tuple[str, str]]) -> pa.Table:
    """`group_by` in the order of first sight, without the modules that its method imports."""
    from pyarrow._acero import AggregateNodeOptions, Declaration, TableSourceNodeOptions

    strings = {}
    for number, name in enumerate(table.column_names):
        numbers = as_numbers(table.column(number)) if name in keys else None
        if numbers is not None:
            strings[name] = table.column(number).type
            table = table.set_column(number, name, numbers)
    named = [(name, f"hash_{how}", None, f"{name}_{how}") for name, how in specs]
    source = Declaration("table_source", TableSourceNodeOptions(table))
    aggregate = Declaration("aggregate", AggregateNodeOptions(named, keys=keys))
    grouped = Declaration.from_sequence([source, aggregate]).to_table(use_threads=False)
    for name, type_ in strings.items():
        number = grouped.column_names.index(name)
        grouped = grouped.set_column(number, name, as_strings(grouped.column(number), type_))
    return grouped


def finish(
    table: pa.Table, schema: pa.Schema, by: Sequence[str], aggregates: Aggregates
) -> pa.Table:
    """Keys and answers, sorted by key; `schema` is that of the rows, its types Arrow's own."""
    import pyarrow as pa

    columns: list[Any] = [
        table.column(f"k{i}").cast(schema.field(name).type) for i, name in enumerate(by)
    ]
    state = 0
    types = _result_types(schema, by, aggregates)
    for (_, function), type_ in zip(aggregates, types, strict=True):
        states = [table.column(f"s{state + i}") for i in range(len(_MERGES[function]))]
        columns.append(_answer(function, states, type_))
        state += len(states)
    names = [*by, *(f"{name}_{function}" for name, function in aggregates)]
    whole = pa.Table.from_arrays(columns, names)
    keys = whole.select(list(range(len(by)))).rename_columns([f"k{i}" for i in range(len(by))])
    return whole if _sorted(keys) else whole.take(_order(keys))


def _sorted(keys: pa.Table) -> bool:
    import pyarrow as pa

    first = keys.column(0)
    if keys.num_columns > 1 or first.null_count or not pa.types.is_integer(first.type):
        return False
    numbers = from_arrow(first)
    return bool(np.all(numbers[:-1] < numbers[1:]))


def _order(keys: pa.Table) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    keys = keys.select([n for n in keys.column_names if not pa.types.is_null(keys[n].type)])
    if not keys.num_columns:
        return to_arrow(np.arange(keys.num_rows))
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])


def _result_types(
    schema: pa.Schema, by: Sequence[str], aggregates: Aggregates
) -> list[pa.DataType]:
    """The types that Arrow gives the aggregates; what it cannot aggregate is an error."""
    types = []
    for name, function in aggregates:
        if name not in schema.names:
            known = ", ".join(schema.names)
            raise FunctionError(f"aggregate= names column {name!r}; the output has {known}")
        type_ = _result_type(schema.field(name).type, function)
        if type_ is None:
            raise FunctionError(
                f"aggregate={{{name!r}: {function!r}}}: Arrow has no {function} of "
                f"{schema.field(name).type}; cast the column or use reduce="
            )
        types.append(type_)
    return types


@functools.lru_cache(maxsize=256)
def _result_type(type_: pa.DataType, function: str) -> pa.DataType | None:
    import pyarrow as pa

    values = pa.table({"k": pa.nulls(0, pa.int8()), "v": pa.nulls(0, type_)})
    try:
        return grouped_by(values, ["k"], [("v", function)]).schema.field(1).type
    except (pa.ArrowException, NotImplementedError):
        return None


def _states(column: pa.ChunkedArray, function: str, type_: pa.DataType) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = _parts(column, function, type_)
    if any(part is None for part in parts):
        count = pc.is_valid(column).cast(pa.int64())
        parts = [count if part is None else part for part in parts]
    return parts


def _parts(column: pa.ChunkedArray, function: str, type_: pa.DataType) -> list[Any]:
    """The states of every row; None for a count, which is one where there is a value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if function == "sum":
        return [_widened(column, type_)]
    if function in ("min", "max", "first", "last", "any", "all"):
        return [column]
    if function == "count":
        return [None]
    if function == "mean" and pa.types.is_decimal(type_):
        wide = pa.decimal256(76, type_.scale) if type_.bit_width > 128 else None
        return [_widened(column, wide or pa.decimal128(38, type_.scale)), None]
    values = column.cast(pa.float64(), safe=False)
    if function == "mean":
        return [values, None]
    zeros = pa.chunked_array([to_arrow(np.zeros(len(column)))])
    return [None, pc.coalesce(values, zeros), zeros]


def _widened(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    """A cast to a wider type; a decimal of more digits is the same bytes."""
    import pyarrow as pa

    if not (pa.types.is_decimal128(type_) and pa.types.is_decimal128(column.type)):
        return column.cast(type_)
    chunks = [
        pa.Array.from_buffers(type_, len(chunk), chunk.buffers(), chunk.null_count, chunk.offset)
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, type_)


def _group_numbers(grouped: pa.Table) -> np.ndarray[Any, Any]:
    """The group of every row, from the lists of rows of the groups."""
    rows = grouped.column("row_list").combine_chunks()
    groups = np.empty(len(rows.flatten()), np.int64)
    lengths = from_arrow(rows.value_lengths())
    groups[from_arrow(rows.flatten())] = np.repeat(np.arange(len(rows)), lengths)
    return groups


def _merged_moments(
    table: pa.Table, first: int, groups: np.ndarray[Any, Any], count: int
) -> dict[str, Any]:
    """Counts, means and sums of squared distances of groups, without losing digits."""
    n, mean, square = (from_arrow(table.column(f"s{first + i}")) for i in range(3))
    total = np.bincount(groups, n, count)
    with np.errstate(invalid="ignore"):
        center = np.bincount(groups, n * mean, count) / np.maximum(total, 1)
        square = np.bincount(groups, square + n * (mean - center[groups]) ** 2, count)
    columns = (total.astype(np.int64), center, square)
    return {f"s{first + i}": to_arrow(column) for i, column in enumerate(columns)}


def _answer(function: str, states: list[pa.ChunkedArray], type_: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if function not in _NUMERIC or function == "sum":
        return states[0].cast(type_)
    count = states[0] if function != "mean" else states[1]
    zeros = to_arrow(np.zeros(len(count), np.int64))
    count = pc.if_else(pc.equal(count, zeros), pa.nulls(len(count), pa.int64()), count)
    if function == "mean" and pa.types.is_decimal(type_):
        whole = states[0].cast(pa.decimal256(38, type_.scale))
        exact = pc.divide(whole, count.cast(pa.decimal256(19, 0)))
        return pc.round(exact, type_.scale, round_mode="half_towards_infinity").cast(type_)
    if function == "mean":
        return pc.divide(states[0], count.cast(pa.float64()))
    variance = pc.divide(states[2], count.cast(pa.float64()))
    return pc.sqrt(variance) if function == "stddev" else variance
