"""What users pass, checked against annotations: one clear error for each option.

    attempts: FromOne = 3
    timeout: Duration | None = None

A plain annotation says which values fit. An alias of `mapred.model.rules` such as `Duration` adds
a `Rule`, which reads more forms and gives the value as it is kept. `check_fields` checks a frozen
record, `checks` the arguments of a function.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from mapred.errors import MapredError
from mapred.model.rules import PLAIN, Rule, Unfit, as_tuple, function, instance, one_of

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 100


def check(name: str, value: Any, hint: Any, error: type[MapredError]) -> Any:
    """Return the value of an option as it is kept, or an error that says which values fit."""
    rule = rule_of(hint)
    if rule is None:
        return value
    try:
        return rule.read(value)
    except Unfit as unfit:
        value_text = f"{name}=…" if rule.private else f"{name}={short_repr(value)}"
        more = f"; {unfit}" if str(unfit) else ""
        raise (rule.error or error)(f"{value_text} must be {rule.fits}{more}") from None


def check_fields(record: Any, error: type[MapredError]) -> None:
    """Check every field of a frozen record, for its `__post_init__`."""
    owner: Any = type(record)
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if value is not field.default:
            kept = check(field.name, value, hint_of(owner, field.name), error)
            object.__setattr__(record, field.name, kept)


def checks(error: type[MapredError]) -> Callable[[F], F]:
    """Decorate a function whose arguments are checked against their annotations."""

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **keywords: Any) -> Any:
            __tracebackhide__ = True
            signature = _signature(function)
            try:
                bound = signature.bind(*args, **keywords)
            except TypeError:
                return function(*args, **keywords)  # Python's own message names the function
            for name, value in bound.arguments.items():
                parameter = signature.parameters[name]
                if parameter.kind is parameter.VAR_KEYWORD or value is parameter.default:
                    continue
                bound.arguments[name] = check(name, value, hint_of(function, name), error)
            return function(*bound.args, **bound.kwargs)

        return typing.cast(F, wrapper)

    return decorate


_signature = functools.cache(inspect.signature)


@functools.cache
def hint_of(owner: Any, name: str) -> Any:
    """Return an annotation of a function or class."""
    for holder in owner.__mro__ if isinstance(owner, type) else [owner]:
        text = inspect.get_annotations(holder).get(name)
        if isinstance(text, str):
            return evaluate(text, holder.__module__)
        if text is not None:
            return text
    return Any


@functools.cache
def evaluate(annotation: str, module: str) -> Any:
    """Return what an annotation means in a module; `Any` where it names what is not loaded."""
    try:
        return eval(annotation, vars(sys.modules[module]))
    except NameError:
        return Any


@functools.cache
def rule_of(hint: Any) -> Rule | None:
    """Return what an annotation asks for; None where it takes anything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return next((item for item in inner if isinstance(item, Rule)), None) or rule_of(inner[0])
    if origin in (typing.Union, types.UnionType):
        return _union(inner)
    if origin is typing.Literal:
        return one_of(*inner)
    if origin is collections.abc.Callable:
        return Rule("a function", function)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(*inner)
    if origin is tuple or (origin is not None and issubclass(origin, collections.abc.Iterable)):
        return _sequence(inner[0])
    if hint in PLAIN:
        return PLAIN[hint]
    # `Any` is a class from Python 3.11 on, and up to 3.10 so is `os.PathLike[str]`; a protocol
    # is asked about where it is used.
    if (
        origin is not None
        or not isinstance(hint, type)
        or hint in (Any, object)
        or getattr(hint, "_is_protocol", False)
    ):
        return None
    return instance(hint)


def safe_text(how: Callable[[Any], str], value: Any) -> str:
    """`str` or `repr` of a value, whatever its methods raise."""
    try:
        return how(value)
    except BaseException as error:
        name = type(value).__name__
        return f"<{name}: its {how.__name__}() raises {type(error).__name__}>"


def short_repr(value: Any) -> str:
    """Return a value in a message: its repr, cut."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _union(hints: tuple[Any, ...]) -> Rule | None:
    rules = [rule_of(hint) for hint in hints if hint is not type(None)]
    kept = [rule for rule in rules if rule is not None]
    if len(kept) < len(rules):
        return None

    def read(value: Any) -> Any:
        if value is None and type(None) in hints:
            return None
        detail = ""
        for rule in kept:
            try:
                return rule.read(value)
            except Unfit as unfit:
                detail = detail or str(unfit)
        raise Unfit(detail)

    error = next((rule.error for rule in kept if rule.error), None)
    fits = " or ".join(dict.fromkeys(rule.fits for rule in kept))
    return Rule(fits, read, error, any(rule.private for rule in kept))


def _sequence(hint: Any) -> Rule:
    """Any collection but a text, a mapping or a set, kept as a tuple."""
    inner = rule_of(hint)

    def read(value: Any) -> tuple[Any, ...]:
        values = as_tuple(value)
        return values if inner is None else tuple(map(inner.read, values))

    return Rule("a list" if inner is None else f"a list in which each is {inner.fits}", read)


def _mapping(key: Any, value: Any) -> Rule:
    """Return a mapping, kept as a dict; its values are not shown, as they may be secrets."""
    keys, values = rule_of(key), rule_of(value)

    def read(mapping: Any) -> dict[Any, Any]:
        if not isinstance(mapping, Mapping):
            raise Unfit(f"this is of type {type(mapping).__name__}")
        kept = {}
        for name, item in mapping.items():
            try:
                name = keys.read(name) if keys else name
                kept[name] = values.read(item) if values else item
            except Unfit:
                raise Unfit(
                    f"at {short_repr(name)} there is a value of type {type(item).__name__}"
                ) from None
        return kept

    fits = f", from {keys.fits} to {values.fits}" if keys and values else ""
    return Rule(f"a mapping{fits}", read, private=True)
