"""Comma-separated values: pinned names and types serve every range of every file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from mapred.errors import DatasetError
from mapred.formats.reading import Open, OpenRange, Range, Reading, rows
from mapred.formats.records import Lines, bad_line, rows_of
from mapred.formats.streams import pieces
from mapred.formats.tabular import Pieces, Shape
from mapred.formats.text import BOM, LARGE_BLOCK, encoder, head, range_blocks
from mapred.model import Format
from mapred.sampling import Place, Sample, files_of

if TYPE_CHECKING:
    import pyarrow as pa

_STRAY = "a carriage return that neither ends the line nor is quoted"
_ADVICE = "say newlines_in_values=True if values hold line ends, quote='' if it is no quote"


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """A table for every few megabytes of whole records."""
    import pyarrow as pa

    parse = _parser(format, shape.file.names, shape.file, shape.taken.names)
    for range_ in rows(ranges):
        for block in _blocks(format, range_, open_range, reading):
            lines = _lines(block, reading.block_start, format, shape, range_)
            stray = stray_return(lines.data, format.quote)
            if stray is not None:
                raise bad_line(lines, stray, _STRAY, format, open_range)
            if not format.newlines_in_values:
                odd = odd_line(lines.data, format.quote)
                if odd is not None:
                    message = f"an odd number of quotes ({format.quote}); {_ADVICE}"
                    raise bad_line(lines, odd, message, format, open_range)
                table = rows_of(lines, parse, _ADVICE, format, open_range)
            else:
                try:
                    table = parse(lines.data) if lines.data.strip(b"\r\n") else None
                except (pa.ArrowException, UnicodeDecodeError) as error:
                    message = f"in the records from here on: {error}"
                    raise bad_line(lines, 0, message, format, open_range) from error
            if table is not None:
                yield range_.path, table


def _blocks(
    format: Format, range_: Range, open_range: OpenRange, reading: Reading
) -> Iterator[bytes]:
    """Whole records in UTF-8; `reading` knows where they lie in the file's text."""
    to_utf8 = encoder(format, reading)
    if not format.newlines_in_values:
        for block in range_blocks(format, range_, open_range, reading, LARGE_BLOCK):
            yield to_utf8(block)
        return
    reading.begin(range_)
    if range_.offset:
        reading.finish(range_.end, range_.end)
        return
    with open_range(range_) as file:
        start = 0
        for block in records(pieces(file, format, range_.path), format.quote, range_.path):
            reading.hold(start, start + len(block), unpacked=True)
            yield to_utf8(block)
            start += len(block)
    reading.finish(0, range_.size)


