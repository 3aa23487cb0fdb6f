"""Records of a run's folder as JSON: `encode` writes one, `decode` reads what may be anything.

A record is a frozen dataclass, and its annotations say what each field holds. A folder may be
half lost, of another program or of another version of mapred: `decode` gives a value whose fields
have their types, or raises a `RecordError` that names file, field and what was expected.
"""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import functools
import json
import math
import re
import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import repeat
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from mapred.errors import MapredError, RecordError
from mapred.model import checksums
from mapred.model.checking import short_repr
from mapred.process.lazy import pa

T = TypeVar("T")
_Reader = Callable[[Any], Any]

# What is read here was written with the same first number. A higher second one added fields.
VERSION = "1.0"
EMPTY = "is empty, as a power cut leaves files"  # said of one that should hold something
UPGRADE = "upgrade mapred to use it: pip install --upgrade mapred"
_MAJOR = int(VERSION.partition(".")[0])
_LONGEST = 2**63  # bounds of a whole number, as those of Arrow and of files
_DEEPEST = 50  # of what a field of any type holds
_MOST_TASKS = 10**7
_LAST_TIME = 253_370_764_800  # the year 9999, less a year for time zones
_LISTS = (list, tuple)  # a field of a job that was not stored yet holds tuples
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_STAGE = re.compile(r"[a-z][a-z0-9-]{0,40}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_VERSIONS = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})")

# What fields hold, more exactly than by a type of Python.
Count: TypeAlias = Annotated[int, "from 0"]
Tasks: TypeAlias = Annotated[int, "from 0, and not so many that a list of them fills the memory"]
Seconds: TypeAlias = Annotated[float, "since the epoch, or a duration"]
Moment: TypeAlias = Annotated[str, "a time in UTC, as job.json writes it"]
Sum: TypeAlias = Annotated[float, "may be infinite"]
StageName: TypeAlias = Annotated[str, "a name that is part of a path"]
Inside: TypeAlias = Annotated[str, "a path below the run's folder"]
ArrowSchema: TypeAlias = Annotated[Any, "serialised, in base64"]


class _Unfit(Exception):
    """A value that a field cannot hold; `path` leads to it from the record on."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(expected)
        self.expected, self.value, self.path = expected, value, ""

    def within(self, name: str | int) -> _Unfit:
        step = f"[{name}]" if isinstance(name, int) else f".{name}"
        self.path = f"{step}{self.path}"
        return self

    def __str__(self) -> str:
        name = self.path.removeprefix(".")
        if self.value is dataclasses.MISSING:
            return f"{name} is missing: {self.expected}"
        return f"{name or 'it'} must be {self.expected}, and is {short_repr(self.value)}"


def encode(record: Any, indent: int | None = None) -> bytes:
    """Return a record as JSON, with the version of its format."""
    values = {"version": VERSION, **_jsonable(record)}
    if indent is None:
        return _compact(values).encode()
    return json.dumps(values, indent=indent, sort_keys=True, default=_jsonable).encode()


def _jsonable(value: Any) -> Any:
    return value.to_json() if hasattr(value, "to_json") else vars(value)


_compact = json.JSONEncoder(separators=(",", ":"), default=_jsonable).encode


def decode(cls: type[T], data: bytes, where: str) -> T:
    """Return the record in `data`, the content of the file `where`; `RecordError` if there is none."""
    return read(cls, _parse_json(data, where), where)


def read(cls: type[T], values: Any, where: str) -> T:
    """Return the record that a field of another one holds, as JSON has it; `where` leads to it."""
    try:
        return typing.cast(T, _of_class(typing.cast(Any, cls))(values))
    except _Unfit as unfit:
        raise RecordError(f"{where}: {unfit}") from None


def is_blank(data: bytes) -> bool:
    """Whether a file holds nothing: what a power cut leaves of one that was not on disk yet."""
    return not data.strip(b"\0")


def _parse_json(data: bytes, where: str) -> Any:
    """Return what a file holds as JSON, once its version is known to be one that is read here."""
    if is_blank(data):
        raise RecordError(f"{where} {EMPTY}", blank=True)
    try:
        values = json.loads(data)
    except RecursionError:
        raise RecordError(f"{where} is nested too deeply for a record") from None
    except ValueError as error:
        raise RecordError(f"{where} is not a record in JSON: {error}") from None
    if type(values) is dict:
        if values.get("version", VERSION) != VERSION:
            check_version(values["version"], where)
        if "seal" in values and not checksums.is_whole(data):
            raise RecordError(f"{where} is not what was written: its checksum differs")
    return values


def check_version(version: Any, where: str) -> None:
    """Raise a `RecordError` unless what is stored at `where` has a format that is read here."""
    known = _VERSIONS.fullmatch(version) if isinstance(version, str) else None
    if known is None:
        raise RecordError(
            f"{where}: version must be a text such as {VERSION!r}, and is {short_repr(version)}"
        )
    if int(known[1]) > _MAJOR:
        raise RecordError(
            f"{where} was made by a newer mapred: its format is {version}, and this one reads "
            f"{_MAJOR}.x; {UPGRADE}",
            newer=True,
        )


@functools.cache
def _reader(hint: Any) -> _Reader:
    """Return what reads a value by its annotation."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Annotated:
        return _reader(inner[0])
    if origin in (typing.Union, types.UnionType):
        return _of_union(inner)
    if origin is Literal:
        return _of_choice(inner)
    if origin is tuple:
        return _of_tuple(inner)
    if origin is list:
        one = _reader(inner[0])
        return lambda values: _read_each(values, one)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Sequence):
        return _of_tuple((inner[0], ...))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _of_mapping(*inner)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return _of_named_tuple(hint)
    if dataclasses.is_dataclass(hint):
        return _of_class(typing.cast(Any, hint))
    return _anything


