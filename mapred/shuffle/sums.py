"""Sums of whole numbers and decimals that never wrap around.

The bounds of the values tell for nearly all sums that they fit. Where they do not, values are
added up in limbs of 32 bits, which no number of rows overflows.
"""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import from_arrow, values_view
from mapred.process.lazy import pa

if TYPE_CHECKING:
    import numpy.typing as npt

_LIMB = 32
_LOW = (1 << _LIMB) - 1
_WIDE = 8
_DIGITS = {128: 38, 256: 76}


def sum_type(type_: pa.DataType) -> pa.DataType | None:
    """Return the type of a sum, whatever the values; None for types that cannot be summed."""
    types = pa.types
    if types.is_boolean(type_) or types.is_unsigned_integer(type_):
        return pa.uint64()
    if types.is_integer(type_) or types.is_null(type_):
        return pa.int64()
    if types.is_floating(type_) and type_.bit_width > 16:
        return pa.float64()
    if types.is_decimal(type_):
        wide = type_.bit_width > 128
        return pa.decimal256(76, type_.scale) if wide else pa.decimal128(38, type_.scale)
    return None


def surely_fits(column: pa.ChunkedArray, total: pa.DataType) -> bool:
    """Whether any sum of values of a column fits the type `total`, as far as bounds tell."""
    types, type_ = pa.types, column.type
    if types.is_floating(total) or types.is_null(type_):
        return True
    if types.is_decimal(total):
        most: int = 10 ** _DIGITS[total.bit_width] - 1
        if int(10**type_.precision) * len(column) <= most:
            return True
        highest = max(map(_highest, column.chunks), default=0)
    else:
        most = 2 ** (63 if types.is_signed_integer(total) else 64) - 1
        if type_.bit_width < 64:
            return bool((1 << type_.bit_width) * len(column) <= most)
        highest = max((largest(from_arrow(chunk)) for chunk in column.chunks), default=0)
    return highest * len(column) <= most


def largest(values: npt.NDArray[Any]) -> int:
    """Return a bound of the numbers' distance from zero."""
    return max(int(values.max()), -int(values.min())) if len(values) else 0


def _highest(array: pa.Array) -> int:
    """Return a bound of decimals' distance from zero, by their highest 64 bits alone."""
    count: int = array.type.bit_width // 64
    words = values_view(array, np.dtype(("<i8", count)))
    return (largest(words[:, -1]) + 1) << (64 * (count - 1))


def low_words(array: pa.Array) -> npt.NDArray[np.int64] | None:
    """Decimals as the whole numbers of 64 bits that they are; None where one is larger."""
    words = values_view(array, np.dtype(("<i8", array.type.bit_width // 64)))
    # A copy: adding by place is slow from numbers that do not lie side by side.
    low = words[:, 0].copy()
    return None if (words[:, 1] != low >> 63).any() else low


class Limbs:
    """Totals by group of whole numbers or decimals of one type, exact however many there are."""

    def __init__(self, type_: pa.DataType, groups: int) -> None:
        self.type = type_
        self.count = type_.bit_width // _LIMB
        self.signed = not pa.types.is_unsigned_integer(type_)
        self.totals = np.zeros((self.count, groups), np.int64)
        self.seen = np.zeros(groups, bool)

    def add(self, groups: npt.NDArray[Any], array: pa.Array) -> None:
        """Add values to the totals of their `groups`; nulls add nothing."""
        limbs = values_view(array, np.dtype(("<u4", self.count)))
        if array.null_count:
            valid = from_arrow(array.is_valid())
            groups, limbs = groups[valid], limbs[valid]
        self.seen[groups] = True
        for number in range(self.count):
            top = self.signed and number == self.count - 1
            values = np.ascontiguousarray(limbs[:, number])
            values = values.view(np.int32) if top else values
            np.add.at(self.totals[number], groups, values.astype(np.int64))

    def array(self) -> pa.Array:
        """Return the totals in their type; where one of them does not fit, all in a wider type."""
        if self.count == _WIDE:
            return self._of_many_digits()
        limbs, carry = np.zeros((self.totals.shape[1], _WIDE), np.uint32), np.int64(0)
        for number in range(_WIDE):
            total: Any = carry + (self.totals[number] if number < self.count else 0)
            limbs[:, number] = total & _LOW
            carry = total >> _LIMB
        valid = pa.py_buffer(np.packbits(self.seen, bitorder="little"))
        type_ = pa.decimal256(76, getattr(self.type, "scale", 0))
        wide = pa.Array.from_buffers(type_, len(limbs), [valid, pa.py_buffer(limbs)])
        try:
            return wide.cast(self.type)
        except pa.ArrowInvalid:
            return wide

    def _of_many_digits(self) -> pa.Array:
        """Totals of 76 digits; as text, of any number of digits, where one of them has more."""
        context = decimal.Context(prec=100)
        values = [
            context.scaleb(sum(limb << _LIMB * place for place, limb in enumerate(limbs)), -scale)
            if seen
            else None
            for scale in [self.type.scale]
            for limbs, seen in zip(self.totals.T.tolist(), self.seen.tolist(), strict=True)
        ]
        try:
            return pa.array(values, self.type)
        except pa.ArrowInvalid:
            return pa.array([None if value is None else f"{value:f}" for value in values])
