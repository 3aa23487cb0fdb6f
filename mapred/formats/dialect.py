"""Where records and quoted values of CSV begin and end, as Arrow's parser has it.

A quote opens a value only where a value begins; elsewhere it is a character. It closes the
value unless another quote follows. What the escape character precedes has no meaning.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mapred.errors import DatasetError
from mapred.model.spec import Format
from mapred.process.lazy import np, pcsv

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.intp]

UNCLOSED = (
    "a quoted value ({quote}) is not closed at the end of its line; pass newlines_in_values=True if"
    " values hold line ends, or quote='' if it is not a quote"
)
_NEWLINE, _RETURN = 10, 13


@dataclass(frozen=True)
class Layout:
    """The structure of a text that begins where a value may begin.

    Quoted values lie from `starts` up to `stops`; the last one is `open` where its closing
    quote is missing. `ends` are the newlines that end records. `comments` are lines that are
    left out. `escaped` are characters behind an escape; the last is the text's length where
    nothing follows. In a `regular` text only delimiters and line ends follow closing quotes.
    """

    starts: Ints
    stops: Ints
    ends: Ints
    escaped: Ints
    comments: tuple[tuple[int, int], ...] = ()
    open: bool = False
    regular: bool = True

    def outside(self, positions: Ints) -> Ints:
        """Return the `positions` that are neither quoted nor escaped nor in a comment."""
        if len(self.starts):
            edges = np.stack((self.starts, self.stops), 1).ravel()
            positions = positions[np.searchsorted(edges, positions, "right") % 2 == 0]
        for start, stop in self.comments:
            positions = positions[(positions < start) | (positions >= stop)]
        return _exclude(positions, self.escaped)


def find_layout(data: bytes, format: Format) -> Layout:
    """Find quoted values and records, with numpy alone where the quotes are regular."""
    array = np.frombuffer(data, np.uint8)
    newlines = np.flatnonzero(array == _NEWLINE)
    quotes = np.flatnonzero(array == ord(format.quote)) if format.quote else newlines[:0]
    escaped = _find_escaped(array, format.escape) if format.escape else newlines[:0]
    quotes = _exclude(quotes, escaped)
    comments = _comment_starts(data, format)
    if not comments and _is_regular(array, quotes, escaped, format.delimiter):
        missing = len(quotes) % 2 == 1
        stops = quotes[1::2] + 1
        if missing:
            stops = np.append(stops, len(data))
        layout = Layout(quotes[0::2], stops, newlines, escaped, open=missing)
    else:
        layout = _scan_quotes(data, array, quotes, escaped, comments, format)
    return replace(layout, ends=layout.outside(newlines))


def _exclude(positions: Ints, others: Ints) -> Ints:
    return positions[~np.isin(positions, others)] if len(others) else positions


def _find_escaped(array: npt.NDArray[np.uint8], escape: str) -> Ints:
    """Return the positions behind escapes that are not escaped: behind runs of odd length."""
    at = np.flatnonzero(array == ord(escape))
    if not len(at):
        return at
    first = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    length = np.diff(np.append(first, len(at)))
    behind: Ints = (at[first] + length)[length % 2 == 1]
    return behind


def _is_regular(array: npt.NDArray[np.uint8], quotes: Ints, escaped: Ints, delimiter: str) -> bool:
    """Whether quotes open and close in turn, with delimiters or line ends around the values."""
    if not len(quotes):
        return True
    opening, closing = quotes[0::2], quotes[1::2]
    before = array[opening - 1]
    begins = (before == ord(delimiter)) | (before == _NEWLINE)
    if len(escaped):
        begins &= ~np.isin(opening - 1, escaped)
    begins[0] |= opening[0] == 0
    doubled = np.zeros(len(opening), bool)
    doubled[1:] = opening[1:] == closing[: len(opening) - 1] + 1
    if not (begins | doubled).all():
        return False
    behind = array[np.minimum(closing + 1, len(array) - 1)]
    ends = (behind == ord(delimiter)) | (behind == _NEWLINE) | (behind == _RETURN)
    ends |= closing == len(array) - 1
    ends[: len(opening) - 1] |= doubled[1:]
    return bool(ends.all())


def _comment_starts(data: bytes, format: Format) -> list[int]:
    """Return where lines begin with the comment character, quoted lines too."""
    if not format.comment:
        return []
    pattern = re.compile(rb"^" + re.escape(format.comment.encode()), re.MULTILINE)
    return [match.start() for match in pattern.finditer(data)]


def _scan_quotes(
    data: bytes,
    array: npt.NDArray[np.uint8],
    quotes: Ints,
    escaped: Ints,
    comments: list[int],
    format: Format,
) -> Layout:
    """Find the quoted values and comments one by one, for quotes that stand anywhere."""
    before = array[quotes - 1]
    begins = (before == ord(format.delimiter)) | (before == _NEWLINE) | (quotes == 0)
    marks = [(at, False) for at in quotes[begins].tolist()] + [(at, True) for at in comments]
    every = quotes.tolist()
    starts, stops, left_out = list[int](), list[int](), list[tuple[int, int]]()
    # Nothing begins behind an escape, unless the line end that it precedes ends a comment.
    inner = set(escaped.tolist())
    position, at, missing = 0, 0, False
    for mark, is_comment in sorted(marks):
        if mark < position or mark - 1 in inner:
            continue
        if is_comment:
            newline = data.find(b"\n", mark)
            position = len(data) if newline < 0 else newline
            left_out.append((mark, position))
            inner.discard(position)
            continue
        at = _find_closing(every, mark, at)
        missing = at >= len(every)
        position = len(data) if missing else every[at] + 1
        starts.append(mark)
        stops.append(position)
    return Layout(
        np.array(starts, np.intp),
        np.array(stops, np.intp),
        quotes[:0],
        np.array(sorted(inner), np.intp),
        tuple(left_out),
        missing,
        regular=not len(quotes),
    )


def _find_closing(every: list[int], mark: int, at: int) -> int:
    """Return the index in `every` of the quote that closes the value opened at `mark`, after `at`.

    Two quotes in a row stand for one inside the value.
    """
    at = bisect.bisect_left(every, mark, at) + 1
    while at + 1 < len(every) and every[at + 1] == every[at] + 1:
        at += 2
    return at


def parse_options(
    format: Format,
    *,
    newlines_in_values: bool | None = None,
    invalid_row_handler: Callable[[Any], str] | None = None,
) -> Any:
    """Return the dialect of a format as Arrow's parser takes it."""
    newlines = format.newlines_in_values if newlines_in_values is None else newlines_in_values
    return pcsv.ParseOptions(
        delimiter=format.delimiter,
        quote_char=format.quote or False,
        escape_char=format.escape or False,
        newlines_in_values=newlines,
        invalid_row_handler=invalid_row_handler,
    )


