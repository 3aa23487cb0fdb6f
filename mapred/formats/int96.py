"""Times as Spark, Impala and Hive wrote them to Parquet: INT96, a day and nanoseconds of it.

They reach farther than Arrow's nanoseconds, which wrap around, and are finer than its
microseconds, which are cut. So both are read, and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mapred.errors import DatasetError
from mapred.formats.casting import Unfit, convert_array
from mapred.process.lazy import pa


def columns(metadata: Any, schema: pa.Schema, names: Sequence[str]) -> list[str]:
    """Return the columns among `names` that hold INT96, at any depth."""
    may = [name for name in names if "timestamp[us]" in str(schema.field(name).type)]
    if not may:
        return []
    leaves = (metadata.schema.column(number) for number in range(metadata.num_columns))
    old = {leaf.path.partition(".")[0] for leaf in leaves if leaf.physical_type == "INT96"}
    return [name for name in may if name.partition(".")[0] in old]


def exact(coarse: pa.Table, fine: pa.Table) -> pa.Table:
    """Return `coarse`, read as microseconds, with the columns of `fine` that need nanoseconds.

    Nanoseconds are microseconds times 1,000, also where both wrap around, unless there are
    parts of a microsecond.
    """
    for number, name in enumerate(coarse.column_names):
        if name not in fine.column_names:
            continue
        column, finer = coarse.column(number).combine_chunks(), fine.column(name).combine_chunks()
        pairs = zip(_times(column), _times(finer), strict=True)
        if all(one.cast(two.type, safe=False).equals(two) for one, two in pairs):
            continue
        try:
            convert_array(column, finer.type, nulls=False)
        except Unfit as error:
            raise DatasetError(
                f"column {name!r} holds INT96 times with parts of a microsecond and others"
                " outside of the years 1677 to 2262, and no type has both; pass columns= to leave"
                f" it out ({error})"
            ) from error
        coarse = coarse.set_column(number, fine.field(name), finer)
    return coarse


def _times(array: Any) -> Iterator[pa.Array]:
    """Yield the times in an array, at any depth."""
    if pa.types.is_timestamp(array.type):
        yield array
    elif pa.types.is_struct(array.type):
        for child in array.flatten():
            yield from _times(child)
    elif pa.types.is_map(array.type):
        yield from _times(array.keys)
        yield from _times(array.items)
    elif pa.types.is_nested(array.type):
        yield from _times(array.flatten())
