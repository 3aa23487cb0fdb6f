"""The types of JSON fields, by all the values that samples hold; exact at any depth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from mapred.arrow.types import float_holds
from mapred.formats.json.objects import (
    KINDS,
    DuplicateNames,
    Fraction,
    duplicate_message,
    show_line,
)
from mapred.process.lazy import pa

# Arrow sends no columns of more than 63 levels, and the function may add some.
_DEEPEST = 60
_EXACT = 2**53
_WIDE = 76
DICTS = 'as_="dicts"'
TWO_KINDS = f"{DICTS} takes fields of two types, and so does mapred.read_text with json.loads"


class FieldError(ValueError):
    """A value leaves its field without a type; `where` is the place that `add` was given."""

    def __init__(self, message: str, where: Any) -> None:
        super().__init__(message)
        self.where = where


@dataclass(slots=True)
class Seen:
    """The values of one field, or the items of one list, as far as they were seen."""

    path: str
    depth: int = 0
    count: int = 0
    kind: str = ""
    first: Any = None
    low: int = 0
    high: int = 0
    widest: Any = None
    rounded: tuple[int, Any] | None = None
    fractions: list[Fraction] = field(default_factory=list)
    constants: int = 0
    fields: dict[str, Seen] = field(default_factory=dict)
    items: Seen | None = None

    def below(self, path: str, where: Any) -> Seen:
        if self.depth == _DEEPEST:
            raise FieldError(
                f"field {path[:60]}... is nested in more than {_DEEPEST} levels, which no table"
                f" can be; {DICTS} takes such values",
                where,
            )
        return Seen(path, self.depth + 1)


def add(seen: Seen, value: Any, where: Any, describe: Callable[[Any], str] = str) -> None:
    """Take one more value into account; `describe` puts a place into words."""
    kind = KINDS[type(value)]
    if not kind:
        return
    if kind != seen.kind:
        if seen.kind:
            raise FieldError(
                f"field {seen.path} is {kind} ({show_line(value)}), but {seen.kind} in"
                f" {describe(seen.first)}; {TWO_KINDS}",
                where,
            )
        seen.kind, seen.first = kind, where
    seen.count += 1
    if kind == "a number":
        _add_number(seen, value, where)
    elif kind == "a list":
        if value and seen.items is None:
            seen.items = seen.below(f"{seen.path}[]", where)
        for item in value:
            add(seen.items, item, where, describe)  # type: ignore[arg-type]
    elif kind == "an object":
        _add_fields(seen, value, where, describe)


def _add_fields(
    seen: Seen, value: dict[str, Any], where: Any, describe: Callable[[Any], str]
) -> None:
    if isinstance(value, DuplicateNames):
        raise FieldError(duplicate_message(f"{seen.path}.{value.name}"), where)
    for name, child in value.items():
        below = seen.fields.get(name)
        if below is None:
            below = seen.fields[name] = seen.below(f"{seen.path}.{name}", where)
        add(below, child, where, describe)


def _add_number(seen: Seen, value: Any, where: Any) -> None:
    if type(value) is Fraction:
        seen.fractions.append(value)
    elif type(value) is float:
        seen.constants += 1
    else:
        if value > seen.high:
            seen.high, seen.widest = value, where
        elif value < seen.low:
            seen.low, seen.widest = value, where
        if not -_EXACT <= value <= _EXACT and seen.rounded is None and not float_holds(value):
            seen.rounded = (value, where)


def type_of(seen: Seen) -> pa.DataType:
    """Return the Arrow type that holds all values exactly; a text where there are none."""
    if seen.kind == "a number":
        return _number(seen)
    if seen.kind == "true or false":
        return pa.bool_()
    if seen.kind == "a list":
        return pa.list_(type_of(seen.items) if seen.items else pa.string())
    if seen.kind == "an object":
        return pa.struct([(name, type_of(child)) for name, child in seen.fields.items()])
    return pa.string()


def _number(seen: Seen) -> pa.DataType:
    if not seen.fractions and not seen.constants:
        if seen.low >= -(2**63) and seen.high < 2**63:
            return pa.int64()
        if seen.low >= 0 and seen.high < 2**64:
            return pa.uint64()
    elif seen.rounded is None:
        return pa.float64()
    elif seen.constants:
        value, where = seen.rounded
        raise FieldError(
            f"field {seen.path} is {show_line(value)}, which a float64 cannot hold exactly, and NaN or"
            f" Infinity elsewhere, which a decimal cannot hold; {DICTS} takes both",
            where,
        )
    numbers: list[int | str] = [seen.low, seen.high, *seen.fractions]
    type_ = decimal_of(numbers)
    if type_ is None:
        raise FieldError(
            f"field {seen.path} has numbers of more digits than a decimal can have ({_WIDE}),"
            f" such as {show_line(max(numbers, key=lambda n: abs(Decimal(n))))}; {DICTS} takes them",
            seen.rounded[1] if seen.rounded else seen.widest,
        )
    return type_


def decimal_of(numbers: Iterable[int | str]) -> pa.DataType | None:
    """Return the decimal type that holds numbers exactly, if possible with room for more digits."""
    digits, scale = zip(*(digits_of(number) for number in numbers), strict=True)
    whole, scale = max(digits), max(scale)
    if not scale and whole <= _WIDE:
        return pa.decimal128(38, 0) if whole <= 38 else pa.decimal256(_WIDE, 0)
    if max(whole, 20) + scale <= 38:
        return pa.decimal128(38, 38 - max(whole, 20))
    if whole + scale <= 38:
        return pa.decimal128(38, scale)
    if whole + scale <= _WIDE:
        return pa.decimal256(_WIDE, max(scale, min(38, _WIDE - whole)))
    return None


def digits_of(number: int | str) -> tuple[int, int]:
    """Return the number of digits before a decimal point, and of those behind it."""
    try:
        exact = Decimal(number)
    except InvalidOperation:  # an exponent of twenty digits
        return 0, _WIDE + 1
    exponent = exact.as_tuple().exponent
    assert isinstance(exponent, int)
    return (max(0, exact.adjusted() + 1) if exact else 0), max(0, -exponent)
