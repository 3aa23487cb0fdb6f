"""What a function returned as cells of one row: a name and a value for each."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mapred.errors import FunctionError
from mapred.model.checking import short_repr


def to_cells(value: Any) -> dict[str, Any] | None:
    """Return the cells of a mapping, record or series; None of any other value.

    A record is a dataclass, a named tuple, an attrs class or a pydantic model. Mappings and records
    inside of these are flattened, with dots in the names; what is empty stays as it is. Two
    cells of one name are a `FunctionError`.
    """
    pairs = _series_of(value)
    if pairs is None:
        pairs = _fields_of(value)
    if pairs is None:
        return None
    cells: dict[str, Any] = {}
    for name, cell in _flatten(pairs, ""):
        if name in cells:
            raise FunctionError(
                f"two keys of {short_repr(value)} are one as the name of a column, {name!r}; return "
                "keys that differ as text, or use result()"
            )
        cells[name] = cell
    return cells


def _flatten(pairs: Iterable[tuple[Any, Any]], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        name = f"{before}{key}"
        inner = _fields_of(value, text_alone=True)
        if inner:
            yield from _flatten(inner, f"{name}.")
        else:
            yield name, value


def _fields_of(value: Any, *, text_alone: bool = False) -> list[tuple[Any, Any]] | None:
    """Return names and values of a mapping or record, None of all else.

    With `text_alone`, a mapping of keys that are not all text is a value like any other.
    """
    if isinstance(value, Mapping):
        if text_alone and not all(isinstance(key, str) for key in value):
            return None
        return list(value.items())
    if isinstance(value, type):
        return None
    names = _field_names(value)
    return None if names is None else [(name, getattr(value, name)) for name in names]


def _field_names(value: Any) -> list[str] | None:
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        return list(names) if isinstance(names, tuple) else None
    if (made := getattr(type(value), "__attrs_attrs__", None)) is not None:
        return [attribute.name for attribute in made]
    # Code that has such a value has loaded its library.
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    if model is not None and isinstance(value, model):
        return [*type(value).model_fields, *(value.model_extra or ())]
    return None


def _series_of(value: Any) -> list[tuple[Any, Any]] | None:
    """Return labels and values of a series of pandas; labels of several levels are joined by dots."""
    if type(value).__name__ != "Series" or type(value).__module__.split(".")[0] != "pandas":
        return None
    several = value.index.nlevels > 1
    return [
        (".".join(map(str, label)) if several else label, cell) for label, cell in value.items()
    ]