def records(plain: Iterator[bytes], quote: str, path: str) -> Iterator[bytes]:
    """Whole records: cut at the last newline that an even number of quotes precedes."""
    import numpy as np

    pending: list[bytes] = []
    odd = 0
    for piece in plain:
        data = np.frombuffer(piece, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        quotes = np.flatnonzero(data == ord(quote)) if quote else ends[:0]
        outside = ends[(np.searchsorted(quotes, ends) + odd) % 2 == 0]
        odd = (odd + len(quotes)) % 2
        cut = int(outside[-1]) + 1 if len(outside) else 0
        if cut:
            yield b"".join((*pending, piece[:cut]))
            pending.clear()
        if cut < len(piece):
            pending.append(piece[cut:])
    if odd:
        raise DatasetError(f"{path} ends inside a quoted value: a quote ({quote}) is missing")
    if pending:
        yield b"".join(pending)


def odd_line(data: bytes, quote: str) -> int | None:
    """The index of the first line with an odd number of quotes: its value goes on below."""
    if not quote or quote.encode() not in data:
        return None
    import numpy as np

    array = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(array == ord(quote))
    ends = np.append(np.flatnonzero(array == ord("\n")), len(data))
    odd = np.flatnonzero(np.searchsorted(quotes, ends) % 2)
    return int(odd[0]) if len(odd) else None


def stray_return(data: bytes, quote: str) -> int | None:
    """The index of the first line with a carriage return that is neither quoted nor at its end.

    The parser would end a record there, or take an empty value for a blank line.
    """
    if data.count(b"\r") == data.count(b"\r\n"):
        return None
    import numpy as np

    array = np.frombuffer(data + b" ", np.uint8)
    stray = np.flatnonzero((array[:-1] == ord("\r")) & (array[1:] != ord("\n")))
    if quote:
        quotes = np.flatnonzero(array == ord(quote))
        stray = stray[np.searchsorted(quotes, stray) % 2 == 0]
    return data.count(b"\n", 0, int(stray[0])) if len(stray) else None


def _lines(block: bytes, start: int, format: Format, shape: Shape, range_: Range) -> Lines:
    """The records of a block; the file's first ones without their header."""
    if start:
        # The parser drops a byte order mark at its start; here one would be part of a value.
        return (
            Lines(b"\n" + block, start, range_, -1)
            if block.startswith(BOM)
            else Lines(block, start, range_)
        )
    block = block.removeprefix(BOM)
    if not format.header:
        return Lines(block, start, range_)
    names, used = header(block, format)
    if names != shape.file.names:
        raise DatasetError(
            f"{range_.path}: its header {','.join(names)!r} is not the pinned"
            f" {','.join(shape.file.names)!r}; read such files apart, or say schema="
        )
    return Lines(_drop_lines(block, used), start, range_, used)


def _drop_lines(data: bytes, count: int) -> bytes:
    end = 0
    for _ in range(count):
        end = data.find(b"\n", end) + 1 or len(data)
    return data[end:]


def header(block: bytes, format: Format) -> tuple[list[str], int]:
    """The names of the first record that is not blank, and how many lines it takes."""
    reader = csv.reader(
        (line.decode() for line in io.BytesIO(block)),
        delimiter=format.delimiter,
        quotechar=format.quote or None,
        quoting=csv.QUOTE_MINIMAL if format.quote else csv.QUOTE_NONE,
    )
    names = next((names for names in reader if names), [])
    return names, reader.line_num


def _parser(
    format: Format, names: list[str] | None, types: pa.Schema | None, include: list[str] | None
) -> Callable[[bytes], pa.Table]:
    import pyarrow as pa
    from pyarrow import csv as pc

    nulls = format.null_values
    parse_options = pc.ParseOptions(
        delimiter=format.delimiter,
        quote_char=format.quote or False,
        newlines_in_values=format.newlines_in_values,
    )
    convert_options = pc.ConvertOptions(
        column_types=types,
        include_columns=include,
        null_values=None if nulls is None else list(nulls),
        strings_can_be_null=nulls is not None,
        quoted_strings_can_be_null=False,
    )

    def parse(data: bytes) -> pa.Table:
        if not data.endswith(b"\n"):
            data += b"\n"  # the parser takes an empty last value at a bare end for a quoted one
        read_options = pc.ReadOptions(
            use_threads=False,
            block_size=len(data) + 1,
            column_names=names,
            autogenerate_column_names=names is None,
        )
        return pc.read_csv(pa.BufferReader(data), read_options, parse_options, convert_options)

    return parse


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """What the first file says."""
    place = next(files_of(places))
    reading.sample(place.path)
    schema = _sniffed(format, place.path, open_, reading)
    return Sample(schema, dict.fromkeys(schema.names, 1))


def _sniffed(format: Format, path: str, open_: Open, reading: Reading) -> pa.Schema:
    """Names and types of a file's first megabyte, or more where its first record is longer.

    Numbers that begin with zeros are strings, and so is a column without a value.
    """
    import pyarrow as pa

    cut = records if format.newlines_in_values else None
    data = head(format, path, open_, reading, cut)
    names, used = header(data, format) if format.header else (None, 0)
    if names == [] or not data.strip(b"\r\n"):
        raise DatasetError(f"{path} is empty, so its columns are unknown; say schema=")
    twice = [name for name in names or () if (names or []).count(name) > 1]
    if twice:
        raise DatasetError(f"{path} has more than one column {twice[0]!r} in its header")
    odd = None if format.newlines_in_values else odd_line(data, format.quote)
    if odd is not None:
        raise DatasetError(f"{path}, line {odd + 1}: an odd number of quotes; {_ADVICE}")
    data = _drop_lines(data, used)
    if not data.strip(b"\r\n"):
        return pa.schema([(name, pa.string()) for name in names or ()])
    table = _parser(format, names, None, None)(data)
    strings = pa.schema([(name, pa.string()) for name in table.column_names])
    texts = _parser(format, table.column_names, strings, None)(data)
    return pa.schema([(f.name, _pin(f.type, texts.column(f.name))) for f in table.schema])


def _pin(type_: pa.DataType, texts: pa.ChunkedArray) -> pa.DataType:
    """The type that later values of the column fit, too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(type_):
        return pa.string()
    if type_ == pa.timestamp("s"):
        return pa.timestamp("us")
    number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    if number and pc.any(pc.match_substring_regex(texts, r"^\s*[+-]?0[0-9]")).as_py():
        return pa.string()
    return type_
