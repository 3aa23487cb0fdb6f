"""Filters: a user's conditions as an Arrow expression, as a mask, and against statistics.

Arrow's own ways import `pyarrow.dataset` and with it pandas, longer than all else that a worker
loads; here only what is not a plain condition goes that way.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, TypeAlias

import numpy as np

from mapred.arrow.buffers import scalar, strings, to_arrow
from mapred.errors import DatasetError
from mapred.formats.literals import COMPARED, build_comparison, comparable
from mapred.process.lazy import pa, pc
from mapred.process.private import acero

Condition: TypeAlias = tuple[str, str, Any]  # column, operator, value

_DAY_0 = date(1970, 1, 1).toordinal()


def alternatives(filter: Any) -> list[list[Condition]] | None:
    """Conditions of which all of one list hold; None where the filter is an expression."""
    if not isinstance(filter, list):
        return None
    return filter if all(isinstance(group, list) for group in filter) else [filter]


def conditions_of(filter: Any, schema: pa.Schema) -> list[list[Condition]] | None:
    """Alternatives with values that Python compares with a column's as Arrow does."""
    groups = alternatives(filter)
    if groups is None:
        return None
    types = {field.name: field.type for field in schema}
    return [
        [
            (name, how, comparable(value, types[name]) if name in types else value)
            for name, how, value in group
        ]
        for group in groups
    ]


def expression_of(filter: Any, schema: pa.Schema) -> Any:
    """Return a filter as an Arrow expression: one already, or conditions such as `[("a", ">", 1)]`."""
    try:
        groups = conditions_of(filter, schema)
        if groups is None:
            return filter
        return functools.reduce(
            operator.or_,
            (
                functools.reduce(
                    operator.and_, (_expression(condition, schema) for condition in group)
                )
                for group in groups
            ),
        )
    except KeyError as error:
        operators = ", ".join(COMPARED)
        raise DatasetError(
            f"filter={filter!r} is not a filter: {error} is not an operator; there are {operators}"
        ) from None
    except (ValueError, TypeError, ArithmeticError, pa.ArrowException) as error:
        raise DatasetError(f"filter={filter!r} is not a filter: {error}") from error


def _expression(condition: Condition, schema: pa.Schema) -> Any:
    name, how, value = condition
    compare = COMPARED[how]
    if schema.get_field_index(name) >= 0:
        comparison = build_comparison(name, how, value, schema.field(name).type)
        if comparison is not None:
            return comparison
    return compare(pc.field(name), _literal(value))


def _literal(value: Any) -> Any:
    """Return a value as an Arrow scalar or array, where that can be made without pandas."""
    if isinstance(value, (list, tuple, set, frozenset)):
        values = list(value)
        return strings(values) if {type(item) for item in values} == {str} else values
    if type(value) is str:
        return scalar(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return to_arrow(np.array([value.toordinal() - _DAY_0], np.int32), pa.date32())[0]
    return value


def expression_text(expression: Any) -> str | None:
    """Return an expression as Arrow writes it; None where that is not a text.

    Arrow shortens long values, and may cut a character in two.
    """
    try:
        return str(expression)
    except UnicodeDecodeError:
        return None


def mask(columns: pa.Table, expression: Any) -> pa.ChunkedArray:
    """Whether the expression holds, or null, for each row; an `ArrowException` if it cannot."""
    for number, field in enumerate(columns.schema):
        if pa.types.is_float16(field.type):  # Arrow does not compare these
            wide = columns.column(number).cast(pa.float32())
            columns = columns.set_column(number, field.name, wide)
    source = acero.Declaration("table_source", acero.TableSourceNodeOptions(columns))
    project = acero.Declaration("project", acero.ProjectNodeOptions([expression], ["holds"]))
    both = acero.Declaration.from_sequence([source, project])
    holds = both.to_table(use_threads=False)["holds"]
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
            return bool(COMPARED[how](low, value))
        if how in (">", ">="):
            return bool(COMPARED[how](high, value))
        if how == "in":  # statistics do not tell of NaN, which Arrow finds
            return any(item != item or low <= item <= high for item in value)
    except (TypeError, ArithmeticError):
        pass  # they do not compare in Python; Arrow will say so, or knows better
    return True
