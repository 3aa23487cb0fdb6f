"""What a run owns by `replace=`: all partitions that have the named values, with rows or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from mapred.errors import DatasetError
from mapred.process.lazy import pa
from mapred.writing.target import Target

Named: TypeAlias = "Mapping[str, frozenset[str | None]]"


def spell_values(target: Target, types: Mapping[str, pa.DataType]) -> Named:
    """Return the values that `replace=` names of each column, spelled as in the names of folders.

    A value that the column cannot hold is an error; a column of unknown type keeps its texts.
    """
    return {
        name: frozenset(None if text is None else _spell_value(name, text, types) for text in texts)
        for name, texts in target.replace
    }


def types_of(columns: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Return the types of columns by their names in a manifest; nested ones are left out."""
    types = {}
    for name, text in columns.items():
        with suppress(ValueError):
            types[name] = pa.type_for_alias(text)
    return types


def owns(named: Named, names: Sequence[str], values: Sequence[str | None]) -> bool:
    """Whether a partition has one of the named values in every column that is named."""
    return bool(named) and all(
        value in named[name] for name, value in zip(names, values, strict=True) if name in named
    )


def refuse_others(
    named: Named, names: Sequence[str], values: Sequence[str | None], shard: int
) -> None:
    """Raise for a partition with a value that is not named."""
    for name, value in zip(names, values, strict=True):
        if name in named and value not in named[name]:
            listed = sorted(map(_repr_value, named[name]))
            more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
            raise DatasetError(
                f"shard {shard} has rows with {name}={_repr_value(value)}, and replace= names "
                f"{', '.join(listed[:5])}{more}: leave these rows out in the function, or name that "
                "value too; nothing was published"
            )


def _spell_value(name: str, text: str, types: Mapping[str, pa.DataType]) -> str:
    type_ = types.get(name)
    if type_ is None or pa.types.is_null(type_):
        return text
    try:
        return str(pa.scalar(text).cast(type_).cast(pa.string()).as_py())
    except pa.ArrowException:
        raise DatasetError(
            f"replace= names {name}={text!r}, and the column {name!r} is {type_}: name values of "
            "that type, dates as 2026-11-03"
        ) from None


def _repr_value(value: str | None) -> str:
    return "null" if value is None else repr(value)
