"""Checks of what the constructors of datasets are given: one clear error for each option."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mapred.dataset.types import as_type
from mapred.errors import DatasetError
from mapred.model.checking import short_repr
from mapred.model.rules import plain
from mapred.model.spec import Format
from mapred.process.lazy import pa

DTYPE_BACKENDS = ("numpy_nullable", "pyarrow", "numpy")
_COMPRESSIONS = ("infer", "gzip", "bz2", "xz", "zstd", None)


def text_options(format: Format, encoding: str, errors: str, compression: str | None) -> Format:
    """Return `format` with what all formats of text take."""
    for what, value, look_up in (
        ("encoding", encoding, codecs.lookup),
        ("errors", errors, codecs.lookup_error),
    ):
        try:
            look_up(value)
        except (LookupError, TypeError) as error:
            raise DatasetError(f"{what}={short_repr(value)} is unknown to Python") from error
    if compression not in _COMPRESSIONS:
        raise DatasetError(
            f"compression={short_repr(compression)} is not one of {', '.join(map(repr, _COMPRESSIONS))}"
        )
    return replace(format, encoding=encoding, errors=errors, compression=compression)


def table_options(
    format: Format,
    dtype_backend: str,
    columns: Sequence[str] | None,
    filters_: Any,
    missing_columns: str,
    extra_columns: str,
) -> Format:
    """Return `format` with what all formats of tables take."""
    return replace(
        format,
        dtype_backend=choice("dtype_backend", dtype_backend, DTYPE_BACKENDS),
        columns=names("columns", columns),
        filter=filters(filters_),
        missing_columns=choice("missing_columns", missing_columns, ("error", "null")),
        extra_columns=choice("extra_columns", extra_columns, ("error", "ignore")),
    )


def schema(schema: Any) -> Any:
    if schema is None:
        return None
    if isinstance(schema, Mapping):
        return {name: as_type(name, type_) for name, type_ in schema.items()}

    if not isinstance(schema, pa.Schema):
        raise DatasetError(
            f"schema={short_repr(schema)} is not a pa.Schema, nor types by column name"
        )
    return schema


def names(what: str, names: Any, empty: bool = False) -> tuple[str, ...] | None:
    if names is None:
        return None
    taken = tuple(names)
    if not all(isinstance(name, str) for name in taken) or not (taken or empty):
        raise DatasetError(f"{what}={short_repr(names)} must be a list of strings, at least one")
    if len(set(taken)) < len(taken):
        raise DatasetError(f"{what}={short_repr(names)} names one twice")
    return taken


def filters(filters: Any) -> Any:
    if filters is None or type(filters).__name__ == "Expression":
        return filters
    groups = filters if isinstance(filters, list) else None
    if groups and all(isinstance(group, list) for group in groups):
        groups = [condition for group in groups for condition in group]
    if not groups or not all(isinstance(c, tuple) and len(c) == 3 for c in groups):
        raise DatasetError(
            f"filters={short_repr(filters)} must be an Arrow expression or conditions such as "
            "[('price', '>', 3)]"
        )
    return filters


def character(what: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in "\r\n" or ord(value) > 127:
        raise DatasetError(
            f"{what}={short_repr(value)} must be one ASCII character, and no line end"
        )
    return value


def choice(what: str, value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise DatasetError(
            f"{what}={short_repr(value)} is not one of {', '.join(map(repr, choices))}"
        )
    return str(value)


def header_of(value: Any) -> bool | str:
    if isinstance(value, str) and value == "first":
        return "first"
    value = plain(value)
    if not isinstance(value, bool):
        raise DatasetError(f"header={short_repr(value)} must be True, False or 'first'")
    return value


def check_dialect(format: Format) -> None:
    """Refuse a dialect in which one character has two meanings."""
    seen: dict[str, str] = {}
    for name in ("delimiter", "quote", "escape", "comment", "decimal", "thousands"):
        character = getattr(format, name)
        if character and character in seen:
            raise DatasetError(
                f"{seen[character]}= and {name}= are both {character!r}; a character has one meaning"
            )
        seen[character] = name
