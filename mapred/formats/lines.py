"""Whole lines of a file, and the error that names the one which does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mapred.errors import DatasetError
from mapred.formats.base import OpenRange, Range
from mapred.formats.text import line_number
from mapred.model.spec import Format

_EMPTY = re.compile(rb"[\r\n]*\Z")


@dataclass(frozen=True)
class Lines:
    """Whole lines of `range_` that begin at byte `start` of the file's text.

    `skipped` lines came before `data` (a header).
    """

    data: bytes
    start: int
    range_: Range
    skipped: int = 0


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


def first_bad(
    parts: Sequence[bytes], check: Callable[[bytes], object], separator: bytes = b""
) -> int:
    """Return the index of the first part that makes the check fail, found by bisection."""
    good, bad = 0, len(parts)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            check(separator.join(parts[:middle]))
        except Exception:
            bad = middle
        else:
            good = middle
    return bad - 1
