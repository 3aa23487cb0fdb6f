"""What `help()` and notebooks show of a function: plain types, and every parameter described.

Functions that take the same options describe them once: the others are decorated with
`describe_like`, and say themselves only what differs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

# Where the description of the next parameter begins, and where the part after all of them does.
_ENTRY = re.compile(r"^ {4}(?=\*{0,2}\w+: )", re.MULTILINE)
_NEXT = re.compile(r"^(?:Attributes|Returns|Yields|Raises|Examples):$", re.MULTILINE)

_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


class Plain(str):
    """An annotation that a signature shows as it was written: `int | None`, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def plain_annotations(shown: T) -> T:
    """Have signatures of a function, or of a class and its methods, show types without quotes."""
    members = [vars(base) for base in getattr(shown, "__mro__", ()) if base is not object]
    for function in [shown, *(value for own in members for value in own.values())]:
        function = getattr(function, "fget", None) or getattr(function, "__func__", function)
        if inspect.isfunction(function):
            types = function.__annotations__  # the wrapped function has the same mapping
            types.update({k: Plain(v) for k, v in types.items() if isinstance(v, str)})
    return shown


def describe_like(*others: Callable[..., Any]) -> Callable[[T], T]:
    """Have a docstring describe the parameters that it leaves out as those of `others` do."""

    def decorate(function: T) -> T:
        if function.__doc__ and all(other.__doc__ for other in others):  # python -OO has none
            known: dict[str, str] = {}
            for text in (*(other.__doc__ for other in reversed(others)), function.__doc__):
                known |= parameters_in(inspect.cleandoc(text or ""))
            names = [f"{_STARS.get(p.kind, '')}{p.name}" for p in _parameters(function)]
            lines = [f"    {known[name]}" for name in names if name in known]
            function.__doc__ = _with_parameters(inspect.cleandoc(function.__doc__), lines)
        return function

    return decorate


def parameters_in(doc: str) -> dict[str, str]:
    """Return what a docstring says of each parameter: the lines of its `Args:`, by name."""
    _, _, rest = doc.partition("\nArgs:\n")
    section = rest[: match.start()] if (match := _NEXT.search(rest)) else rest
    section = re.split(r"\n\n(?=\S)", section, maxsplit=1)[0]
    return {part.partition(":")[0]: part.rstrip() for part in _ENTRY.split(section)[1:]}


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _with_parameters(doc: str, lines: list[str]) -> str:
    """Return a docstring with these lines as its `Args:`."""
    head, _, own = doc.partition("\nArgs:\n")
    rest = own if own else head
    match = _NEXT.search(rest)
    tail = rest[match.start() :] if match else ""
    if not own and match:
        head = head[: match.start()]
    parts = [head.rstrip(), "\n".join(["Args:", *lines]), tail.rstrip()]
    return "\n\n".join(part for part in parts if part)
