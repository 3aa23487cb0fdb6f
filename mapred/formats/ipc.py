"""Arrow IPC: batch i of n belongs to the range that holds (i + 0.5) / n of the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO

from mapred.arrow.samples import Place, Sample
from mapred.errors import DatasetError
from mapred.formats.base import Open, OpenRange, Range, Reading, Source, planned_ranges
from mapred.formats.schemas import merge_schemas, read_schemas
from mapred.formats.tables import Pieces, Shape, check_columns
from mapred.model.spec import Format
from mapred.process.lazy import pa

_MAGIC = b"ARROW1"
_LARGE = 1 << 20  # a file of more bytes has rows


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """Yield a table for each record batch; a stream belongs whole to the range at its start."""
    for range_ in planned_ranges(ranges):
        reading.begin(range_)
        start, stop = range_.offset, range_.end
        with open_range(range_) as source:
            reading.at("footer")
            if not _is_stream(source):
                yield from _read_file(source, format, shape, range_, reading)
            elif range_.offset == 0:
                yield from _read_stream(source, format, shape, range_, reading)
                stop = range_.size
            else:
                start = stop
        reading.finish(start, stop)


def _is_stream(source: BinaryIO) -> bool:
    source.seek(0)
    magic = source.read(len(_MAGIC))
    source.seek(0)
    return magic != _MAGIC


def _read_file(
    source: BinaryIO, format: Format, shape: Shape, range_: Range, reading: Reading
) -> Pieces:
    file = pa.ipc.open_file(Source(source))
    total = file.num_record_batches
    mine = [
        number
        for number in range(total)
        if range_.offset <= (2 * number + 1) * range_.size // (2 * total) < range_.end
    ]
    if not mine:
        return
    names = file.schema.names
    try:
        # Of a file without a column that is needed, one is read for the number of its rows.
        taken = check_columns(names, range_.path, format, shape) or names[:1]
    except DatasetError:
        if any(file.get_batch(number).num_rows for number in range(total)):
            raise
        taken = names
    if len(taken) < len(names):
        source.seek(0)
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in taken])
        file = pa.ipc.open_file(Source(source), options=options)
    for number in mine:
        reading.at(f"record batch {number}")
        yield range_.path, _to_table(file.get_batch(number))
        reading.units += 1


def _read_stream(
    source: BinaryIO, format: Format, shape: Shape, range_: Range, reading: Reading
) -> Pieces:
    reading.at("schema")
    stream = pa.ipc.open_stream(Source(source))
    reading.at("record batch 0")
    for number, batch in enumerate(stream, 1):
        if batch.num_rows:
            check_columns(stream.schema.names, range_.path, format, shape)
        yield range_.path, _to_table(batch)
        reading.units += 1
        reading.at(f"record batch {number}")


def _to_table(batch: Any) -> pa.Table:
    batch.validate()
    return pa.Table.from_batches([batch])


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """Return the schemas of several files, as one that holds all their values."""
    files = read_schemas(places, lambda place: _schema(place, open_, reading))
    return Sample(merge_schemas(files, union=format.missing_columns == "null"))


def _schema(place: Place, open_: Open, reading: Reading) -> tuple[pa.Schema, bool]:
    """Return the schema that a file or a stream begins with, and whether any row follows."""
    reading.sample(place.path)
    with open_(place.path) as source:
        if _is_stream(source):
            stream = pa.ipc.open_stream(Source(source))
            return stream.schema, place.size > _LARGE or any(batch.num_rows for batch in stream)
        file = pa.ipc.open_file(Source(source))
        batches = (file.get_batch(number) for number in range(file.num_record_batches))
        return file.schema, place.size > _LARGE or any(batch.num_rows for batch in batches)
