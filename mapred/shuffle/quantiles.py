"""Medians and quantiles of the values of each key, exact or refused.

The value at `q * (n - 1)` of the sorted values, by linear interpolation between the two next
to it. `q` is what its decimal digits say: 0.95 is 95/100.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import dtype_of, from_arrow, to_arrow, values_view
from mapred.process.lazy import pa
from mapred.shuffle.groups import take_or_null
from mapred.shuffle.lists import flatten_lists
from mapred.shuffle.sorting import order_rows

if TYPE_CHECKING:
    import numpy.typing as npt

MEDIAN = 0.5
_EXACT = 1 << 53
_FINER = {"s": "ms", "ms": "us", "us": "ns", "ns": "ns"}


class Inexact(Exception):
    """An answer that its type cannot hold: of which group, and between which values it lies."""

    def __init__(self, group: int, lower: pa.Scalar, upper: pa.Scalar) -> None:
        super().__init__(group)
        self.group = group
        low, high = (str(value.cast("string")) for value in (lower, upper))
        self.where = f"is {low}" if low == high else f"lies between {low} and {high}"


def quantile_type(type_: pa.DataType, options: Mapping[str, Any]) -> pa.DataType | None:
    """Return the type of the answers; None for types that have no order or cannot be interpolated."""
    types = pa.types
    if types.is_nested(type_):
        return None
    if options["interpolation"] != "linear":
        return type_
    if types.is_floating(type_) or types.is_integer(type_) or types.is_null(type_):
        return pa.float64()
    if types.is_decimal(type_):
        return _widen_decimal(type_, options.get("q", MEDIAN))
    if types.is_date(type_):
        return pa.timestamp("us")
    if types.is_timestamp(type_):
        return pa.timestamp(_FINER[type_.unit], type_.tz)
    if types.is_duration(type_):
        return pa.duration(_FINER[type_.unit])
    if types.is_time(type_):
        unit = _FINER[type_.unit]
        return pa.time32(unit) if unit == "ms" else pa.time64(unit)
    return None


def _widen_decimal(type_: pa.DataType, q: float) -> pa.DataType | None:
    """Decimals with as many digits more as interpolation may take; None where there are none."""
    digits = max(0, -int(decimal.Decimal(repr(q)).normalize().as_tuple().exponent))
    precision, scale = type_.precision + digits, type_.scale + digits
    if precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def quantiles(
    lists: pa.ChunkedArray, options: Mapping[str, Any], type_: pa.DataType
) -> pa.ChunkedArray:
    """Return the quantile of each list, null for an empty one and NaN where one of the values is."""
    values, bounds = flatten_lists(lists)
    counts = np.diff(bounds)
    order = order_rows(pa.table({"v": values}), ["v"], [False])
    groups = np.repeat(np.arange(len(counts)), counts)[order]
    order = order[np.argsort(groups, kind="stable")]
    there = np.flatnonzero(counts)
    steps, parts, whole = _places(counts[there], options.get("q", MEDIAN))
    first = bounds[:-1][there] + steps
    lower, upper = (values.take(to_arrow(order[at])) for at in (first, first + (parts > 0)))
    if options["interpolation"] == "linear":
        try:
            answers = _interpolate(lower, upper, parts, whole, type_)
        except Inexact as error:
            error.group = int(there[error.group])
            raise
    else:
        answers = lower if options["interpolation"] == "lower" else upper
    if pa.types.is_floating(values.type):
        last = values.take(to_arrow(order[bounds[1:][there] - 1]))
        nan = np.isnan(from_arrow(last))
        answers = to_arrow(np.where(nan, from_arrow(last), from_arrow(answers)), answers.type)
    places = np.full(len(counts), -1, np.int64)
    places[there] = np.arange(len(there))
    return take_or_null(answers, places)


def _places(
    counts: npt.NDArray[np.int64], q: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Return the value below the quantile among so many, and how far above it that is, in parts of
    a whole."""
    share = Fraction(repr(q))
    whole = share.denominator
    distinct, inverse = np.unique(counts, return_inverse=True)
    places = [divmod(share.numerator * (count - 1), whole) for count in distinct.tolist()]
    steps, parts = np.array(places, np.int64).reshape(-1, 2)[inverse.ravel()].T
    return steps, parts, whole


