"""Comma-separated values: columns by name, in pinned types, from every range of every file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mapred.arrow.samples import ENOUGH, Place, Sample
from mapred.errors import DatasetError
from mapred.formats import dialect, headers, inference
from mapred.formats.base import Open, OpenRange, Range, Reading, planned_ranges
from mapred.formats.compression import PIECE, iter_pieces, must_read_whole
from mapred.formats.dialect import Layout
from mapred.formats.headers import Head
from mapred.formats.lines import Lines, bad_line, first_bad, is_blank
from mapred.formats.parsing import Parse, Parsed, explain_record, parser, text_parser
from mapred.formats.tables import Pieces, Shape, check_columns
from mapred.formats.text import BOM, LARGE_BLOCK, encoder, range_blocks
from mapred.model.spec import Format
from mapred.process.lazy import np, pa

_STRAY = "a carriage return that neither ends the line nor is quoted"
_ESCAPED = (
    "a quoted value with a backslash before a quote continues after its end; pass escape='\\\\' if"
    " backslashes escape quotes, or quote='' if these are not quotes"
)


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """Yield a table for every few megabytes of whole records."""
    parsers: dict[tuple[str, ...], tuple[Parse, pa.Schema]] = {}
    for range_ in planned_ranges(ranges):
        for head, lines in _lines(format, range_, open_range, reading, LARGE_BLOCK):
            names = _names(head, range_.path, format, tuple(shape.file.names))
            if names not in parsers:
                taken = _columns_to_parse(names, range_.path, format, shape)
                parsers[names] = parser(format, names, taken), taken
            parse, taken = parsers[names]
            parsed = _parse_lines(lines, parse, names, taken, format, open_range)
            if parsed is not None:
                reading.skipped += parsed.skipped
                yield range_.path, parsed.table


def _columns_to_parse(names: tuple[str, ...], path: str, format: Format, shape: Shape) -> pa.Schema:
    """Return the columns to parse: those of folders as texts, and any one column if only rows count."""
    columns = check_columns(names, path, format, shape)
    fields = [
        shape.taken.field(name) if name in shape.taken.names else pa.field(name, pa.string())
        for name in columns
    ]
    return pa.schema(fields or [pa.field(names[0], pa.string())])


def _names(head: Head, path: str, format: Format, others: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of a file, by `names=`, else its header; `others` if it has neither."""
    if head.names is None:
        if format.header == "first" and head.first == others:
            raise DatasetError(f"{path} begins with the columns' names, too; pass header=True")
        return format.names or others
    if format.names is None:
        return head.names
    if len(head.names) != len(format.names):
        raise DatasetError(
            f"{path} has {len(head.names)} columns ({', '.join(head.names)}), but names= has"
            f" {len(format.names)}; give each a name"
        )
    return format.names


def _lines(
    format: Format, range_: Range, open_range: OpenRange, reading: Reading, size: int
) -> Iterator[tuple[Head, Lines]]:
    """Yield the rows of a range as whole records in UTF-8, and the head of their file.

    A file's head comes with lines, if only empty ones.
    """
    to_utf8 = encoder(format, reading)
    head, held = None, b""
    for block in _blocks(format, range_, open_range, reading, size):
        start, was_known = reading.block_start, head is not None
        if head is None and range_.offset:
            head = headers.read_head_of(format, range_, open_range)
        elif head is None:
            held += block
            head = headers.find_head(held, format, range_)
            if head is None:
                continue
            headers.remember(head, format, range_)
        if head.begin > start:
            block, start = block[head.begin - start :], head.begin
        if block or not was_known:
            yield head, _keep_bom(to_utf8(block), start, range_)
    if head is None and range_.offset == 0:
        head = headers.find_head(held, format, range_, final=True)
        if head is not None:
            rest = held[head.begin :]
            yield head, _keep_bom(to_utf8(rest), head.begin, range_)


def _keep_bom(data: bytes, start: int, range_: Range) -> Lines:
    """Return lines that keep a byte order mark of their first value, which the parser would drop."""
    if data.startswith(BOM):
        return Lines(b"\n" + data, start, range_, -1)
    return Lines(data, start, range_)


def _blocks(
    format: Format, range_: Range, open_range: OpenRange, reading: Reading, size: int
) -> Iterator[bytes]:
    """Yield blocks of whole records; `reading` knows where they lie in the file's text."""
    if not format.newlines_in_values:
        yield from range_blocks(format, range_, open_range, reading, size)
        return
    reading.begin(range_)
    if range_.offset:
        reading.finish(range_.end, range_.end)
        return
    with open_range(range_) as file:
        start = 0
        plain = iter_pieces(file, format, range_.path)
        for block in dialect.records(plain, format, range_.path, format.skip_rows):
            reading.hold(start, start + len(block), unpacked=True)
            yield block
            start += len(block)
    reading.finish(0, range_.size)


def _parse_lines(
    lines: Lines,
    parse: Parse,
    names: tuple[str, ...],
    taken: pa.Schema,
    format: Format,
    open_range: OpenRange,
) -> Parsed | None:
    """Return the rows of lines; None where all are blank. Errors name the line."""
    data = dialect.without_comments(lines.data, format)
    if is_blank(data):
        return None
    fault, layout = _check_structure(data, format)
    if fault is not None:
        raise bad_line(lines, data.count(b"\n", 0, fault[0]), fault[1], format, open_range)

    def check(part: bytes) -> Parsed:
        parsed = parse(part, layout if part is data else None)
        rows = parsed.table.num_rows + parsed.skipped
        if part is data and rows != (expected := dialect.count(data, layout, rows)):
            raise ValueError(f"{expected} records gave {rows} rows")
        return parsed

    try:
        return check(data)
    except (pa.ArrowException, ValueError) as error:
        parts = dialect.split(data, layout)
        bad = first_bad(parts, check)
        message = explain_record(parts[bad], format, names, taken, error)
        line = sum(part.count(b"\n") for part in parts[:bad])
        raise bad_line(lines, line, message, format, open_range) from error


