"""The values that a filter names, as a column's type has them.

Arrow brings a column and a value to one type first, and fails at numbers which that type cannot
hold, or rounds them. Here a value is put between two neighbours of the column's own type, and
these are compared.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from mapred.arrow.buffers import scalar, strings, to_arrow
from mapred.process.lazy import pa, pc

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86400
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001
_TICK = dt.timedelta(microseconds=1)
COMPARED: Mapping[str, Callable[[Any, Any], Any]] = {
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


def comparable(value: Any, type_: pa.DataType) -> Any:
    """Return a value as Arrow compares it with a column: beside decimals, the decimal of a float is
    the one that it is written as."""
    if isinstance(value, (list, tuple, set, frozenset)):
        values = [comparable(member, type_) for member in value]
        # Arrow looks up bits, and so tells 0.0 from -0.0.
        if pa.types.is_floating(type_) and any(
            type(member) in (int, float) and not member for member in values
        ):
            values += [0.0, -0.0]
        return values
    if isinstance(value, np.integer | np.floating | np.bool_):
        value = value.item()
    if pa.types.is_decimal(type_) and isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    if pa.types.is_floating(type_) and isinstance(value, Decimal):
        return float(value)
    return value


def build_comparison(name: str, how: str, value: Any, type_: pa.DataType) -> Any:
    """Return the comparison of a column as an expression, with values of its own type.

    None where the type has no steps in which the value could be told; Arrow compares those.
    """
    field = pc.field(name)
    if how in ("in", "not in"):
        members = _members(value, type_)
        if members is None:
            return None
        is_member = field.isin(_array(members, type_)) if members else pc.scalar(scalar(False))
        return ~is_member if how == "not in" else is_member
    if value is None or isinstance(value, bool):
        return None
    never, always = pc.scalar(scalar(False)), field.is_valid()
    if _is_nan(value) and not pa.types.is_floating(type_):
        return always if how == "!=" else never
    neighbors = _find_neighbors(value, type_)
    if neighbors is None:
        return None
    below, above = neighbors
    if how in ("=", "==", "!="):
        if _is_one(below, above, type_):
            equal = field == _array([below], type_)[0]
            return ~equal if how == "!=" else equal
        return always if how == "!=" else never
    bound, up = (above if how in ("<", ">=") else below), how in (">", ">=")
    if not pa.types.is_floating(type_):
        low, high = _range(type_)
        if bound < low or (bound == low and how in ("<", ">=")):
            return always if up else never
        if bound > high or (bound == high and how in (">", "<=")):
            return never if up else always
    return COMPARED[how](field, _array([bound], type_)[0])


def _members(values: Any, type_: pa.DataType) -> list[Any] | None:
    """Return the members that are values of the type; None where Arrow has to compare them."""
    members = []
    for value in values:
        if value is None or isinstance(value, bool):
            return None
        if _is_nan(value) and not pa.types.is_floating(type_):
            continue
        neighbors = _find_neighbors(value, type_)
        if neighbors is None:
            return None
        if _is_one(*neighbors, type_):
            members.append(neighbors[0])
    return members


def _is_one(below: Any, above: Any, type_: pa.DataType) -> bool:
    """Whether a value between these two neighbors is a value of the type."""
    if pa.types.is_floating(type_):
        return (below is above or bool(below == above)) and _is_float_of(below, type_)
    low, high = _range(type_)
    return bool(below == above and low <= below <= high)


def _is_float_of(value: float, type_: pa.DataType) -> bool:
    """Whether a float is one of a type that may have fewer; Arrow rounds those to look them up."""
    with np.errstate(over="ignore"):
        there = float(np.dtype(f"f{type_.bit_width // 8}").type(value))
    return there == value or math.isnan(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | Decimal) and math.isnan(value)


def _range(type_: pa.DataType) -> tuple[int, int]:
    """Return the least and the greatest value of a type, in its steps."""
    if pa.types.is_decimal(type_):
        return -(10**type_.precision) + 1, 10**type_.precision - 1
    if pa.types.is_unsigned_integer(type_):
        return 0, 2**type_.bit_width - 1
    return -(2 ** (type_.bit_width - 1)), 2 ** (type_.bit_width - 1) - 1


def _find_neighbors(value: Any, type_: pa.DataType) -> tuple[Any, Any] | None:
    """Return the greatest value of the type up to `value` and the least from it on, in its steps."""
    if pa.types.is_floating(type_):
        return _floats(value) if isinstance(value, int | float) else None
    if isinstance(value, float | Decimal) and math.isinf(value):
        beyond = (2**300 if value > 0 else -(2**300),) * 2
        return beyond if _number(Fraction(0), type_) is not None else None
    steps = _steps(value, type_)
    return None if steps is None else (math.floor(steps), math.ceil(steps))


def _floats(value: int | float) -> tuple[float, float]:
    """Return the floats around a number: itself, where it is one."""
    try:
        nearest = float(value)
    except OverflowError:
        nearest = math.inf if value > 0 else -math.inf
    if nearest == value or isinstance(value, float):
        return nearest, nearest
    if nearest < value:
        return nearest, math.nextafter(nearest, math.inf)
    return math.nextafter(nearest, -math.inf), nearest


def _steps(value: Any, type_: pa.DataType) -> Fraction | None:
    """Return how many steps of the type a value is from its zero."""
    if isinstance(value, int | float | Decimal):
        return _number(Fraction(value), type_)
    if isinstance(value, dt.datetime):
        return _moment(value, type_)
    if isinstance(value, dt.date):
        days = Fraction(value.toordinal() - _EPOCH.toordinal())
        if pa.types.is_date32(type_):
            return days
        local = pa.types.is_timestamp(type_) and type_.tz is None
        return days * _DAY * _PER_SECOND[type_.unit] if local else None
    return None


def _number(value: Fraction, type_: pa.DataType) -> Fraction | None:
    if pa.types.is_integer(type_):
        return value
    return value * Fraction(10) ** type_.scale if pa.types.is_decimal(type_) else None


def _moment(value: dt.datetime, type_: pa.DataType) -> Fraction | None:
    zoned = value.utcoffset() is not None
    if zoned:
        value = value.astimezone(dt.timezone.utc).replace(tzinfo=None)
    seconds = Fraction((value - _EPOCH) // _TICK, 10**6)
    seconds += Fraction(getattr(value, "nanosecond", 0), 10**9)  # of pandas
    if pa.types.is_date32(type_) and not zoned:
        return seconds / _DAY
    if pa.types.is_timestamp(type_) and zoned == (type_.tz is not None):
        return seconds * _PER_SECOND[type_.unit]
    return None


def _array(steps: list[Any], type_: pa.DataType) -> pa.Array:
    """Return values of the type, made without pandas."""
    if pa.types.is_floating(type_):
        return to_arrow(np.array(steps, np.float64))
    if pa.types.is_decimal(type_):
        return strings([f"{step}e{-type_.scale}" for step in steps]).cast(type_)
    if pa.types.is_integer(type_):
        letter = "u" if pa.types.is_unsigned_integer(type_) else "i"
        return to_arrow(np.array(steps, f"{letter}{type_.bit_width // 8}"))
    stored = np.int32 if type_.bit_width == 32 else np.int64
    return to_arrow(np.array(steps, stored), type_)
