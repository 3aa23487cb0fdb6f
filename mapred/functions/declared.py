"""The parameters of a job as people and programs outside of Python give them: as texts, with kinds.

    def f(lines, city: Literal["Bern", "Oslo"], days: int = 7)

An annotation says which texts fit and what they mean; a default makes the parameter one that may
be left out. Annotations do not survive the pickling of a function, so they are read where the
function is written down, and `Declared` carries what they mean.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from enum import Enum
from typing import Any

from mapred.errors import PlanError
from mapred.functions import parameters, signatures
from mapred.functions.commands import Command
from mapred.functions.parameters import DATE, Value
from mapred.model.checking import short_repr
from mapred.process import secrecy
from mapred.process.describing import parameters_in

_PLAIN = {str: "text", int: "int", float: "float", bool: "bool", date: "date", datetime: "datetime"}
# What each kind takes, for an error.
_FITS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "date": "a day such as 2026-03-01",
    "datetime": "a day or a time, such as 2026-03-01 or 2026-03-01T03:00",
}
_TIMES = ("date", "datetime")
_WHOLE_FORM, _REAL_FORM = re.compile(r"[-+ 0,<>=^_\d]*[dxXob]"), re.compile(r"[^%]*[eEfFgG%]")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a job that is started outside of Python.

    `kind` is `any` (read like a value of --param), text, int, float, bool, date or datetime;
    of `choices` one has to be given. Without a `default` a value has to be given, too.
    """

    name: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    default: str | None = None
    description: str = ""

    def __str__(self) -> str:
        kind = "|".join(self.choices) or self.kind
        return f"{self.name}: {kind}" + ("" if self.default is None else f" = {self.default!r}")


@dataclass(frozen=True)
class Declared:
    """The parameters of a job, and what the texts of some of them mean.

    `values` has the value of each choice, and `defaults` those of the parameters that may be left
    out; a parameter in neither is left to the function, or is the time of the start.
    """

    parameters: tuple[Parameter, ...] = ()
    values: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)

    def read(self, texts: Mapping[str, str], when: datetime) -> dict[str, Value]:
        """Return the values to bind for texts by name, for a start at `when`."""
        texts = complete(self.parameters, texts)
        bound: dict[str, Value] = {}
        for each in self.parameters:
            text = texts[each.name]
            if text != each.default:
                read = self.values.get(each.name, {}).get(text)
                bound[each.name] = read_text(each, text) if read is None else read
            elif each.name in self.defaults:
                bound[each.name] = self.defaults[each.name]
            elif each.name == DATE and each.kind in _TIMES:
                bound[each.name] = when.date() if each.kind == "date" else when
        return bound


def complete(known: Iterable[Parameter], texts: Mapping[str, str]) -> dict[str, str]:
    """Return a text for each parameter, defaults among them; `PlanError` for what does not fit."""
    known = tuple(known)
    for name in texts.keys() - {each.name for each in known}:
        there = ", ".join(map(str, known)) or "none"
        raise PlanError(f"nothing takes the parameter {name!r}; there are: {there}")
    given = {}
    for each in known:
        text = texts.get(each.name, each.default)
        if text is None:
            raise PlanError(f"parameter {each.name} needs a value: {_fits(each)}")
        if text != each.default:
            read_text(each, text)
        given[each.name] = text
    return given


def read_text(parameter: Parameter, text: str) -> Value:
    """Return the value of a text, of a choice the text itself; `PlanError` if it does not fit."""
    secrecy.refuse_parameter(parameter.name, text, PlanError)
    if parameter.choices and text not in parameter.choices:
        raise _unfit(parameter, text)
    try:
        return _READERS.get(parameter.kind, str)(text)
    except ValueError:
        raise _unfit(parameter, text) from None


def write_value(parameter: Parameter, value: Any) -> str:
    """Return a value as its text; `PlanError` for one that is not plain."""
    if value is None and parameter.default == "":
        return ""
    plain = parameters.check({parameter.name: value})[parameter.name]
    return parameters.text_of_value(plain)


