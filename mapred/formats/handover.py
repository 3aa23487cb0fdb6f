"""What a function gets: a table as it is, a pandas or a polars frame with the same values."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from mapred.arrow.to_frames import to_pandas
from mapred.arrow.types import map_leaf_types
from mapred.errors import DatasetError, MissingDependency
from mapred.formats.casting import Unfit, convert_array, first_unfit, show_value
from mapred.formats.schemas import index_columns
from mapred.model.spec import Format
from mapred.process.lazy import pa, pd, pl


def converter(format: Format) -> Callable[[pa.Table], Any]:
    """Return what makes of a table what `format.as_` says; its package is imported at once."""
    if format.as_ not in ("pandas", "polars"):
        return lambda table: table
    try:
        importlib.import_module(format.as_)
    except ImportError as error:
        raise MissingDependency(format.as_, format.as_) from error
    if format.as_ == "polars":
        return _polars
    return _as_given if format.dtype_backend == "" else _pandas(format.dtype_backend)


def _pandas(dtype_backend: str) -> Callable[[pa.Table], Any]:
    """Return a frame with one dtype for each type, and with the index that pandas stored."""

    def convert(table: pa.Table) -> Any:
        frame = to_pandas(table, dtype_backend)
        names = index_columns(table.schema)
        if not names:
            return frame
        frame = frame.set_index(names)
        unnamed = [None if name.startswith("__index_level_") else name for name in names]
        return frame.rename_axis(index=unnamed)

    return convert


def _as_given(table: pa.Table) -> Any:
    """Rows of a frame of pandas, with the index and the dtypes that it had as a whole."""
    frame = table.to_pandas(integer_object_nulls=True)
    for column in (table.schema.pandas_metadata or {}).get("columns", []):
        name, stored = column["name"], column["field_name"]
        is_object = column["numpy_type"] == "object" and stored in table.column_names
        if is_object and name in frame.columns and frame[name].dtype != object:
            values = table[stored].to_pylist()
            frame[name] = pd.Series(values, index=frame.index, dtype=object)
    return frame


def _polars(table: pa.Table) -> Any:
    """Return a frame of the types that polars has: from others it makes wrong values, or panics."""
    fields = zip(table.schema, table.columns, strict=True)
    columns = {field.name: _for_polars(field, column) for field, column in fields}
    fitting = pa.table(columns) if columns else table
    try:
        frame = pl.from_arrow(fitting)
    except pl.exceptions.PolarsError as error:
        raise DatasetError(
            f"polars cannot hold one of the columns {', '.join(columns)}: {error}; pass"
            " columns= to leave it out, or as_='arrow'"
        ) from error
    if len(frame) != table.num_rows:
        raise DatasetError("this version of polars has no frame of rows without columns")
    return frame


def _for_polars(field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    type_ = map_leaf_types(field.type, _polars_type)
    if type_ == field.type:
        return column
    chunks = []
    for chunk in column.chunks:
        try:
            chunks.append(convert_array(chunk, type_, nulls=False))
        except Unfit as error:
            value = show_value(chunk[first_unfit(chunk, type_, nulls=False)])
            raise DatasetError(
                f"column {field.name!r} is {field.type}, and polars has no place for {value};"
                " pass as_='arrow'"
            ) from error
    return pa.chunked_array(chunks, type_)


def _polars_type(type_: pa.DataType) -> pa.DataType:
    """Return the type as which polars takes a type's values, or the type itself."""
    if pa.types.is_timestamp(type_) and type_.unit == "s":
        return pa.timestamp("ms", type_.tz)
    if pa.types.is_duration(type_) and type_.unit == "s":
        return pa.duration("ms")
    if pa.types.is_decimal(type_) and (pa.types.is_decimal256(type_) or type_.scale < 0):
        scale = max(type_.scale, 0)
        return pa.decimal128(min(38, type_.precision - type_.scale + scale), scale)
    return type_
