"""JSON lines: an object a line, as rows with the pinned fields or as Python dicts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mapred.errors import DatasetError
from mapred.formats.json.errors import error_at, explained, refuse_collection
from mapred.formats.json.objects import SPACES, Refused, decoded, is_blank, plain, unique
from mapred.formats.json.samples import sniff as sniff
from mapred.formats.json.tables import Fields, parser
from mapred.formats.reading import OpenRange, Range, Reading, guarded, rows
from mapred.formats.records import Lines
from mapred.formats.tabular import NULL_FOLDER, Pieces, Shape, folders_of, partitions_of
from mapred.formats.text import BOM, LARGE_BLOCK, LINES_BLOCK, encoder, range_blocks
from mapred.model import Format

if TYPE_CHECKING:
    import pyarrow as pa


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """A table for every few megabytes of lines.

    A field that a line lacks is null. A field that the schema lacks is an error, unless it is
    at the top level, where `columns` and `extra_columns` may leave it out.
    """
    parsers: dict[pa.Schema, Any] = {}
    for lines in _lines(format, ranges, open_range, reading, LARGE_BLOCK):
        refuse_collection(lines)
        folders = _folder_schema(lines, format)
        if folders not in parsers:
            fields = _fields(format, shape, folders)
            parsers[folders] = fields, parser(fields)
        fields, parse = parsers[folders]
        try:
            table = parse(lines.data)
        except (DatasetError, MemoryError):
            raise
        except Exception as error:
            raise explained(lines, fields, parse, error, format, open_range) from error
        yield lines.range_.path, _filled(table, lines.range_, shape)


def read(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Iterator[dict[str, Any]]:
    """A dict for every line, lazily: whole numbers exact, other numbers the nearest floats."""
    return itertools.chain.from_iterable(_dict_lists(format, ranges, open_range, reading))


def _lines(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading, size: int
) -> Iterator[Lines]:
    """Blocks of lines in UTF-8, not all of them blank."""
    to_utf8 = encoder(format, reading)
    for range_ in rows(ranges):
        for block in range_blocks(format, range_, open_range, reading, size):
            data, start = to_utf8(block), reading.block_start
            if start == 0:
                data = data.removeprefix(BOM)
            if not is_blank(data):
                yield Lines(data, start, range_)


def _fields(format: Format, shape: Shape, folders: pa.Schema) -> Fields:
    import pyarrow as pa

    needed = [folders.field(name) for name in shape.folders]
    return Fields(
        read=pa.schema([*shape.taken, *needed]),
        known=pa.schema([*shape.file, *folders]),
        closed=shape.exact,
        inferred=format.inferred,
    )


def _folder_schema(lines: Lines, format: Format) -> pa.Schema:
    """The folder columns in the types that they have in the lines, by the first of these."""
    import pyarrow as pa

    if not format.partitions:
        return pa.schema([])
    assert format.schema is not None
    try:
        first = decoded(lines.data.lstrip(SPACES).partition(b"\n")[0], plain)
    except Refused:
        first = {}
    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    return pa.schema(
        [
            (name, types.get(type(first.get(name)), format.schema.field(name).type))
            for name in format.partitions
        ]
    )


def _filled(table: pa.Table, range_: Range, shape: Shape) -> pa.Table:
    """A folder's column has the folder's value where a line lacks it; it goes where all do."""
    import pyarrow as pa

    from mapred.arrays import strings

    for name in shape.folders:
        column = table.column(name)
        if column.null_count == table.num_rows:
            table = table.drop_columns([name])
        elif column.null_count:
            import pyarrow.compute as pc

            text = folders_of(range_.path).get(name)
            try:
                value = strings(["" if text is None else text]).cast(column.type)[0]
            except pa.ArrowException:
                continue
            number = table.column_names.index(name)
            table = table.set_column(number, name, pc.fill_null(column, value))
    return table


def _dict_lists(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Iterator[list[dict[str, Any]]]:
    with guarded(reading):
        for lines in _lines(format, ranges, open_range, reading, LINES_BLOCK):
            dicts = _dicts(lines, format, open_range)
            if format.partitions:
                dicts = _with_folders(dicts, lines, format, open_range)
            if format.columns is not None:
                names = format.columns
                dicts = [{name: each[name] for name in names if name in each} for each in dicts]
            yield dicts
            reading.records += len(dicts)


def _dicts(lines: Lines, format: Format, open_range: OpenRange) -> list[dict[str, Any]]:
    try:
        dicts = [plain(line) for line in lines.data.decode().split("\n") if line.strip(" \t\r")]
        if all(type(each) is dict for each in dicts):
            return dicts
    except (ValueError, RecursionError):
        pass
    for index, line in enumerate(lines.data.split(b"\n")):
        try:
            if line.strip(SPACES):
                unique(line)
        except Refused as error:
            raise error_at(lines, index, str(error), format, open_range) from error
    raise AssertionError("lines that can be read alone, but not together")


def _with_folders(
    dicts: list[dict[str, Any]], lines: Lines, format: Format, open_range: OpenRange
) -> list[dict[str, Any]]:
    """The dicts with the folders' values; a field of that name must be the same."""
    path = lines.range_.path
    texts = folders_of(path)
    values = {name: value.as_py() for name, value in partitions_of(path, format).items()}
    for number, each in enumerate(dicts):
        for name, value in values.items():
            if each.get(name) is None:
                each[name] = value
            elif not _is_same(each[name], texts[name]):
                index = _index_of(lines, number)
                shown = NULL_FOLDER if texts[name] is None else texts[name]
                message = (
                    f"the folder {name}={shown} is not the field {name}, which is"
                    f" {each[name]!r}; say hive=False to leave the folder out"
                )
                raise error_at(lines, index, message, format, open_range)
    return dicts


def _is_same(value: Any, text: str | None) -> bool:
    """Whether a folder's text spells a value."""
    if text is None or isinstance(value, str):
        return bool(value == text)
    if isinstance(value, bool):
        return text == str(value).lower()
    try:
        return isinstance(value, int | float) and value == type(value)(text)
    except ValueError:
        return False


def _index_of(lines: Lines, number: int) -> int:
    """The index of the line that holds object `number`."""
    filled = (i for i, line in enumerate(lines.data.split(b"\n")) if line.strip(SPACES))
    return next(itertools.islice(filled, number, None))
