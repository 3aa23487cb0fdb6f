"""JSON lines: an object a line, with the pinned fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mapred.errors import DatasetError
from mapred.formats.reading import Open, OpenRange, Reading, rows
from mapred.formats.records import Lines, rows_of
from mapred.formats.tabular import Pieces, Shape
from mapred.formats.text import BOM, LARGE_BLOCK, checked, encoder, head, range_blocks
from mapred.model import Format
from mapred.sampling import Place, Sample, files_of

if TYPE_CHECKING:
    import pyarrow as pa

_ADVICE = "a line must hold one JSON object"


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """A table for every few megabytes of lines.

    A field that a line lacks is null. A field that the schema lacks is an error, unless
    `columns` chose among them.
    """
    to_utf8 = encoder(format, reading)
    parse = _parser(shape.file if shape.exact else shape.taken, shape.exact)
    for range_ in rows(ranges):
        for block in range_blocks(format, range_, open_range, reading, LARGE_BLOCK):
            start = reading.block_start
            data = to_utf8(block)
            if start == 0:
                data = data.removeprefix(BOM)
            lines = Lines(data, start, range_, spaces=True)
            table = rows_of(lines, parse, _ADVICE, format, open_range)
            if table is not None:
                yield range_.path, table


def _parser(schema: pa.Schema | None, exact: bool) -> Callable[[bytes], pa.Table]:
    import pyarrow as pa
    from pyarrow import json as pj

    options = pj.ParseOptions(
        explicit_schema=schema,
        newlines_in_values=False,
        unexpected_field_behavior="infer" if schema is None else "error" if exact else "ignore",
    )

    def parse(data: bytes) -> pa.Table:
        checked(data)  # the parser takes any bytes for text
        # A block is parsed as one piece: types and errors never depend on a cut inside it.
        read_options = pj.ReadOptions(use_threads=False, block_size=len(data) + 1)
        try:
            return pj.read_json(pa.BufferReader(data), read_options, options)
        except pa.ArrowInvalid as error:
            if "unexpected field" not in str(error):
                raise
            raise ValueError(
                f"a field that the pinned schema has not; say schema= to have it, or columns="
                f" to leave it out (pinned are {', '.join(schema.names if schema else ())})"
            ) from error

    return parse


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """What the first file says."""
    place = next(files_of(places))
    reading.sample(place.path)
    schema = _sniffed(format, place.path, open_, reading)
    return Sample(schema, dict.fromkeys(schema.names, 1))


def _sniffed(format: Format, path: str, open_: Open, reading: Reading) -> pa.Schema:
    """The fields of a file's first megabyte. JSON's strings stay strings, whatever they hold."""
    import pyarrow as pa

    data = head(format, path, open_, reading)
    if not data.strip():
        raise DatasetError(f"{path} is empty, so its fields are unknown; say schema=")
    parse = _parser(None, False)
    try:
        table = parse(data)
    except (pa.ArrowInvalid, ValueError) as error:
        raise DatasetError(f"{path}: {error}; {_ADVICE}") from error
    return pa.schema([pa.field(field.name, _pin(field.type)) for field in table.schema])


def _pin(type_: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_list(type_):
        return pa.list_(_pin(type_.value_type))
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(field.name, _pin(field.type)) for field in type_])
    if pa.types.is_null(type_) or pa.types.is_timestamp(type_):
        return pa.string()
    return type_
