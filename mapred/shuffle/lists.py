"""The values of each key as lists: the states of what cannot be told from fewer numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mapred.arrow.buffers import from_arrow, to_arrow
from mapred.process.lazy import pa
from mapred.shuffle.groups import Groups, grouped_by
from mapred.shuffle.keys import same_bits

if TYPE_CHECKING:
    import numpy.typing as npt


def list_type(type_: pa.DataType) -> pa.DataType:
    """Return the type of lists of values; large, as a key may have any number of them."""
    return pa.large_list(type_)


def to_singletons(column: pa.ChunkedArray, *, nulls: bool) -> pa.ChunkedArray:
    """Return a list of each value; without `nulls` that of a null is empty."""
    chunks = []
    for chunk in column.chunks:
        lengths = np.ones(len(chunk), np.int64)
        if not nulls and chunk.null_count:
            lengths = from_arrow(chunk.is_valid()).astype(np.int64)
            chunk = chunk.drop_null()
        chunks.append(_build_lists(lengths, chunk))
    return pa.chunked_array(chunks, list_type(column.type))


def _build_lists(lengths: npt.NDArray[np.int64], values: pa.Array) -> pa.Array:
    ends = to_arrow(np.append(0, np.cumsum(lengths)))
    return pa.LargeListArray.from_arrays(ends, values)


def flatten_lists(lists: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return the values of all lists, one after the other, and where each list begins and ends."""
    whole = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    ends = from_arrow(whole.offsets)
    return whole.flatten(), ends - ends[0]


def concat_groups(lists: pa.ChunkedArray, groups: Groups) -> pa.Array:
    """Return the lists of each group one after the other."""
    values, bounds = flatten_lists(lists.take(to_arrow(groups.rows)))
    return _build_lists(np.diff(bounds[groups.bounds]), values)


def distinct(lists: pa.ChunkedArray, groups: Groups) -> pa.Array:
    """Return the values of each group once, in some order."""
    values, bounds = flatten_lists(concat_groups(lists, groups))
    if pa.types.is_floating(values.type):
        values = same_bits(pa.chunked_array([values])).combine_chunks()
    numbers = np.repeat(np.arange(groups.count), np.diff(bounds))
    pairs = pa.table({"group": to_arrow(numbers), "value": values})
    unique = grouped_by(pairs, ["group", "value"], [])
    # Of new pairs Arrow may put some that share a slot of its hash table last.
    of = from_arrow(unique["group"])
    order = to_arrow(np.argsort(of, kind="stable"))
    lengths = np.bincount(of, minlength=groups.count)
    return _build_lists(lengths, unique["value"].combine_chunks().take(order))
