"""What texts stand for: the type that holds all values of a column exactly."""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mapred.arrow.buffers import scalar, strings
from mapred.arrow.types import float_holds
from mapred.model.spec import Format
from mapred.process.lazy import pa, pc, pcsv

# What means null in columns other than text, as Arrow has it.
NULLS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip
TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")

_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_STAMP = rf"{_DATE}[ T](?:{_TIME}|[0-9]{{2}})"
_INFINITY = r"[ \t]*-?(?i:inf(?:inity)?)[ \t]*"
_WITH_DATE, _WITH_TIME = re.compile("%[YymdbBjaAUWuwGVDxcF]"), re.compile("%[HIMSfpTXcR]")
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Numbers:
    """How numbers are written: `whole` ones, and `any`, as patterns of a whole text."""

    whole: str
    any: str


@functools.lru_cache(maxsize=64)
def numbers(decimal: str, thousands: str, strict: bool) -> Numbers:
    """Return the patterns of a dialect; `strict` ones have no leading zero and no plus sign.

    Groups have three digits, so that a decimal point is not taken for a separator.
    """
    point, separator = re.escape(decimal), re.escape(thousands)
    sign, digits = ("-?", "(?:0|[1-9][0-9]*") if strict else ("[+-]?", "(?:[0-9]+")
    if thousands:
        first = "[1-9][0-9]{0,2}" if strict else "[0-9]{1,3}"
        digits += f"|{first}(?:{separator}[0-9]{{3}})+"
    digits += ")"
    either = f"(?:{digits}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    return Numbers(rf"[ \t]*{sign}{digits}[ \t]*", rf"[ \t]*{sign}{either}[ \t]*")


def numbers_of(format: Format, strict: bool = True) -> Numbers:
    return numbers(format.decimal, format.thousands, strict)


def canonical(text: str, format: Format) -> str:
    """Return a number as Python writes it."""
    text = text.strip(" \t").removeprefix("+")
    if format.thousands:
        text = text.replace(format.thousands, "")
    return text.replace(format.decimal, ".")


def match(texts: Any, pattern: str) -> Any:
    """Which texts match a pattern as a whole; null for nulls."""
    return pc.match_substring_regex(texts, f"^(?:{pattern})$")


def all_match(texts: Any, pattern: str) -> bool:
    return bool(pc.all(match(texts, pattern), min_count=0).as_py())


def type_of(texts: pa.Array | pa.ChunkedArray, format: Format) -> pa.DataType:
    """Return the type of a column with these values, none of them null."""
    values = texts.unique()
    for infer in (_number, _truth, _moment):
        type_ = infer(values, format)
        if type_ is not None:
            return type_
    return pa.string()


def type_of_text(text: str, format: Format) -> pa.DataType:
    """Return the type of a column with this value alone."""
    return type_of(strings([text]), format)


def not_text(texts: pa.ChunkedArray, format: Format) -> bool:
    """Whether some value would by itself give a column another type than text."""
    values = texts.drop_null().unique()
    moments = f"{_DATE}|{_TIME}|{_STAMP}{_ZONE}?"
    truths = "|".join(map(re.escape, _truths(format)))
    pattern = f"{numbers_of(format).any}|{truths}|{moments}"
    if format.date_formats:
        likely = values.to_pylist()
    elif not len(values):
        return False
    else:
        likely = values.filter(match(values, pattern)).to_pylist()
    return any(type_of_text(text, format) != pa.string() for text in likely)


def _number(values: pa.Array, format: Format) -> pa.DataType | None:
    patterns = numbers_of(format)
    numeric = match(values, patterns.any)
    if not pc.any(numeric, min_count=0).as_py():
        return None
    infinite = values.filter(pc.invert(numeric))
    if not all_match(infinite, _INFINITY):
        return None
    whole = match(values, patterns.whole)
    # No text of 15 characters is a whole number that int64 or float64 would change.
    long = pc.greater(pc.utf8_length(values), scalar(15))
    big = values.filter(pc.and_(whole, long)).to_pylist()
    integers = [int(canonical(text, format)) for text in big]
    if pc.all(whole).as_py():
        negative = pc.any(match(values, "[ \t]*-.*")).as_py()
        return _whole(integers, negative)
    finite = [canonical(text, format) for text in values.filter(numeric).to_pylist()]
    if not all(map(float_holds, integers)):
        return pa.string() if len(infinite) else _decimal(finite)
    return pa.string() if any(abs(float(text)) == float("inf") for text in finite) else pa.float64()


def _whole(integers: list[int], negative: bool) -> pa.DataType:
    """Return the first type that holds the integers, the large ones of a column."""
    if all(-(2**63) <= n < 2**63 for n in integers):
        return pa.int64()
    if not negative and all(n < 2**64 for n in integers):
        return pa.uint64()
    digits = max(len(str(abs(n))) for n in integers)
    if digits <= 38:
        return pa.decimal128(38, 0)
    return pa.decimal256(76, 0) if digits <= 76 else pa.string()


