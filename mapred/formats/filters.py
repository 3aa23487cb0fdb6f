"""Filters: a user's conditions as an Arrow expression, as a mask, and against statistics.

Arrow's own ways import `pyarrow.dataset` and with it pandas, longer than all else that a worker
loads; here only what is no plain condition goes that way.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mapred.arrays import scalar, strings, to_arrow
from mapred.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa

Condition: TypeAlias = tuple[str, str, Any]  # column, operator, value

_COMPARED: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda field, values: field.isin(values),
    "not in": lambda field, values: ~field.isin(values),
}
_DAY_0 = date(1970, 1, 1).toordinal()


def alternatives(filter: Any) -> list[list[Condition]] | None:
    """Conditions of which all of one list hold; None where the filter is an expression."""
    if not isinstance(filter, list):
        return None
    return filter if all(isinstance(group, list) for group in filter) else [filter]


def expression_of(filter: Any, schema: pa.Schema) -> Any:
    """A filter as an Arrow expression: one already, or conditions such as `[("a", ">", 1)]`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    decimals = {field.name for field in schema if pa.types.is_decimal(field.type)}
    groups = alternatives(filter)
    if groups is None:
        return filter
    try:
        return functools.reduce(
            operator.or_,
            (
                functools.reduce(
                    operator.and_,
                    (
                        _COMPARED[how](pc.field(name), _literal(value, name in decimals))
                        for name, how, value in group
                    ),
                )
                for group in groups
            ),
        )
    except KeyError as error:
        known = ", ".join(_COMPARED)
        raise DatasetError(
            f"filter={filter!r} is not a filter: {error} is no operator; there are {known}"
        ) from None
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise DatasetError(f"filter={filter!r} is not a filter: {error}") from error


def _literal(value: Any, decimal: bool) -> Any:
    """A value as an Arrow scalar or array, where that can be made without pandas.

    Beside a `decimal` column whole numbers are decimals too.
    """
    import pyarrow as pa

    if isinstance(value, (list, tuple, set, frozenset)):
        values = list(value)
        kinds = {type(each) for each in values}
        if decimal and kinds == {int}:
            return _decimals(values)
        if kinds in ({int}, {float}) and _fits(values):
            return to_arrow(np.array(values, np.int64 if kinds == {int} else np.float64))
        return strings(values) if kinds == {str} else values
    if decimal and type(value) is int:
        return _decimals([value])[0]
    if type(value) in (int, float) and _fits([value]):
        return to_arrow(np.array([value], np.int64 if type(value) is int else np.float64))[0]
    if type(value) is str:
        return scalar(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return to_arrow(np.array([value.toordinal() - _DAY_0], np.int32), pa.date32())[0]
    return value


def _decimals(values: list[int]) -> Any:
    """Decimals of as many digits as there are: Arrow gives integers 19, too many beside others."""
    import pyarrow as pa

    digits = max(len(str(abs(value))) for value in values)
    return strings(list(map(str, values))).cast(pa.decimal128(digits, 0))


def _fits(values: list[Any]) -> bool:
    return all(isinstance(value, float) or -(2**63) <= value < 2**63 for value in values)


def mask(columns: pa.Table, expression: Any) -> pa.ChunkedArray:
    """Whether the expression holds, or null, for each row; an `ArrowException` if it cannot."""
    import pyarrow as pa
    from pyarrow._acero import Declaration, ProjectNodeOptions, TableSourceNodeOptions

    source = Declaration("table_source", TableSourceNodeOptions(columns))
    project = Declaration("project", ProjectNodeOptions([expression], ["holds"]))
    holds = Declaration.from_sequence([source, project]).to_table(use_threads=False)["holds"]
    if not pa.types.is_boolean(holds.type):
        raise pa.ArrowInvalid(f"it gives {holds.type}, and must be true or false")
    return holds


def may_hold(groups: list[list[Condition]], ends: Callable[[str], tuple[Any, Any] | None]) -> bool:
    """Whether any row may pass, where `ends` tells the least and the greatest of a column."""
    return any(all(_may(condition, ends(condition[0])) for condition in group) for group in groups)


def _may(condition: Condition, ends: tuple[Any, Any] | None) -> bool:
    _, how, value = condition
    if ends is None:
        return True
    low, high = ends
    try:
        if how in ("=", "=="):
            return bool(low <= value <= high)
        if how in ("<", "<="):
            return bool(_COMPARED[how](low, value))
        if how in (">", ">="):
            return bool(_COMPARED[how](high, value))
        if how == "in":
            return any(low <= each <= high for each in value)
    except TypeError:
        pass  # they do not compare in Python; Arrow will say so, or knows better
    return True
