"""What a function says of its parameters: which one gets the input, which ones get the task."""

from __future__ import annotations

import ast
import collections.abc
import functools
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from mapred.errors import FunctionError
from mapred.functions.commands import Command
from mapred.functions.task import Task
from mapred.functions.transport import makes_callables, name_of
from mapred.model.spec import Format

_KINDS: dict[str, dict[str, str]] = {
    "text": {
        "Iterator[str]": "lines",
        "Iterator[bytes]": "byte_lines",
        "pyarrow.lib.Array": "strings",
        "bytes": "bytes",
    },
    "table": {
        "pyarrow.lib.Table": "table",
        "pandas.DataFrame": "pandas",
        "polars.DataFrame": "polars",
        "Iterator[pyarrow.lib.RecordBatch]": "batches",
    },
    "files": {"mapred.File": "file", "bytes": "bytes", "pathlib.Path": "path"},
}
# What a pickled function may lack of the names in its annotations, which are texts there.
_WELL_KNOWN = {
    "Task": Task,
    "Optional": typing.Optional,
    "Union": typing.Union,
    "Annotated": typing.Annotated,
    "typing": typing,
}
MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def signature(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a call; of a class whose instances are called, those of `__call__`.

    A decorator that copies the name of what it wraps shows the parameters of that.
    """
    return _parameters(function, follow_wrapped=True) or {}


def own_signature(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return the parameters that a call is really checked against, None where Python does not know."""
    if type(function).__name__ == "ufunc" and hasattr(function, "nin"):  # numpy's
        kind = inspect.Parameter.POSITIONAL_ONLY
        return {f"x{i}": inspect.Parameter(f"x{i}", kind) for i in range(1, function.nin + 1)}
    if isinstance(function, functools._lru_cache_wrapper):
        function = function.__wrapped__
    return _parameters(function, follow_wrapped=False)


def _parameters(
    function: Callable[..., Any], follow_wrapped: bool
) -> dict[str, inspect.Parameter] | None:
    target: Any = function
    if makes_callables(function):
        target = function.__call__  # type: ignore[operator]
    try:
        parameters = inspect.signature(target, follow_wrapped=follow_wrapped).parameters.items()
    except (TypeError, ValueError):
        return None
    return dict(list(parameters)[makes_callables(function) :])


def task_parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the parameters annotated `mapred.Task`, which receive the task by keyword.

    It is the class that counts, not its name: `T`, `Task | None` and `"mapred.Task"` are found,
    and another class called `Task` is not.
    """
    if isinstance(function, Command):
        return ("task",)
    own = own_signature(function) or {}
    open_ended = takes_any_keyword(own)
    return tuple(
        name
        for name, parameter in signature(function).items()
        if (name in own or open_ended)
        and parameter.kind not in MANY
        and _names_task(function, parameter.annotation)
    )


def _names_task(function: Callable[..., Any], note: Any) -> bool:
    if isinstance(note, typing.ForwardRef):
        note = note.__forward_arg__
    if isinstance(note, str):
        try:
            return _names_task(function, _resolve(function, note))
        except Exception:
            return False
    if note is Task:
        return True
    if type(note).__name__ == "TypeAliasType":
        return _names_task(function, note.__value__)
    origin, parts = typing.get_origin(note), typing.get_args(note)
    if origin is typing.Annotated:
        return _names_task(function, parts[0])
    return origin in (typing.Union, types.UnionType) and any(
        _names_task(function, part) for part in parts
    )


def first_input(function: Callable[..., Any]) -> str | None:
    """Return the parameter that receives a shard or an item; None where there is none."""
    tasks = task_parameters(function)
    return next((name for name in signature(function) if name not in tasks), None)


def has_input_annotation(function: Callable[..., Any]) -> bool:
    """Whether the parameter that receives the input says what it wants."""
    return _annotated_input(function) is not None


def _annotated_input(function: Callable[..., Any]) -> inspect.Parameter | None:
    name = None if isinstance(function, Command) else first_input(function)
    first = signature(function)[name] if name is not None else None
    return None if first is None or first.annotation is first.empty else first


def input_annotation(function: Callable[..., Any]) -> str:
    """Return what a function says of its input, as text; empty where it says nothing."""
    parameter = _annotated_input(function)
    return "" if parameter is None else inspect.formatannotation(parameter.annotation).strip("'")


def takes(function: Callable[..., Any], name: str) -> bool:
    parameters = signature(function)
    return name in parameters or takes_any_keyword(parameters) or isinstance(function, Command)


def takes_any_keyword(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def input_kind(function: Callable[..., Any], format: Format) -> str | None:
    """Return what the annotation of the first parameter asks for (`Format.as_`), None if nothing.

    Only the formats with a choice are looked at; an annotation that cannot be resolved, or
    that the format cannot give, is a `FunctionError` that names `as_=`. Outputs of runs may be
    anything: there it counts if all are tables, and it names a kind of them.
    """
    family = format.name if format.name in ("text", "files") else "table"
    outputs = format.name == "outputs"
    anything = format.name in ("items", "array") or (outputs and not format.has_tables)
    first = None if anything else _annotated_input(function)
    if first is None:
        return None
    spelled = _spell(_resolve_annotation(function, first))
    if spelled in ("typing.Any", "Any", "object"):
        return None
    kind = _KINDS[family].get(spelled)
    if kind is None and not outputs:
        raise FunctionError(
            f"{name_of(function)}: a {format.name} dataset cannot be passed as "
            f"{first.name}: {spelled}; annotate one of {', '.join(_KINDS[family])}, "
            "or set as_= on the dataset"
        )
    return kind


def _resolve_annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    note = parameter.annotation
    if not isinstance(note, str):
        return note
    try:
        return _resolve(function, note)
    except Exception as error:
        raise FunctionError(
            f"{name_of(function)}: the annotation {parameter.name}: {note} cannot be resolved "
            f"({type(error).__name__}: {error}); import its type at the module's top, or set "
            "as_= on the dataset"
        ) from error


def parameter_type(function: Callable[..., Any], name: str) -> Any:
    """Return what a parameter is annotated as; `Any` without an annotation that can be resolved."""
    parameter = signature(function).get(name)
    if parameter is None or parameter.annotation is parameter.empty:
        return Any
    note = parameter.annotation
    try:
        while isinstance(note, str):  # A text in quotes is one within a text.
            note = _resolve(function, note)
    except Exception:
        return Any
    return note


def _resolve(function: Callable[..., Any], note: str) -> Any:
    """Return the value of an annotation that is a text; raises what evaluating it raises."""
    target = _unwrap(function)
    cells = inspect.getclosurevars(target).nonlocals if inspect.isfunction(target) else {}
    variables = {**getattr(target, "__globals__", {}), **cells}
    while True:
        try:
            return eval(note, variables)
        except NameError as error:
            value = _find_elsewhere(target, error.name or "")
            if value is None:
                raise
            variables[error.name] = value


def _unwrap(function: Callable[..., Any]) -> Any:
    """Return the function that was written, below partials, methods and decorators."""
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    if inspect.isclass(target) or not isinstance(target, types.FunctionType | types.MethodType):
        target = getattr(target, "__wrapped__", target.__call__)
    return inspect.unwrap(getattr(target, "__func__", target))


def _find_elsewhere(target: Any, name: str) -> Any:
    """Return what a function's module imports for type checkers alone, or what is well known."""
    module = getattr(target, "__module__", None) or ""
    if name not in _imports_for_checkers(module):
        return sys.modules["mapred"] if name == "mapred" else _WELL_KNOWN.get(name)
    source, attribute = _imports_for_checkers(module)[name]
    try:
        imported = importlib.import_module(source, sys.modules[module].__package__)
        return getattr(imported, attribute) if attribute else imported
    except (ImportError, AttributeError):
        return None


@functools.lru_cache(maxsize=16)
def _imports_for_checkers(module: str) -> Mapping[str, tuple[str, str]]:
    """Return where the names come from that a module imports: module and attribute by name."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return {}
    imported: dict[str, tuple[str, str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            imported.update({n.asname or n.name: (source, n.name) for n in node.names})
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                imported[alias.asname or top] = (alias.name if alias.asname else top, "")
    return imported


def _spell(note: Any) -> str:
    """Return an annotation in the form of the tables above."""
    origin = typing.get_origin(note)
    if origin in (collections.abc.Iterator, collections.abc.Iterable, collections.abc.Generator):
        return f"Iterator[{_spell(typing.get_args(note)[0])}]"
    if origin is not None or not isinstance(note, type):
        return str(note)
    module = note.__module__.split(".")[0]
    if module == "builtins":
        return note.__qualname__
    if module in ("pandas", "polars", "pathlib", "mapred"):
        return f"{module}.{note.__qualname__}"
    return f"{note.__module__}.{note.__qualname__}"
