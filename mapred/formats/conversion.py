"""Texts of CSV to pinned types: not one value changes, or an error says what would hold it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from mapred.arrow.buffers import from_arrow, strings, to_arrow
from mapred.arrow.types import MOMENTS, NUMBERS, float_holds, kind, strip_encoding, type_name
from mapred.formats import inference
from mapred.model.spec import Format
from mapred.process.lazy import np, pa, pc

_LOOKS_LIKE_A_DATE = re.compile(r"[0-9]{1,4}[./-][0-9A-Za-z]{1,3}[./-][0-9]{1,4}.*")
_OTHERWISE_WRITTEN = re.compile(r"[+-]?[0-9]+(?:[.,' ][0-9]+)+")


class Misfit(ValueError):
    """A value does not fit its type."""


def is_text(type_: pa.DataType) -> bool:
    """Whether columns of the type hold texts as they stand, in which only `null_values` are null."""
    return kind(strip_encoding(type_)) in ("text", "bytes")


def needs_conversion(field: pa.Field, format: Format) -> bool:
    """Whether values are converted here, since Arrow's reader cannot, or changes some."""
    type_ = field.type
    if pa.types.is_decimal(type_) or pa.types.is_float16(type_):
        return True
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        return True
    if pa.types.is_boolean(type_):
        return field.name not in format.inferred
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return bool(format.thousands)
    return kind(type_) in MOMENTS and format.date_formats is not None


def convert(texts: pa.ChunkedArray, field: pa.Field, format: Format) -> Any:
    """Return a column of texts in its type; a `Misfit` or Arrow's error if a value does not fit."""
    type_ = field.type
    if pa.types.is_boolean(type_):
        return _parse_bools(texts, format)
    if kind(type_) in MOMENTS:
        return _parse_times(texts, type_, format)
    if is_text(type_):
        return texts.cast(type_)
    numbers = _canonical(texts, field, format)
    column = (_plain(numbers, type_) if pa.types.is_decimal(type_) else numbers).cast(type_)
    if pa.types.is_floating(type_):
        check_floats(column, lambda: texts, format)
    return column


def _canonical(texts: pa.ChunkedArray, field: pa.Field, format: Format) -> pa.ChunkedArray:
    """Return numbers as Arrow reads them, with a decimal point and no separators or plus signs."""
    patterns = inference.numbers_of(format, strict=field.name in format.inferred)
    pattern = patterns.any
    if pa.types.is_floating(field.type):
        pattern = f"{pattern}|(?i:[+-]?(?:inf(?:inity)?|nan))"
    if not inference.all_match(texts, pattern):
        raise Misfit
    texts = pc.utf8_trim(texts, " \t")
    if format.thousands:
        texts = pc.replace_substring(texts, format.thousands, "")
    if format.decimal != ".":
        texts = pc.replace_substring(texts, format.decimal, ".")
    return pc.replace_substring_regex(texts, r"^\+", "")


def _plain(texts: pa.ChunkedArray, type_: pa.DataType) -> Any:
    """Return numbers with no more digits than the type has: Arrow's cast overflows in silence."""
    whole, scale = type_.precision - type_.scale, type_.scale
    pattern = rf"-?0{{0,9}}[0-9]{{0,{max(whole, 0)}}}(?:\.[0-9]{{0,{max(scale, 0)}}})?"
    if inference.all_match(texts, pattern):
        return texts
    plain = [
        None if text is None else _expand_exponent(text, whole, scale) for text in texts.to_pylist()
    ]
    return pa.chunked_array([pa.array(plain, pa.string())])


def _expand_exponent(text: str, whole: int, scale: int) -> str:
    """Return a number in its shortest form; raise `Misfit` if it has more digits than the type."""
    sign, digits, exponent = Decimal(text).as_tuple()
    if not isinstance(exponent, int):
        raise Misfit
    kept = "".join(map(str, digits)).lstrip("0")
    exponent += len(kept) - len(kept.rstrip("0"))
    kept = kept.rstrip("0")
    if kept and (len(kept) + exponent > whole or exponent < -scale):
        raise Misfit
    return f"{'-' * sign}{kept or '0'}e{exponent if kept else 0}"


def _parse_bools(texts: pa.ChunkedArray, format: Format) -> Any:
    true = strings([*inference.TRUE, "1", *(format.true_values or ())])
    false = strings([*inference.FALSE, "0", *(format.false_values or ())])
    is_true = pc.is_in(texts, true)
    is_either = pc.or_(is_true, pc.is_in(texts, false))
    if not pc.all(pc.or_(is_either, pc.is_null(texts)), min_count=0).as_py():
        raise Misfit
    return pc.if_else(pc.is_null(texts), pa.scalar(None, pa.bool_()), is_true)


def _parse_times(texts: pa.ChunkedArray, type_: pa.DataType, format: Format) -> Any:
    """Parse dates, times and timestamps by `date_formats`, each distinct text once."""
    coded = texts.combine_chunks().dictionary_encode()
    counts = []
    for text in coded.dictionary.to_pylist():
        moment = inference.moment(text, format)
        count = None if moment is None else inference.ticks(moment, type_)
        if count is None:
            raise Misfit
        counts.append(count)
    date = pa.types.is_date(type_)
    zone = type_.tz if pa.types.is_timestamp(type_) else None
    exact = pa.time64("us") if pa.types.is_time(type_) else pa.timestamp("us", zone)
    values = to_arrow(
        np.array(counts, np.int32 if date else np.int64), pa.date32() if date else exact
    )
    return values.take(coded.indices).cast(type_)


