"""What users see of mapred, as text: the help of every command, every public name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from unittest import mock

import click

import mapred
from mapred.cli import main


def cli_help() -> str:
    """The help of every command, as a terminal of 100 columns shows it."""
    with mock.patch.dict("os.environ", {"COLUMNS": "100"}):
        return "\n\n".join(_help(main, "mapred", None)) + "\n"


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=100, **command.context_settings
    )
    yield f"==== {context.command_path}\n{command.get_help(context)}"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _help(found, each, context)


def public_names() -> str:
    """Every public name with its signature, and below a class its public members."""
    lines = [
        line for name in sorted(mapred.__all__) for line in _named(name, getattr(mapred, name))
    ]
    return "\n".join(lines) + "\n"


def _named(name: str, value: Any) -> list[str]:
    if inspect.ismodule(value):
        members = [n for n, v in vars(value).items() if _is_own(n, v, value.__name__)]
        return [f"{name}: module"] + [
            line for n in sorted(members) for line in _named(f"{name}.{n}", getattr(value, n))
        ]
    if inspect.isclass(value) and issubclass(value, BaseException):
        return [f"{name}: {', '.join(base.__name__ for base in value.__bases__)}"]
    if inspect.isclass(value):
        return [f"{name}{_signature(value)}", *_members(name, value)]
    if callable(value):
        return [f"{name}{_signature(value)}"]
    return [f"{name}: {type(value).__name__}"]


def _is_own(name: str, value: Any, module: str) -> bool:
    if name.startswith("_") or inspect.ismodule(value):
        return False
    home = getattr(value, "__module__", None)
    return home == module and (inspect.isclass(value) or callable(value) or name.islower())


def _members(name: str, cls: type) -> Iterator[str]:
    bases = [base for base in cls.__mro__ if base.__module__.startswith("mapred.")]
    found = {key: value for base in reversed(bases) for key, value in vars(base).items()}
    for key, value in sorted(found.items()):
        if key.startswith("_") or key in getattr(cls, "__dataclass_fields__", ()):
            continue
        if isinstance(value, classmethod | staticmethod):
            yield f"  {name}.{key}{_signature(value.__func__)}"
        elif inspect.isfunction(value):
            yield f"  {name}.{key}{_signature(value)}"
        else:
            yield f"  {name}.{key}"


def _signature(value: Any) -> str:
    """Names, kinds and defaults of parameters; what they may be is for mypy to hold."""
    parameters = [
        each.replace(annotation=each.empty, default=_default(each.default))
        for each in inspect.signature(value).parameters.values()
    ]
    return str(inspect.Signature(parameters)).replace("Ellipsis", "…")


def _default(value: Any) -> Any:
    """A default as a signature shows it; one that is an object of its own is only said to be."""
    plain = isinstance(value, str | int | float | tuple) or value is None
    return value if plain or value is inspect.Parameter.empty else ...
