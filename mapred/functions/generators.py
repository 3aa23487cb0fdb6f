"""Generators of random numbers that a function carries along: each worker would get a copy.

Copies in several workers draw the same numbers, so answers would depend on how many there are.
The hidden generators behind `random.random` and `numpy.random.normal` travel by name instead:
a worker seeds its own ones before each item.
"""

from __future__ import annotations

import functools
import inspect
import random
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from mapred.functions.modules import imports, local

_DEEPEST = 5
_MOST = 2000
_FEW = 100


def reduce_generator(generator: Any) -> Any:
    """How a `random.Random` or a `numpy.random.RandomState` is pickled."""
    if generator is random._inst:
        return "_inst"
    return "_rand" if generator is _numpy_global() else generator.__reduce_ex__(4)


def reducers() -> dict[type, Callable[[Any], Any]]:
    """Return the entries of a pickler's dispatch table for generators."""
    hidden = (random._inst, _numpy_global())
    return {type(generator): reduce_generator for generator in hidden if generator is not None}


def _numpy_global() -> Any:
    return getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)


def warn_if_carried(function: Any, name: str) -> None:
    """Warn of the first generator that a function refers to."""
    carried = next(_find_generators(function, name), None)
    if carried is not None:
        place, generator = carried
        warnings.warn(
            f"{name} carries a generator of random numbers, {place} ({type(generator).__name__}): "
            "each worker gets a copy that draws the same numbers; draw from task.rng, of a "
            "parameter annotated mapred.Task, or from random and numpy.random, which are seeded "
            "before each item",
            UserWarning,
            stacklevel=5,
        )


def _find_generators(function: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield generators with the names they are found under, those nearest to the function first."""
    hidden = (random._inst, _numpy_global())
    waiting = [("", function, 0)]
    seen = {id(function)}
    while waiting and len(seen) < _MOST:
        place, value, depth = waiting.pop(0)
        if _is_generator(value):
            if not any(value is generator for generator in hidden):
                yield place or name, value
        elif depth < _DEEPEST:
            # Objects may answer anything to a question for their attributes.
            with suppress(Exception):
                for below, inner in _held_values(value):
                    if id(inner) not in seen:
                        seen.add(id(inner))
                        waiting.append((f"{place}{below}".lstrip("."), inner, depth + 1))


def _is_generator(value: Any) -> bool:
    if issubclass(type(value), random.Random):
        return not issubclass(type(value), random.SystemRandom)
    loaded = sys.modules.get("numpy.random")
    classes = tuple(getattr(loaded, name, ()) for name in ("Generator", "RandomState"))
    return issubclass(type(value), classes)


def _is_own(name: Any) -> bool:
    """Whether functions of a module are the user's: a local one, `__main__`, or none at all."""
    if not isinstance(name, str):
        return False
    return name in local.MAIN or name not in sys.modules or local.find(name) is not None


def _held_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value holds on to, with the name of each place."""
    if isinstance(value, functools.partial):
        yield ".func", value.func
        yield from ((f".args[{i}]", argument) for i, argument in enumerate(value.args))
        yield from ((f".{key}", argument) for key, argument in value.keywords.items())
    elif isinstance(value, types.MethodType):
        yield "", value.__func__
        yield "", value.__self__
    elif isinstance(value, types.BuiltinMethodType):
        if not isinstance(value.__self__, types.ModuleType):
            yield "", value.__self__
    elif isinstance(value, types.FunctionType):
        if _is_own(value.__module__):
            yield from _function_references(value)
    elif isinstance(value, type):
        if _is_own(value.__module__):
            for base in value.__mro__[:-1]:
                yield from ((f".{key}", member) for key, member in vars(base).items())
    elif isinstance(value, staticmethod | classmethod):
        yield "", value.__func__
    elif isinstance(value, dict):
        yield from ((f"[{key!r}]", item) for key, item in islice(value.items(), _FEW))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{i}]", item) for i, item in enumerate(islice(value, _FEW)))
    elif not isinstance(value, types.ModuleType):
        yield from ((f".{key}", item) for key, item in getattr(value, "__dict__", {}).items())
        yield "", type(value)


def _function_references(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the defaults of a function and the variables that it names, own modules' as well."""
    function = inspect.unwrap(function)
    yield from ((".default", value) for value in function.__defaults__ or ())
    yield from ((f".{key}", value) for key, value in (function.__kwdefaults__ or {}).items())
    names = [name for code in imports.walk_code(function.__code__) for name in code.co_names]
    for name, value in imports.variables(function):
        if not isinstance(value, types.ModuleType):
            yield f".{name}", value
        elif _is_own(value.__name__):
            inside = vars(value)
            yield from ((f".{name}.{inner}", inside[inner]) for inner in names if inner in inside)
