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
    for each in aggregates:
        if each.column not in schema.names:
            known = ", ".join(schema.names)
            raise FunctionError(
                f"aggregate= names column {each.column!r}; the output has {known}. Several "
                f"functions of one column are a list: {{{each.name!r}: ['min', 'max']}}"
            )
        type_ = _result_type(schema.field(each.column).type, each)
        if type_ is None:
            raise FunctionError(
                f"aggregate={{{each.column!r}: {each.function!r}}}: there is no {each.function} "
                f"of {schema.field(each.column).type}; cast the column or use reduce="
            )
        types.append(type_)
    return types


def _result_type(type_: pa.DataType, each: Aggregation) -> pa.DataType | None:
    if each.function in ("median", "quantile"):
        return quantile_type(type_, each.options)
    if each.function == "list":
        return list_type(type_)
    if each.function in ("first", "last"):
        return type_
    if each.function == "sum":
        return sum_type(type_)
    if each.function in ("count", "nunique"):
        return pa.int64() if each.function == "count" or _of_arrow(type_, "distinct") else None
    if pa.types.is_null(type_):
        # Other tasks may have values.
        return {"any": pa.bool_(), "all": pa.bool_()}.get(each.function, pa.float64())
    return _of_arrow(type_, each.function)


@functools.lru_cache(maxsize=256)
def _of_arrow(type_: pa.DataType, function: str) -> pa.DataType | None:
    """Return the type of Arrow's own aggregate; None where it has none."""
    values = pa.table({"k": pa.nulls(0, pa.int8()), "v": pa.nulls(0, type_)})
    try:
        return grouped_by(values, ["k"], [("v", function)]).schema.field(1).type
    except (pa.ArrowException, NotImplementedError):
        return None
