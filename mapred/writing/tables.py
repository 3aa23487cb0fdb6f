"""What a task returned as tables of plain types, and their rows by partition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa

from mapred.arrow.buffers import from_arrow, scalar, to_arrow
from mapred.arrow.types import NULL_FOLDER, strip_encoding
from mapred.errors import DatasetError, FunctionError
from mapred.process.lazy import pc
from mapred.runfolder import tabular
from mapred.writing.schemas import map_leaf_types
from mapred.writing.target import Target

_LONGEST = 255  # bytes of one name on a disk; datasets move between disks and buckets

Values = tuple[str | None, ...]


def tables(values: Iterable[Any], target: Target) -> Iterator[pa.Table]:
    """Yield every table, frame or batch among `values`, and in the iterators among them.

    A table without rows still says its columns; one without columns says nothing.
    """
    for value in values:
        if value is None:
            continue
        table = tabular.to_rows(value)
        if table is not None:
            if table.num_columns:
                yield _normalize(table, target)
        elif isinstance(value, Iterator):
            yield from tables(value, target)
        else:
            raise FunctionError(
                f"a {type(value).__name__} cannot be written as {target.kind}: with write= the "
                "function returns a table or a frame, or an iterator of them"
            )


def by_partition(table: pa.Table, names: tuple[str, ...]) -> Iterator[tuple[Values, pa.Table]]:
    """Yield the values of the partition columns and the rows that have them, without the columns.

    Rows keep their order. Each combination comes once for a table.
    """
    if not names:
        yield (), table
        return
    rest = table.drop_columns(list(names))
    if not rest.num_columns:
        raise DatasetError(f"partition_by={list(names)} leaves no column to write")
    if not table.num_rows:
        return
    codes = np.zeros(table.num_rows, np.int64)
    columns: list[pa.Array] = []
    for name in names:
        column = table[name].cast(pa.string()).combine_chunks().dictionary_encode("encode")
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        _check_values(name, table.schema.field(name).type, column.dictionary.drop_null())
        # Numbered again after each column, so that a number never exceeds the rows.
        codes = codes * len(column.dictionary) + from_arrow(column.indices)
        codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
        columns.append(column)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    ends = [*starts[1:], len(order)]
    rows = rest if len(starts) == 1 else rest.take(to_arrow(order))
    for start, end in zip(starts, ends, strict=True):
        first = int(order[start])
        values = tuple(column[first].as_py() for column in columns)
        yield values, rows.slice(int(start), int(end - start))


def _check_values(name: str, type_: pa.DataType, texts: pa.Array) -> None:
    """Raise for a value that shares its folder with another, or that no file system can hold."""
    if pc.index(texts, scalar(NULL_FOLDER).cast(texts.type)).as_py() >= 0:
        raise DatasetError(
            f"partition_by={name!r}: the text {NULL_FOLDER!r} stands for null in a folder's name; write "
            "null, or another text"
        )
    odd = pc.not_equal(pc.utf8_length(texts), scalar(10))
    if pa.types.is_date(type_) and pc.any(odd).as_py():
        raise DatasetError(
            f"partition_by={name!r}: a date is before the year 0 or after 9999, which no "
            "folder's name can hold; write null, or convert the column to text"
        )
    for text in texts.to_pylist():
        if (
            len(name) + len(text) >= _LONGEST // 4
            and len(f"{name}={_escape(text)}".encode()) > _LONGEST
        ):
            raise DatasetError(
                f"partition_by={name!r}: {text[:40]!r}… is too long for a folder's name, which has "
                f"{_LONGEST} bytes at most; partition by something shorter, such as a hash of it"
            )


def folder_of(names: tuple[str, ...], values: Values) -> str:
    """Return the folder of a partition, `day=2026-01-01/city=a%2Fb`; empty without partitions."""
    parts = (
        f"{name}={NULL_FOLDER if value is None else _escape(value)}"
        for name, value in zip(names, values, strict=True)
    )
    return "/".join(parts)


def values_of(names: tuple[str, ...], folder: str) -> Values | None:
    """Return the partition of a folder, whatever program named it; None if it has other columns."""
    parts = [part.partition("=") for part in folder.split("/")] if folder else []
    if tuple(unquote(name) for name, _, _ in parts) != names:
        return None
    return tuple(None if value == NULL_FOLDER else unquote(value) for _, _, value in parts)


def _escape(value: str) -> str:
    # ASCII alone: Spark takes each `%XX` for a character, where others take it for a byte.
    return "".join(quote(part, safe="") if part.isascii() else part for part in value)


def _normalize(table: pa.Table, target: Target) -> pa.Table:
    """Return a table cast to `schema=`, if any, without dictionaries, views and metadata."""
    if len(set(table.column_names)) < table.num_columns:
        raise DatasetError(f"the returned table has a column twice: {table.column_names}")
    pinned = target.parse_schema()
    if not table.num_rows:
        fields = [_try_stored_field(field, target) for field in pinned or table.schema]
        return pa.schema(fields).empty_table()
    missing = [name for name in target.partition_by if name not in table.column_names]
    if missing:
        raise DatasetError(
            f"partition_by={missing[0]!r} is not a column of the returned table: it has "
            f"{', '.join(table.column_names)}"
        )
    if pinned is not None:
        if sorted(pinned.names) != sorted(table.column_names):
            raise DatasetError(
                f"the returned table has the columns {', '.join(table.column_names)}, and schema= "
                f"has {', '.join(pinned.names)}"
            )
        table = table.select(pinned.names)
    else:
        pinned = pa.schema([field.with_type(plain_type(field.type)) for field in table.schema])
    fields = [_to_stored_field(field, target) for field in pinned]
    try:
        return table.cast(pa.schema(fields))
    except (pa.ArrowException, ValueError) as error:
        raise DatasetError(
            f"the returned table cannot be cast to what is stored: {error}"
        ) from error


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Return the type, as Parquet gives it back, that stands for all with the same values.

    No dictionary, view or large one; milliseconds, not seconds; no decimals of a negative scale.
    """
    return map_leaf_types(type_, _plain_leaf)