@functools.cache
def _of_class(cls: Any) -> _Reader:
    """Read a dataclass; fields that it does not know are those of a newer version.

    Its `in_json` has the types of those fields that JSON holds in another form.
    """
    known = dataclasses.fields(cls)
    apart = getattr(cls, "in_json", {})
    readers = {
        field.name: _reader(apart[field.name])
        if field.name in apart
        else _named_reader(str(field.type), cls.__module__)
        for field in known
    }
    needed = [field.name for field in known if _default(field) is dataclasses.MISSING]
    make = _make_constructor(cls, known)

    def read(values: Any) -> Any:
        if type(values) is not dict:
            raise _Unfit("an object", values)
        kept = {}
        name = ""
        try:
            for name, value in values.items():
                reader = readers.get(name)
                if reader is not None:
                    kept[name] = reader(value)
        except _Unfit as unfit:
            raise unfit.within(name) from None
        for name in needed:
            if name not in kept:
                raise _Unfit(f"a record has {', '.join(needed)}", dataclasses.MISSING).within(name)
        try:
            return make(kept)
        except MapredError as error:
            raise _Unfit(f"one that holds together ({error})", values) from None

    return read


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return what makes the default of a field, or `MISSING`."""
    if field.default is not dataclasses.MISSING:
        return lambda: field.default
    return field.default_factory


def _make_constructor(
    cls: Any, known: Sequence[dataclasses.Field[Any]]
) -> Callable[[dict[str, Any]], Any]:
    """Return what makes a value of a class of its fields, which were checked already.

    The constructor of a frozen class sets every field by itself, which takes longer than to read
    them; there may be as many commits as tasks.
    """
    if hasattr(cls, "of_stored"):
        return cast(Callable[[dict[str, Any]], Any], cls.of_stored)
    if hasattr(cls, "__post_init__"):
        return lambda kept: cls(**kept)
    defaults = {field.name: _default(field) for field in known}

    def make(kept: dict[str, Any]) -> Any:
        if len(kept) < len(defaults):
            kept = {name: kept[name] if name in kept else d() for name, d in defaults.items()}
        made = object.__new__(cls)
        # One by one, as the instances of a class share their keys then.
        deque(map(object.__setattr__, repeat(made), kept, kept.values()), maxlen=0)
        return made

    return make


@functools.cache
def _named_reader(annotation: str, module: str) -> _Reader:
    """Return what reads a field by its annotation; anything where that names what is not loaded."""
    try:
        return _reader(eval(annotation, vars(sys.modules[module])))
    except NameError:
        return _anything


def _whole(value: Any) -> Any:
    if type(value) is int and -_LONGEST <= value < _LONGEST:
        return value
    raise _Unfit("a whole number of 64 bits", value)


def _real(value: Any) -> Any:
    kind = type(value)
    if (kind is float and math.isfinite(value)) or (kind is int and -_LONGEST <= value < _LONGEST):
        return value
    raise _Unfit("a finite number", value)


def _count(value: Any) -> Any:
    if type(value) is int and 0 <= value < _LONGEST:
        return value
    raise _Unfit("a whole number from 0", value)


def _tasks(value: Any) -> Any:
    if type(value) is int and 0 <= value <= _MOST_TASKS:
        return value
    raise _Unfit(f"a whole number from 0 to {_MOST_TASKS:,}", value)


def _seconds(value: Any) -> Any:
    if type(value) in (float, int) and 0 <= value < _LAST_TIME:
        return value
    raise _Unfit("a number of seconds, to the year 9999", value)


def _moment(value: Any) -> Any:
    with suppress(ValueError):
        if type(value) is str and _MOMENT.fullmatch(value):
            datetime.fromisoformat(value[:-1])
            return value
    raise _Unfit("a time such as '2026-03-01T12:00:00Z'", value)


def _stage_name(value: Any) -> Any:
    if type(value) is str and _STAGE.fullmatch(value):
        return value
    raise _Unfit("the name of a stage, such as 'map' or 'reduce-1'", value)


def _inside(value: Any) -> Any:
    named = type(value) is str and value[:1] not in ("", "/") and "\0" not in value
    if named and (".." not in value or ".." not in value.split("/")):
        return value
    raise _Unfit("a path below the run's folder", value)


def _schema(value: Any) -> Any:

    try:
        return pa.ipc.read_schema(pa.py_buffer(_bytes(value)))
    except (pa.ArrowException, OSError):
        raise _Unfit("an Arrow schema in base64", value) from None


def _sum(value: Any) -> Any:
    if type(value) is float or (type(value) is int and value.bit_length() < 1000):
        return value
    raise _Unfit("a number", value)


def _text(value: Any) -> Any:
    if type(value) is str:
        return value
    raise _Unfit("a text", value)


def _flag(value: Any) -> Any:
    if type(value) is bool:
        return value
    raise _Unfit("true or false", value)


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError):
        raise _Unfit("bytes in base64", value) from None


def _anything(value: Any, depth: int = _DEEPEST) -> Any:
    """Return what may have any form, and is not nested so deeply that others fail on it."""
    if type(value) in (dict, *_LISTS):
        if not depth:
            raise _Unfit(f"nested at most {_DEEPEST} deep", value)
        for part in value.values() if type(value) is dict else value:
            _anything(part, depth - 1)
    elif type(value) is int:
        return _whole(value)
    return value


_PLAIN: dict[Any, _Reader] = {
    int: _whole,
    float: _real,
    Count: _count,
    Tasks: _tasks,
    Seconds: _seconds,
    Moment: _moment,
    Sum: _sum,
    StageName: _stage_name,
    Inside: _inside,
    ArrowSchema: _schema,
    str: _text,
    bool: _flag,
    bytes: _bytes,
    Any: _anything,
}


def _of_union(inner: tuple[Any, ...]) -> _Reader:
    """Read the first of some kinds that fits."""
    readers = [_reader(each) for each in inner if each is not type(None)]
    optional = type(None) in inner
    first = readers[0]

    def read(value: Any) -> Any:
        if value is None and optional:
            return None
        if len(readers) == 1:
            return first(value)
        expected = []
        for reader in readers:
            try:
                return reader(value)
            except _Unfit as unfit:
                expected.append(unfit.expected)
        raise _Unfit(" or ".join(expected), value)

    return read


def _of_choice(choices: tuple[Any, ...]) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is str and value in choices:
            return value
        raise _Unfit(f"one of {', '.join(map(repr, choices))}", value)

    return read


def _of_tuple(inner: tuple[Any, ...]) -> _Reader:
    if inner[1:] == (...,):
        one = _reader(inner[0])
        return lambda values: tuple(_read_each(values, one))
    return _of_places(tuple, inner)


def _of_named_tuple(cls: Any) -> _Reader:
    hints = typing.get_type_hints(cls, include_extras=True)
    return _of_places(cls._make, tuple(hints[name] for name in cls._fields))


def _of_places(make: Callable[[Any], Any], inner: tuple[Any, ...]) -> _Reader:
    """Read a list that has so many places, each of its own kind."""
    readers = [_reader(each) for each in inner]

    def read(values: Any) -> Any:
        if type(values) not in _LISTS or len(values) != len(readers):
            raise _Unfit(f"a list of {len(readers)}", values)
        return make(
            [_read_place(readers[place], place, value) for place, value in enumerate(values)]
        )

    return read


def _read_place(reader: _Reader, place: int, value: Any) -> Any:
    try:
        return reader(value)
    except _Unfit as unfit:
        raise unfit.within(place) from None


def _read_each(values: Any, reader: _Reader) -> list[Any]:
    if type(values) not in _LISTS:
        raise _Unfit("a list", values)
    kept: list[Any] = []
    try:
        for value in values:
            kept.append(reader(value))
    except _Unfit as unfit:
        raise unfit.within(len(kept)) from None
    return kept


def _of_mapping(key: Any, inner: Any) -> _Reader:
    reader, numbered = _reader(inner), key is int

    def read(values: Any) -> Any:
        if type(values) is not dict:
            raise _Unfit("an object", values)
        kept: dict[Any, Any] = {}
        for name, value in values.items():
            if numbered and not _DIGITS.fullmatch(name):
                raise _Unfit("an object whose names are whole numbers", values)
            try:
                kept[int(name) if numbered else name] = reader(value)
            except _Unfit as unfit:
                raise unfit.within(name) from None
        return kept

    return read