def check_floats(column: Any, texts: Any, format: Format) -> None:
    """Refuse overflow, and whole numbers that lost digits; `texts()` returns what was written."""
    values = from_arrow(column)
    bits = np.finfo(values.dtype).nmant + 1
    with np.errstate(invalid="ignore"):
        big = np.flatnonzero(np.abs(values) >= 2.0**bits)
    if not len(big):
        return
    written = texts().take(to_arrow(big)).to_pylist()
    for text, value in zip(written, values[big].tolist(), strict=True):
        if text is not None and _is_lossy(text, value, bits, format):
            raise Misfit


def _is_lossy(text: str, value: float, bits: int, format: Format) -> bool:
    if re.fullmatch(inference.numbers_of(format, strict=False).whole, text):
        number = int(inference.canonical(text, format))
        return abs(value) == float("inf") or not float_holds(number, bits)
    return abs(value) == float("inf") and "inf" not in text.lower()


def explain_misfit(text: str, field: pa.Field, format: Format) -> str:
    """Explain why a value does not fit its column, with an option that helps."""
    name, type_ = field.name, field.type
    if name in format.undecided:
        own = inference.type_of_text(text, format)
        return (
            f"{text!r}, but the plan found no value in this column, so its type is unknown;"
            f" pass schema={{{name!r}: {type_name(own)!r}}} or {{{name!r}: 'string'}}"
        )
    holder, more = _name_holding_type(text, type_, format), ""
    if pa.types.is_unsigned_integer(type_) and holder.startswith("int"):
        holder = "decimal128(38, 0)"
    if holder == "uint64":
        more = ", or 'decimal128(38, 0)' if some are negative"
    elif holder == "string" and kind(type_) in MOMENTS and _is_other_date(text, format):
        more = ", or its format in date_formats="
    elif holder == "string" and pa.types.is_boolean(type_):
        more = ", or true_values= and false_values="
    elif holder == "string" and not re.search("[0-9]", text):
        more = f", or null_values=[{text!r}] if it means null"
    elif holder == "string" and kind(type_) in NUMBERS and _is_other_number(text, format):
        more = ", or decimal= and thousands= as its numbers are written"
    reason = f"{text!r} {_reason(text, type_, format)} {type_name(type_)}"
    return f"{reason}; pass schema={{{name!r}: {holder!r}}}{more}"


def _is_other_date(text: str, format: Format) -> bool:
    """Whether a text is likely a date in a format that is not among those in use."""
    likely = _LOOKS_LIKE_A_DATE.fullmatch(text) is not None and format.date_formats is None
    return likely and inference.type_of_text(text, format) == pa.string()


def _is_other_number(text: str, format: Format) -> bool:
    """Whether a text is likely a number with another decimal point or separators."""
    here = re.fullmatch(inference.numbers_of(format, strict=False).any, text)
    return _OTHERWISE_WRITTEN.fullmatch(text) is not None and here is None


def _reason(text: str, type_: pa.DataType, format: Format) -> str:
    number = text.strip(" \t")
    if kind(type_) in NUMBERS:
        if re.match(r"[+-]?0[xX]", number):
            return "is hexadecimal and would not stay as it stands in a column of"
        if number.startswith("+") and re.match(r"\+[0-9]", number):
            return "would lose its plus sign in a column of"
        if re.match(r"-?0[0-9]", number):
            return "would lose its leading zeros in a column of"
        loose = inference.numbers_of(format, strict=False)
        if re.fullmatch(loose.any, text):
            return "would lose digits or overflow in a column of"
    return "does not fit a column of"


def _name_holding_type(text: str, pinned: pa.DataType, format: Format) -> str:
    """Return the name of a type that holds both the value and what fits the pinned type."""
    own = inference.type_of_text(text, format)
    numeric = kind(own) in NUMBERS
    if pa.types.is_decimal(pinned) and numeric:
        return _wider_decimal(text, pinned, format)
    if pa.types.is_integer(pinned) and numeric:
        return type_name(own)
    if pa.types.is_floating(pinned) and numeric:
        narrow = pinned != pa.float64()
        whole = re.fullmatch(inference.numbers_of(format).whole, text)
        exact = not whole or float_holds(int(inference.canonical(text, format)))
        return "float64" if narrow and exact else "string"
    if pa.types.is_boolean(pinned) and text in ("0", "1"):
        return "bool"
    if pa.types.is_date(pinned) and pa.types.is_timestamp(own) and own.tz is None:
        return type_name(own)
    if pa.types.is_time(pinned) and pa.types.is_time(own):
        return type_name(own)
    if pa.types.is_timestamp(pinned) and pa.types.is_timestamp(own) and pinned.unit != "ns":
        same = (own.tz is None) == (pinned.tz is None)
        return (
            f"timestamp[{own.unit}{f', tz={pinned.tz}' if pinned.tz else ''}]" if same else "string"
        )
    return "string"


def _wider_decimal(text: str, pinned: pa.DataType, format: Format) -> str:
    number = Decimal(inference.canonical(text, format))
    exponent = number.as_tuple().exponent
    scale = max(pinned.scale, -exponent if isinstance(exponent, int) else 0)
    digits = max(number.adjusted() + 1, pinned.precision - pinned.scale, 1)
    if max(number.adjusted() + 1, 1) + scale <= 38:
        return f"decimal128(38, {scale})"
    return f"decimal256(76, {scale})" if digits + scale <= 76 else "string"
