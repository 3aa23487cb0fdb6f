"""Parquet: a row group belongs to the range that holds its midpoint."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from mapred.arrow.samples import Place, Sample
from mapred.formats import int96
from mapred.formats.base import Open, OpenRange, Range, Reading, Source, planned_ranges
from mapred.formats.pruning import chunk_of, kept_groups
from mapred.formats.schemas import merge_schemas, read_schemas
from mapred.formats.tables import Pieces, Shape, check_columns
from mapred.model.spec import Format
from mapred.process.lazy import pa, pq

_BATCH_ROWS = 1 << 16
# Without a buffer, a column chunk is held whole while it is read: gigabytes in a large row group.
_BUFFER = 1 << 20


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """Yield a table for each row group, or for each batch of rows where the function takes batches."""
    for range_ in planned_ranges(ranges):
        reading.begin(range_)
        with open_range(range_) as source:
            yield from _read_range(source, format, shape, range_, reading)
        reading.finish(range_.offset, range_.end)


def _read_range(
    source: BinaryIO, format: Format, shape: Shape, range_: Range, reading: Reading
) -> Pieces:
    reading.at("footer")
    streaming = format.as_ == "batches"
    file = _open(source, streaming=streaming)
    mine = row_groups(file.metadata, range_)
    if not mine:
        return
    if not file.metadata.num_rows:
        reading.units += len(mine)
        return
    names = check_columns(file.schema_arrow.names, range_.path, format, shape)
    repeated = _repetitive_columns(file.metadata, mine, shape.taken)
    if repeated:
        file = _open(source, streaming=streaming, metadata=file.metadata, dictionaries=repeated)
    kept = set(mine)
    if shape.filter is not None:
        kept = kept_groups(source, file, mine, format, shape, range_)
    old = int96.columns(file.metadata, file.schema_arrow, names)
    fine = _open(source, streaming=streaming, metadata=file.metadata, unit="ns") if old else None
    for number in mine:
        if number in kept:
            reading.at(f"row group {number}")
            pieces = _read_row_group(file, number, names, streaming)
            if fine is not None:
                pieces = map(int96.exact, pieces, _read_row_group(fine, number, old, streaming))
            for table in pieces:
                yield range_.path, table
        reading.units += 1


def _open(
    source: BinaryIO,
    *,
    streaming: bool,
    metadata: Any = None,
    dictionaries: Sequence[str] = (),
    unit: str = "us",
) -> Any:
    """Open a file; `unit` is that of its INT96 times, which reach farther than nanoseconds."""
    return pq.ParquetFile(
        Source(source),
        metadata=metadata,
        read_dictionary=list(dictionaries),
        pre_buffer=False,
        buffer_size=_BUFFER if streaming else 0,
        coerce_int96_timestamp_unit=unit,
        page_checksum_verification=True,
    )


def row_groups(metadata: Any, range_: Range) -> list[int]:
    """Return the row groups whose midpoint lies in the range.

    A group's bytes go from its first page to the next group's, so that a footer of many
    columns is not walked. Groups without pages, or places outside the file, keep their order.
    """
    last = max(range_.size - 1, 0)
    groups = range(metadata.num_row_groups)
    starts = list(itertools.accumulate((_group_start(metadata, group) for group in groups), max))
    ends = [*starts[1:], range_.size - metadata.serialized_size - 8]
    middles = [
        min((start + max(start, end)) // 2, last) for start, end in zip(starts, ends, strict=False)
    ]
    return [n for n, middle in enumerate(middles) if range_.offset <= middle < range_.end]


def _repetitive_columns(metadata: Any, groups: list[int], taken: pa.Schema) -> list[str]:
    """Return the columns of texts that take less than a byte for each value: they repeat a few.

    They are read faster as a dictionary, of which texts are made later, than as texts at once.
    """
    texts = [field.name for field in taken if pa.types.is_string(field.type)]
    names = metadata.schema.names if texts else []

    def small(name: str, group: int) -> bool:
        chunk = chunk_of(metadata, group, names, name)
        return chunk is not None and chunk.total_uncompressed_size < chunk.num_values

    return [name for name in texts if all(small(name, group) for group in groups)]


def _group_start(metadata: Any, group: int) -> int:
    if metadata.num_columns == 0:
        return 0
    column = metadata.row_group(group).column(0)
    places = (column.dictionary_page_offset, column.data_page_offset)
    return min((place for place in places if place and place > 0), default=0)


def _read_row_group(
    file: Any, number: int, columns: list[str], streaming: bool
) -> Iterator[pa.Table]:
    if not streaming:
        yield file.read_row_group(number, columns=columns)
        return
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[number], columns=columns):
        yield pa.Table.from_batches([batch])


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """Return the schemas in the footers of several files, as one that holds all their values."""
    files = read_schemas(places, lambda place: _schema(place, open_, reading))
    return Sample(merge_schemas(files, union=format.missing_columns == "null"))


def _schema(place: Place, open_: Open, reading: Reading) -> tuple[pa.Schema, bool]:
    """Return the schema of a file, and whether it has rows."""
    reading.sample(place.path)
    reading.at("footer")
    with open_(place.path) as source:
        file = _open(source, streaming=False)
        return file.schema_arrow, file.metadata.num_rows > 0
