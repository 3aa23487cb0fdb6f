"""What the client fixes before a run: the format with its schema, read once from one file."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from mapred.dataset.kinds import kind_of, partitions
from mapred.dataset.values import TABULAR, Dataset, handed_over, suffixes
from mapred.dataset.walks import is_remote
from mapred.errors import DatasetError
from mapred.model import Format
from mapred.storage import open_source

if TYPE_CHECKING:
    import pyarrow as pa

Sniff: TypeAlias = "Callable[[Format, str, Callable[..., Any]], pa.Schema]"
_PYTHON = {str: "string", int: "int64", float: "float64", bool: "bool", bytes: "binary"}


def pin(dataset: Dataset, files: pa.Table | None, sniff: Sniff) -> Format:
    """The format that workers are told: its name, what is handed over, names and types.

    `files` is the listing (None for items and arrays); `sniff(format, path, open)` reads a
    file's schema, and is asked once, of the first file that is not empty. Raises
    `DatasetError` where names or types contradict each other.
    """
    options = replace(dataset.options, schema=None)
    if dataset.format in ("items", "array"):
        return replace(options, name=dataset.format, as_=handed_over(dataset.format, dataset.as_))
    if dataset.frame is not None:
        return _selected(
            replace(
                options,
                name="arrow",
                as_=handed_over("arrow", dataset.as_),
                schema=dataset.frame.schema,
            )
        )
    assert files is not None
    name, delimiter = (dataset.format, "") if dataset.format else kind_of(files["path"])
    assert name is not None
    format = replace(options, name=name, as_=handed_over(name, dataset.as_))
    if name not in TABULAR:
        return format
    if name == "csv" and not format.delimiter:
        format = replace(format, delimiter=delimiter or _delimiter(files))
    folders = partitions(files["path"], _unwritten(dataset, files))
    return _selected(_with_schema(format, dataset.schema, folders, files, sniff))


def why_whole(format: Format) -> str:
    """Why files of this format may not be cut, where they may not."""
    if format.name == "files":
        return "each is read whole"
    if format.newlines_in_values:
        return "newlines_in_values=True"
    if "\n".encode(format.encoding) != b"\n":
        return f"encoding={format.encoding!r}"
    return "compressed"


def _with_schema(
    format: Format,
    schema: pa.Schema | Mapping[str, Any] | None,
    folders: dict[str, pa.DataType],
    files: pa.Table,
    sniff: Sniff,
) -> Format:
    import pyarrow as pa

    if isinstance(schema, pa.Schema):
        inside, given = schema, {field.name: field.type for field in schema}
    else:
        reader = functools.partial(open_source, storage=format.storage)
        inside = sniff(format, _first_path(files), reader)
        given = {name: as_type(name, type_) for name, type_ in (schema or {}).items()}
        unknown = [name for name in given if name not in inside.names and name not in folders]
        if unknown:
            raise DatasetError(
                f"schema= names {unknown[0]!r}, which is no column; there are "
                f"{', '.join([*inside.names, *folders])}"
            )
        twice = [name for name in folders if name in inside.names]
        if twice and format.name == "csv":
            raise DatasetError(
                f"{twice[0]!r} is both a column of the files and a name=value folder; rename one"
            )
    fields = [
        pa.field(field.name, given.get(field.name, field.type), field.nullable, field.metadata)
        for field in inside
        if field.name not in folders
    ]
    fields += [pa.field(name, given.get(name, type_)) for name, type_ in folders.items()]
    pinned = pa.schema(fields, inside.metadata)
    return replace(format, schema=pinned, partitions=tuple(folders))


def as_type(name: str, type_: Any) -> pa.DataType:
    """An Arrow type, from one, from its name, or from Python's `str`, `int`, `float`, …"""
    import pyarrow as pa

    if isinstance(type_, pa.DataType):
        return type_
    alias = _PYTHON.get(type_, type_) if isinstance(type_, type) else type_
    try:
        return pa.type_for_alias(alias)
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"schema= gives {name!r} the unknown type {type_!r}") from error


def _selected(format: Format) -> Format:
    """The format, once the chosen columns are known to exist."""
    assert format.schema is not None
    for name in format.columns or ():
        if name not in format.schema.names:
            raise DatasetError(
                f"columns= names {name!r}, which is none of {', '.join(format.schema.names)}"
            )
    return format


def _first_path(files: pa.Table) -> str:
    """The first file that is not empty; the first of all where none is."""
    import pyarrow.compute as pc

    from mapred.arrays import scalar

    number = pc.index(pc.greater(files["size"], scalar(0)), scalar(True)).as_py()
    return str(files["path"][max(number, 0)].as_py())


def _delimiter(files: pa.Table) -> str:
    """A tab for `.tsv`, a comma for all other names; not both in one dataset."""
    import pyarrow.compute as pc

    from mapred.arrays import scalar

    tabs = pc.sum(pc.equal(suffixes(files["path"]), scalar("tsv"))).as_py()
    if tabs == len(files):
        return "\t"
    if tabs:
        raise DatasetError("some files end in .tsv and some do not; say delimiter=")
    return ","


def _unwritten(dataset: Dataset, files: pa.Table) -> str:
    """The part of the paths that the user did not write, whose folders name no columns."""
    import pyarrow.compute as pc

    if dataset.options.storage or any(is_remote(uri) or os.path.isabs(uri) for uri in dataset.uris):
        return ""
    here = os.getcwd().rstrip("/") + "/"
    return here if pc.all(pc.starts_with(files["path"], here)).as_py() else ""