def _plain_leaf(type_: pa.DataType) -> pa.DataType:
    decoded = strip_encoding(type_)
    if decoded != type_:
        return plain_type(decoded)
    if pa.types.is_large_string(type_):
        return pa.string()
    if pa.types.is_large_binary(type_):
        return pa.binary()
    if pa.types.is_timestamp(type_) and type_.unit == "s":
        return pa.timestamp("ms", type_.tz)
    if pa.types.is_date64(type_):
        return pa.date32()
    if pa.types.is_decimal(type_) and type_.scale < 0:
        digits = type_.precision - type_.scale
        return pa.decimal128(digits, 0) if digits <= 38 else pa.decimal256(min(digits, 76), 0)
    return pa.time32("ms") if type_ == pa.time32("s") else type_


def _to_stored_field(field: pa.Field, target: Target) -> pa.Field:
    """Return a field as the target holds it; one that it cannot hold is an error."""
    type_ = plain_type(field.type)
    if field.name in target.partition_by:
        allowed = (
            pa.types.is_string,
            pa.types.is_integer,
            pa.types.is_boolean,
            pa.types.is_date,
            pa.types.is_null,
        )
        if not any(test(type_) for test in allowed):
            raise DatasetError(
                f"partition_by={field.name!r} is a column of {type_}: a folder's name holds text, "
                "a whole number, a date or a boolean; convert it to one of these first"
            )
    if target.kind == "delta":
        type_ = map_leaf_types(type_, partial(_delta_type, field.name))
    return pa.field(field.name, type_)


def _try_stored_field(field: pa.Field, target: Target) -> pa.Field:
    """Return a field of a table without rows: without values it can be of any type."""
    try:
        return _to_stored_field(field, target)
    except DatasetError:
        return pa.field(field.name, pa.null())


def _delta_type(name: str, type_: pa.DataType) -> pa.DataType:
    """Return the nearest type of Delta's with the same values: signed integers, microseconds."""
    if pa.types.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    nearest = {
        pa.uint8(): pa.int16(),
        pa.uint16(): pa.int32(),
        pa.uint32(): pa.int64(),
        pa.uint64(): pa.int64(),
        pa.float16(): pa.float32(),
    }
    if pa.types.is_fixed_size_binary(type_):
        return pa.binary()
    type_ = nearest.get(type_, type_)
    is_known = type_ in _DELTA or (pa.types.is_decimal128(type_) and type_.scale >= 0)
    if not is_known:
        raise DatasetError(
            f"column {name!r} is {type_}, a type that Delta does not have; convert it to text, a "
            "number or a timestamp in the function, or pass schema= to cast to"
        )
    return type_


_DELTA = {
    pa.null(), pa.string(), pa.binary(), pa.bool_(), pa.date32(), pa.float32(), pa.float64(),
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.timestamp("us"), pa.timestamp("us", "UTC"),
}  # fmt: skip
