"""What the tabular formats share: the pinned schema, folder columns, filters, what is handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

from mapred.arrow.buffers import decode_dictionary, scalar, strings
from mapred.arrow.schemas import make_columnless_table
from mapred.arrow.types import NULL_FOLDER, to_plain, type_expression, type_name, unify_types
from mapred.errors import DatasetError
from mapred.formats import filters
from mapred.formats.base import OpenRange, Reading, guarded
from mapred.formats.casting import Unfit, convert_array, first_unfit, show_value
from mapred.formats.handover import converter
from mapred.formats.schemas import index_columns, index_metadata
from mapred.model.spec import Format
from mapred.process.lazy import pa, pc


@dataclass(frozen=True)
class Shape:
    """What is taken from each file, and what is handed over.

    `file` are the columns of the files, in order, and `taken` those of them that are needed;
    `folders` the folder columns that are needed, which a file may have as well; `output` what
    the function sees; `filter` an expression and `filtered_by` the columns that it may name,
    folders' too; `exact` whether other columns are an error.
    """

    file: pa.Schema
    taken: pa.Schema
    folders: tuple[str, ...]
    output: pa.Schema
    filter: Any
    filtered_by: frozenset[str]
    exact: bool


Pieces: TypeAlias = "Iterator[tuple[str, pa.Table]]"
ReadPieces: TypeAlias = "Callable[[Format, Shape, pa.Table, OpenRange, Reading], Pieces]"


def _output_schema(format: Format) -> pa.Schema:
    """Return the schema of what the function sees: the selected columns of the pinned schema.

    pandas gets the columns that are the index of its frames, too, as from its own readers.
    """
    schema = pinned_schema(format)
    metadata = index_metadata(schema, dtypes=format.dtype_backend == "")
    if format.columns is None:
        return schema.with_metadata(metadata or None)
    names = list(format.columns)
    if format.as_ == "pandas":
        names += [name for name in index_columns(schema) if name not in names]
    return pa.schema([_field(schema, name) for name in names], metadata or None)


def pinned_schema(format: Format) -> pa.Schema:
    """Return the schema of the job; a tabular format cannot be read without."""
    if format.schema is None:
        raise DatasetError(f"{format.name} has no pinned schema; sniff one, or pass schema=")
    return format.schema


def shape_of(format: Format) -> Shape:
    """Work out once for a shard what every one of its files must give."""
    schema, output = pinned_schema(format), _output_schema(format)
    file = pa.schema([field for field in schema if field.name not in format.partitions])
    expression, names, filtered_by = None, set(output.names), frozenset[str]()
    if format.filter is not None:
        expression = filters.expression_of(format.predicate, schema)
        names |= _needed_columns(expression, schema, names)
        filtered_by = frozenset(_mentioned_columns(expression, schema))
    return Shape(
        file=file,
        taken=pa.schema([field for field in file if field.name in names]),
        folders=tuple(name for name in format.partitions if name in names),
        output=output,
        filter=expression,
        filtered_by=filtered_by,
        exact=format.columns is None and format.extra_columns == "error",
    )


def _field(schema: pa.Schema, name: str) -> pa.Field:
    if name not in schema.names:
        raise DatasetError(f"there is no column {name!r}; there are {', '.join(schema.names)}")
    return schema.field(name)


def _mentioned_columns(expression: Any, schema: pa.Schema) -> list[str]:
    """Return the columns that an expression may name: all of them if it cannot be shown."""
    text = filters.expression_text(expression)
    return [name for name in schema.names if text is None or name in text]


def _needed_columns(expression: Any, schema: pa.Schema, taken: set[str]) -> set[str]:
    """Return the columns beside `taken` without which an expression cannot be evaluated."""
    try:
        filters.mask(pa.Table.from_batches([], schema), expression)
    except (pa.ArrowException, KeyError) as error:
        shown = filters.expression_text(expression) or "given"
        raise DatasetError(f"the filter {shown} does not fit the columns: {error}") from error
    needed, written = set(), _mentioned_columns(expression, schema)
    for number, name in enumerate(schema.names):
        if name not in taken and name in written:
            try:
                filters.mask(pa.Table.from_batches([], schema.remove(number)), expression)
            except (pa.ArrowException, KeyError):
                needed.add(name)
    return needed


def read(
    pieces: ReadPieces, format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Any:
    """Hand over what `pieces` reads as `format.as_` says."""
    if format.as_ not in ("table", "batches", "pandas", "polars"):
        raise DatasetError(f"{format.name} cannot be read as_={format.as_!r}")
    to = converter(format)
    shape = shape_of(format)
    batches = _batches(pieces, format, shape, ranges, open_range, reading)
    if format.as_ == "batches":
        return batches
    table = pa.Table.from_batches(batches, shape.output)
    with guarded(reading):
        return to(table)


def _batches(
    pieces: ReadPieces,
    format: Format,
    shape: Shape,
    ranges: pa.Table,
    open_range: OpenRange,
    reading: Reading,
) -> Iterator[pa.RecordBatch]:
    with guarded(reading):
        for path, piece in pieces(format, shape, ranges, open_range, reading):
            if not piece.num_rows:
                continue
            try:
                table = conform(piece, path, format, shape)
            except _Unfit as error:
                raise DatasetError(f"{reading.where() or path}: {error}") from error
            for batch in table.to_batches():
                if batch.num_rows:
                    yield batch
                    reading.records += batch.num_rows


class _Unfit(Exception):
    """A piece of a file does not fit; the caller names the place."""


def conform(table: pa.Table, path: str, format: Format, shape: Shape) -> pa.Table:
    """Return what was read from `path` in the pinned types, with folder columns, filtered.

    `table` has any order of columns. Those that it lacks become nulls where the format allows
    that. A column that is a folder's, too, must hold the folder's value in every row. Raises
    `_Unfit` for what a file must not hold.
    """
    names = set(table.column_names)
    columns = {}
    for field in shape.taken:
        if field.name not in names:
            if format.missing_columns == "error":
                raise _missing_column_error(field.name, table.column_names, path)
            columns[field.name] = pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            continue
        column = table.column(field.name)
        if column.type != field.type and not _is_coded(column, field):
            column = _cast(column, field, format)
        columns[field.name] = column
    folders = partitions_of(path, format) if format.partitions else {}
    for name in shape.folders:
        if name in names:
            _check_folder(table.column(name), name, path)
        columns[name] = pa.chunked_array([pa.repeat(folders[name], table.num_rows)])
    rows = table.num_rows
    if shape.filter is not None:
        columns, rows = _filter_columns(columns, rows, shape)
    output = [
        decode_dictionary(column) if _is_coded(column := columns[field.name], field) else column
        for field in shape.output
    ]
    if not output:
        return make_columnless_table(rows, shape.output.metadata)
    return pa.table(output, schema=shape.output)


def _is_coded(column: Any, field: pa.Field) -> bool:
    """Whether a column of texts was read as a dictionary, which is faster to filter."""
    coded = pa.types.is_dictionary(column.type) and column.type.index_type == pa.int32()
    return bool(
        coded and pa.types.is_string(column.type.value_type) and pa.types.is_string(field.type)
    )


def _filter_columns(columns: dict[str, Any], rows: int, shape: Shape) -> tuple[dict[str, Any], int]:
    """Return the columns and the number of rows that the filter keeps.

    Only those columns that it may name are looked at, and none if all rows stay.
    """
    types = {field.name: field.type for field in shape.taken}
    named = {
        name: column.cast(types.get(name, column.type))
        for name, column in columns.items()
        if name in shape.filtered_by
    } or columns
    try:
        kept = filters.mask(pa.table(named) if named else make_columnless_table(rows), shape.filter)
    except pa.ArrowException as error:
        name = min(shape.filtered_by, default="price")
        raise _Unfit(
            f"the filter {shape.filter} fails: {error}; pass conditions, such as"
            f' filters=[("{name}", ">", 5)], or use values of the column\'s type, such as'
            " pa.scalar(5, pa.uint64())"
        ) from error
    if kept.null_count == 0 and pc.all(kept, min_count=0).as_py():
        return columns, rows
    names = [name for name in columns if name in shape.output.names]
    return {name: pc.filter(columns[name], kept) for name in names}, pc.sum(kept).as_py() or 0


def check_columns(names: Sequence[str], path: str, format: Format, shape: Shape) -> list[str]:
    """Return the columns to read of a file that has `names`; none where only its rows count.

    Raises `DatasetError` where the file lacks a column or has another, unless the format allows
    it, or has one twice.
    """
    present = set(names)
    missing = [name for name in shape.taken.names if name not in present]
    if missing and format.missing_columns == "error":
        raise _missing_column_error(missing[0], names, path)
    allowed = {*shape.file.names, *format.partitions}
    extra = [name for name in names if name not in allowed]
    if extra and shape.exact:
        raise DatasetError(
            f"{path} has a column {extra[0]!r} that is not among the dataset's"
            f" ({_join_names(shape.file.names)}); pass extra_columns='ignore' or columns= to leave it"
            " out, or missing_columns='null' and a pa.Schema that has it as schema= to read it"
        )
    taken = [name for name in (*shape.taken.names, *shape.folders) if name in present]
    twice = len(present) < len(names) and [name for name in taken if names.count(name) > 1]
    if twice:
        raise DatasetError(
            f"{path} has more than one column {twice[0]!r}; pass columns= to leave it out"
        )
    return taken


def _missing_column_error(name: str, names: Sequence[str], path: str) -> DatasetError:
    return DatasetError(
        f"{path} has no column {name!r} (it has {_join_names(names)}); pass missing_columns='null' to"
        " read nulls for it, or columns= to leave it out"
    )


def _join_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) or "no columns") + more


def _check_folder(column: pa.ChunkedArray, name: str, path: str) -> None:
    """Refuse a column of the file that differs from the folder of its name.

    The folder's text is compared in the type of the column: `day=07` is the number 7, and not
    the text "7".
    """
    text = folders_of(path)[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        value = strings(["" if text is None else text]).cast(column.type)[0]
    except (pa.ArrowException, KeyError):
        value = None
    if text is None:
        equal = pc.is_null(column)
    elif value is None:
        equal = pc.is_null(pc.is_null(column))
    else:
        equal = pc.fill_null(pc.equal(column, value), scalar(False))
    row = pc.index(equal, scalar(False)).as_py()
    if row >= 0:
        shown = NULL_FOLDER if text is None else text
        raise DatasetError(
            f"{path}: the folder {name}={shown} is not the column {name!r} of the file, which has"
            f" {column[row].as_py()!r}; pass hive=False to read the column, or columns= to leave"
            " it out"
        )


def _cast(column: pa.ChunkedArray, field: pa.Field, format: Format) -> pa.ChunkedArray:
    """Return a column in its pinned type, where not one value changes."""
    nulls = format.missing_columns == "null"
    chunks = []
    for chunk in column.chunks:
        try:
            chunks.append(convert_array(chunk, field.type, nulls=nulls))
        except Unfit as error:
            raise _Unfit(_explain_unfit(chunk, field, error, nulls)) from error
    return pa.chunked_array(chunks, field.type)


def _explain_unfit(array: pa.Array, field: pa.Field, error: Unfit, nulls: bool) -> str:
    """Explain what does not fit the pinned type, with the option that helps."""
    part = f", field {error.field!r}" if error.field else ""
    column = f"column {field.name!r}{part}"
    better = unify_types(to_plain(field.type), to_plain(array.type), union=True)
    schema = f"schema={{{field.name!r}: {type_expression(better or to_plain(array.type))}}}"
    if error.missing:
        if better == field.type:
            return f"{column} {error}; pass missing_columns='null' to read nulls for it"
        if better is not None:
            return f"{column} {error}; pass {schema} and missing_columns='null'"
    apart = "read such files separately, or pass columns= to leave it out"
    if not error.by_value:
        advice = apart if better is None else f"pass {schema}"
        return f"{column} is {array.type}, which does not fit {field.type}; {advice}"
    value = show_value(array[first_unfit(array, field.type, nulls=nulls)])
    if better is None or better == field.type:
        schema += " if the other files fit that, or read such files separately"
    return f"{column} holds {value}, which does not fit {type_name(field.type)}; pass {schema}"


def folders_of(path: str) -> dict[str, str | None]:
    """Return the texts of the `name=value` folders of a path; None for the folder that means null."""
    folders = dict(part.split("=", 1) for part in path.split("/")[:-1] if "=" in part)
    return {
        unquote(name): None if value == NULL_FOLDER else unquote(value)
        for name, value in folders.items()
    }


def partitions_of(path: str, format: Format) -> dict[str, pa.Scalar]:
    """Return the values of the `name=value` folders of a path, in the pinned types."""
    folders = folders_of(path)
    values = {}
    for name in format.partitions:
        type_ = pinned_schema(format).field(name).type
        if name not in folders:
            raise DatasetError(f"{path} is not in a folder {name}=..., as the dataset's files do")
        text = folders[name]
        if text is None:
            values[name] = pa.nulls(1, type_)[0]
            continue
        try:
            values[name] = strings([text]).cast(type_)[0]
        except pa.ArrowException as error:
            raise DatasetError(
                f"{path}: the folder {name}={text} does not fit {type_} ({error});"
                f" pass schema={{{name!r}: 'string'}}"
            ) from error
    return values
