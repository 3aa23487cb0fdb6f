"""Frozen dataclasses that cost little to import.

`dataclasses.dataclass` compiles up to six methods for every class, most of what it costs to
import the modules that each run needs. Here all classes share one set of methods. They are
dataclasses nevertheless: `fields`, `replace`, `asdict`, `match` and pickles work as usual.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, FrozenInstanceError
from inspect import Parameter, Signature
from itertools import repeat
from typing import TYPE_CHECKING, Any

from mapred.process.describing import Plain

_put = object.__setattr__


def _init(self: Any, *values: Any, **named: Any) -> None:
    kind = type(self)
    defaults, positional, required = kind.__layout__
    state = defaults.copy()
    if values:
        if len(values) > len(positional):
            raise TypeError(
                f"{kind.__name__}() takes {len(positional)} positional arguments, "
                f"but {len(values)} were given"
            )
        state.update(zip(positional, values, strict=False))
        for name in positional[: len(values)]:
            if name in named:
                raise TypeError(f"{kind.__name__}() got two values for argument {name!r}")
    state.update(named)
    if len(state) > len(defaults):
        name = next(name for name in named if name not in defaults)
        raise TypeError(f"{kind.__name__}() got an unexpected keyword argument {name!r}")
    for field in required:
        if state[field.name] is MISSING:
            if field.default_factory is MISSING:
                raise TypeError(f"{kind.__name__}() lacks the argument {field.name!r}")
            state[field.name] = field.default_factory()
    # One by one, as the instances of a class share their keys then.
    deque(map(_put, repeat(self), state, state.values()), maxlen=0)
    if hasattr(kind, "__post_init__"):
        self.__post_init__()


def _compared_values(self: Any) -> Iterator[Any]:
    return (getattr(self, f.name) for f in self.__dataclass_fields__.values() if f.compare)


def _eq(self: Any, other: Any) -> Any:
    if type(self) is not type(other):
        return NotImplemented
    return tuple(_compared_values(self)) == tuple(_compared_values(other))


def _hash(self: Any) -> int:
    return hash(tuple(_compared_values(self)))


def _repr(self: Any) -> str:
    shown = (f.name for f in self.__dataclass_fields__.values() if f.repr)
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({values})"


def _setattr(self: Any, name: str, value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Signature:
    """The signature of a class, for `help()` and editors."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        def parameter(field: Field[Any]) -> Parameter:
            kind = Parameter.KEYWORD_ONLY if field.kw_only else Parameter.POSITIONAL_OR_KEYWORD
            made = field.default_factory
            default = field.default if made is MISSING else made()
            empty = Parameter.empty if default is MISSING else default
            return Parameter(field.name, kind, default=empty, annotation=Plain(field.type))

        parameters = map(parameter, dataclasses.fields(owner))
        return Signature(sorted(parameters, key=lambda parameter: parameter.kind))


if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(
        *, frozen: bool, eq: bool = True, repr: bool = True, kw_only: bool = False
    ) -> Callable[[type], type]:
        """As `dataclasses.dataclass(frozen=True)`, with methods that all classes share."""
        if not frozen:
            raise TypeError("dataclasses that are not frozen are those of `dataclasses`")
        shared = {"__init__": _init, "__setattr__": _setattr, "__delattr__": _delattr}
        shared |= {"__eq__": _eq, "__hash__": _hash} if eq else {}
        shared |= {"__repr__": _repr} if repr else {}

        def decorate(kind: type) -> type:
            own = vars(kind).copy()
            dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(kind)
            for name, method in shared.items():
                if own.get(name) is None:
                    setattr(kind, name, method)
            fields = dataclasses.fields(kind)
            kind.__layout__ = (
                {field.name: field.default for field in fields},
                [field.name for field in fields if not field.kw_only],
                [field for field in fields if field.default is MISSING],
            )
            kind.__signature__ = _Signature()
            return kind

        return decorate
