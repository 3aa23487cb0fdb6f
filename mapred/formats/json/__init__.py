"""JSON lines: an object a line, as rows with the pinned fields or as Python dicts."""

from __future__ import annotations

from mapred.errors import DatasetError
from mapred.formats.base import OpenRange, Reading
from mapred.formats.json.blocks import blocks
from mapred.formats.json.dicts import read as read
from mapred.formats.json.errors import explain_error, refuse_collection
from mapred.formats.json.folders import fill_folders, folder_schema
from mapred.formats.json.samples import sniff as sniff
from mapred.formats.json.tables import Fields, Parse, parser
from mapred.formats.tables import Pieces, Shape
from mapred.formats.text import LARGE_BLOCK
from mapred.model.spec import Format
from mapred.process.lazy import pa


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """Yield a table for every few megabytes of lines.

    A field that a line lacks is null. A field that the schema lacks is an error, unless it is
    at the top level, where `columns` and `extra_columns` may leave it out.
    """
    parsers: dict[pa.Schema, tuple[Fields, Parse]] = {}
    for lines in blocks(format, ranges, open_range, reading, LARGE_BLOCK):
        refuse_collection(lines)
        folders = folder_schema(lines, format)
        if folders not in parsers:
            fields = _fields(format, shape, folders)
            parsers[folders] = fields, parser(fields)
        fields, parse = parsers[folders]
        try:
            table = parse(lines.data)
        except (DatasetError, MemoryError):
            raise
        except Exception as error:
            raise explain_error(lines, fields, parse, error, format, open_range) from error
        yield lines.range_.path, fill_folders(table, lines.range_.path, shape.folders)


def _fields(format: Format, shape: Shape, folders: pa.Schema) -> Fields:
    needed = [folders.field(name) for name in shape.folders]
    return Fields(
        read=pa.schema([*shape.taken, *needed]),
        known=pa.schema([*shape.file, *folders]),
        closed=shape.exact,
        inferred=format.inferred,
    )
