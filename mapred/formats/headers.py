"""Where a CSV file's rows begin, and the names before them."""

from __future__ import annotations

from dataclasses import dataclass

from mapred.errors import DatasetError
from mapred.formats import dialect
from mapred.formats.base import OpenRange, Range
from mapred.formats.compression import encoding_of
from mapred.formats.text import BOM
from mapred.model.spec import Format
from mapred.process.lazy import pa, pcsv

_HEAD = 1 << 16
_MOST_HEADS = 1 << 10
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True)
class Head:
    """What precedes the rows: they begin at byte `begin` of the file's text.

    `names` are None where the file has no header; `first` are then the values of its first row.
    """

    begin: int
    names: tuple[str, ...] | None = None
    first: tuple[str, ...] = ()


_heads: dict[tuple[object, ...], Head] = {}


def read_head_of(format: Format, range_: Range, open_range: OpenRange) -> Head:
    """Return the head of the file of a range that does not begin it; read once in a process."""
    if not (has_header(format, range_) or format.skip_rows):
        return Head(0)
    key = _key(format, range_)
    if range_.etag and key in _heads:
        return _heads[key]
    held, want, head = b"", _HEAD, None
    with open_range(range_) as file:
        while head is None:
            piece = file.read(want)
            held += piece
            head = find_head(held, format, range_, final=not piece)
            want = 2 * len(held)
    remember(head, format, range_)
    return head


def remember(head: Head, format: Format, range_: Range) -> None:
    """Keep the head of a file whose contents its tag tells."""
    if range_.etag:
        if len(_heads) >= _MOST_HEADS:
            _heads.clear()
        _heads[_key(format, range_)] = head


def _key(format: Format, range_: Range) -> tuple[object, ...]:
    return (
        range_.path, range_.size, range_.etag, has_header(format, range_), format.skip_rows,
        format.delimiter, format.quote, format.escape, format.comment, format.encoding,
        format.errors,
    )  # fmt: skip


def has_header(format: Format, range_: Range) -> bool:
    """Whether the file of a range has a header; the first file of a plan has number 0."""
    return format.header is True or (format.header == "first" and range_.first == 0)


def find_head(data: bytes, format: Format, range_: Range, final: bool = False) -> Head | None:
    """Return the head of the file that begins with `data`; None where more must be read to tell.

    `final`: nothing follows.
    """
    _refuse_wide_text(data, format, range_.path)
    encoding = encoding_of(format.encoding)
    marked = encoding.name == "utf-8" or encoding.wide
    begin = len(BOM) if marked and data.startswith(BOM) else 0
    for _ in range(format.skip_rows):
        begin = data.find(b"\n", begin) + 1 or len(data)
    incomplete = not format.newlines_in_values and data.find(b"\n", begin) < 0
    if not final and (begin == len(data) or incomplete):
        return None
    record, stop = _first_record(data, begin, format)
    if not final and (stop is None or not record):
        return None
    _refuse_other_lines(record, data, range_.path, format)
    if record and not format.newlines_in_values and dialect.find_layout(record, format).open:
        number = data.count(b"\n", 0, begin) + 1
        raise DatasetError(
            f"{range_.path}, line {number}: {dialect.UNCLOSED.format(quote=format.quote)}"
        )
    if not record or not has_header(format, range_):
        return Head(begin, None, _values(record, format) if record else ())
    return Head(len(data) if stop is None else stop, _values(record, format))


def _first_record(data: bytes, begin: int, format: Format) -> tuple[bytes, int | None]:
    """Return the first record that is neither blank nor a comment, and where the next one begins."""
    mark = format.comment.encode()
    text = data[begin:]
    ends = dialect.find_layout(text, format).ends.tolist() if format.newlines_in_values else None
    position = 0
    while position < len(text):
        if (mark and text.startswith(mark, position)) or ends is None:
            newline = text.find(b"\n", position)
        else:
            newline = next((end for end in ends if end >= position), -1)
        stop = len(text) if newline < 0 else newline + 1
        record = text[position:stop]
        if record.strip(b"\r\n") and not (mark and record.startswith(mark)):
            return record, None if newline < 0 else begin + stop
        position = stop
    return b"", None


def _values(record: bytes, format: Format) -> tuple[str, ...]:
    """Return the values of one record, by the parser that reads the rows."""
    encoding = encoding_of(format.encoding)
    if not encoding.wide:
        record = record.decode(encoding.name, format.errors).encode()
    record = dialect.ensure_newline(record, format)
    most = record.count(format.delimiter.encode()) + 1
    table = pcsv.read_csv(
        pa.BufferReader(b"\n" + record),
        pcsv.ReadOptions(
            use_threads=False, block_size=len(record) + 2, autogenerate_column_names=True
        ),
        dialect.parse_options(format, newlines_in_values=True),
        pcsv.ConvertOptions(column_types={f"f{n}": pa.string() for n in range(most)}),
    )
    return tuple(column[0].as_py() for column in table.columns)


def _refuse_wide_text(data: bytes, format: Format, path: str) -> None:
    """Refuse text of two or four bytes a character where the encoding has one."""
    if encoding_of(format.encoding).wide:
        return
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            raise DatasetError(
                f"{path} begins with the byte order mark of {encoding}; pass encoding={encoding!r}"
            )
    first = data[:64]
    if first.count(b"\0") * 3 > len(first):
        raise DatasetError(
            f"{path} begins with zero bytes between its characters; pass encoding='utf-16-le' or"
            " another encoding of two bytes"
        )


def _refuse_other_lines(record: bytes, data: bytes, path: str, format: Format) -> None:
    line = record.rstrip(b"\r\n")
    if b"\n" not in data and b"\r" in line and not format.newlines_in_values:
        raise DatasetError(
            f"{path}: its lines end in carriage returns alone (\\r), which is not read; convert"
            " them to newlines, for example with tr '\\r' '\\n'"
        )
    if line[:4].lower() == b"sep=" and len(line) == 5:
        delimiter = line[4:].decode("latin-1")
        raise DatasetError(
            f"{path} begins with Excel's line sep={delimiter}; pass"
            f" skip_rows={format.skip_rows + 1}, delimiter={delimiter!r}"
        )
