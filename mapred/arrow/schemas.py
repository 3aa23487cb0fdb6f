"""One schema for the tables of many tasks: changes that lose nothing are made, others refused.

A column without values decides nothing, and neither does a table without rows. A column that
one table lacks is null there.
"""

from __future__ import annotations

from collections.abc import Mapping

from mapred.process.lazy import pa

HOW_TO_AGREE = "give the column one type in the function"


class ColumnTypeConflict(Exception):
    """A column that two tables have with types that no type holds both of."""

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
    """Return what a table says of its columns: their types, null where a column holds no value."""

    return pa.schema(
        [
            pa.field(field.name, pa.null() if column.null_count == len(column) else field.type)
            for field, column in zip(table.schema, table.columns, strict=True)
        ]
    )


def unify(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return the columns of both, each of a type that holds the values of both; else `Differs`."""

    types = dict(zip(one.names, one.types, strict=True))
    for name, type_ in zip(other.names, other.types, strict=True):
        before = types.get(name, type_)
        after = promote_types(before, type_)
        if after is None:
            raise ColumnTypeConflict(name, before, type_)
        types[name] = after
    return pa.schema(list(types.items()))


def promote_types(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the type that holds every value of both types exactly; None where there is none.

    Whole numbers and floats, or dates and timestamps, have none: which of them a column
    holds would depend on what lies together.
    """

    if one.equals(other):
        return one
    if pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    for mine, theirs in ((one, other), (other, one)):
        if pa.types.is_dictionary(mine) or pa.types.is_run_end_encoded(mine):
            return promote_types(mine.value_type, theirs)
    for kind in (
        _promote_integers,
        _promote_floats,
        _promote_texts,
        _promote_times,
        _promote_decimals,
        _promote_lists,
        _promote_maps,
        _promote_structs,
    ):
        found = kind(one, other)
        if found is not None:
            return found
    return None


def _promote_integers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:

    if not (pa.types.is_integer(one) and pa.types.is_integer(other)):
        return None
    wide = one if one.bit_width >= other.bit_width else other
    signed = {type_: pa.types.is_signed_integer(type_) for type_ in (one, other)}
    if signed[one] == signed[other]:
        return wide
    unsigned = other if signed[one] else one
    bits = max(wide.bit_width, 2 * unsigned.bit_width)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)


def _promote_floats(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:

    if not (pa.types.is_floating(one) and pa.types.is_floating(other)):
        return None
    return one if one.bit_width >= other.bit_width else other


def _promote_texts(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:

    texts = {pa.string(), pa.large_string(), pa.string_view()}
    if one in texts and other in texts:
        return pa.large_string()
    if {one, other} <= {pa.binary(), pa.large_binary(), pa.binary_view()}:
        return pa.large_binary()
    return None


def _promote_times(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the finer unit; times of two zones, or of one and of none, are not the same thing."""

    units = ("s", "ms", "us", "ns")
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):
        unit = max(one.unit, other.unit, key=units.index)
        return pa.timestamp(unit, one.tz) if one.tz == other.tz else None
    if pa.types.is_duration(one) and pa.types.is_duration(other):
        return pa.duration(max(one.unit, other.unit, key=units.index))
    if pa.types.is_time(one) and pa.types.is_time(other):
        unit = max(one.unit, other.unit, key=units.index)
        return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)
    return None


def _promote_decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:

    if not (pa.types.is_decimal(one) and pa.types.is_decimal(other)):
        return None
    scale = max(one.scale, other.scale)
    precision = scale + max(one.precision - one.scale, other.precision - other.scale)
    if precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _promote_lists(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not all(any(kind(type_) for kind in kinds) for type_ in (one, other)):
        return None
    value = promote_types(one.value_type, other.value_type)
    if value is None:
        return None
    sizes = {getattr(type_, "list_size", None) for type_ in (one, other)}
    if len(sizes) == 1 and None not in sizes:
        return pa.list_(value, sizes.pop())
    large = any(pa.types.is_large_list(type_) for type_ in (one, other))
    return pa.large_list(value) if large else pa.list_(value)


def _promote_maps(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:

    if not (pa.types.is_map(one) and pa.types.is_map(other)):
        return None
    key = promote_types(one.key_type, other.key_type)
    item = promote_types(one.item_type, other.item_type)
    return None if key is None or item is None else pa.map_(key, item)


def _promote_structs(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Return the fields of both: one that a value lacks is null in it."""

    if not (pa.types.is_struct(one) and pa.types.is_struct(other)):
        return None
    schemas = pa.schema(list(one)), pa.schema(list(other))
    if any(map(find_duplicate_column, schemas)):
        return None
    try:
        return pa.struct(list(unify(*schemas)))
    except ColumnTypeConflict:
        return None


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with exactly the columns of `schema`; `Differs` for a time beyond a finer
    unit."""

    columns = [
        _conform_column(name, table[name], type_)
        if name in table.column_names
        else _nulls(table, type_)
        for name, type_ in zip(schema.names, schema.types, strict=True)
    ]
    if not columns:
        return make_columnless_table(table.num_rows)
    return pa.Table.from_arrays(columns, schema=schema)


def make_columnless_table(rows: int, metadata: Mapping[bytes, bytes] | None = None) -> pa.Table:
    """Return a table of no columns that still has rows."""

    return pa.table({"": pa.nulls(rows)}, metadata=metadata).select([])


def _nulls(table: pa.Table, type_: pa.DataType) -> pa.ChunkedArray:

    return pa.chunked_array([pa.nulls(table.num_rows, type_)])


def _conform_column(name: str, column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:

    if column.type.equals(type_):
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), type_)])
    try:
        return column.cast(type_)
    except pa.ArrowInvalid:
        raise ColumnTypeConflict(name, column.type, type_) from None
    except (pa.ArrowNotImplementedError, pa.ArrowTypeError):
        # Before pyarrow 18, no cast adds a field to a struct or takes a view.
        return pa.chunked_array([pa.array(column.to_pylist(), type_)])


def check_times(table: pa.Table, schema: pa.Schema) -> None:
    """Raise `Differs` for a time that the finer unit of `schema` cannot hold."""
    for name, type_ in zip(table.schema.names, table.schema.types, strict=True):
        wanted = schema.field(name).type
        if not type_.equals(wanted) and _has_unit(type_):
            _conform_column(name, table[name], wanted)


def can_cast(one: pa.Schema, schema: pa.Schema) -> bool:
    """Whether Arrow reads columns of `one` as those of `schema` by itself, whatever they hold."""

    try:
        for name, type_ in zip(one.names, one.types, strict=True):
            wanted = schema.field(name).type
            if not type_.equals(wanted) and _has_unit(type_):
                return False
            pa.chunked_array([], type_).cast(wanted)
    except (pa.ArrowException, KeyError):
        return False
    return True


def _has_unit(type_: pa.DataType) -> bool:
    """Whether there are times or durations in it, which may be too far for a finer unit."""
    return any(word in str(type_) for word in ("timestamp", "duration"))
