"""Backends that a project names in `mapred.toml`, or under `[tool.mapred]` of pyproject.toml.

    [backend.prod]
    type = "argo"
    namespace = "team"
    root = "s3://team/runs"

`backend="prod"` then is `mapred.Argo(namespace="team", root="s3://team/runs")`: a table holds typed
arguments, nothing more. The type may be left out where it is the name, as in `[backend.argo]`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import os
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mapred.backends import config_files
from mapred.engine.base import Backend
from mapred.errors import BackendError, MapredError


def tables() -> tuple[Path | None, Mapping[str, Any]]:
    """Return the file that names backends, and its tables: `$MAPRED_CONFIG`, else the nearest one.

    It lies in the working folder or above it, up to the top of the repository or the home folder,
    and belongs to this user: see `config_files`.
    """
    chosen = os.environ.get("MAPRED_CONFIG")
    if chosen:
        return Path(chosen), _read_toml(Path(chosen)).get("backend", {})
    for folder in config_files.folders(Path.cwd()):
        own, project = folder / "mapred.toml", folder / "pyproject.toml"
        if own.is_file():
            config_files.hold(own)
            return own, _read_toml(own).get("backend", {})
        if project.is_file():
            settings = _read_toml(project).get("tool", {}).get("mapred")
            if settings is not None:
                config_files.hold(project)
                return project, settings.get("backend", {})
    return None, {}


def kind_of(name: str, table: Any) -> str:
    """Return the type of the backend that a table describes."""
    return str(table.get("type", name)) if isinstance(table, Mapping) else name


def backend_from_table(
    name: str, table: Any, file: Path | None, classes: Mapping[str, Any]
) -> Backend:
    """Return the backend of a table whose keys are arguments; errors show no value of another type."""
    where = f"{file}: [backend.{name}]"
    if not isinstance(table, Mapping) or not ("type" in table or name in classes):
        raise BackendError(f"{where} needs a type: {', '.join(map(repr, classes))}")
    kind = table.get("type", name)
    if kind not in classes:
        raise BackendError(f"{where}: type={kind!r}{_suggest_names(kind, classes)}")
    cls = classes[kind]
    arguments = {key: value for key, value in table.items() if key != "type"}
    fields = [field.name for field in dataclasses.fields(cls) if field.name != "name"]
    backend: Backend = _make(cls, arguments, fields, where, ": ")
    return backend


def _read_toml(file: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackendError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BackendError(f"{file} is not TOML: {error}") from error
    return content


def _make(
    cls: Any, values: Mapping[str, Any], fields: Iterable[str], where: str, joint: str
) -> Any:
    """Return an object of a dataclass whose fields have these values."""
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            raise BackendError(f"{where}: no key {key!r}{_suggest_names(key, fields)}")
    arguments = {
        key: _coerce(value, hints[key], f"{where}{joint}{key}") for key, value in values.items()
    }
    try:
        return cls(**arguments)
    except MapredError as error:
        raise BackendError(f"{where}: {error}") from None


def _suggest_names(word: Any, choices: Iterable[str]) -> str:
    names = sorted(choices)
    close = difflib.get_close_matches(str(word), names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}"


def _coerce(value: Any, hint: Any, where: str) -> Any:
    """Return a value as its annotation says: lists as tuples, tables as dataclasses."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, inner, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise BackendError(f"{where} must be a list, not {_kind(value)}")
        return tuple(_coerce(item, inner[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin is collections.abc.Mapping:
        if not isinstance(value, dict):
            raise BackendError(f"{where} must be a table, not {_kind(value)}")
        return {key: _coerce(item, inner[1], f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise BackendError(f"{where} must be a table, not {_kind(value)}")
        return _make(hint, value, typing.get_type_hints(hint), where, ".")
    wanted = (int, float) if hint is float else hint
    if hint is Any or (isinstance(value, wanted) and (hint is bool or type(value) is not bool)):
        return value
    raise BackendError(f"{where} must be {_NAMES.get(hint, hint)}, not {_kind(value)}")


def _coerce_union(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    """Return a value as the first of the types that takes it; TOML has no null."""
    choices = [hint for hint in hints if hint is not type(None)]
    for hint in choices[:-1]:
        if type(value) is hint or (type(value) is int and hint is float):
            return value
    return _coerce(value, choices[-1], where)


_NAMES: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


def _kind(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)