def _check_structure(data: bytes, format: Format) -> tuple[tuple[int, str] | None, Layout | None]:
    """Return what is wrong with quotes and line ends, and where; the layout where there are quotes."""
    marks = (format.quote.encode(), format.escape.encode())
    layout = dialect.find_layout(data, format) if any(m and m in data for m in marks) else None
    if layout is not None:
        inner = data.count(b"\n") - len(layout.ends)
        if layout.open or (inner and not format.newlines_in_values):
            newlines = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
            within = np.setdiff1d(newlines, layout.ends)
            if not format.newlines_in_values:
                at = int(within[0]) if len(within) else len(data)
                return (at, _unclosed_message(data, at, format)), layout
            return (int(layout.starts[-1]), dialect.UNCLOSED.format(quote=format.quote)), layout
        escaped = dialect.unescaped_quote(data, layout, format)
        if escaped is not None:
            return (escaped, _ESCAPED), layout
        if len(layout.escaped) and layout.escaped[-1] >= len(data):
            return (len(data), f"the file ends after an escape ({format.escape})"), layout
    if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
        array = np.frombuffer(data + b" ", np.uint8)
        stray = np.flatnonzero((array[:-1] == ord("\r")) & (array[1:] != ord("\n")))
        stray = stray if layout is None else layout.outside(stray)
        if len(stray):
            return (int(stray[0]), _STRAY), layout
    return None, layout


def _unclosed_message(data: bytes, end: int, format: Format) -> str:
    message = dialect.UNCLOSED.format(quote=format.quote or format.escape)
    line = data[data.rfind(b"\n", 0, end) + 1 : end]
    if not format.escape and b"\\" + format.quote.encode() in line:
        message += "; or escape='\\\\' if backslashes escape quotes"
    return message


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """Infer the types of the columns from samples, until enough of these had rows.

    The first header gives the names, and further headers those that it lacks where files may
    lack columns. A column without a value anywhere is text.
    """
    names: tuple[str, ...] | None = None
    others: dict[str, None] = {}
    texts: dict[str, list[Any]] = {}
    first, full = None, 0
    for place in places:
        first = first or place.path
        if place.offset and must_read_whole(format, place.path):
            continue
        number = int(place.path != first)
        length = place.size - place.offset
        range_ = Range(0, place.path, place.offset, length, place.size, "", number, 0)
        reading.sample(place.path, place.offset)
        own, tables = _sample(format, range_, names, open_, reading)
        names = names or own
        if format.missing_columns == "null":
            others.update(dict.fromkeys(own or ()))
        for table in tables:
            for name, column in zip(table.column_names, table.columns, strict=True):
                texts.setdefault(name, []).extend(column.drop_null().chunks)
        full += any(table.num_rows for table in tables)
        if full >= ENOUGH:
            break
    if names is None:
        raise DatasetError(
            f"{first} is empty, as are all files that were looked at, so the columns are unknown;"
            " pass schema=pa.schema([...]) with all of them"
        )
    return _infer_types([*_unique_names(names, first or "", format), *others], texts, format)


def _infer_types(names: Iterable[str], texts: Mapping[str, list[Any]], format: Format) -> Sample:
    """Return the columns with the types of their values."""
    seen = dict.fromkeys(names, 0)
    fields = []
    for name in seen:
        values = pa.chunked_array(texts.get(name, []), pa.string())
        seen[name] = len(values)
        type_ = inference.type_of(values, format) if len(values) else pa.string()
        fields.append(pa.field(name, type_))
    return Sample(pa.schema(fields), seen)


def _sample(
    format: Format, range_: Range, names: tuple[str, ...] | None, open_: Open, reading: Reading
) -> tuple[tuple[str, ...] | None, list[pa.Table]]:
    """Return the names of a file, if it has any, and the texts of about a megabyte of its rows."""
    tables: list[pa.Table] = []
    own, held = None, 0

    def open_range(range_: Range) -> Any:
        return open_(range_.path)

    for head, lines in _lines(format, range_, open_range, reading, PIECE):
        others = names or tuple(f"f{n}" for n in range(len(head.first)))
        own = _names(head, range_.path, format, others) or None
        if own is None:
            break
        parsed = _parse_lines(
            lines, text_parser(format, own), own, pa.schema([]), format, open_range
        )
        if parsed is not None:
            tables.append(parsed.table)
        held += len(lines.data)
        # A whole piece may end with a part of a record. The end of a file is read to its end.
        if held >= PIECE // 2 and (not range_.offset or range_.length > PIECE):
            break
    return own, tables


def _unique_names(names: tuple[str, ...], path: str, format: Format) -> list[str]:
    """Return the names that occur once; others are an error unless `columns=` chose without them."""
    counts = Counter(names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice and (
        format.columns is None or format.header == "first" or set(twice) & set(format.columns)
    ):
        raise DatasetError(
            f"{path} has more than one column {twice[0]!r} in its header; pass names= with a name"
            " for each column, or columns= without it"
        )
    return [name for name, count in counts.items() if count == 1]
