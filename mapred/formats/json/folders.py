"""Folder columns that the lines have as well: in each of them they must be the same."""

from __future__ import annotations

from typing import Any

from mapred.arrow.buffers import strings
from mapred.arrow.types import NULL_FOLDER
from mapred.formats.json.objects import SPACES, Refused, decode_object, decode_plain
from mapred.formats.lines import Lines
from mapred.formats.tables import folders_of, partitions_of
from mapred.model.spec import Format
from mapred.process.lazy import pa, pc


def folder_schema(lines: Lines, format: Format) -> pa.Schema:
    """Return the folder columns in the types that they have in the first of the lines."""
    if not format.partitions:
        return pa.schema([])
    assert format.schema is not None
    try:
        first = decode_object(lines.data.lstrip(SPACES).partition(b"\n")[0], decode_plain)
    except Refused:
        first = {}
    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    return pa.schema(
        [
            (name, types.get(type(first.get(name)), format.schema.field(name).type))
            for name in format.partitions
        ]
    )


def fill_folders(table: pa.Table, path: str, names: tuple[str, ...]) -> pa.Table:
    """Fill in the folder's value where a line lacks it; drop the column where all of them do."""
    for name in names:
        column = table.column(name)
        if column.null_count == table.num_rows:
            table = table.drop_columns([name])
        elif column.null_count:
            text = folders_of(path).get(name)
            try:
                value = strings(["" if text is None else text]).cast(column.type)[0]
            except pa.ArrowException:
                continue  # so the values that are there differ from the folder's, too
            number = table.column_names.index(name)
            table = table.set_column(number, name, pc.fill_null(column, value))
    return table


def add_folders(dicts: list[dict[str, Any]], path: str, format: Format) -> tuple[int, str] | None:
    """Give dicts the folders' values; return the index of a dict that has another one, and an error."""
    texts = folders_of(path)
    values = {name: value.as_py() for name, value in partitions_of(path, format).items()}
    for number, line in enumerate(dicts):
        for name, value in values.items():
            if line.get(name) is None:
                line[name] = value
            elif not _is_same(line[name], texts[name]):
                shown = NULL_FOLDER if texts[name] is None else texts[name]
                return number, (
                    f"the folder {name}={shown} is not the field {name}, which is"
                    f" {line[name]!r}; pass hive=False to leave the folder out"
                )
    return None


def _is_same(value: Any, text: str | None) -> bool:
    """Whether a value is what the name of a folder says."""
    if text is None or isinstance(value, str):
        return bool(value == text)
    if isinstance(value, bool):
        return text == str(value).lower()
    try:
        return isinstance(value, int | float) and value == type(value)(text)
    except ValueError:
        return False
