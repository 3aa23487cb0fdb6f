"""Row groups that cannot hold a row which a filter keeps, by the statistics of a footer.

Statistics are a hint of the program that wrote the file. They do not tell of NaN, may be cut, and may
be missing: where they do not surely rule out a row group, it is read.
"""

from __future__ import annotations

import functools
import re
from typing import Any, BinaryIO

from mapred.formats.base import Range, Source
from mapred.formats.filters import conditions_of, expression_text, may_hold
from mapred.formats.tables import Shape, partitions_of, pinned_schema
from mapred.model.spec import Format
from mapred.process.lazy import ds, pa, pc

# A comparison of a column, as Arrow writes it; other functions, and `!=`, may hold for NaN.
_MORE_THAN_COMPARISONS = re.compile(r"\w\(|!=")


def kept_groups(
    source: BinaryIO, file: Any, mine: list[int], format: Format, shape: Shape, range_: Range
) -> set[int]:
    """Return the row groups whose statistics do not rule out the filter."""
    conditions = conditions_of(format.predicate, pinned_schema(format))
    types = {field.name: field.type for field in shape.file}
    named = {name for group in conditions or () for name, _, _ in group}
    if conditions is None or not all(_is_comparable(types[name]) for name in named & types.keys()):
        return _kept_by_expression(source, file, mine, format, shape, range_)
    metadata, names = file.metadata, file.metadata.schema.names
    folders = partitions_of(range_.path, format) if format.partitions else {}
    values = {name: value.as_py() for name, value in folders.items()}

    def ends(group: int, name: str) -> tuple[Any, Any] | None:
        if name in values:
            return None if values[name] is None else (values[name], values[name])
        return _min_max(metadata, group, names, name) if name in types else None

    return {group for group in mine if may_hold(conditions, functools.partial(ends, group))}


def _min_max(metadata: Any, group: int, names: list[str], name: str) -> tuple[Any, Any] | None:
    """Return the least and the greatest value of a column in a row group, where they are known."""
    chunk = chunk_of(metadata, group, names, name)
    statistics = None if chunk is None else chunk.statistics
    if statistics is None or not statistics.has_min_max:
        return None
    try:
        low, high = statistics.min, statistics.max
        # Not so with NaN, nor where a writer compared numbers without a sign as if they had one.
        return (low, high) if low <= high else None
    except (ValueError, OverflowError, TypeError, ArithmeticError):
        # Texts are cut within a character, and dates lie beyond those of Python.
        return None


def chunk_of(metadata: Any, group: int, names: list[str], name: str) -> Any:
    """Return a row group's part of a column; None where it is nested. `names` are those of all leaves."""
    if name not in names:
        return None
    chunk = metadata.row_group(group).column(names.index(name))
    return chunk if chunk.path_in_schema == name else None


def _is_comparable(type_: pa.DataType) -> bool:
    """Whether Python compares the values of a type as Arrow does; all others are Arrow's."""
    plain = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
        pa.types.is_string,
        pa.types.is_date32,
    )
    return any(is_(type_) for is_ in plain)


def _kept_by_expression(
    source: BinaryIO, file: Any, mine: list[int], format: Format, shape: Shape, range_: Range
) -> set[int]:
    schema = file.schema_arrow
    if not _can_use_statistics(file, shape):
        return set(mine)
    folders = pc.scalar(True)
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
        return set(mine)  # rows are filtered in the pinned types, which these are not


def _can_use_statistics(file: Any, shape: Shape) -> bool:
    """Whether Arrow may rule out row groups by the statistics of the columns that are asked for.

    They must have the pinned types; and where a column has floats, only comparisons will do,
    which do not hold for NaN.
    """
    names, schema = file.metadata.schema.names, file.schema_arrow
    text = expression_text(shape.filter)
    compared = text is not None and not _MORE_THAN_COMPARISONS.search(text)
    for name in shape.filtered_by & set(shape.taken.names):
        type_ = shape.taken.field(name).type
        if schema.names.count(name) != 1 or schema.field(name).type != type_:
            return False
        if pa.types.is_nested(type_) or (pa.types.is_floating(type_) and not compared):
            return False
        leaf = file.metadata.schema.column(names.index(name))
        if leaf.physical_type == "INT96":  # its statistics have no order
            return False
    return True
