"""Lines of JSON as Arrow tables of pinned types; what Arrow would change is an error here."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from mapred.arrow.types import is_list
from mapred.errors import DatasetError
from mapred.formats.json.advice import Steps, path_text
from mapred.formats.json.exact import doubtful, holds
from mapred.formats.json.misfits import has_unknown, misfit_of
from mapred.formats.json.objects import decode_exact, lines_of, objects_in
from mapred.formats.text import check_utf8
from mapred.process.lazy import np, pa, pjson

Parse: TypeAlias = "Callable[[bytes], pa.Table]"


@dataclass(frozen=True)
class Fields:
    """The fields to read, and `known` ones that lines may have beside them.

    `closed`: others are an error, as they always are below the top level. Texts count as
    numbers in decimal fields unless these are `inferred`.
    """

    read: pa.Schema
    known: pa.Schema
    closed: bool
    inferred: Collection[str] = ()


def parser(fields: Fields) -> Parse:
    """Parse lines to a table; a `ValueError` or an Arrow error where one does not fit.

    Arrow's reader takes more than the pinned types allow, without a word: several objects in a
    line or one over several lines, texts as decimals, whole numbers that a float rounds. Each is
    looked for in the whole block; only where one may be are its lines read one by one.
    """
    schema = fields.read
    read = _reader(_readable(schema), "error") if fields.closed else _choosing_reader(fields)
    check_decimals, check_floats = _decimal_check(fields), _float_check(schema)

    def parse(data: bytes) -> pa.Table:
        check_utf8(data)  # the parser takes any bytes for text
        lines, table = objects_in(data), read(data)
        if table.num_rows != lines:
            raise ValueError(f"{lines} lines hold {table.num_rows} objects")
        check_decimals(data)
        check_floats(data, table)
        return _cast(table, schema)

    return parse


def _reader(schema: pa.Schema, others: str) -> Parse:
    options = pjson.ParseOptions(
        explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior=others
    )

    def read(data: bytes) -> pa.Table:
        # A block is parsed as one piece: types and errors never depend on a cut inside it.
        read_options = pjson.ReadOptions(use_threads=False, block_size=len(data) + 1)
        return pjson.read_json(pa.BufferReader(data), read_options, options)

    return read


def _choosing_reader(fields: Fields) -> Parse:
    """Read lines that may have other fields at the top level, but nowhere below: Arrow would drop all."""
    schema = _readable(fields.read)
    read = _reader(schema, "ignore")
    nested = [field for field in schema if holds(field.type, pa.types.is_struct)]
    if not nested:
        return read
    read_known, only_known = _reader(_readable(fields.known), "error"), True

    def read_and_check(data: bytes) -> pa.Table:
        nonlocal only_known
        if only_known:
            try:
                return read_known(data).select(schema.names)
            except pa.ArrowInvalid:
                only_known = False
        table = read(data)
        for line in lines_of(data):
            value = json.loads(line)
            if any(has_unknown(value.get(field.name), field.type) for field in nested):
                raise ValueError("a field that the pinned schema does not have")
        return table

    return read_and_check


def _decimal_check(fields: Fields) -> Callable[[bytes], object]:
    """Refuse texts in decimal fields of which a sample held numbers alone: Arrow takes both."""
    inferred = [field for field in fields.read if field.name in fields.inferred]
    decimals = [field for field in inferred if holds(field.type, pa.types.is_decimal)]
    if not decimals:
        return lambda data: None
    return _reader(pa.schema([f.with_type(_with_floats(f.type)) for f in decimals]), "ignore")


def _float_check(schema: pa.Schema) -> Callable[[bytes, pa.Table], None]:
    """Refuse whole numbers that a float does not hold exactly, and what overflows."""
    floats = pa.schema([field for field in schema if holds(field.type, pa.types.is_floating)])

    def check(data: bytes, table: pa.Table) -> None:
        rows = [doubtful(table.column(name)) for name in floats.names]
        if not any(map(len, rows)):
            return
        lines = lines_of(data)
        for row in np.unique(np.concatenate(rows)):
            if misfit_of(decode_exact(lines[row]), floats, closed=False):
                raise ValueError("a number that a float cannot hold")

    return check


def _with_floats(type_: pa.DataType) -> pa.DataType:
    """Return a type with floats in place of decimals."""
    if pa.types.is_decimal(type_):
        return pa.float64()
    return _rebuilt(type_, lambda field, step: field.with_type(_with_floats(field.type)))


def _rebuilt(type_: pa.DataType, change: Callable[[pa.Field, str | int], pa.Field]) -> pa.DataType:
    """Return a list or struct with its fields changed; lists of every kind become plain ones."""
    if pa.types.is_struct(type_):
        return pa.struct([change(field, field.name) for field in type_])
    if is_list(type_):
        return pa.list_(change(type_.value_field, 0))
    return type_


def _readable(schema: pa.Schema) -> pa.Schema:
    """Return a schema in types that Arrow reads from JSON without changing a value."""
    return pa.schema(
        [field.with_type(_readable_type(field.type, (field.name,))) for field in schema]
    )


def _readable_type(type_: pa.DataType, steps: Steps) -> pa.DataType:

    # As texts first: Arrow's JSON reader drops time zones, and knows no dates.
    if pa.types.is_timestamp(type_) or pa.types.is_date(type_) or pa.types.is_dictionary(type_):
        return pa.string()
    if pa.types.is_nested(type_) and not pa.types.is_map(type_) and not pa.types.is_union(type_):
        return _rebuilt(
            type_, lambda field, step: field.with_type(_readable_type(field.type, (*steps, step)))
        )
    plain = "integer decimal boolean string large_string binary large_binary null float32 float64"
    if not any(getattr(pa.types, f"is_{name}")(type_) for name in plain.split()):
        raise DatasetError(
            f"JSON has no values for field {path_text(steps)} of type {type_}; leave it out of schema="
            " to have the type that its values suggest"
        )
    return type_


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table in the types of `schema`; what does not fit is an error."""
    if table.schema.equals(schema):
        return table
    for number, field in enumerate(schema):
        column = table.column(number)
        if column.type != field.type:
            table = table.set_column(number, field, column.cast(field.type))
    return table
