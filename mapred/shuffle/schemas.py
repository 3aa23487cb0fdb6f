"""One schema for the tables of all tasks; what would change a value by it is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mapred.arrow.types import NUMBERS, kind
from mapred.errors import FunctionError
from mapred.process.lazy import pa
from mapred.shuffle.keys import family

Typed = tuple["pa.DataType", str]


class Misfit(FunctionError):
    """A column of one table with a value that the type over all tables cannot hold."""

    def __init__(self, column: str, type_: pa.DataType, whole: pa.DataType, value: str) -> None:
        places = (type_, "one table"), (whole, "all tables of its task")
        super().__init__(str(clash_error(column, *places, value)))
        self.column, self.type, self.whole, self.value = column, type_, whole, value

    def of(self, column: str) -> Misfit:
        """Return the same of the column that this one was made of."""
        return Misfit(column, self.type, self.whole, self.value)


def clash_error(column: str, one: Typed, other: Typed, value: str = "") -> FunctionError:
    """Two types of one column, each with where it is, that do not go together.

    If only for one `value` of the first, that is named.
    """
    (first, here), (second, there) = one, other
    types = pa.types
    if types.is_timestamp(first) and types.is_timestamp(second):
        zone = first.tz or second.tz
        remedy = f"timestamp[us{f', tz={zone}' if zone else ''}]"
    elif {kind(first), kind(second)} == {"text", "bytes"}:
        remedy = "binary"
    elif not {kind(first), kind(second)} <= set(NUMBERS):
        remedy = "string"
    elif types.is_integer(first) and types.is_integer(second):
        remedy = "decimal128(38, 0)"
    else:
        remedy = "string, or float64 if it may round"
    return FunctionError(
        f"column {column!r} is {first} in {here} and {second} in {there}"
        f", which {f'cannot hold {value}' if value else 'do not go together'}: cast it to one "
        f"type in every task, such as {remedy}"
    )


def unify_schemas(
    schemas: Sequence[pa.Schema], by: Sequence[str], places: Sequence[str] = ()
) -> pa.Schema:
    """One schema for tables of several; `places` says where each of them is from."""
    first = schemas[0]
    if all(schema.equals(first) for schema in schemas):
        return first
    places = places or ["one table", *["another"] * (len(schemas) - 1)]
    for schema, place in zip(schemas, places, strict=True):
        if set(schema.names) != set(first.names):
            odd = sorted(set(schema.names) ^ set(first.names))[0]
            there, lacks = (places[0], place) if odd in first.names else (place, places[0])
            raise FunctionError(
                f"column {odd!r} is in the output of {there} and not of {lacks}; return the same "
                "columns from each"
            )
    fields = []
    for name in first.names:
        types = [(schema.field(name).type, at) for schema, at in zip(schemas, places, strict=True)]
        fields.append(pa.field(name, _one_type(name, types, key=name in by)))
    return pa.schema(fields)


def _one_type(name: str, types: Sequence[Typed], *, key: bool) -> pa.DataType:
    """Return the type that holds what all of them hold; types that do not go together are an error."""
    whole = types[0][0]
    for type_, place in types[1:]:
        both = _merge_types(whole, type_, name, key=key)
        if both is None:
            other = (
                typed for typed in types if _merge_types(typed[0], type_, name, key=key) is None
            )
            raise clash_error(name, next(other, types[0]), (type_, place))
        whole = both
    return whole


def _merge_types(
    one: pa.DataType, other: pa.DataType, name: str, *, key: bool
) -> pa.DataType | None:
    """Return the type for the values of two types; None where it would round some, or equal keys
    differ."""
    if one == other:
        return one
    if _are_incompatible(one, other):
        return None
    if key and len({family(type_, name) for type_ in (one, other)} - {"null"}) > 1:
        return None
    if pa.types.is_decimal(one) != pa.types.is_decimal(other):
        one, other = _as_decimal(one), _as_decimal(other)
    try:
        schemas = [pa.schema([(name, type_)]) for type_ in (one, other)]
        return pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None


def _as_decimal(type_: pa.DataType) -> pa.DataType:
    """Return the decimals that hold all integers of a type: Arrow's own promotion is a digit short."""
    if not pa.types.is_integer(type_):
        return type_
    return pa.decimal128(len(str(1 << type_.bit_width)), 0)


def _are_incompatible(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether a decimal meets a float, or text bytes, at any depth: no type holds both."""
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        shared = {field.name for field in one} & {field.name for field in other}
        return any(
            _are_incompatible(one.field(name).type, other.field(name).type) for name in shared
        )
    if one.num_fields and one.num_fields == other.num_fields:
        pairs = ((type_.field(i).type for type_ in (one, other)) for i in range(one.num_fields))
        return any(_are_incompatible(*pair) for pair in pairs)
    return {kind(one), kind(other)} in ({"decimal", "float"}, {"text", "bytes"})


def fit_to_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table of one task in the schema of all."""
    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        try:
            columns.append(table.column(field.name).cast(field.type))
        except (pa.ArrowInvalid, NotImplementedError) as error:
            type_ = table.schema.field(field.name).type
            raise Misfit(field.name, type_, field.type, _value(str(error))) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _value(message: str) -> str:
    """Return the value that Arrow names where it refuses a cast."""
    named = re.search(r"(?:value|timestamp:) (-?[0-9][0-9.]*)", message)
    return named[1] if named else "all of its values"
