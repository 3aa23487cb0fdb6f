"""What the fields of records hold: types narrower than Python's, and how a single value is read.

An annotation such as `Count` or `Inside` is plain for the type checker, and says more to
`mapred.model.coding`, which reads whole records by their annotations.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from mapred.model.checking import short_repr
from mapred.process.lazy import pa

Reader = Callable[[Any], Any]

LISTS = (list, tuple)  # a field of a job that was not stored yet holds tuples
_LARGEST = 2**63 - 1  # of a whole number, as in Arrow and in files
_LEAST = -(2**63)
_DEEPEST = 50  # of what a field of any type holds
_MOST_TASKS = 10**7
_LAST_TIME = 253_370_764_800  # the year 9999, less a year for time zones
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,40}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")

Count: TypeAlias = Annotated[int, "from 0"]
Tasks: TypeAlias = Annotated[int, "from 0, and not so many that a list of them fills the memory"]
Seconds: TypeAlias = Annotated[float, "since the epoch, or a duration"]
Moment: TypeAlias = Annotated[str, "a time in UTC, as job.json writes it"]
Sum: TypeAlias = Annotated[float, "may be infinite"]
StageName: TypeAlias = Annotated[str, "a name that is part of a path"]
Inside: TypeAlias = Annotated[str, "a path below the run's folder"]
ArrowSchema: TypeAlias = Annotated[Any, "serialised, in base64"]


class Unfit(Exception):
    """A value that a field cannot hold; `path` leads to it from the record on."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(expected)
        self.expected, self.value, self.path = expected, value, ""

    def within(self, name: str | int) -> Unfit:
        step = f"[{name}]" if isinstance(name, int) else f".{name}"
        self.path = f"{step}{self.path}"
        return self

    def __str__(self) -> str:
        name = self.path.removeprefix(".")
        if self.value is dataclasses.MISSING:
            return f"{name} is missing: {self.expected}"
        return f"{name or 'it'} must be {self.expected}, and is {short_repr(self.value)}"


def _exactly(cls: type, expected: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is cls:
            return value
        raise Unfit(expected, value)

    return read


def _whole(least: int, most: int, expected: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is int and least <= value <= most:
            return value
        raise Unfit(expected, value)

    return read


_read_text = _exactly(str, "a text")
_read_whole = _whole(_LEAST, _LARGEST, "a whole number of 64 bits")


def _read_real(value: Any) -> Any:
    kind = type(value)
    if (kind is float and math.isfinite(value)) or (kind is int and _LEAST <= value <= _LARGEST):
        return value
    raise Unfit("a finite number", value)


def _read_sum(value: Any) -> Any:
    if type(value) is float or (type(value) is int and value.bit_length() < 1000):
        return value
    raise Unfit("a number", value)


def _read_seconds(value: Any) -> Any:
    if type(value) in (float, int) and 0 <= value < _LAST_TIME:
        return value
    raise Unfit("a number of seconds, to the year 9999", value)


def _read_moment(value: Any) -> Any:
    with suppress(ValueError):
        if type(value) is str and _MOMENT.fullmatch(value):
            datetime.fromisoformat(value[:-1])
            return value
    raise Unfit("a time such as '2026-03-01T12:00:00Z'", value)


def _read_stage_name(value: Any) -> Any:
    if type(value) is str and _STAGE.fullmatch(value):
        return value
    raise Unfit("the name of a stage, such as 'map' or 'reduce-1'", value)


def _read_inside(value: Any) -> Any:
    named = type(value) is str and value[:1] not in ("", "/") and "\0" not in value
    if named and (".." not in value or ".." not in value.split("/")):
        return value
    raise Unfit("a path below the run's folder", value)


def _read_bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_read_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("bytes in base64", value) from None


def _read_schema(value: Any) -> Any:
    try:
        return pa.ipc.read_schema(pa.py_buffer(_read_bytes(value)))
    except (pa.ArrowException, OSError):
        raise Unfit("an Arrow schema in base64", value) from None


def read_anything(value: Any, depth: int = _DEEPEST) -> Any:
    """Return a value of any form that is not nested so deeply that other code fails on it."""
    if type(value) in (dict, *LISTS):
        if not depth:
            raise Unfit(f"nested at most {_DEEPEST} deep", value)
        for part in value.values() if type(value) is dict else value:
            read_anything(part, depth - 1)
    elif type(value) is int:
        return _read_whole(value)
    return value


READERS: dict[Any, Reader] = {
    bool: _exactly(bool, "true or false"),
    bytes: _read_bytes,
    float: _read_real,
    int: _read_whole,
    str: _read_text,
    Any: read_anything,
    ArrowSchema: _read_schema,
    Count: _whole(0, _LARGEST, "a whole number from 0"),
    Inside: _read_inside,
    Moment: _read_moment,
    Seconds: _read_seconds,
    StageName: _read_stage_name,
    Sum: _read_sum,
    Tasks: _whole(0, _MOST_TASKS, f"a whole number from 0 to {_MOST_TASKS:,}"),
}
