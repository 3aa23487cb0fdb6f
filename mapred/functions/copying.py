"""What cloudpickle cannot copy as it is, and is made again from its parts where a pickle is loaded."""

from __future__ import annotations

import functools
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from mapred.process import private

CACHED = type(functools.lru_cache(print))
_MADE_BY_PYDANTIC = (
    "__pydantic_core_schema__",
    "__pydantic_validator__",
    "__pydantic_serializer__",
)
# Models that have their validators, and those that get them when the pickle is read to its end.
_whole: weakref.WeakSet[Any] = weakref.WeakSet()
_waiting = threading.local()


def reduce_cached(function: Any) -> tuple[Any, ...]:
    """Have a function of `lru_cache` wrapped again, with an empty cache."""
    parameters = function.cache_parameters()
    return _cached, (function.__wrapped__, parameters["maxsize"], parameters["typed"])


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def reduce_cached_property(cached: functools.cached_property[Any]) -> tuple[Any, ...]:
    """Leave out the lock that Python 3.10 and 3.11 put into it."""
    return _cached_property, (cached.func, cached.attrname)


def _cached_property(func: Callable[[Any], Any], name: str | None) -> Any:
    cached = functools.cached_property(func)
    cached.attrname = name
    return cached


def is_dispatcher(function: types.FunctionType) -> bool:
    return isinstance(getattr(function, "registry", None), types.MappingProxyType) and hasattr(
        function, "dispatch"
    )


def reduce_dispatcher(function: Any) -> tuple[Any, ...]:
    return _dispatcher, (list(function.registry.items()),)


def _dispatcher(registry: list[tuple[Any, Callable[..., Any]]]) -> Any:
    first, *others = registry
    dispatcher = functools.singledispatch(first[1])
    for kind, function in others:
        dispatcher.register(kind, function)
    return dispatcher


def without_validators(cls: type, parts: Any) -> Any:
    """Return how to copy a class; a pydantic model without its validators, which need each other."""
    if parts is NotImplemented or len(parts) < 3 or "__pydantic_core_schema__" not in parts[2][0]:
        return parts
    _whole.add(cls)
    state, slots = parts[2]
    kept = {name: value for name, value in state.items() if name not in _MADE_BY_PYDANTIC}
    return parts[0], parts[1], (kept, slots), None, None, _set_model


def _set_model(cls: Any, state: Any) -> Any:
    private.fill_class(cls, state)
    if cls not in _whole:
        _waiting.__dict__.setdefault("models", []).append(cls)
    return cls


def complete_models() -> None:
    """Give loaded pydantic models their validators, now that all which they refer to is there."""
    for cls in _waiting.__dict__.pop("models", ()):
        _whole.add(cls)
        if hasattr(cls, "model_rebuild"):
            cls.model_rebuild(force=True, raise_errors=False)
        else:
            rebuild = sys.modules["pydantic.dataclasses"].rebuild_dataclass
            rebuild(cls, force=True, raise_errors=False)
