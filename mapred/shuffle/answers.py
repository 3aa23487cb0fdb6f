"""The states of each key to the answer, sorted by key; what its type cannot hold is refused."""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from typing import Any

import numpy as np

from mapred.arrow.buffers import from_arrow, scalar, to_arrow
from mapred.errors import DatasetError
from mapred.model.shuffle import Aggregation
from mapred.process.lazy import pa, pc
from mapred.shuffle.aggregates import STATES, Aggregations, number_states
from mapred.shuffle.kinds import result_types
from mapred.shuffle.quantiles import Inexact, quantiles
from mapred.shuffle.skew import named_key
from mapred.shuffle.sorting import order_rows


def finish(
    table: pa.Table, schema: pa.Schema, by: Sequence[str], aggregates: Aggregations
) -> pa.Table:
    """Keys and answers, sorted by key; `schema` is that of the rows."""
    columns: list[Any] = [
        table.column(f"k{i}").cast(schema.field(name).type) for i, name in enumerate(by)
    ]
    keys = pa.Table.from_arrays(columns, [f"k{i}" for i in range(len(by))])
    places = number_states(aggregates)
    types = result_types(schema, aggregates)
    for aggregate, type_ in zip(aggregates, types, strict=True):
        states = [
            table.column(f"s{places[aggregate.column, state] + i}")
            for state in STATES[aggregate.function]
            for i in range(3 if state == "moments" else 1)
        ]
        try:
            columns.append(_answer(aggregate, states, type_))
        except Inexact as error:
            raise _inexact_error(error, aggregate, type_, keys, by) from None
        except _SumOverflow as error:
            raise _overflow_error(error, aggregate, type_, keys, by) from None
    names = [*by, *(aggregate.name for aggregate in aggregates)]
    whole = pa.Table.from_arrays(columns, names)
    if _is_sorted(keys):
        return whole
    return whole.take(to_arrow(order_rows(keys, keys.column_names, [False] * keys.num_columns)))


class _SumOverflow(Exception):
    """Sums of which some do not fit their type."""

    def __init__(self, totals: pa.ChunkedArray) -> None:
        super().__init__()
        self.totals = totals


def _overflow_error(
    error: _SumOverflow,
    aggregate: Aggregation,
    type_: pa.DataType,
    keys: pa.Table,
    by: Sequence[str],
) -> DatasetError:
    low, high, remedy = _limits(type_)
    totals = [decimal.Decimal(total or 0) for total in error.totals.to_pylist()]
    row = next(i for i, total in enumerate(totals) if not low < total < high)
    return DatasetError(
        f"the sum of column {aggregate.column!r} for key {named_key(keys, row, by)} is {totals[row]:f}, "
        f"beyond what {type_} holds: cast the column to {remedy}"
    )


def _limits(type_: pa.DataType) -> tuple[int, int, str]:
    """Return the whole numbers just below and above the sums that a type holds, and a type for
    more."""
    if pa.types.is_decimal(type_):
        most = 10 ** (type_.precision - type_.scale)
        remedy = f"decimal256(76, {type_.scale})" if type_.bit_width == 128 else "float64"
        return -most, most, remedy
    signed = pa.types.is_signed_integer(type_)
    return (-(2**63) - 1 if signed else -1), 2 ** (63 if signed else 64), "decimal128(38, 0)"


def _inexact_error(
    error: Inexact, aggregate: Aggregation, type_: pa.DataType, keys: pa.Table, by: Sequence[str]
) -> DatasetError:
    floats = pa.types.is_floating(type_)
    remedy = ", or cast the column to decimal128(38, 0)" if floats else ""
    return DatasetError(
        f"the {aggregate.function} of column {aggregate.column!r} for key "
        f"{named_key(keys, error.group, by)} {error.where}, which {type_} cannot hold: "
        f"use interpolation='lower' or 'higher'{remedy}"
    )


def _is_sorted(keys: pa.Table) -> bool:
    first = keys.column(0)
    if keys.num_columns > 1 or first.null_count or not pa.types.is_integer(first.type):
        return False
    numbers = from_arrow(first)
    return bool(np.all(numbers[:-1] < numbers[1:]))


def _answer(
    aggregate: Aggregation, states: Sequence[pa.ChunkedArray], type_: pa.DataType
) -> pa.ChunkedArray:
    if aggregate.function in ("median", "quantile"):
        return quantiles(states[0], aggregate.options, type_)
    if aggregate.function == "nunique":
        return pc.list_value_length(states[0])
    if aggregate.function == "mean":
        count = _subtract_or_null(states[1], 0)
        if pa.types.is_decimal(type_):
            return _decimal_mean(states[0], count, type_)
        return _mean(states[0], count)
    if aggregate.function in ("variance", "stddev"):
        degrees = _subtract_or_null(states[0], aggregate.options["ddof"])
        variance = pc.divide(states[2], degrees.cast(pa.float64()))
        return pc.sqrt(variance) if aggregate.function == "stddev" else variance
    if aggregate.function == "sum" and states[0].type != type_:
        raise _SumOverflow(states[0])
    # Arrow's cast of lists of nulls to their own type breaks them.
    return states[0] if states[0].type == type_ else states[0].cast(type_)


def _subtract_or_null(count: pa.ChunkedArray, less: int) -> pa.ChunkedArray:
    """Return counts less a number, null where nothing is left."""
    left = pc.subtract(count, scalar(less))
    return pc.if_else(pc.greater(left, scalar(0)), left, pa.nulls(len(left), pa.int64()))


def _mean(total: pa.ChunkedArray, count: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return sums through counts, of whole numbers the float64 nearest to that."""
    divisor = count.cast(pa.float64())
    try:
        # Beyond 2**53, and from decimals, a cast would round before the division does.
        if not pa.types.is_decimal(total.type):
            return pc.divide(total.cast(pa.float64()), divisor)
    except pa.ArrowInvalid:
        pass
    pairs = zip(total.to_pylist(), count.to_pylist(), strict=True)
    means = [int(whole) / number if number else 0.0 for whole, number in pairs]
    return pc.if_else(
        count.is_valid(), to_arrow(np.array(means)), pa.nulls(len(means), pa.float64())
    )


_ROUNDED = 28  # digits


def _decimal_mean(
    total: pa.ChunkedArray, count: pa.ChunkedArray, type_: pa.DataType
) -> pa.ChunkedArray:
    """Means of decimals, rounded half away from zero to the scale of their type."""
    try:
        # Of longer numbers Arrow rounds halves the wrong way.
        whole = total.cast(pa.decimal256(_ROUNDED, type_.scale))
    except pa.ArrowInvalid:
        context = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_UP)
        pairs = zip(total.to_pylist(), count.to_pylist(), strict=True)
        unit = decimal.Decimal(1).scaleb(-type_.scale)
        means = [
            context.divide(decimal.Decimal(whole), decimal.Decimal(number)).quantize(
                unit, context=context
            )
            if number
            else None
            for whole, number in pairs
        ]
        return pa.chunked_array([pa.array(means, type_)])
    exact = pc.divide(whole, count.cast(pa.decimal256(19, 0)))
    return pc.round(exact, type_.scale, round_mode="half_towards_infinity").cast(type_)
