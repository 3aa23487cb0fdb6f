"""Blocks of whole lines of a shard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mapred.formats.base import OpenRange, Reading, planned_ranges
from mapred.formats.json.objects import is_blank
from mapred.formats.lines import Lines
from mapred.formats.text import BOM, encoder, range_blocks
from mapred.model.spec import Format

if TYPE_CHECKING:
    import pyarrow as pa


def blocks(
    format: Format, ranges: pa.Table, open_range: OpenRange, reading: Reading, size: int
) -> Iterator[Lines]:
    """Yield blocks of lines in UTF-8, except those in which all lines are blank."""
    to_utf8 = encoder(format, reading)
    for range_ in planned_ranges(ranges):
        for block in range_blocks(format, range_, open_range, reading, size):
            data, start = to_utf8(block), reading.block_start
            if start == 0:
                data = data.removeprefix(BOM)
            if not is_blank(data):
                yield Lines(data, start, range_)
