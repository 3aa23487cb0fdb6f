"""Python values, one a row, as a column: exactly, or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from mapred.arrow import from_frames
from mapred.arrow.buffers import nullable
from mapred.errors import FunctionError
from mapred.process.lazy import pa

_OTHER = "objects"
_WORDS = {
    "bool": "booleans",
    "int": "whole numbers",
    "float": "floats",
    "Decimal": "decimals",
    "str": "text",
    "bytes": "bytes",
    "date": "dates",
    "timedelta": "durations",
}


def to_array(name: str, values: Sequence[Any], where: Callable[[int], str]) -> pa.Array:
    """Return the values as Arrow; a `FunctionError` names the column where no type holds them all.

    Whole numbers beyond int64 become uint64, else decimals. `where` says of a place what its
    value belongs to, as in "item 3".
    """
    array = convert(values)
    if isinstance(array, Unfit):
        examples = " and ".join(f"{what} ({where(place)})" for place, what in array.examples)
        raise FunctionError(
            f"column {name!r} holds {examples}, {array.reason}; give it one type in the function, or "
            "use to_pandas() or outputs(), which keep Python objects"
        )
    return array


class Unfit:
    """Why values make no Arrow column, with the place of one value of each kind."""

    def __init__(self, examples: list[tuple[int, str]], reason: str) -> None:
        self.examples, self.reason = examples, reason


_SIMPLE = {"bool": bool, "float": float, "str": str}
_LONG = 2**29  # characters, which have up to four bytes each


def convert(values: Sequence[Any]) -> Any:
    """Return the values as an Arrow array, or an `Unfit`: why no type holds them all."""
    values = [_plain(value) for value in values]
    families: dict[str, int] = {}
    for place, value in enumerate(values):
        if value is not None:
            families.setdefault(_family(value), place)
    examples = [(place, _WORDS.get(family, family)) for family, place in families.items()]
    unfit = Unfit(examples, "which no Arrow type holds together")
    if not families:
        return pa.nulls(len(values))
    try:
        array = _convert_families(values, frozenset(families))
    except (pa.ArrowException, ArithmeticError, TypeError, ValueError) as error:
        reason = str(error).split("\n")[0]
        return Unfit(examples, f"which Arrow cannot hold ({reason})")
    return unfit if array is None else array


def is_plain(values: Sequence[Any]) -> bool:
    """Whether all values are numbers, text, bytes, dates and times."""
    return all(value is None or _family(value) != _OTHER for value in map(_plain, values))


def _plain(value: Any) -> Any:
    """Return numpy's numbers as Python's, and None for what pandas shows as missing."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, np.generic) and value.dtype.kind in "biufSU" and value.itemsize != 16:
        return value.item()
    if isinstance(value, (np.datetime64, np.timedelta64)) and np.isnat(value):
        return None
    return value


def _family(value: Any) -> str:
    for kind in (bool, int, float, str, bytes, Decimal):
        if isinstance(value, kind):
            return kind.__name__
    if isinstance(value, dt.datetime):
        return "naive times" if value.tzinfo is None else f"times of {value.tzinfo}"
    if isinstance(value, dt.time):
        return "times of day" if value.tzinfo is None else _OTHER
    if isinstance(value, (dt.date, dt.timedelta)):
        return "date" if isinstance(value, dt.date) else "timedelta"
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value.dtype)
    return _OTHER


def _convert_families(values: list[Any], families: frozenset[str]) -> pa.Array | None:
    if families == {"int"}:
        return _build_integer_array([value for value in values if value is not None], values)
    if families == {"int", "float"}:
        if not all(value is None or float(value) == value or value != value for value in values):
            return None
        return nullable([None if value is None else float(value) for value in values], float)
    if families == {"int", "Decimal"}:
        return pa.array([None if value is None else Decimal(value) for value in values])
    if len(families) > 1:
        return None
    (family,) = families
    if family in _SIMPLE and (family != "str" or sum(len(v or "") for v in values) < _LONG):
        return nullable(values, _SIMPLE[family])
    if family == _OTHER:
        array = pa.array(values)
        back = array.to_pylist()
        return array if all(map(_is_unchanged, values, back)) else None
    if family.startswith(("datetime64", "timedelta64")):
        return pa.array(np.array(values, family))
    array = pa.array(values)
    finer = from_frames.holds_nanoseconds(values, array.type)
    return from_frames.in_nanoseconds(values, array.type) if finer else array


def _build_integer_array(numbers: list[int], values: list[int | None]) -> pa.Array:
    low, high = min(numbers), max(numbers)
    if low >= -(2**63) and high < 2**63:
        return nullable(values, int)
    if low >= 0 and high < 2**64:
        return pa.array(values, pa.uint64())
    return pa.array([None if value is None else Decimal(value) for value in values])


def _is_unchanged(value: Any, back: Any) -> bool:
    """Whether a nested value came back from Arrow as it was."""
    value = _plain(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if value is None or back is None:
        return value is back
    if isinstance(value, Mapping):
        return all(_is_unchanged(value.get(key), part) for key, part in back.items())
    if isinstance(value, (list, tuple)):
        return len(value) == len(back) and all(map(_is_unchanged, value, back))
    if isinstance(value, (set, frozenset)):
        return value == set(back)
    return bool(value == back or (value != value and back != back))