def _interpolate(
    lower: pa.Array,
    upper: pa.Array,
    parts: npt.NDArray[np.int64],
    whole: int,
    type_: pa.DataType,
) -> pa.Array:
    """`parts` of the `whole` way from each lower value to the upper one."""
    types, from_ = pa.types, lower.type
    if types.is_null(from_):
        return lower.cast(type_)
    if types.is_floating(from_):
        low, high = (from_arrow(end).astype(np.float64) for end in (lower, upper))
        return to_arrow(_floats(low, high, parts, whole))
    if types.is_integer(from_):
        small = _interpolate_small(lower, upper, parts, whole)
        if small is not None:
            return to_arrow(small)
    answers = []
    factor = _unit_factor(from_, type_)
    ends = zip(_whole_numbers(lower), _whole_numbers(upper), parts.tolist(), strict=True)
    for group, (one, other, part) in enumerate(ends):
        exact = Fraction((one * whole + (other - one) * part) * factor, whole)
        answer = _fit_to_type(exact, type_)
        if answer is None:
            raise Inexact(group, lower[group], upper[group])
        answers.append(answer)
    return _array(answers, type_)


def _floats(
    lower: npt.NDArray[np.float64],
    upper: npt.NDArray[np.float64],
    parts: npt.NDArray[np.int64],
    whole: int,
) -> npt.NDArray[np.float64]:
    share = parts / whole
    with np.errstate(over="ignore", invalid="ignore"):
        between = lower + (upper - lower) * share
        middle = (lower + upper) / 2
        apart = lower * (1 - share) + upper * share
    between = np.where(np.isfinite(between), between, apart)
    between = np.where((2 * parts == whole) & np.isfinite(middle), middle, between)
    between = np.where((parts == 0) | (lower == upper), lower, between)
    return np.clip(between, lower, upper)


def _interpolate_small(
    lower: pa.Array, upper: pa.Array, parts: npt.NDArray[np.int64], whole: int
) -> npt.NDArray[np.float64] | None:
    """Answers of one rounding; None where whole numbers are too large for that."""
    ends = [from_arrow(values) for values in (lower, upper)]
    if any(
        abs(int(end)) * whole > _EXACT
        for values in ends
        for end in (values.min(initial=0), values.max(initial=0))
    ):
        return None
    low, high = (values.astype(np.int64) for values in ends)
    answers: npt.NDArray[np.float64] = (low * whole + (high - low) * parts) / whole
    return answers


def _whole_numbers(array: pa.Array) -> list[int]:
    """Integers, instants in their unit, decimals without their point."""
    if not pa.types.is_decimal(array.type):
        return list(from_arrow(array).tolist())
    width = array.type.bit_width // 8
    data = values_view(array, f"V{width}").tobytes()
    return [
        int.from_bytes(data[at : at + width], "little", signed=True)
        for at in range(0, len(data), width)
    ]


def _unit_factor(from_: pa.DataType, to: pa.DataType) -> int:
    """How many of the answer's units are one of the values'."""
    if pa.types.is_integer(from_):
        return 1
    if pa.types.is_decimal(from_):
        return int(10 ** (to.scale - from_.scale))
    if pa.types.is_date(from_):
        return 86_400_000_000 if from_.bit_width == 32 else 1000
    return 1 if from_.unit == to.unit else 1000


def _fit_to_type(exact: Fraction, type_: pa.DataType) -> int | float | None:
    """Return a number as `type_` holds it; None where that is another one.

    Floats are the nearest; from where they are all whole numbers, those that are equal.
    """
    if pa.types.is_floating(type_):
        nearest = float(exact)
        return nearest if abs(exact) <= _EXACT or nearest == exact else None
    bits = type_.bit_width - 1
    fits = exact.denominator == 1 and -(1 << bits) <= exact < 1 << bits
    return int(exact) if fits else None


def _array(numbers: Sequence[int | float], type_: pa.DataType) -> pa.Array:
    if not pa.types.is_decimal(type_):
        return to_arrow(np.array(numbers, dtype_of(type_)), type_)
    width = type_.bit_width // 8
    data = b"".join(int(number).to_bytes(width, "little", signed=True) for number in numbers)
    return pa.Array.from_buffers(type_, len(numbers), [None, pa.py_buffer(data)])
