"""Which values fit an option, and how each is kept: numbers, times, sizes, texts, paths.

Numbers of numpy are numbers; booleans are not.
"""

from __future__ import annotations

import decimal
import math
import numbers
import os
import re
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, TypeAlias

from mapred.errors import MapredError
from mapred.model.frozen import dataclass
from mapred.process.secrecy import Public

_NUMBERS = (numbers.Real, decimal.Decimal)
_LARGEST = 2**63 - 1
_LONGEST = 10**9  # seconds; timers of the operating system overflow beyond some times that
_SECONDS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86_400),
    **dict.fromkeys(("w", "week", "weeks"), 7 * 86_400),
}
_PART = r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)\s*"
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES |= {f"{unit}i": 2 ** (10 * power) for power, unit in enumerate("kmgt", 1)}
_SIZE = r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?|)b?\s*"


class Unfit(ValueError):
    """A value that does not fit; the text, if any, says more about it."""


@dataclass(frozen=True)
class Rule:
    """What fits, in words, and `read`, which gives a value as it is kept or raises `Unfit`.

    `error` is the class to raise, None for that of the record or function. A message does not
    show a value that is `private`.
    """

    fits: str
    read: Callable[[Any], Any]
    error: type[MapredError] | None = None
    private: bool = False


def plain(value: Any) -> Any:
    """Return a numpy scalar as Python's, but for a time, which would lose its unit; all else as it
    is."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value[()] if value.dtype.kind in "mM" else value.item()
    return value


def _is_number(value: Any, kinds: tuple[type, ...]) -> bool:
    """Whether a value is of one of these kinds; truth values and times of numpy are not numbers."""
    return isinstance(value, kinds) and not isinstance(value, bool) and not _is_time(value)


def _is_time(value: Any) -> bool:
    return type(value).__name__ == "timedelta64" and type(value).__module__ == "numpy"


def whole(value: Any) -> int:
    """Return a whole number of any library as an `int`."""
    value = plain(value)
    if not _is_number(value, (numbers.Integral,)):
        raise Unfit
    return int(value)


def real(value: Any) -> float:
    """Return a finite number of any library as an `int` or a `float`."""
    value = plain(value)
    if not _is_number(value, _NUMBERS):
        raise Unfit
    try:
        finite = math.isfinite(value)
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
    except (OverflowError, ValueError):
        raise Unfit("it is out of range") from None
    if not finite:
        raise Unfit
    return number


def seconds(value: Any) -> float:
    """Seconds of a number, a `timedelta`, a `np.timedelta64` or a text such as `"1h30m"`."""
    if _is_time(value):
        if sys.modules["numpy"].datetime_data(value.dtype)[0] in ("generic", "M", "Y"):
            raise Unfit("a time without a unit, or in months or years, is not a number of seconds")
        value = value.astype("timedelta64[us]").item()  # None for a NaT
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = _spelled_seconds(value.strip()) if isinstance(value, str) else real(value)
    if number > _LONGEST:
        raise Unfit(f"the limit is {_LONGEST:,} seconds")
    return int(number) if number == int(number) else number


def _spelled_seconds(text: str) -> float:
    """Seconds of a number, or of parts whose units become smaller."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
        return float(text)
    total, at, last = 0.0, 0, math.inf
    part = re.compile(_PART, re.ASCII)
    while at < len(text):
        match = part.match(text, at)
        unit = _SECONDS.get(match[2], math.inf) if match else math.inf
        if match is None or unit >= last:
            raise Unfit
        total, at, last = total + float(match[1]) * unit, match.end(), unit
    if not text:
        raise Unfit
    return total