def _decimal(texts: list[str]) -> pa.DataType:
    """Decimals for whole numbers that float64 would round, beside fractions."""
    parts = [text.lstrip("-").partition(".") for text in texts]
    scale = max(len(fraction) for _, _, fraction in parts)
    if any("e" in text or "E" in text for text in texts):
        return pa.string()
    fits = max(len(whole) for whole, _, _ in parts) + scale <= 38
    return pa.decimal128(38, scale) if fits else pa.string()


def _truths(format: Format) -> tuple[str, ...]:
    return (*TRUE, *FALSE, *(format.true_values or ()), *(format.false_values or ()))


def _truth(values: pa.Array, format: Format) -> pa.DataType | None:
    words = frozenset(_truths(format))
    return pa.bool_() if all(text in words for text in values.to_pylist()) else None


def _moment(values: pa.Array, format: Format) -> pa.DataType | None:
    """Dates, times and timestamps; with parts of seconds, which later values may have."""
    if format.date_formats:
        type_ = _by_formats(values.to_pylist(), format)
        if type_ is not None:
            return type_
    fine = pc.any(match(values, rf".*\.[0-9]{{7,9}}{_ZONE}?"), min_count=0).as_py()
    unit = "ns" if fine else "us"
    if all_match(values, _DATE):
        type_ = pa.date32()
    elif all_match(values, _TIME):
        type_ = pa.time64(unit)
    elif all_match(values, f"{_DATE}|{_STAMP}"):
        type_ = pa.timestamp(unit)
    elif all_match(values, f"{_STAMP}{_ZONE}"):
        type_ = pa.timestamp(unit, "UTC")
    else:
        return None
    try:
        by_arrow(values.to_pylist(), type_)
    except pa.ArrowException:
        return None
    return type_


def by_arrow(texts: list[str], type_: pa.DataType) -> pa.ChunkedArray:
    """Texts without delimiters or quotes in a type, as Arrow reads them from CSV."""
    data = "\n".join((*texts, "")).encode()
    return pcsv.read_csv(
        pa.BufferReader(data),
        pcsv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=["value"]),
        pcsv.ParseOptions(quote_char=False),
        pcsv.ConvertOptions(column_types={"value": type_}, null_values=[]),
    )["value"]


def _by_formats(texts: Iterable[str], format: Format) -> pa.DataType | None:
    kinds: set[Any] = set()
    for text in texts:
        value = moment(text, format)
        if value is None:
            return None
        zoned = isinstance(value, dt.datetime) and value.tzinfo is not None
        kinds.add((type(value), zoned))
    if kinds == {(dt.date, False)}:
        return pa.date32()
    if kinds == {(dt.time, False)}:
        return pa.time64("us")
    if kinds == {(dt.datetime, True)}:
        return pa.timestamp("us", "UTC")
    local = kinds <= {(dt.date, False), (dt.datetime, False)}
    return pa.timestamp("us") if local else None


def moment(text: str, format: Format) -> dt.date | dt.time | None:
    """Return a date, time or timestamp by the first format that fits, else as ISO 8601 has it."""
    for pattern in format.date_formats or ():
        try:
            value = dt.datetime.strptime(text, pattern)  # noqa: DTZ007
        except ValueError:
            continue
        if not _WITH_TIME.search(pattern):
            return value.date()
        return value if _WITH_DATE.search(pattern) else value.time()
    if re.fullmatch(_TIME, text):
        stamp = _iso(f"1970-01-01T{text}")
        return stamp and stamp.time()
    if re.fullmatch(_DATE, text):
        stamp = _iso(text)
        return stamp and stamp.date()
    return _iso(text) if re.fullmatch(f"{_STAMP}{_ZONE}?", text) else None


def _iso(text: str) -> dt.datetime | None:
    """Return a timestamp in microseconds; None if it has parts of these, or is not in the calendar."""
    zoned = re.fullmatch(f"{_STAMP}{_ZONE}", text) is not None
    try:
        stamps = by_arrow([text], pa.timestamp("us", "UTC" if zoned else None))
    except pa.ArrowException:
        return None
    value: dt.datetime = _EPOCH + stamps.cast(pa.int64())[0].as_py() * _MICROSECOND
    return value.replace(tzinfo=dt.timezone.utc) if zoned else value


def ticks(value: dt.date | dt.time, type_: pa.DataType) -> int | None:
    """Return a moment as days or microseconds, as columns of the type count; None if it has no
    place."""
    if pa.types.is_date(type_):
        return value.toordinal() - _EPOCH.toordinal() if type(value) is dt.date else None
    if pa.types.is_time(type_):
        if not isinstance(value, dt.time):
            return None
        day = dt.datetime.combine(_EPOCH.date(), value)
        return (day - _EPOCH) // _MICROSECOND
    if isinstance(value, dt.time):
        return None
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if (value.tzinfo is None) != (type_.tz is None):
        return None
    if value.tzinfo is not None:
        value = value.astimezone(dt.timezone.utc).replace(tzinfo=None)
    return (value - _EPOCH) // _MICROSECOND
