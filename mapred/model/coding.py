"""Records of a run's folder as JSON: `encode` writes one, `decode` reads what may be anything.

A record is a frozen dataclass, and its annotations say what each field holds. A folder may be
half lost, of another program or of another version of mapred: `decode` gives a value whose fields
have their types, or raises a `RecordError` that names file, field and what was expected.

msgspec cannot take its place. Its JSON has neither the infinite counters nor the file names with
lone surrogates that records hold. Its `convert` names neither the value that it refuses nor the
key of a mapping (`$.digests[...]`), lets `Any` hold whole numbers of any size at any depth, needs
every class of an annotation loaded, pyarrow's among them, and makes a dataclass in one way alone,
where `Resources` is made of a record by `of_stored`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import json
import re
import types
import typing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Annotated, Any, Literal, TypeVar, cast

from mapred.errors import MapredError, RecordError
from mapred.model import checksums
from mapred.model.checking import evaluate, short_repr
from mapred.model.fields import LISTS, READERS, Reader, Unfit, read_anything

T = TypeVar("T")

# What is read here was written with the same first number. A higher second one added fields.
VERSION = "1.0"
EMPTY = "is empty, as files are after a power cut"  # said of one that should hold something
UPGRADE = "upgrade mapred to use it: pip install --upgrade mapred"
_MAJOR = int(VERSION.partition(".")[0])
_DIGITS = re.compile(r"-?[0-9]{1,18}")
_VERSIONS = re.compile(r"([0-9]{1,6})\.([0-9]{1,6})")


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
        return cast(T, _of_class(cast(Any, cls))(values))
    except Unfit as unfit:
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
    match = _VERSIONS.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise RecordError(
            f"{where}: version must be a text such as {VERSION!r}, and is {short_repr(version)}"
        )
    if int(match[1]) > _MAJOR:
        raise RecordError(
            f"{where} was made by a newer mapred: its format is {version}, and this one reads "
            f"{_MAJOR}.x; {UPGRADE}",
            newer=True,
        )


@functools.cache
def _reader(hint: Any) -> Reader:
    """Return the function that reads a value by its annotation."""
    if hint in READERS:
        return READERS[hint]
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _reader(inner[0])
    if origin in (typing.Union, types.UnionType):
        return _of_union(inner)
    if origin is Literal:
        return _of_choice(inner)
    if origin is tuple and inner[1:] != (...,):
        return _of_places(tuple, inner)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Sequence):
        return _of_sequence(list if origin is list else tuple, inner[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _of_mapping(*inner)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return _of_named_tuple(hint)
    if dataclasses.is_dataclass(hint):
        return _of_class(cast(Any, hint))
    return read_anything


@functools.cache
def _of_class(cls: Any) -> Reader:
    """Read a dataclass; fields that it does not have are those of a newer version.

    Its `in_json` has the types of those fields that JSON holds in another form.
    """
    fields = dataclasses.fields(cls)
    in_json = getattr(cls, "in_json", {})
    readers = {
        field.name: _reader(in_json[field.name])
        if field.name in in_json
        else _reader(evaluate(str(field.type), cls.__module__))
        for field in fields
    }
    required = [field.name for field in fields if _default(field) is dataclasses.MISSING]
    make = _make_constructor(cls, fields)

    def read(values: Any) -> Any:
        if type(values) is not dict:
            raise Unfit("an object", values)
        kept = {}
        name = ""
        try:
            for name, value in values.items():
                reader = readers.get(name)
                if reader is not None:
                    kept[name] = reader(value)
        except Unfit as unfit:
            raise unfit.within(name) from None
        for name in required:
            if name not in kept:
                raise Unfit(f"a record has {', '.join(required)}", dataclasses.MISSING).within(name)
        try:
            return make(kept)
        except MapredError as error:
            raise Unfit(f"one that holds together ({error})", values) from None

    return read


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return what makes the default of a field, or `MISSING`."""
    if field.default is not dataclasses.MISSING:
        return lambda: field.default
    return field.default_factory


def _make_constructor(
    cls: Any, fields: Sequence[dataclasses.Field[Any]]
) -> Callable[[dict[str, Any]], Any]:
    """Return what makes a value of a class of its fields, which were checked already.

    The constructor of a frozen class sets every field by itself, which takes longer than to read
    them; there may be as many commits as tasks.
    """
    if hasattr(cls, "of_stored"):
        return cast(Callable[[dict[str, Any]], Any], cls.of_stored)
    if hasattr(cls, "__post_init__"):
        return lambda kept: cls(**kept)
    defaults = {field.name: _default(field) for field in fields}

    def make(kept: dict[str, Any]) -> Any:
        if len(kept) < len(defaults):
            kept = {name: kept[name] if name in kept else d() for name, d in defaults.items()}
        made = object.__new__(cls)
        # One by one, as the instances of a class share their keys then.
        deque(map(object.__setattr__, repeat(made), kept, kept.values()), maxlen=0)
        return made

    return make


def _of_union(hints: tuple[Any, ...]) -> Reader:
    """Read the first of some kinds that fits."""
    readers = [_reader(hint) for hint in hints if hint is not type(None)]
    optional = type(None) in hints
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
            except Unfit as unfit:
                expected.append(unfit.expected)
        raise Unfit(" or ".join(expected), value)

    return read


def _of_choice(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is str and value in choices:
            return value
        raise Unfit(f"one of {', '.join(map(repr, choices))}", value)

    return read


def _of_sequence(make: Callable[[Any], Any], hint: Any) -> Reader:
    """Read a list of any length, whose values are of one kind."""
    reader = _reader(hint)

    def read(values: Any) -> Any:
        if type(values) not in LISTS:
            raise Unfit("a list", values)
        kept: list[Any] = []
        try:
            for value in values:
                kept.append(reader(value))
        except Unfit as unfit:
            raise unfit.within(len(kept)) from None
        return make(kept)

    return read


def _of_named_tuple(cls: Any) -> Reader:
    hints = typing.get_type_hints(cls, include_extras=True)
    return _of_places(cls._make, tuple(hints[name] for name in cls._fields))


def _of_places(make: Callable[[Any], Any], hints: tuple[Any, ...]) -> Reader:
    """Read a list that has so many places, each of its own kind."""
    readers = [_reader(hint) for hint in hints]

    def read(values: Any) -> Any:
        if type(values) not in LISTS or len(values) != len(readers):
            raise Unfit(f"a list of {len(readers)}", values)
        kept: list[Any] = []
        try:
            for reader, value in zip(readers, values, strict=True):
                kept.append(reader(value))
        except Unfit as unfit:
            raise unfit.within(len(kept)) from None
        return make(kept)

    return read


def _of_mapping(key: Any, hint: Any) -> Reader:
    reader, numbered = _reader(hint), key is int

    def read(values: Any) -> Any:
        if type(values) is not dict:
            raise Unfit("an object", values)
        kept: dict[Any, Any] = {}
        for name, value in values.items():
            if numbered and not _DIGITS.fullmatch(name):
                raise Unfit("an object whose names are whole numbers", values)
            try:
                kept[int(name) if numbered else name] = reader(value)
            except Unfit as unfit:
                raise unfit.within(name) from None
        return kept

    return read