def size(value: Any) -> int:
    """Bytes of a number or of a text such as `"4Gi"` or `"500M"`."""
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value, re.I | re.ASCII)
        if match is None:
            raise Unfit
        number = int(float(match[1]) * _BYTES[match[2].lower()])
    else:
        amount = real(value)
        if amount != int(amount):
            raise Unfit(f"did you mean '{amount}Gi'?")
        number = int(amount)
    if not 0 < number <= _LARGEST:
        raise Unfit
    return number


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return the values of any collection but a text, a mapping or a set, which has no order."""
    if isinstance(value, str | bytes | Mapping | set | frozenset):
        raise Unfit
    try:
        return tuple(value)
    except TypeError:  # not iterable, or an array without dimensions
        raise Unfit from None


def between(least: int, most: int = _LARGEST, error: type[MapredError] | None = None) -> Rule:
    """Return a whole number from `least` up to `most`."""

    def read(value: Any) -> int:
        number = whole(value)
        if not least <= number <= most:
            raise Unfit
        return number

    fits = f"at least {least}" if most == _LARGEST else f"from {least:,} to {most:,}"
    return Rule(f"a whole number, {fits}", read, error)


def one_of(*choices: Any, error: type[MapredError] | None = None) -> Rule:
    """One of these texts."""

    def read(value: Any) -> Any:
        value = plain(value)
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise Unfit
        return value

    return Rule(f"one of {', '.join(map(repr, choices))}", read, error)


def _above_zero(read: Callable[[Any], float], value: Any) -> float:
    number = read(value)
    if number <= 0:
        raise Unfit
    return number


def _seconds_from_zero(value: Any) -> float:
    number = seconds(value)
    if number < 0:
        raise Unfit
    return number


def _as_size(value: Any) -> int | str:
    """Return a size as it was written, so that a pod asks for `4Gi`."""
    number = size(value)
    return value if isinstance(value, str) else number


def _share(value: Any) -> float:
    """How many may fail: a count, or a share below 1 as a number or in percent."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", value, re.ASCII)
        if match is None or float(match[1]) >= 100:
            raise Unfit
        return float(match[1]) / 100
    number = real(value)
    if number < 0 or (number > 1 and number != int(number)):
        raise Unfit
    if number == 1 and isinstance(number, float):
        raise Unfit("1.0 could mean one or all: write 1 for one")
    return int(number) if number >= 1 else number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Unfit
    return value if isinstance(value, Public) else str(plain(value))


def _filled_text(value: Any) -> str:
    text = _text(value)
    if not text.strip():
        raise Unfit
    return text


def _flag(value: Any) -> bool:
    value = plain(value)
    if not isinstance(value, bool):
        raise Unfit
    return value


def _path(value: Any) -> Any:
    text: Any = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise Unfit
    return value


def _folder_mode(value: Any) -> int:
    mode = whole(value)
    if not 0o700 <= mode <= 0o777:
        raise Unfit(f"it is {mode:#o}: begin the number with 0o" if mode > 0 else "")
    return mode


def function(value: Any) -> Any:
    if not callable(value):
        raise Unfit
    return value


def instance(kind: type) -> Rule:
    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise Unfit
        return value

    package = kind.__module__.split(".")[0]
    name = kind.__qualname__ if package == "builtins" else f"{package}.{kind.__qualname__}"
    return Rule(f"a {name}", read)


PLAIN: dict[Any, Rule] = {
    bool: Rule("True or False", _flag),
    int: Rule("a whole number", whole),
    float: Rule("a number", real),
    str: Rule("a text", _text),
}
_FORMS = "a timedelta or a text such as '90s', '1h30m' or '2d'"
DURATION = Rule(f"seconds above zero, {_FORMS}", partial(_above_zero, seconds))
MAX_FAILED = Rule("a count, or a share below 1 such as 0.01 or '1%'", _share)
Text: TypeAlias = Annotated[str, Rule("a text that is not empty", _filled_text)]
Location: TypeAlias = Annotated[
    str | os.PathLike[str], Rule("a path or URI that is not empty", _path)
]
FolderMode: TypeAlias = Annotated[
    int, Rule("the rights of a folder, from 0o700 to 0o777, such as 0o750", _folder_mode)
]
FromZero: TypeAlias = Annotated[int, between(0)]
FromOne: TypeAlias = Annotated[int, between(1)]
AboveZero: TypeAlias = Annotated[float, Rule("a number above zero", partial(_above_zero, real))]
Duration: TypeAlias = Annotated[float | str | timedelta, DURATION]
DurationFromZero: TypeAlias = Annotated[
    float | str | timedelta, Rule(f"seconds from zero, {_FORMS}", _seconds_from_zero)
]
Size: TypeAlias = Annotated[
    int | str, Rule("bytes as a whole number above zero, or a text such as '4Gi'", _as_size)
]
