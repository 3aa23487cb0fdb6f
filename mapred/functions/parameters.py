"""Parameters of a job: values that fill the places of its URIs, and reach its function by name.

"s3://logs/{date:%Y/%m/%d}/*.gz"      a value in a format of its own, as by str.format
"s3://logs/{date-1d:%Y-%m-%d}.gz"     a date some days, hours or minutes before or after
def f(lines, city, date)              keywords, where the function has such parameters
MAPRED_PARAM_CITY                     what a program finds in its environment
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any

from mapred.errors import PlanError, RecordError
from mapred.functions import signatures
from mapred.functions.commands import Command
from mapred.functions.transport import makes_callables
from mapred.model.checking import short_repr
from mapred.model.rules import plain
from mapred.process import secrecy
from mapred.process.lazy import shlex

Value = Enum | str | int | float | bool | date  # a member of an enum of texts stays one
_PLACE = r"\{(?P<name>[A-Za-z_]\w*)(?P<shift>[+-]\d{1,6}[dhm])?(?::(?P<form>[^{}]*))?\}"
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
DATE = "date"  # the day or the time for which a run is made
KINDS = "a text, a number, true or false, or a date"


def check(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters, numbers of numpy as Python's; `PlanError` for what is not one."""
    checked = {}
    for name, value in values.items():
        if not str(name).isidentifier():
            raise PlanError(f"parameter {short_repr(name)} must be a name such as city")
        checked[name] = plain(value)
        secrecy.refuse_parameter(name, as_plain(checked[name]), PlanError)
        if not isinstance(checked[name], Value):
            raise PlanError(f"parameter {name}={short_repr(value)} must be {KINDS}")
    return checked


def as_plain(value: Value) -> str | int | float | bool | date:
    """Return a member of an enum as its value, or as its name where that is not plain."""
    if not isinstance(value, Enum):
        return value
    return value.value if isinstance(value.value, str | int | float) else value.name


def to_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Return parameters as JSON values that keep their types."""
    return {name: _value_to_json(value) for name, value in values.items()}


def _value_to_json(value: Value) -> Any:
    value = as_plain(value)
    if isinstance(value, date):
        return {type(value).__name__: value.isoformat()}
    # Subclasses, such as numpy's floats, as what they are to JSON.
    return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))


def from_json(values: Mapping[str, Any]) -> dict[str, Value]:
    return {name: _value_from_json(name, value) for name, value in values.items()}


def _value_from_json(name: str, value: Any) -> Value:
    if isinstance(value, str | int | float):
        return value
    with suppress(AttributeError, TypeError, ValueError):
        ((kind, text),) = value.items()
        return datetime.fromisoformat(text) if kind == "datetime" else date.fromisoformat(text)
    raise RecordError(f"job.json: parameters.{name} must be {KINDS}, and is {short_repr(value)}")


def text_of(values: Mapping[str, Value]) -> str:
    """Write parameters as `date=2026-03-01 city=Bern`, quoted as a shell needs it."""
    return " ".join(f"{name}={shlex.quote(text_of_value(value))}" for name, value in values.items())


def text_of_value(value: Value) -> str:
    """Write one value as people write it on a command line."""
    value = as_plain(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(timespec="auto" if value.second or value.microsecond else "minutes")
    return _text(value)


def names_in(text: str) -> frozenset[str]:
    """Return the parameters that a text has places for."""
    return frozenset(match["name"] for match in places_in(text))


def places_in(text: str) -> Iterator[re.Match[str]]:
    """Yield the places of a text: the `name`, the `shift` and the `form` of each."""
    return re.finditer(_PLACE, text)


def fill_places(text: str, values: Mapping[str, Value]) -> str:
    """Return the text with a value in each place; a place without one is a `PlanError`."""

    def substitute(match: re.Match[str]) -> str:
        name, shift, form = match["name"], match["shift"], match["form"] or ""
        if name not in values:
            names = ", ".join(values) or "none"
            raise PlanError(f"{text!r} has a place for {name!r}; the parameters are: {names}")
        value: Any = as_plain(values[name])
        try:
            if shift:
                value = value + timedelta(**{_UNITS[shift[-1]]: int(shift[:-1])})
            if isinstance(value, date) and not form:
                return f"{value:%Y-%m-%d}"
            return format(value, form)
        except (ValueError, TypeError, OverflowError) as error:
            raise PlanError(
                f"{match[0]} of {text!r} cannot be filled by {value!r}: {error}"
            ) from None

    filled = re.sub(_PLACE, substitute, text)
    if filled != text:
        remedy = "leave it out; credentials come from the environment or a profile"
        secrecy.refuse_urls((filled,), "a URI filled by its parameters", PlanError, remedy)
    return filled


def free_parameters(fn: Callable[..., Any]) -> frozenset[str]:
    """Return the parameters that the function names after its first input; a program's is `date`."""
    if isinstance(fn, Command):
        return frozenset({DATE})
    left_out = {signatures.first_input(fn), *signatures.task_parameters(fn)}
    return frozenset(
        name
        for name, parameter in signatures.signature(fn).items()
        if name not in left_out and parameter.kind not in signatures.MANY
    )


def accepted_names(fn: Callable[..., Any], names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that the function takes by keyword, without its first input."""
    first = signatures.first_input(fn)
    return tuple(name for name in names if name != first and signatures.takes(fn, name))


def bind_values(fn: Callable[..., Any], values: Mapping[str, Value]) -> Callable[..., Any]:
    """Bind the values that the function takes, as keywords; a program gets all of them."""
    if isinstance(fn, Command):
        env = ((f"MAPRED_PARAM_{name.upper()}", _text(value)) for name, value in values.items())
        return dataclasses.replace(fn, env=(*fn.env, *env))
    keywords = {name: values[name] for name in accepted_names(fn, values)}
    if not keywords:
        return fn
    bound: Callable[..., Any]
    bound = _bound_class(fn, keywords) if makes_callables(fn) else functools.partial(fn, **keywords)
    return bound


def _text(value: Value) -> str:
    value = as_plain(value)
    if isinstance(value, str):
        return value  # as it is, since one that is said to be public stays so
    return value.isoformat() if isinstance(value, date) else str(value)


def _bound_class(cls: Any, values: Mapping[str, Value]) -> Any:
    """Return a class whose instances are called with the values; it is still made once per process."""

    class Bound(cls):  # type: ignore[misc]
        @functools.wraps(cls.__call__)
        def __call__(self, *inputs: Any, **keywords: Any) -> Any:
            return cls.__call__(self, *inputs, **{**values, **keywords})

    Bound.__qualname__ = cls.__qualname__
    Bound.__name__ = cls.__name__
    return Bound
