"""Whether a function or a reducer can be called as a run will call it, checked before it starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mapred.errors import FunctionError, MapredError, ReduceError
from mapred.functions.commands import Command
from mapred.functions.signatures import (
    MANY,
    own_signature,
    signature,
    takes,
    takes_any_keyword,
    task_parameters,
)
from mapred.functions.transport import makes_callables, name_of
from mapred.reducers import Reducer

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_EMPTY = inspect.Parameter.empty
_INPUTS = {"items": "one item", "array": "one item", "files": "one file", "outputs": "one output"}
_STARS: dict[Any, str] = dict(zip(MANY, ("*", "**"), strict=True))


def check_function(
    function: Callable[..., Any],
    format: str | None,
    names: Collection[str] | None = None,
    *,
    piecewise: bool = False,
) -> None:
    """Raise `FunctionError` unless `function` can be called over a dataset of this format.

    With `names` it is called with these keywords, as over the points of a sweep. `piecewise`
    says that it may yield what it returns, piece by piece.
    """
    if isinstance(function, Command):
        if "task" in (names or ()):
            raise FunctionError("a command cannot have a parameter called 'task': rename it")
        return
    check_kind(function, piecewise=piecewise)
    if makes_callables(function):
        _check_class(function)
    if names is not None and "repeat" in names and not takes(function, "repeat"):
        names = [name for name in names if name != "repeat"]
    parameters = own_signature(function)
    if parameters is None:
        return
    tasks = task_parameters(function)
    if names is None:
        what = _INPUTS.get(format or "", "one shard")
        wrong = _misfit_of_one(function, parameters, tasks, what)
    else:
        wrong = _misfit_of_names(function, parameters, tasks, names)
    if wrong:
        raise FunctionError(f"{_format_signature(function, parameters)} {wrong}")


def check_reduce(
    reduce: Any, finalize: Callable[[Any], Any] | None, *, by_key: bool = False
) -> None:
    """Raise `ReduceError` unless a reducer, and what comes after it, takes one argument."""
    outputs = "a pa.Table of rows" if by_key else "an iterable of the outputs"
    for option, function, argument in (
        ("reduce", reduce, outputs),
        ("finalize", finalize, "the reduced value"),
    ):
        if function is None or isinstance(function, Reducer) or not callable(function):
            continue
        parameters = own_signature(function)
        missing = _required_names(parameters or {})[1:]
        if parameters is not None and (missing or not _takes_one(parameters)):
            name = name_of(function)
            remedy = f"write {option}=lambda value: …"
            if option == "reduce" and len(missing) == 1:
                remedy = (
                    "for a function of two values, write "
                    f"reduce=lambda outputs: functools.reduce({name}, outputs)"
                )
            raise ReduceError(
                f"{option}={_format_signature(function, parameters)} is called with one argument, {argument}; "
                f"{remedy}"
            )
        check_kind(function, ReduceError)


def check_kind(
    function: Callable[..., Any],
    error: type[MapredError] = FunctionError,
    *,
    piecewise: bool = False,
) -> None:
    """Raise for a function that returns a coroutine, or a generator where it may not."""
    if isinstance(function, Command):
        return
    called = function
    while isinstance(called, functools.partial):
        called = called.func
    if makes_callables(called) or not inspect.isroutine(called):
        called = getattr(called, "__call__", called)  # noqa: B004
    name = name_of(function)
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise error(f"{name} is async; pass a plain function, which may call asyncio.run(…)")
    if not piecewise and inspect.isgeneratorfunction(called):
        raise error(f"{name} is a generator function: collect what it yields in a list, return it")


def _check_class(function: Any) -> None:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise FunctionError(
            f"{name_of(function)} is made once per worker process without arguments: {error}; "
            f"give its parameters defaults, or pass an instance, {name_of(function)}(…)"
        ) from None
    except ValueError:
        pass


def _misfit_of_one(
    function: Callable[..., Any],
    parameters: dict[str, inspect.Parameter],
    tasks: Sequence[str],
    what: str,
) -> str | None:
    inputs = {name: parameter for name, parameter in parameters.items() if name not in tasks}
    if not _takes_one(inputs):
        return f"is called with {what}: give it a parameter for that"
    first = next(iter(parameters))
    if first in tasks:
        return f"gets {what} first: put the parameter {first!r}, which receives the task, behind it"
    missing = [name for name in _required_names(inputs) if name != first]
    if not missing:
        return None
    if missing == ["task"]:
        return "gets the task by an annotation: write task: mapred.Task"
    named = " and ".join(map(repr, missing))
    have = "has" if len(missing) == 1 else "have"
    text = f"is called with {what} alone, and {named} {have} no value"
    if any(inputs[name].kind is inspect.Parameter.POSITIONAL_ONLY for name in missing):
        return f"{text}: wrap it, as lambda value: {name_of(function)}(value, …)"
    keywords = ", ".join(f"{name}=…" for name in missing)
    return f"{text}: give defaults, or pass functools.partial({name_of(function)}, {keywords})"


def _misfit_of_names(
    function: Callable[..., Any],
    parameters: dict[str, inspect.Parameter],
    tasks: Sequence[str],
    names: Collection[str],
) -> str | None:
    for name in names:
        if name in tasks:
            return f"receives the task as {name!r}, a parameter of the sweep: rename one of them"
    if any(
        parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is _EMPTY
        for parameter in parameters.values()
    ):
        keywords = ", ".join(names)
        return (
            "takes its arguments by position, and a sweep gives keywords: write "
            f"lambda {keywords}: {name_of(function)}({keywords})"
        )
    open_ended, used = takes_any_keyword(parameters), {*names, *tasks}
    accepted = _single_names(signature(function) if open_ended else parameters)
    free = [name for name in accepted if name not in used]
    unknown = [name for name in names if name not in _single_names(parameters)]
    if open_ended:
        # A decorator may take other names than what it wraps, but hardly one that is almost the same.
        unknown = [name for name in unknown if name not in accepted and _closest_name(name, free)]
    if unknown:
        return _unknown_message(unknown, free)
    missing = [name for name in _required_names(parameters) if name not in used]
    if missing == ["task"]:
        return "gets the task by an annotation: write task: mapred.Task"
    return _missing_message(function, missing) if missing else None


def _missing_message(function: Callable[..., Any], names: Sequence[str]) -> str:
    named = " and ".join(map(repr, names))
    keywords = ", ".join(f"{name}=…" for name in names)
    return (
        f"needs {named}, which the sweep does not give: add {_it_or_them(names)} to the sweep, give "
        f"defaults, or pass functools.partial({name_of(function)}, {keywords})"
    )


def _unknown_message(unknown: Sequence[str], free: Sequence[str]) -> str:
    near = _closest_name(unknown[0], free)
    if near:
        return f"has no parameter {unknown[0]!r}; did you mean {near!r}?"
    named = " and ".join(map(repr, unknown))
    return (
        f"has no parameter {named}, and a sweep passes its parameters as keywords: "
        f"add {_it_or_them(unknown)} to the function, or leave {_it_or_them(unknown)} out of the sweep"
    )


def _closest_name(name: str, names: Sequence[str]) -> str | None:
    import difflib  # only for an error

    return next(iter(difflib.get_close_matches(name, names, 1)), None)


def _takes_one(parameters: dict[str, inspect.Parameter]) -> bool:
    kinds = (*_POSITIONAL, inspect.Parameter.VAR_POSITIONAL)
    return any(parameter.kind in kinds for parameter in parameters.values())


def _single_names(parameters: dict[str, inspect.Parameter]) -> list[str]:
    """Return the parameters that take one argument each."""
    return [name for name, parameter in parameters.items() if parameter.kind not in MANY]


def _required_names(parameters: dict[str, inspect.Parameter]) -> list[str]:
    return [name for name in _single_names(parameters) if parameters[name].default is _EMPTY]


def _format_signature(
    function: Callable[..., Any], parameters: dict[str, inspect.Parameter]
) -> str:
    """Return the function with the names of its parameters, as in a traceback."""
    names = [_STARS.get(parameter.kind, "") + name for name, parameter in parameters.items()]
    kinds = [parameter.kind for parameter in parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        names.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    text = f"{name_of(function)}({', '.join(names)})"
    return text if len(text) <= 120 else f"{name_of(function)}(…)"


def _it_or_them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
