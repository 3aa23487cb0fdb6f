"""JSON lines as Python dicts: whole numbers exact, fields of any types."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mapred.formats.base import OpenRange, Reading, guarded
from mapred.formats.json.blocks import blocks
from mapred.formats.json.errors import error_at
from mapred.formats.json.folders import add_folders
from mapred.formats.json.objects import SPACES, Refused, decode_plain, decode_unique
from mapred.formats.lines import Lines
from mapred.formats.text import LINES_BLOCK
from mapred.model.spec import Format

if TYPE_CHECKING:
    import pyarrow as pa


def read(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Iterator[dict[str, Any]]:
    """Return a dict for every line, lazily: whole numbers exact, other numbers the nearest floats."""
    return itertools.chain.from_iterable(_dict_lists(format, ranges, open_range, reading))


def _dict_lists(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Iterator[Iterator[dict[str, Any]]]:
    with guarded(reading):
        for lines in blocks(format, ranges, open_range, reading, LINES_BLOCK):
            dicts = _dicts(lines, format, open_range)
            if format.partitions:
                _add_folders(dicts, lines, format, open_range)
            if format.columns is not None:
                names = format.columns
                dicts = [{name: value[name] for name in names if name in value} for value in dicts]
            yield reading.hand_out(dicts)
            reading.take_back()


def _dicts(lines: Lines, format: Format, open_range: OpenRange) -> list[dict[str, Any]]:
    try:
        dicts = [
            decode_plain(line) for line in lines.data.decode().split("\n") if line.strip(" \t\r")
        ]
        if all(type(value) is dict for value in dicts):
            return dicts
    except (ValueError, RecursionError):
        pass  # which line it was, and why, is found out one by one
    dicts = []
    for index, line in _nonblank_lines(lines):
        try:
            dicts.append(decode_unique(line))
        except Refused as error:
            raise error_at(lines, index, str(error), format, open_range) from error
    return dicts


def _add_folders(
    dicts: list[dict[str, Any]], lines: Lines, format: Format, open_range: OpenRange
) -> None:
    other = add_folders(dicts, lines.range_.path, format)
    if other is not None:
        number, message = other
        index, _ = next(itertools.islice(_nonblank_lines(lines), number, None))
        raise error_at(lines, index, message, format, open_range)


def _nonblank_lines(lines: Lines) -> Iterator[tuple[int, bytes]]:
    """Return the lines that are not blank, with their indices."""
    numbered = enumerate(lines.data.split(b"\n"))
    return ((index, line) for index, line in numbered if line.strip(SPACES))