def read_any(text: str) -> str | int | float | bool:
    """Return a number, true or false where a text looks like one in JSON, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def read_time(text: str) -> datetime:
    """Return a time, in UTC where the text names no zone; `ValueError` if it is not one."""
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


def declare(
    fn: Callable[..., Any], names: Iterable[str], texts: Iterable[str], given: Mapping[str, Any]
) -> Declared:
    """Return how the parameters `names` of a job are given from outside of Python.

    `texts` have places for some of them, and `given` are values to use unless another is given.
    A parameter whose annotation no text fits keeps the function's default; `PlanError` without one.
    """
    given = parameters.check(given)
    names = {*names, *parameters.accepted_names(fn, given)}
    for name in given.keys() - names:
        raise PlanError(f"params: nothing takes the parameter {name!r}")
    places = {match["name"]: match for text in texts for match in parameters.places_in(text)}
    taken = {} if isinstance(fn, Command) else signatures.signature(fn)
    about = parameters_in(_documentation(fn))
    made = Declared()
    for name in sorted(names, key=[*taken, *sorted(names)].index):
        type_ = _type_of(fn, name, taken, places, given)
        kind, values = _kind_of(type_)
        if kind is None and (name in given or name not in taken):
            kind, values = "any", {}
        default = taken[name].default if name in taken else inspect.Parameter.empty
        if kind is None:
            if default is inspect.Parameter.empty or name in places:
                raise PlanError(
                    f"parameter {name}: {_spell(type_)} cannot be given as a text: annotate it as "
                    "str, int, float, bool, date, datetime, an enum or a Literal, or give it a "
                    "default, which is then kept"
                )
            continue
        text = about.get(name, "").partition(": ")[2]
        one = Parameter(name, kind, tuple(values), None, " ".join(text.split()))
        if name in given:
            default = given[name]
            read_text(one, write_value(one, default))
        made = _add(made, one, values, default)
    return made


def _add(made: Declared, one: Parameter, values: Mapping[str, Any], default: Any) -> Declared:
    """Add a parameter with the value that it has unless another is given."""
    meanings = {**made.values, one.name: values} if values else made.values
    defaults = dict(made.defaults)
    text = None if default is inspect.Parameter.empty else ""
    if text is None and one.name == DATE and one.kind in _TIMES:
        text = ""  # the time of the start
    elif isinstance(default, Value):
        with suppress(PlanError):  # A default that is of another type is left to the function.
            written = write_value(one, default)
            read_text(one, written)
            text, defaults[one.name] = written, default
    if text is None:
        secrecy.refuse_parameter(one.name, "a value", PlanError)
    one = replace(one, default=text)
    return Declared((*made.parameters, one), meanings, defaults)


def _documentation(fn: Callable[..., Any]) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.getdoc(fn) or ""


def _type_of(
    fn: Callable[..., Any],
    name: str,
    taken: Mapping[str, inspect.Parameter],
    places: Mapping[str, re.Match[str]],
    given: Mapping[str, Any],
) -> Any:
    """Return the type of a parameter: as annotated, else as its default or its place has it."""
    hint = signatures.parameter_type(fn, name) if name in taken else Any
    if hint is not Any:
        return hint
    default = given.get(name, taken[name].default if name in taken else None)
    if isinstance(default, Enum) or type(default) in _PLAIN:
        return type(default)
    if name == DATE:
        return datetime
    if name not in places:
        return Any
    shift, form = places[name]["shift"], places[name]["form"] or ""
    if shift or re.search("%[a-zA-Z]", form):
        return datetime
    if _WHOLE_FORM.fullmatch(form):
        return int
    return float if _REAL_FORM.fullmatch(form) else str


def _kind_of(type_: Any) -> tuple[str | None, dict[str, Any]]:
    """Return the kind and the choices of a type; the kind is None for what no text can be."""
    origin, inner = typing.get_origin(type_), typing.get_args(type_)
    if type(type_).__name__ in ("TypeAliasType", "NewType"):
        return _kind_of(getattr(type_, "__value__", None) or type_.__supertype__)
    if origin is typing.Annotated:
        return _kind_of(inner[0])
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in inner if part is not types.NoneType]
        if len(parts) == 1:
            return _kind_of(parts[0])
        simple = all(part in (str, int, float, bool) for part in parts)
        return ("any" if simple else None), {}
    if origin is typing.Literal:
        choices = [choice for choice in inner if choice is not None]
        fits = all(isinstance(choice, Value) for choice in choices)
        return _choices(choices) if fits else (None, {})
    if isinstance(type_, type) and issubclass(type_, Enum):
        return _choices(list(type_))
    if type_ in (Any, object):
        return "any", {}
    return _PLAIN.get(type_), {}


def _choices(values: list[Any]) -> tuple[str, dict[str, Any]]:
    return "text", {parameters.text_of_value(value): value for value in values}


def _fits(parameter: Parameter) -> str:
    if parameter.choices:
        return f"one of {', '.join(parameter.choices)}"
    return _FITS.get(parameter.kind, "a text")


def _unfit(parameter: Parameter, text: str) -> PlanError:
    return PlanError(f"parameter {parameter.name}={short_repr(text)} must be {_fits(parameter)}")


def _spell(type_: Any) -> str:
    # Before Python 3.11, `set[str]` is a type by itself.
    plain = isinstance(type_, type) and typing.get_origin(type_) is None
    return type_.__name__ if plain else str(type_)


def _read_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


_READERS: Mapping[str, Callable[[str], Value]] = {
    "any": read_any,
    "int": int,
    "float": float,
    "bool": _read_bool,
    "date": date.fromisoformat,
    "datetime": read_time,
}
