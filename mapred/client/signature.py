"""Functions that take options by name, which `help()` and editors show, and other names raise."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Concatenate, ParamSpec, TypeVar

from mapred.process.describing import Plain, describe_like, plain_annotations

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


def takes(options: Any, *records: Any) -> Callable[[F], F]:
    """Have `help()` and editors show each of the `options` in place of `**options`.

    Order and defaults are those of the records; what none of them has defaults to None. Any other
    name raises the `TypeError` of Python, which suggests the one that was meant.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(plain_annotations(function))
        *own, _ = signature.parameters.values()
        parameters = sorted(
            [*_keywords(options, records), *own], key=lambda parameter: parameter.kind
        )
        shown = signature.replace(parameters=parameters)

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            __tracebackhide__ = True
            for name in keywords:
                if name not in shown.parameters:
                    _refuse(function.__qualname__, name, shown)
            return function(*args, **keywords)

        call.__signature__ = shown  # type: ignore[attr-defined]
        return typing.cast(F, call)

    return decorate


def takes_those_of(
    make: Callable[P, T],
) -> Callable[[Callable[[S, T], R]], Callable[Concatenate[S, P], R]]:
    """Have a method take the arguments of `make` in place of the value that these make."""

    def decorate(method: Callable[[S, T], R]) -> Callable[Concatenate[S, P], R]:
        def call(self: S, /, *args: P.args, **keywords: P.kwargs) -> R:
            __tracebackhide__ = True
            return method(self, make(*args, **keywords))

        functools.update_wrapper(call, method)
        own = inspect.signature(plain_annotations(method))
        made = inspect.signature(plain_annotations(make))
        itself, _ = own.parameters.values()
        shown = own.replace(parameters=[itself, *made.parameters.values()])
        call.__signature__ = shown  # type: ignore[attr-defined]
        return describe_like(make)(call)

    return decorate


@functools.cache
def _keywords(options: Any, records: tuple[Any, ...]) -> tuple[inspect.Parameter, ...]:
    types = {name: Plain(hint.__forward_arg__) for name, hint in options.__annotations__.items()}
    defaults = {field.name: field.default for record in records for field in fields(record)}
    return tuple(
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if types[name].endswith("| None") else defaults.get(name),
            annotation=types[name],
        )
        for name in sorted(types, key=[*defaults, *types].index)
    )


def _refuse(function: str, name: str, shown: inspect.Signature) -> None:
    import difflib  # for an error alone, and slow to load

    names = [part.name for part in shown.parameters.values() if part.kind is part.KEYWORD_ONLY]
    close = difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    if name == "workers":
        hint = "; write backend=mapred.Local(workers=…)"
    raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
