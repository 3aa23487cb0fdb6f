"""Where a JSON value does not fit its pinned type."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

from mapred.arrow.buffers import strings
from mapred.arrow.types import NUMBERS, float_holds, is_list, kind
from mapred.formats.json.advice import Misfit, Steps, describe_type, path_text
from mapred.formats.json.fields import (
    FieldError,
    Seen,
    add,
    decimal_of,
    digits_of,
    type_of,
)
from mapred.formats.json.objects import (
    DuplicateNames,
    Fraction,
    duplicate_message,
    kind_of,
    show_line,
)
from mapred.process.lazy import pa

_KINDS = dict.fromkeys(NUMBERS, "a number") | {
    "bool": "true or false",
    "list": "a list",
    "struct": "an object",
}
_INFINITE = math.ldexp(2 - 2**-24, 127)  # as a float32, from here on


def misfit_of(
    value: dict[str, Any], schema: pa.Schema, closed: bool, inferred: Collection[str] = ()
) -> Misfit | None:
    """Return the first value of a line's object that does not fit.

    `closed`: it may not have other fields. Texts are not numbers in `inferred` ones.
    """
    if isinstance(value, DuplicateNames) and (closed or value.name in schema.names):
        return Misfit((value.name,), duplicate_message(value.name), final=True)
    for field in schema:
        texts = field.name not in inferred
        misfit = _check_value(value.get(field.name), field, (field.name,), texts)
        if misfit is not None:
            return misfit
    extra = next((name for name in value if name not in schema.names), None) if closed else None
    return None if extra is None else _extra_field_misfit((extra,), value[extra])


def has_unknown(value: Any, type_: pa.DataType) -> bool:
    """Whether an object inside `value` has a field that its type lacks."""
    if isinstance(value, list) and is_list(type_):
        return any(has_unknown(item, type_.value_type) for item in value)
    if not isinstance(value, dict) or not pa.types.is_struct(type_):
        return False
    numbers = {name: type_.get_field_index(name) for name in value}
    return any(
        number < 0 or has_unknown(value[name], type_.field(number).type)
        for name, number in numbers.items()
    )


def _check_value(value: Any, field: pa.Field, steps: Steps, texts: bool) -> Misfit | None:
    """Return what does not fit in the value of a field; with `texts`, a text may be a decimal."""
    if value is None:
        return None if field.nullable else Misfit(steps, "is missing, but may not be null")
    own, pinned = kind_of(value), kind_of_type(field.type)
    if texts and own == "text" and pa.types.is_decimal(field.type):
        pinned = own
    if own != pinned:
        what = f"is {own} ({show_line(value)}), and not {pinned} ({describe_type(field.type)})"
        return Misfit(steps, what, suggest_type(value))
    if own == "a number":
        return _check_number(value, field.type, steps)
    if own == "text":
        return _check_text(value, field.type, steps)
    if own == "a list":
        return _check_items(value, field.type, steps, texts)
    return _check_fields(value, field.type, steps, texts) if own == "an object" else None


def kind_of_type(type_: pa.DataType) -> str:
    """Return the kind of JSON values that become a type."""
    return _KINDS.get(kind(type_), "text")


def _check_items(value: list[Any], type_: pa.DataType, steps: Steps, texts: bool) -> Misfit | None:
    if pa.types.is_fixed_size_list(type_) and len(value) != type_.list_size:
        return Misfit(steps, f"has {len(value)} items, not {type_.list_size}")
    misfits = (
        _check_value(item, type_.value_field, (*steps, n), texts) for n, item in enumerate(value)
    )
    return next(filter(None, misfits), None)


def _check_fields(
    value: dict[str, Any], type_: pa.DataType, steps: Steps, texts: bool
) -> Misfit | None:
    if isinstance(value, DuplicateNames):
        return Misfit(
            (*steps, value.name), duplicate_message(path_text((*steps, value.name))), final=True
        )
    for field in type_:
        misfit = _check_value(value.get(field.name), field, (*steps, field.name), texts)
        if misfit is not None:
            return misfit
    names = {field.name for field in type_}
    extra = next((name for name in value if name not in names), None)
    return None if extra is None else _extra_field_misfit((*steps, extra), value[extra])


def _extra_field_misfit(steps: Steps, value: Any) -> Misfit:
    return Misfit(
        steps,
        f"is not in the pinned schema (it is {kind_of(value) or 'null'} here)",
        suggest_type(value),
        extra=True,
    )


def suggest_type(value: Any) -> pa.DataType | None:
    """Return the type that one value suggests."""
    seen = Seen("")
    try:
        add(seen, value, None)
        return type_of(seen)
    except FieldError:
        return None


def _check_number(value: Any, type_: pa.DataType, steps: Steps) -> Misfit | None:
    if pa.types.is_decimal(type_):
        return _check_decimal(value, type_, steps)
    return (_check_integer if pa.types.is_integer(type_) else _check_float)(value, type_, steps)


def _check_integer(value: Any, type_: pa.DataType, steps: Steps) -> Misfit | None:
    if not isinstance(value, int):
        what = (
            f"is {show_line(value)}, which is not a whole number as {describe_type(type_)} has them"
        )
        return Misfit(steps, what, pa.float64())
    signed = pa.types.is_signed_integer(type_)
    span = 1 << type_.bit_width
    if 0 <= value + signed * span // 2 < span:
        return None
    what = f"is {show_line(value)}, which {describe_type(type_)} cannot hold"
    if signed and -(2**63) <= value < 2**63:
        return Misfit(steps, what, pa.int64())
    return Misfit(steps, what, decimal_of([value, 2**63]))


def _check_float(value: Any, type_: pa.DataType, steps: Steps) -> Misfit | None:
    double = type_.bit_width == 64
    if isinstance(value, int) and not float_holds(value, 53 if double else 24):
        what = (
            f"is {show_line(value)}, a whole number that {describe_type(type_)} cannot hold exactly"
        )
        return Misfit(steps, what, pa.float64() if float_holds(value) else _decimal_for(value))
    if isinstance(value, Fraction) and not double and abs(float(value)) >= _INFINITE:
        return Misfit(steps, f"is {value}, which {describe_type(type_)} cannot hold", pa.float64())
    return None


def _decimal_for(value: int) -> pa.DataType | None:
    """Return a decimal with places behind the point, for a field that was a float."""
    digits, _ = digits_of(value)
    if digits <= 20:
        return pa.decimal128(38, 18)
    return pa.decimal256(76, 38) if digits <= 38 else None


def _check_decimal(value: Any, type_: pa.DataType, steps: Steps) -> Misfit | None:
    if isinstance(value, float):
        return Misfit(steps, f"is {show_line(value)}, which {describe_type(type_)} cannot hold")
    whole, scale = digits_of(value)
    if scale <= type_.scale and whole <= type_.precision - type_.scale:
        return None
    needed = decimal_of([value, "9" * (type_.precision - type_.scale), f"1e-{type_.scale}"])
    return Misfit(steps, f"is {show_line(value)}, which {describe_type(type_)} cannot hold", needed)


def _check_text(value: str, type_: pa.DataType, steps: Steps) -> Misfit | None:
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return None
    if pa.types.is_decimal(type_) and re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", value):
        return _check_decimal(Fraction(value), type_, steps)
    others = [pa.string()]
    if pa.types.is_timestamp(type_):
        zones = ((type_.unit, None), (type_.unit, "UTC"), ("ns", type_.tz), ("ns", "UTC"))
        others = [pa.timestamp(unit, zone) for unit, zone in zones] + others
    for fitting in (type_, *others):
        try:
            strings([value]).cast(fitting)
            break
        except (pa.ArrowException, NotImplementedError):
            continue
    if fitting is type_:
        return None
    return Misfit(
        steps, f"is {show_line(value)}, which {describe_type(type_)} does not read", fitting
    )