def records(plain: Iterator[bytes], format: Format, path: str, skip: int = 0) -> Iterator[bytes]:
    """Yield blocks of whole records; the first `skip` lines, whatever they hold, begin the first one.

    What is known of the bytes before a piece stands before it as the shortest text that means
    the same, so that no byte is looked at twice, however long a value is.
    """
    pending: list[bytes] = []
    before = b""
    for piece in plain:
        start = 0
        while skip and start < len(piece):
            newline = piece.find(b"\n", start) + 1
            start = newline or len(piece)
            skip -= bool(newline)
        text = before + piece[start:]
        layout = find_layout(text, format)
        cut = int(layout.ends[-1]) + 1 - len(before) + start if len(layout.ends) else 0
        before = _context(text, layout, format) if text else before
        if cut:
            yield b"".join((*pending, piece[:cut]))
            pending.clear()
        if cut < len(piece):
            pending.append(piece[cut:])
    if before[:1] == format.quote.encode() != b"" and before != 2 * format.quote.encode():
        raise DatasetError(
            f"{path} ends inside a quoted value: a quote ({format.quote}) is missing"
        )
    if pending:
        yield b"".join(pending)


def _context(text: bytes, layout: Layout, format: Format) -> bytes:
    """Return the shortest text after which a reader is in the same state as after `text`."""
    quote, escape = format.quote.encode(), format.escape.encode()
    pending = escape if len(layout.escaped) and layout.escaped[-1] == len(text) else b""
    if layout.open:
        return quote + pending
    if layout.comments and layout.comments[-1][1] == len(text):
        return format.comment.encode()
    if len(layout.stops) and layout.stops[-1] == len(text):
        return quote + quote  # another quote would make it one that is doubled
    if pending:
        return b"\0" + escape
    if len(layout.ends) and layout.ends[-1] == len(text) - 1:
        return b""
    last = len(text) - 1
    delimited = text.endswith(format.delimiter.encode()) and last not in layout.escaped
    return format.delimiter.encode() if delimited else b"\0"


def without_comments(data: bytes, format: Format) -> bytes:
    """Return the lines, with blank ones for those that begin with the comment character."""
    if not format.comment:
        return data
    mark = re.escape(format.comment.encode())
    if not format.newlines_in_values:
        return re.sub(rb"(?m)^" + mark + rb"[^\n]*", b"", data)
    parts, position = [], 0
    for start, stop in find_layout(data, format).comments:
        parts.append(data[position:start])
        position = stop
    return b"".join((*parts, data[position:]))


def unescaped_quote(data: bytes, layout: Layout, format: Format) -> int | None:
    """Find a quoted value with a backslash before a quote that continues behind its closing quote.

    To read on as if the backslash meant nothing would be to guess.
    """
    quote = b"\\" + format.quote.encode()
    if layout.regular or format.escape or quote not in data:
        return None
    ends = re.compile(b"[%b\r\n]|\\Z" % re.escape(format.delimiter.encode()))
    for start, stop in zip(layout.starts.tolist(), layout.stops.tolist(), strict=True):
        end = ends.search(data, stop)
        if end and end.start() > stop and quote in data[start : end.start()]:
            return int(start)
    return None


def ensure_newline(data: bytes, format: Format) -> bytes:
    """Return whole records of which the last one ends with a newline."""
    escaped = format.escape and data[-2:-1] == format.escape.encode()
    return data if data.endswith(b"\n") and not escaped else data + b"\n"


def split(data: bytes, layout: Layout | None) -> list[bytes]:
    """Return the records of a text with their line ends; its lines where nothing is quoted in it."""
    if layout is None:
        lines = [line + b"\n" for line in data.split(b"\n")]
        if data.endswith(b"\n"):
            lines.pop()
        return lines
    edges = [0, *(layout.ends + 1).tolist()]
    if edges[-1] < len(data):
        edges.append(len(data))
    return [data[start:stop] for start, stop in itertools.pairwise(edges)]


def count(data: bytes, layout: Layout | None, rows: int) -> int:
    """Count the records that are not blank, one by one only if they are not as many as `rows`."""
    # numpy counts much faster than `bytes.count` where there are many.
    newlines = np.count_nonzero(np.frombuffer(data, np.uint8) == _NEWLINE)
    ends = int(newlines) if layout is None else len(layout.ends)
    lines = ends + (not data.endswith(b"\n"))
    if lines == rows:
        return lines
    return sum(1 for record in split(data, layout) if record.strip(b"\r\n"))
