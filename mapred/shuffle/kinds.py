"""The types of aggregates, by the types of columns alone; what cannot be aggregated is refused."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from mapred.errors import FunctionError
from mapred.model.shuffle import Aggregation
from mapred.process.lazy import pa
from mapred.shuffle.groups import grouped_by
from mapred.shuffle.lists import list_type
from mapred.shuffle.quantiles import quantile_type
from mapred.shuffle.sums import sum_type


def result_types(schema: pa.Schema, aggregates: Iterable[Aggregation]) -> list[pa.DataType]:
    """Return the type of each aggregate; a column that is missing or has no such aggregate is an
    error."""
    types = []
    for aggregate in aggregates:
        if aggregate.column not in schema.names:
            columns = ", ".join(schema.names)
            raise FunctionError(
                f"aggregate= names column {aggregate.column!r}; the output has {columns}. Several "
                f"functions of one column are a list: {{{aggregate.name!r}: ['min', 'max']}}"
            )
        type_ = _result_type(schema.field(aggregate.column).type, aggregate)
        if type_ is None:
            raise FunctionError(
                f"aggregate={{{aggregate.column!r}: {aggregate.function!r}}}: there is no {aggregate.function} "
                f"of {schema.field(aggregate.column).type}; cast the column or use reduce="
            )
        types.append(type_)
    return types


def _result_type(type_: pa.DataType, aggregate: Aggregation) -> pa.DataType | None:
    if aggregate.function in ("median", "quantile"):
        return quantile_type(type_, aggregate.options)
    if aggregate.function == "list":
        return list_type(type_)
    if aggregate.function in ("first", "last"):
        return type_
    if aggregate.function == "sum":
        return sum_type(type_)
    if aggregate.function in ("count", "nunique"):
        return pa.int64() if aggregate.function == "count" or _of_arrow(type_, "distinct") else None
    if pa.types.is_null(type_):
        # Other tasks may have values.
        return {"any": pa.bool_(), "all": pa.bool_()}.get(aggregate.function, pa.float64())
    return _of_arrow(type_, aggregate.function)


@functools.lru_cache(maxsize=256)
def _of_arrow(type_: pa.DataType, function: str) -> pa.DataType | None:
    """Return the type of Arrow's own aggregate; None where it has none."""
    values = pa.table({"k": pa.nulls(0, pa.int8()), "v": pa.nulls(0, type_)})
    try:
        return grouped_by(values, ["k"], [("v", function)]).schema.field(1).type
    except (pa.ArrowException, NotImplementedError):
        return None
