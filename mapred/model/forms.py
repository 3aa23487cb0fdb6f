"""The parts that values of Python and its library are made of: what `canonical` writes down of each.

What a function could see of a value counts, so the order of a dict does, the digits of a
`Decimal`, and the ends of a range; the order of a set, which follows from nothing, does not.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import struct
import sys
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mapred.model.checking import short_repr


class Form(NamedTuple):
    """A value, taken apart.

    Attributes:
        tag: The kind of the value, which no other kind has.
        payload: What it holds as bytes, in pieces whose borders do not count.
        parts: The values that it holds.
        place_of: The place of each part by its index, as an error shows it.
        ordered: Whether the order of the parts counts.
    """

    tag: str
    payload: tuple[Any, ...] = ()
    parts: Iterable[Any] = ()
    place_of: Callable[[int], str] = "[{}]".format
    ordered: bool = True


class ClassOf(NamedTuple):
    """The class of a value, where it counts as one of its parts."""

    kind: type


Former = Callable[[Any], Form]


def named(tag: str, parts: dict[str, Any], payload: tuple[Any, ...] = ()) -> Form:
    """Return the form of a value whose parts have names, which count; in brackets, those given here."""
    names = [*parts]

    def place_of(index: int) -> str:
        return names[index] if names[index][:1] in "([:." else f".{names[index]}"

    return Form(tag, (text(repr(names)), *payload), parts.values(), place_of)


def text(value: str) -> bytes:
    return str.encode(value, errors="surrogatepass")


def integer(value: int) -> bytes:
    return int.to_bytes(value, int.bit_length(value) // 8 + 1, "little", signed=True)


def class_name(kind: type) -> str:
    """Return the name that tells a class from others, the same in a script and in its workers."""
    module = str(kind.__module__).replace("__mp_main__", "__main__")
    return f"{module}:{kind.__qualname__}"


def _dict(value: Any) -> Form:
    pairs = [*dict.items(value)]

    def place_of(index: int) -> str:
        key = short_repr(pairs[index // 2][0])
        return f"[{key}]" if index % 2 else f"[key {key}]"

    return Form("dict", (), (part for pair in pairs for part in pair), place_of)


def _ordered_dict(value: Any) -> Form:
    pairs = [(key, OrderedDict.__getitem__(value, key)) for key in OrderedDict.__iter__(value)]
    return Form("OrderedDict", (), pairs)


def _default_dict(value: Any) -> Form:
    factory = value.default_factory
    kept = ClassOf(factory) if isinstance(factory, type) else factory
    return named("defaultdict", {"default_factory": kept, "items": dict(dict.items(value))})


def _deque(value: Any) -> Form:
    parts = {"maxlen": value.maxlen, "items": list(deque.__iter__(value))}
    return named("deque", parts)


def _memoryview(value: memoryview) -> Form:
    parts = {"format": value.format, "shape": value.shape}
    return named("memoryview", parts, (value.tobytes(),))


def _namespace(value: types.SimpleNamespace) -> Form:
    return named("namespace", dict(sorted(vars(value).items())))


# Those that cannot hold other values.
LEAVES: dict[type, tuple[str, Callable[[Any], bytes]]] = {
    type(None): ("None", lambda _: b""),
    bool: ("bool", lambda value: b"1" if value else b"0"),
    int: ("int", integer),
    float: ("float", struct.Struct("<d").pack),
    complex: ("complex", lambda value: struct.pack("<dd", value.real, value.imag)),
    str: ("str", text),
    bytes: ("bytes", lambda value: bytes(memoryview(value))),
    bytearray: ("bytearray", lambda value: bytes(memoryview(value))),
    type(Ellipsis): ("Ellipsis", lambda _: b""),
    type(NotImplemented): ("NotImplemented", lambda _: b""),
}
_CONTAINERS: dict[type, Former] = {
    list: lambda value: Form("list", (), [*list.__iter__(value)]),
    tuple: lambda value: Form("tuple", (), [*tuple.__iter__(value)]),
    set: lambda value: Form("set", (), [*set.__iter__(value)], lambda _: "{…}", False),
    frozenset: lambda value: Form(
        "frozenset", (), [*frozenset.__iter__(value)], lambda _: "{…}", False
    ),
    dict: _dict,
    OrderedDict: _ordered_dict,
    defaultdict: _default_dict,
    deque: _deque,
}
_EXACT: dict[type, Former] = {
    **_CONTAINERS,
    range: lambda value: Form("range", (), (value.start, value.stop, value.step)),
    slice: lambda value: Form("slice", (), (value.start, value.stop, value.step)),
    memoryview: _memoryview,
    types.MappingProxyType: lambda value: Form("mappingproxy", (), [*value.items()]),
    types.SimpleNamespace: _namespace,
}


def _timedelta(value: Any) -> Form:
    return Form("timedelta", (), (value.days, value.seconds, value.microseconds))


def _date(value: Any) -> Form:
    return Form("date", (), (value.year, value.month, value.day))


def _clock(value: Any) -> tuple[int, ...]:
    return value.hour, value.minute, value.second, value.microsecond, value.fold


def _time(value: Any) -> Form:
    return named("time", {"clock": _clock(value), "tzinfo": value.tzinfo})


def _datetime(value: Any) -> Form:
    date = (value.year, value.month, value.day)
    return named("datetime", {"date": date, "clock": _clock(value), "tzinfo": value.tzinfo})


def _zone(value: Any) -> Form | None:
    """Take a zone by its key; one that was read from a file has none."""
    return Form("ZoneInfo", (), (value.key,)) if value.key is not None else None


def _decimal(value: Any) -> Form:
    sign, digits, exponent = value.as_tuple()
    return Form("Decimal", (f"{sign} {exponent} ".encode(), bytes(digits)))


def _spelled(tag: str) -> Former:
    return lambda value: Form(tag, (text(str(value)),))


# By module and name, as none of them may be loaded. pathlib's classes were moved in between.
_LIBRARY: dict[str, Callable[[Any], Form | None]] = {
    "datetime.timedelta": _timedelta,
    "datetime.date": _date,
    "datetime.time": _time,
    "datetime.datetime": _datetime,
    "datetime.timezone": lambda value: Form("timezone", (), value.__getinitargs__()),
    "zoneinfo.ZoneInfo": _zone,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": lambda value: Form("Fraction", (), (value.numerator, value.denominator)),
    "uuid.UUID": lambda value: Form("UUID", (value.bytes,)),
    "re.Pattern": lambda value: Form("Pattern", (), (value.pattern, value.flags)),
    "array.array": lambda value: named("array", {"type": value.typecode}, (value.tobytes(),)),
    **{
        f"{module}.{name}": _spelled(name)
        for module in ("pathlib", "pathlib._local")
        for name in "PurePosixPath PureWindowsPath PosixPath WindowsPath".split()
    },
    **{
        f"ipaddress.{kind}{version}": _spelled(f"{kind}{version}")
        for kind in ("IPv4", "IPv6")
        for version in ("Address", "Network", "Interface")
    },
}


def former_of(kind: type) -> Callable[[Any], Form | None] | None:
    """Return what takes values of a class apart; None where only others can know."""
    if kind in _EXACT:
        return _EXACT[kind]
    module = kind.__module__
    known = _LIBRARY.get(f"{module}.{kind.__name__}")
    if known is not None and getattr(sys.modules.get(module), kind.__name__, None) is kind:
        return known
    if issubclass(kind, enum.Enum):
        return _member
    if hasattr(kind, "__dataclass_fields__"):
        return _record
    if _base_of(kind) is not None:
        return _descendant
    return None


def _member(value: enum.Enum) -> Form:
    name = None if isinstance(value, enum.Flag) else value.name  # flags have names since 3.11
    return named("enum", {"(class)": ClassOf(type(value)), "name": name, "value": value.value})


_ABSENT = ClassOf(type("absent", (), {"__module__": "mapred", "__qualname__": "absent"}))


def _record(value: Any) -> Form:
    kind = type(value)
    parts: dict[str, Any] = {"(class)": ClassOf(kind)}
    parts |= {f.name: getattr(value, f.name, _ABSENT) for f in dataclasses.fields(kind)}
    base = _base_of(kind)
    content = {"(content)": _content(value, base)} if base is not None else {}
    return named("dataclass", parts | content)


def _base_of(kind: type) -> type | None:
    """Return the builtin class that a class of someone's own derives from."""
    return next((base for base in kind.__mro__ if base in _CONTAINERS or base in LEAVES), None)


class Content(NamedTuple):
    """A value as one of the builtin class that its own class derives from."""

    form: Form


def _content(value: Any, base: type) -> Content:
    if base in _CONTAINERS:
        return Content(_CONTAINERS[base](value))
    tag, payload = LEAVES[base]
    return Content(Form(tag, (payload(value),)))


def state_of(value: Any) -> dict[str, Any]:
    """Return the attributes that an object has of its own, by name, but for cached properties."""
    state = dict(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, functools.cached_property):
                state.pop(name, None)
            elif isinstance(member, types.MemberDescriptorType) and name not in state:
                try:
                    state[name] = member.__get__(value)
                except AttributeError:
                    pass  # it was not set
    return dict(sorted(state.items()))


def _descendant(value: Any) -> Form:
    kind = type(value)
    base = _base_of(kind)
    assert base is not None
    parts = {"(class)": ClassOf(kind), "(content)": _content(value, base)}
    names = {"(fields)": kind._fields} if hasattr(kind, "_fields") else {}
    return named("subclass", parts | names | state_of(value))
