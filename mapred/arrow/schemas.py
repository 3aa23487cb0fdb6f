"""One schema for the tables of many tasks: changes that lose nothing are made, others refused.

A column without values decides nothing, and neither does a table without rows. A column that
one table lacks is null there.
"""

from __future__ import annotations

from collections.abc import Mapping

from mapred.arrow.types import unify_types
from mapred.process.lazy import pa

HOW_TO_AGREE = "give the column one type in the function"


class ColumnTypeConflict(Exception):
    """Two tables have a column with types whose values no type holds."""

    def __init__(self, column: str, one: pa.DataType, other: pa.DataType) -> None:
        super().__init__(f"column {column!r} is {one} and {other}")
        self.column, self.one, self.other = column, one, other


def find_duplicate_column(schema: pa.Schema) -> str | None:
    """Return a name that more than one column has."""
    seen: set[str] = set()
    for name in schema.names:
        if name in seen:
            return str(name)
        seen.add(name)
    return None


def observed_schema(table: pa.Table) -> pa.Schema:
    """Return the schema of a table, with type null where a column holds no value."""
    return pa.schema(
        [
            pa.field(field.name, pa.null() if column.null_count == len(column) else field.type)
            for field, column in zip(table.schema, table.columns, strict=True)
        ]
    )


def unify(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return the columns of both, each in a type that holds the values of both.

    Raises `ColumnTypeConflict` where there is no such type.
    """
    types = dict(zip(one.names, one.types, strict=True))
    for name, type_ in zip(other.names, other.types, strict=True):
        before = types.get(name, type_)
        after = unify_types(before, type_, union=True, finest=True)
        if after is None:
            raise ColumnTypeConflict(name, before, type_)
        types[name] = after
    return pa.schema(list(types.items()))


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with exactly the columns of `schema`.

    Raises `ColumnTypeConflict` for a time that lies beyond the finer unit.
    """
    missing = pa.nulls(table.num_rows)
    columns = [
        _conform_column(name, table[name] if name in table.column_names else missing, type_)
        for name, type_ in zip(schema.names, schema.types, strict=True)
    ]
    if not columns:
        return make_columnless_table(table.num_rows)
    return pa.Table.from_arrays(columns, schema=schema)


def make_columnless_table(rows: int, metadata: Mapping[bytes, bytes] | None = None) -> pa.Table:
    """Return a table that has rows and no columns."""
    return pa.table({"": pa.nulls(rows)}, metadata=metadata).select([])


def _conform_column(
    name: str, column: pa.Array | pa.ChunkedArray, type_: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    if column.type.equals(type_):
        return column
    if column.null_count == len(column):
        return pa.nulls(len(column), type_)
    try:
        return column.cast(type_)
    except pa.ArrowInvalid:
        raise ColumnTypeConflict(name, column.type, type_) from None
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        # Before pyarrow 18, no cast adds a field to a struct or takes a view.
        return pa.array(column.to_pylist(), type_)


def check_times(table: pa.Table, schema: pa.Schema) -> None:
    """Raise `ColumnTypeConflict` for a time that the finer unit of `schema` cannot hold."""
    for name, type_ in zip(table.schema.names, table.schema.types, strict=True):
        target = schema.field(name).type
        if not type_.equals(target) and _has_unit(type_):
            _conform_column(name, table[name], target)


def can_cast(one: pa.Schema, schema: pa.Schema) -> bool:
    """Whether Arrow itself can read any values of `one` as `schema`."""
    try:
        for name, type_ in zip(one.names, one.types, strict=True):
            target = schema.field(name).type
            if not type_.equals(target) and _has_unit(type_):
                return False
            pa.chunked_array([], type_).cast(target)
    except (pa.ArrowException, KeyError):
        return False
    return True


def _has_unit(type_: pa.DataType) -> bool:
    """Whether it holds times or durations, which may lie beyond a finer unit."""
    return any(word in str(type_) for word in ("timestamp", "duration"))
