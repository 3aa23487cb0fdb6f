"""What it means that a value which the function got is the one that stands in the file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa


def rows_of(handed: Any) -> list[dict[str, Any]]:
    """The rows of a table, frame, or iterator of batches or dicts, as Python values."""
    if isinstance(handed, pa.Table):
        return handed.to_pylist()
    if isinstance(handed, pl.DataFrame):
        return handed.to_dicts()
    if isinstance(handed, pd.DataFrame):
        assert isinstance(handed.index, pd.RangeIndex)
        assert (handed.index.start, handed.index.step) == (0, 1)
        columns = [[plain(value) for value in handed[name].array] for name in handed]
        return [
            dict(zip(handed.columns, values, strict=True)) for values in zip(*columns, strict=True)
        ] or [{}] * (len(handed) if not columns else 0)
    rows: list[dict[str, Any]] = []
    for part in handed:
        rows += part.to_pylist() if isinstance(part, pa.RecordBatch) else [part]
    return rows


def plain(value: Any) -> Any:
    """A value out of a frame as Python has it; None for what is missing."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        assert value.nanosecond == 0
        return value.to_pydatetime()
    if isinstance(value, pd.Timedelta):
        assert value.nanoseconds == 0
        return value.to_pytimedelta()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal: NaN is NaN, 0.0 is not -0.0, 1 is not True nor 1.0."""
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Decimal | int) and isinstance(other, Decimal | int):
        return one == other
    if isinstance(one, datetime) and isinstance(other, datetime):
        return (one.tzinfo is None) == (other.tzinfo is None) and one == other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def assert_same(found: Iterable[Any], expected: Iterable[Any]) -> None:
    """Compare rows one by one; the message shows the first that differs."""
    found, expected = list(found), list(expected)
    for number, (one, other) in enumerate(zip(found, expected, strict=False)):
        assert same(one, other), f"row {number} is {one!r}, and should be {other!r}"
    assert len(found) == len(expected)


WHOLE = frozenset("0123456789")


def is_whole(text: str) -> bool:
    """Whether a text is a whole number as it is usually written."""
    digits = text.removeprefix("-")
    return bool(digits) and set(digits) <= WHOLE and (digits == "0" or digits[0] != "0")


def is_decimal(text: str) -> bool:
    """Whether a text is a number with a fraction or an exponent, or a whole one."""
    mantissa = text.lower().removeprefix("-").partition("e")[0]
    whole, _, fraction = mantissa.partition(".")
    try:
        float(text)
    except ValueError:
        return False
    return is_whole(whole or "0") and set(fraction) <= WHOLE and bool(whole or fraction)


def agrees(text: str, value: Any) -> bool:
    """Whether a value that is not null says what a text of a CSV file says."""
    if isinstance(value, str):
        return value == text
    text = text.strip(" ")
    if isinstance(value, bool):
        return text.lower() == str(value).lower() or text == str(int(value))
    if isinstance(value, int | Decimal):
        return is_decimal(text) and Decimal(text) == value
    if isinstance(value, float):
        if not is_decimal(text):
            return text.lower() in ("nan", "-nan", "inf", "-inf") and same(value, float(text))
        exact = not is_whole(text) or Decimal(text) == Decimal(value)
        return exact and same(value, float(text))
    if isinstance(value, datetime):
        said = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return same(value, said if value.tzinfo is None else said.astimezone(timezone.utc))
    if isinstance(value, date):
        return value == date.fromisoformat(text)
    if isinstance(value, time):
        return value == time.fromisoformat(text)
    assert not isinstance(value, timedelta)
    return False
