"""What the tabular formats share: the pinned schema, folder columns, filters, what is handed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import unquote

from mapred.arrays import spelled, strings
from mapred.errors import DatasetError, MissingDependency
from mapred.formats import filters
from mapred.formats.reading import OpenRange, Reading, guarded
from mapred.model import Format

if TYPE_CHECKING:
    import pyarrow as pa

NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Shape:
    """What is taken from each file, and what is handed over.

    `file` are the columns that a file must have, in order; `taken` those of them that are
    read; `output` what the function sees; `filter` an expression and `filtered_by` the columns
    that it may name, folders' too; `exact` whether other columns are an error.
    """

    file: pa.Schema
    taken: pa.Schema
    output: pa.Schema
    filter: Any
    filtered_by: frozenset[str]
    exact: bool


Pieces: TypeAlias = "Iterator[tuple[str, pa.Table]]"
ReadPieces: TypeAlias = "Callable[[Format, Shape, pa.Table, OpenRange, Reading], Pieces]"


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with views as texts and bytes of their own: Arrow cannot filter views."""
    import pyarrow as pa

    types = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    fields = [field.with_type(types.get(field.type, field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def output_schema(format: Format) -> pa.Schema:
    """The schema of what the function sees: the selected columns of the pinned schema."""
    import pyarrow as pa

    schema = pinned(format)
    if format.columns is None:
        return schema
    return pa.schema([_field(schema, name) for name in format.columns], schema.metadata)


def pinned(format: Format) -> pa.Schema:
    """The schema of the job; a tabular format cannot be read without."""
    if format.schema is None:
        raise DatasetError(f"{format.name} has no pinned schema; sniff one, or say schema=")
    return format.schema


def shape_of(format: Format) -> Shape:
    """Work out once for a shard what every one of its files must give."""
    import pyarrow as pa

    schema, output = pinned(format), output_schema(format)
    file = pa.schema([field for field in schema if field.name not in format.partitions])
    expression, names, written = None, set(output.names), ""
    if format.filter is not None:
        expression = filters.expression_of(format.predicate, schema)
        names |= _names_in(expression, schema, names)
        written = str(expression)
    filtered_by = frozenset(name for name in schema.names if name in written)
    # A reader asked for no column gives no rows, so one is always taken.
    taken = [field for field in file if field.name in names] or list(file)[:1]
    return Shape(file, pa.schema(taken), output, expression, filtered_by, format.columns is None)


def _field(schema: pa.Schema, name: str) -> pa.Field:
    if name not in schema.names:
        raise DatasetError(f"there is no column {name!r}; there are {', '.join(schema.names)}")
    return schema.field(name)


def _names_in(expression: Any, schema: pa.Schema, known: set[str]) -> set[str]:
    """The columns that an expression needs beside `known`: without them it does not hold."""
    import pyarrow as pa

    try:
        filters.mask(pa.Table.from_batches([], schema), expression)
    except (pa.ArrowException, KeyError) as error:
        raise DatasetError(f"the filter {expression} does not fit the columns: {error}") from error
    needed, written = set(), str(expression)
    for number, name in enumerate(schema.names):
        if name not in known and name in written:
            try:
                filters.mask(pa.Table.from_batches([], schema.remove(number)), expression)
            except (pa.ArrowException, KeyError):
                needed.add(name)
    return needed


def read(
    pieces: ReadPieces, format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Any:
    """Hand over what `pieces` reads as `format.as_` says."""
    import pyarrow as pa

    if format.as_ not in ("table", "batches", "pandas", "polars"):
        raise DatasetError(f"{format.name} cannot be read as_={format.as_!r}")
    to = _converter(format.as_)
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
            for batch in conform(piece, path, format, shape).to_batches():
                if batch.num_rows:
                    yield batch
                    reading.records += batch.num_rows


def _converter(as_: str) -> Callable[[Any], Any]:
    try:
        if as_ == "pandas":
            import pandas  # noqa: F401

            return lambda table: table.to_pandas()
        if as_ == "polars":
            import polars

            convert: Callable[[Any], Any] = polars.from_arrow
            return convert
    except ImportError as error:
        raise MissingDependency(as_, as_) from error
    return lambda table: table


def conform(table: pa.Table, path: str, format: Format, shape: Shape) -> pa.Table:
    """What was read from `path` in the pinned types, with folder columns, filtered."""
    import pyarrow as pa

    columns = {
        field.name: column
        if _is_coded(column := table.column(field.name), field)
        else cast(column, field, path)
        for field in shape.taken
    }
    folders = partitions_of(path, format) if format.partitions else {}
    for name, value in folders.items():
        columns[name] = pa.repeat(value, table.num_rows)
    if shape.filter is not None and columns:
        columns = _filtered(columns, shape)
    output = [
        spelled(column) if _is_coded(column := columns[field.name], field) else column
        for field in shape.output
    ]
    return pa.table(output, schema=shape.output)


def _is_coded(column: Any, field: pa.Field) -> bool:
    """Whether a column of texts was read as a dictionary, which is filtered in less time."""
    import pyarrow as pa
    from pyarrow import types

    coded = types.is_dictionary(column.type) and column.type.index_type == pa.int32()
    return bool(coded and types.is_string(column.type.value_type) and types.is_string(field.type))


def _filtered(columns: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Only those columns that the filter may name are looked at, and none if all rows stay."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types = {field.name: field.type for field in shape.taken}
    asked = {
        name: column.cast(types.get(name, column.type))
        for name, column in columns.items()
        if name in shape.filtered_by
    } or columns
    kept = filters.mask(pa.table(asked), shape.filter)
    if kept.null_count == 0 and pc.all(kept, min_count=0).as_py():
        return columns
    wanted = [name for name in columns if name in shape.output.names]
    return {name: pc.filter(columns[name], kept) for name in wanted}


def check_columns(names: Sequence[str], path: str, format: Format, shape: Shape) -> None:
    """Refuse a file that lacks columns of the pinned schema, or has others."""
    missing = [name for name in shape.taken.names if name not in names]
    if missing:
        raise DatasetError(
            f"{path} has no column {missing[0]!r}; the pinned schema has it. Say schema= or"
            f" columns= (the file has {', '.join(names)})"
        )
    known = {*shape.file.names, *format.partitions}
    extra = [name for name in names if name not in known]
    if extra and shape.exact:
        raise DatasetError(
            f"{path} has a column {extra[0]!r} that the pinned schema has not; say schema= to"
            " have it, or columns= to leave it out"
        )
    twice = [name for name in shape.taken.names if names.count(name) > 1]
    if twice:
        raise DatasetError(f"{path} has more than one column {twice[0]!r}")


def cast(column: Any, field: pa.Field, path: str) -> Any:
    """A column in its pinned type, where not one value changes; else an error."""
    import pyarrow as pa

    if column.type == field.type:
        return column
    if _family(column.type) == _family(field.type) or pa.types.is_null(column.type):
        try:
            return column.cast(field.type, safe=True)
        except pa.ArrowException as error:
            detail = f": {error}"
    else:
        detail = ""
    raise DatasetError(
        f"{path}: column {field.name!r} is {column.type}, which does not fit the pinned"
        f" {field.type}{detail}; say schema="
    )


def _family(type_: pa.DataType) -> str:
    """Types among which a safe cast keeps every value what it is."""
    from pyarrow import types

    if types.is_dictionary(type_):
        return _family(type_.value_type)
    if types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_):
        return "number"
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return "string"
    if types.is_binary(type_) or types.is_large_binary(type_) or types.is_binary_view(type_):
        return "binary"
    if types.is_timestamp(type_):
        return f"timestamp {'local' if type_.tz is None else 'instant'}"
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        return f"list of {_family(type_.value_type)}"
    if types.is_struct(type_):
        return f"struct of {[(field.name, _family(field.type)) for field in type_]}"
    return str(type_).partition("[")[0]


def partitions_of(path: str, format: Format) -> dict[str, pa.Scalar]:
    """The values of the `name=value` folders of a path, in the pinned types."""
    import pyarrow as pa

    found = dict(part.split("=", 1) for part in path.split("/")[:-1] if "=" in part)
    found = {unquote(name): value for name, value in found.items()}
    values = {}
    for name in format.partitions:
        type_ = pinned(format).field(name).type
        if name not in found:
            raise DatasetError(f"{path} lies in no folder {name}=..., as the dataset's files do")
        if found[name] == NULL_FOLDER:
            values[name] = pa.nulls(1, type_)[0]
            continue
        try:
            values[name] = strings([unquote(found[name])]).cast(type_)[0]
        except pa.ArrowException as error:
            raise DatasetError(
                f"{path}: the folder {name}={found[name]} does not fit the pinned {type_};"
                f" say schema= ({error})"
            ) from error
    return values
