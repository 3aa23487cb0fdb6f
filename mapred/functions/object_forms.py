"""What functions and other objects that code refers to are made of."""

from __future__ import annotations

import functools
import logging
import operator
import random
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from mapred.functions import class_forms, code_forms, copying, ownership
from mapred.functions.modules import local
from mapred.model import canonical
from mapred.model.forms import Form, named

_WRAPPERS = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)


def of(value: Any) -> Form:
    """Take apart what is not plain data; `Unknown` says what cannot be."""
    kind = type(value)
    if issubclass(kind, type):
        return class_forms.of_class(value)
    if kind in _FORMERS:
        form: Form = _FORMERS[kind](value)
        return form
    if isinstance(value, types.ModuleType):
        return _of_module(value)
    if isinstance(value, functools.partial):
        parts = {": class": kind, ".func": value.func, ".args": value.args}
        return named("partial", parts | {".keywords": dict(sorted(value.keywords.items()))})
    if isinstance(value, BaseException) and not ownership.is_own(kind.__module__):
        return named("exception", {": class": kind, ".args": value.args, **vars(value)})
    known = (
        class_forms.of_descriptor(value)
        or ownership.by_name(value)
        or _of_ufunc(value)
        or _of_typing(value)
    )
    return known if known is not None else class_forms.of_instance(value)


def _of_function(function: types.FunctionType) -> Form:
    if copying.is_dispatcher(function):
        return named("singledispatch", {".registry": list(function.registry.items())})  # type: ignore[attr-defined]
    home = function.__globals__.get("__name__")
    own = ownership.is_own(home)
    if not own:
        form = ownership.by_name(function)
        if form is not None:
            return form
    parts: dict[str, Any] = {": code": function.__code__}
    parts |= code_forms.defaults(function)
    parts |= code_forms.cells(function)
    parts |= dict(_attributes(function))
    if own:
        return named("function", parts | dict(_globals(function)) | ownership.imports_of(function))
    return named("made", parts | {"versions": ownership.version_of(str(home)), "module": home})


def _attributes(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function wraps, and its other attributes that are code or data."""
    for name, value in sorted(vars(function).items()):
        kept = isinstance(value, types.FunctionType | type) or canonical.is_data(value)
        if name == "__wrapped__" or kept:
            yield f".{name}", value


def _globals(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the global variables that a function's code loads, as far as modules lead to them."""
    values = function.__globals__
    builtins = values.get("__builtins__", {})
    builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
    for name, chain in code_forms.global_names(function.__code__):
        if name in values:
            value, taken = _follow(values[name], chain)
            yield f": global {'.'.join((name, *taken))!r}", value
        else:
            yield f": {'builtin' if name in builtins else 'missing'} {name!r}", None


def _follow(value: Any, chain: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Return what a chain of attributes leads to in local modules, and what was taken of it."""
    whole, taken = value, 0
    while isinstance(value, types.ModuleType) and ownership.is_own(value.__name__):
        if taken == len(chain) or chain[taken] not in vars(value):
            return whole, ()  # all of it may be used
        value, taken = vars(value)[chain[taken]], taken + 1
    return value, chain[:taken]


def _of_module(module: types.ModuleType) -> Form:
    name = module.__name__
    if sys.modules.get(name) is module and (name in local.MAIN or local.has_source(name)):
        return ownership.of_module(name)
    held = {f".{key}": each for key, each in sorted(vars(module).items()) if key[:2] != "__"}
    return named("made module", held)  # of no file, so it is what it holds


def _of_builtin(value: Any) -> Form:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        module = getattr(value, "__module__", None) or "builtins"
        return ownership.of_name(str(module), value.__qualname__)
    return named("bound", {".__self__": owner, "name": value.__name__})


def _of_wrapper(value: Any) -> Form:
    return named("slot", {": class": value.__objclass__, "name": value.__name__})


def _of_ufunc(value: Any) -> Form | None:
    if type(value).__name__ != "ufunc":
        return None
    name = str(value.__name__)
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), name, None) is value:
            return ownership.of_name(module, name)
    return None


def _of_typing(value: Any) -> Form | None:
    """Take a type of `typing` apart, or a generic one such as `list[int]`."""
    origin = typing.get_origin(value)
    if origin is not None:
        return named("generic", {": origin": origin, ": arguments": typing.get_args(value)})
    if type(value).__module__ in ("typing", "typing_extensions"):
        return named("typing", {"text": class_forms.spell(value)})
    return None


def _of_random(value: Any) -> Form:
    if value is random._inst:
        return ownership.of_name("random", "random")
    return named("generator", {".state": value.getstate()})


def _of_method(value: types.MethodType) -> Form:
    return named("method", {".__func__": value.__func__, ".__self__": value.__self__})


def _of_cached(value: Any) -> Form:
    return named("cached", {".__wrapped__": value.__wrapped__, **value.cache_parameters()})


def _of_getter(value: Any) -> Form:
    return named(type(value).__name__, {": arguments": value.__reduce__()[1:]})


_FORMERS: dict[type, Any] = {
    types.FunctionType: _of_function,
    types.CodeType: code_forms.of_code,
    types.MethodType: _of_method,
    types.BuiltinFunctionType: _of_builtin,
    types.MethodWrapperType: _of_builtin,
    ownership.Import: lambda value: ownership.of_module(value.name),
    copying.CACHED: _of_cached,
    logging.Logger: lambda value: named("logger", {"name": value.name}),
    random.Random: _of_random,
    **dict.fromkeys(_WRAPPERS, _of_wrapper),
    **dict.fromkeys((operator.itemgetter, operator.attrgetter, operator.methodcaller), _of_getter),
}
