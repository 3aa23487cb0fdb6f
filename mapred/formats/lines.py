"""Whole lines to rows, one a line; what does not fit is an error that names the line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mapred.errors import DatasetError
from mapred.formats.base import OpenRange, Range
from mapred.formats.text import line_number
from mapred.model.spec import Format

if TYPE_CHECKING:
    import pyarrow as pa

_EMPTY = re.compile(rb"[\r\n]*\Z")
_ROW = re.compile(r"Row #\d+: | in row \d+")


@dataclass(frozen=True)
class Lines:
    """Whole lines of `range_` that begin at byte `start` of the file's text.

    `skipped` lines came before `data` (a header). `spaces`: white space alone is not a record.
    """

    data: bytes
    start: int
    range_: Range
    skipped: int = 0
    spaces: bool = False


def rows_of(
    lines: Lines,
    parse: Callable[[bytes], pa.Table],
    advice: str,
    format: Format,
    open_range: OpenRange,
) -> pa.Table | None:
    """Return the table of lines that hold a row each; None where all of them are blank."""
    if is_blank(lines.data):
        return None

    def check(data: bytes) -> pa.Table:
        table = parse(data)
        expected = _records(data, table.num_rows, lines.spaces)
        if table.num_rows != expected:
            raise ValueError(f"{expected} lines gave {table.num_rows} rows; {advice}")
        return table

    try:
        return check(lines.data)
    except Exception as error:
        parts = [part + b"\n" for part in lines.data.split(b"\n")]
        bad = first_bad(parts, check)
        message = _message(parts[bad], check, error)
        raise bad_line(lines, bad, message, format, open_range) from error


def is_blank(data: bytes) -> bool:
    """Whether there is nothing but line ends."""
    return _EMPTY.match(data) is not None


def bad_line(
    lines: Lines, index: int, message: str, format: Format, open_range: OpenRange
) -> DatasetError:
    """Return the error for line `index` of `lines.data`."""
    first = line_number(format, lines.range_, lines.start, open_range)
    number = first + lines.skipped + index
    return DatasetError(f"{lines.range_.path}, line {number}: {message}")


def _records(data: bytes, rows: int, spaces: bool) -> int:
    """How many lines are not blank; they are looked at one by one only if need be."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if lines == rows:
        return lines
    blank = None if spaces else b"\r"
    return sum(1 for line in data.split(b"\n") if line.strip(blank))


def first_bad(parts: Sequence[bytes], check: Callable[[bytes], object]) -> int:
    """Return the index of the part with which all up to it begin to fail; by halving."""
    good, bad = 0, len(parts)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            check(b"".join(parts[:middle]))
        except Exception:
            bad = middle
        else:
            good = middle
    return bad - 1


def _message(line: bytes, check: Callable[[bytes], object], error: Exception) -> str:
    """Return what is wrong with the line by itself, else with all of them."""
    try:
        check(line)
    except Exception as alone:
        error = alone
    if isinstance(error, UnicodeDecodeError):
        return f"not valid {error.encoding}; say encoding= or errors="
    return _ROW.sub("", str(error))
