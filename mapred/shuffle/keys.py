"""What may be a key, and the tables that a shuffle carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mapred.arrow import from_frames
from mapred.arrow.schemas import find_duplicate_column
from mapred.arrow.types import kind, strip_encoding
from mapred.errors import FunctionError
from mapred.process.lazy import pa, pc
from mapred.shuffle.hashing import Hashes, hash_rows

_KEY_KINDS = "bool text bytes decimal date time duration local instant null".split()


def tables(value: Any) -> Iterator[pa.Table]:
    """Yield what a function returned as plain tables: a table, batch or frame, or an iterator of
    them.

    Dictionaries and runs are decoded and views made plain, since a partition is read without the rest
    of its file; metadata is dropped, since it would differ from task to task.
    """
    if isinstance(value, Iterator):
        for part in value:
            yield from tables(part)
        return
    try:
        table = from_frames.as_rows(value)
    except from_frames.Unfit as error:
        raise FunctionError(
            f"the returned frame cannot be stored as Arrow: {error}{error.remedy}"
        ) from error
    if table is None:
        raise FunctionError(
            f"the function returned a {type(value).__name__}: with by= or sort_by= it must return "
            "a pa.Table, a record batch, a pandas or polars frame, or an iterator of them"
        )
    yield plain(table)


def plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, runs, views and metadata."""
    twice = find_duplicate_column(table.schema)
    if twice is not None:
        raise FunctionError(f"the returned table has more than one column {twice!r}")
    fields = [pa.field(field.name, _plain_type(field)) for field in table.schema]
    columns = [_as(column, field.type) for column, field in zip(table.columns, fields, strict=True)]
    # Built from arrays with a length, a table of no columns would forget its rows.
    return pa.Table.from_arrays(columns, schema=pa.schema(fields)) if columns else table


def _as(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_run_end_encoded(column.type):  # no cast takes these
        column = pc.run_end_decode(column)
    return column if column.type == type_ else column.cast(type_)


def _plain_type(field: pa.Field) -> pa.DataType:
    type_ = strip_encoding(field.type, large=True)
    if "dictionary<" in str(type_):
        raise FunctionError(
            f"column {field.name!r} is {type_}: a dictionary inside of another type cannot be "
            "shuffled; cast it to its values"
        )
    return type_


def check_keys(schema: pa.Schema, by: Sequence[str]) -> None:
    """Refuse key columns that are missing, or whose type has no hash."""
    for name in by:
        if name not in schema.names:
            columns = ", ".join(schema.names) or "none"
            raise FunctionError(
                f"there is no key column {name!r} in the output; there are {columns}"
            )
        family(schema.field(name).type, name)


def family(type_: pa.DataType, name: str) -> str:
    """Types of one family can be equal, and then have equal hashes; other keys are refused."""
    if pa.types.is_dictionary(type_):
        return family(type_.value_type, name)
    if kind(type_) in ("int", "float"):
        return "number"
    if kind(type_) in _KEY_KINDS:
        return kind(type_)
    raise FunctionError(
        f"key column {name!r} is {type_}, which cannot be a key: take a column for each of its "
        "fields, or a string of it"
    )


def one_zero_one_nan(table: pa.Table, by: Sequence[str]) -> pa.Table:
    """Return the key columns with 0.0 for -0.0 and one NaN, as Arrow groups floats by their bits."""
    for name in by:
        number = table.schema.get_field_index(name)
        field = table.schema.field(number)
        if pa.types.is_floating(field.type):
            table = table.set_column(number, field, same_bits(table.column(number)))
    return table


def same_bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats with 0.0 for -0.0 and one NaN."""
    dtype = np.dtype(f"f{column.type.bit_width // 8}")
    chunks = []
    for chunk in column.chunks:
        data = chunk.buffers()[1]
        if data is None:
            chunks.append(chunk)
            continue
        stop = chunk.offset + len(chunk)
        values = np.frombuffer(data, dtype, stop) + dtype.type(0)
        values[np.isnan(values)] = np.nan
        buffers = [chunk.buffers()[0], pa.py_buffer(values)]
        chunks.append(
            pa.Array.from_buffers(column.type, stop, buffers).slice(chunk.offset, len(chunk))
        )
    return pa.chunked_array(chunks, column.type)


def hash_keys(table: pa.Table, by: Sequence[str]) -> Hashes:
    """Return a hash for every row, by its key columns."""
    return hash_rows([table.column(name) for name in by])
