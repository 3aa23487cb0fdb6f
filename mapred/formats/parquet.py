"""Parquet: a row group belongs to the range that holds its midpoint."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from mapred.formats.filters import alternatives, may_hold
from mapred.formats.reading import Open, OpenRange, Range, Reading, Source, rows
from mapred.formats.schemas import merged
from mapred.formats.tabular import Pieces, Shape, check_columns, partitions_of
from mapred.model import Format
from mapred.sampling import Place, Sample, files_of

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 1 << 16
# Without a buffer, a column chunk is held whole while it is read: gigabytes in a large row group.
_BUFFER = 1 << 20


def read_pieces(
    format: Format, shape: Shape, ranges: pa.Table, open_range: OpenRange, reading: Reading
) -> Pieces:
    """A table for each row group, or for each batch of rows where the function takes batches."""
    for range_ in rows(ranges):
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
    repeated = _repeated(file.metadata, mine, shape.taken)
    if repeated:
        file = _open(source, streaming=streaming, metadata=file.metadata, dictionaries=repeated)
    kept = set(mine)
    if shape.filter is not None:
        kept = _kept(source, file, mine, format, shape, range_)
    for number in mine:
        if number in kept:
            reading.at(f"row group {number}")
            for table in _row_group(file, number, names, streaming):
                yield range_.path, table
        reading.units += 1


def _open(
    source: BinaryIO, *, streaming: bool, metadata: Any = None, dictionaries: Sequence[str] = ()
) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        Source(source),
        metadata=metadata,
        read_dictionary=list(dictionaries),
        pre_buffer=False,
        buffer_size=_BUFFER if streaming else 0,
        page_checksum_verification=True,
    )


def row_groups(metadata: Any, range_: Range) -> list[int]:
    """The row groups whose midpoint lies in the range.

    A group's bytes go from its first page to the next group's, so that a footer of many
    columns is not walked. Groups without pages, or places outside the file, keep their order.
    """
    last = max(range_.size - 1, 0)
    groups = range(metadata.num_row_groups)
    starts = list(itertools.accumulate((_start(metadata, group) for group in groups), max))
    ends = [*starts[1:], range_.size - metadata.serialized_size - 8]
    middles = [
        min((start + max(start, end)) // 2, last) for start, end in zip(starts, ends, strict=False)
    ]
    return [n for n, middle in enumerate(middles) if range_.offset <= middle < range_.end]


def _repeated(metadata: Any, groups: list[int], taken: pa.Schema) -> list[str]:
    """The columns of texts that take less than a byte for each value: they repeat a few.

    Read as a dictionary and then as texts they take half the time.
    """
    from pyarrow import types

    texts = [field.name for field in taken if types.is_string(field.type)]
    names = metadata.schema.names if texts else []

    def small(name: str, group: int) -> bool:
        chunk = _chunk(metadata, group, names, name)
        return chunk is not None and chunk.total_uncompressed_size < chunk.num_values

    return [name for name in texts if all(small(name, group) for group in groups)]


def _chunk(metadata: Any, group: int, names: list[str], name: str) -> Any:
    """A row group's part of a column, none where it is nested; `names` are those of all leaves."""
    if name not in names:
        return None
    chunk = metadata.row_group(group).column(names.index(name))
    return chunk if chunk.path_in_schema == name else None


def _start(metadata: Any, group: int) -> int:
    if metadata.num_columns == 0:
        return 0
    column = metadata.row_group(group).column(0)
    places = (column.dictionary_page_offset, column.data_page_offset)
    return min((place for place in places if place and place > 0), default=0)


def _kept(
    source: BinaryIO, file: Any, mine: list[int], format: Format, shape: Shape, range_: Range
) -> set[int]:
    """Those row groups whose statistics do not rule out the filter."""
    conditions = alternatives(format.predicate)
    types = {field.name: field.type for field in shape.file}
    asked = {name for group in conditions or () for name, _, _ in group}
    if conditions is None or not all(_compares(types[name]) for name in asked & types.keys()):
        return _kept_by_expression(source, file, mine, format, shape, range_)
    metadata, names = file.metadata, file.metadata.schema.names
    folders = partitions_of(range_.path, format) if format.partitions else {}
    values = {name: value.as_py() for name, value in folders.items()}

    def ends(group: int, name: str) -> tuple[Any, Any] | None:
        if name in values:
            return None if values[name] is None else (values[name], values[name])
        chunk = _chunk(metadata, group, names, name) if name in types else None
        known = None if chunk is None else chunk.statistics
        try:
            return (known.min, known.max) if known is not None and known.has_min_max else None
        except UnicodeDecodeError:  # long texts are cut, some within a character
            return None

    return {group for group in mine if may_hold(conditions, functools.partial(ends, group))}


def _compares(type_: pa.DataType) -> bool:
    """Whether Python compares the values of a type as Arrow does; all others are Arrow's."""
    from pyarrow import types

    plain = types.is_integer, types.is_floating, types.is_decimal, types.is_string, types.is_date32
    return any(is_(type_) for is_ in plain)


def _kept_by_expression(
    source: BinaryIO, file: Any, mine: list[int], format: Format, shape: Shape, range_: Range
) -> set[int]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    folders = pc.scalar(True)
    schema = file.schema_arrow
    for name, value in (partitions_of(range_.path, format) if format.partitions else {}).items():
        folders = folders & (pc.field(name) == value)
        if name not in schema.names:
            schema = schema.append(pa.field(name, value.type))
    fragment = ds.ParquetFileFormat().make_fragment(
        Source(source), partition_expression=folders, row_groups=mine
    )
    try:
        return {group.id for group in fragment.subset(shape.filter, schema=schema).row_groups}
    except pa.ArrowException:
        # The file's own types need not fit the filter; the pinned ones, to which rows are
        # cast before they are filtered, do.
        return set(mine)


def _row_group(file: Any, number: int, columns: list[str], streaming: bool) -> Iterator[pa.Table]:
    import pyarrow as pa

    if not streaming:
        yield file.read_row_group(number, columns=columns)
        return
    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[number], columns=columns):
        yield pa.Table.from_batches([batch])


def sniff(format: Format, places: Iterable[Place], open_: Open, reading: Reading) -> Sample:
    """The schemas in the footers of several files, as one that holds all their values."""
    files = (_schema(place, open_, reading) for place in files_of(places))
    return Sample(merged(files, union=format.missing_columns == "null"))


def _schema(place: Place, open_: Open, reading: Reading) -> tuple[pa.Schema, bool]:
    """The schema of a file, and whether it has rows."""
    reading.sample(place.path)
    reading.at("footer")
    with open_(place.path) as source:
        file = _open(source, streaming=False)
        return file.schema_arrow, file.metadata.num_rows > 0
