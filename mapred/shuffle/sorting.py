"""Rows in the order of their keys: values, then NaN, then nulls, whichever way; ties as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import from_arrow, to_arrow
from mapred.process.lazy import pa, pc
from mapred.shuffle.hashing import byte_strings
from mapred.shuffle.keys import family, hash_keys

if TYPE_CHECKING:
    import numpy.typing as npt

_U = np.uint64
_TOP = _U(1 << 63)


def order_rows(
    table: pa.Table, by: Sequence[str], descending: Sequence[bool], *, runs: bool = False
) -> npt.NDArray[np.int64]:
    """Return the places of rows in order; `runs` says that they are in order for long stretches.

    Numbers that order as the first key begins are sorted by numpy, which is much faster than
    Arrow is with whole keys; Arrow sorts those rows for which they are equal.
    """
    words = _prefixes(table.column(by[0]))
    if words is None:
        return _sort_indices(table, by, descending)
    if descending[0]:
        words = ~words
    order = np.argsort(words, kind="stable" if runs else None)
    sorted_ = words[order]
    same = sorted_[1:] == sorted_[:-1]
    if same.any():
        tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
        rows = np.sort(order[tied])
        order[tied] = rows[
            _sort_indices(table.select(list(by)).take(to_arrow(rows)), by, descending)
        ]
    return order


def _sort_indices(
    table: pa.Table, by: Sequence[str], descending: Sequence[bool]
) -> npt.NDArray[np.int64]:
    keys = [
        (name, "descending" if down else "ascending")
        for name, down in zip(by, descending, strict=True)
        if not pa.types.is_null(table.schema.field(name).type)
    ]
    if not keys:
        return np.arange(table.num_rows)
    return from_arrow(pc.sort_indices(table, sort_keys=keys)).astype(np.int64)


def _prefixes(column: pa.ChunkedArray) -> npt.NDArray[np.uint64] | None:
    """Numbers that never contradict the order of a column; None where nothing helps."""
    if column.null_count or not len(column):
        return None
    type_ = column.type
    if pa.types.is_integer(type_) or pa.types.is_temporal(type_):
        return np.concatenate([_integer_prefixes(chunk) for chunk in column.chunks])
    if pa.types.is_floating(type_):
        values = from_arrow(column).astype(np.float64)
        return None if np.isnan(values).any() else _float_prefixes(values + 0.0)
    if family(type_, "") in ("text", "bytes"):
        return np.concatenate([_byte_prefixes(chunk) for chunk in column.chunks])
    return None


def _integer_prefixes(array: pa.Array) -> npt.NDArray[np.uint64]:
    values = from_arrow(array)
    signed = values.dtype.kind == "i"
    words: npt.NDArray[np.uint64] = values.astype(np.int64 if signed else _U).view(_U)
    words ^= _TOP if signed else _U(0)
    return words


def _float_prefixes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    bits = values.view(_U)
    words: npt.NDArray[np.uint64] = np.where(bits & _TOP, ~bits, bits | _TOP)
    return words


def _byte_prefixes(array: pa.Array) -> npt.NDArray[np.uint64]:
    """Return the first eight bytes of text or binary as big-endian numbers."""
    data, starts, lengths = byte_strings(array)
    unaligned = np.ndarray((len(data) - 7,), ">u8", data, strides=(1,))
    words: npt.NDArray[np.uint64] = unaligned[starts].astype(_U)
    short = np.flatnonzero(lengths < _U(8))
    # What follows a value of fewer bytes belongs to the next one.
    keep = lengths[short] << _U(3)
    words[short] &= np.where(keep, ~_U(0) << ((_U(64) - keep) & _U(63)), _U(0))
    return words


def cut(
    table: pa.Table,
    by: Sequence[str],
    descending: Sequence[bool],
    low: pa.Table | None,
    high: pa.Table | None,
) -> pa.Table:
    """Return the rows from key `low` on, up to and without `high`, in order; tables of one row."""
    # Ahead of the rows that equal them, the ends come first among these when sorted.
    ends = [end for end in (low, high) if end is not None]
    keys = pa.concat_tables([*ends, table.select(list(by))]) if ends else table.select(list(by))
    order = order_rows(keys.combine_chunks(), by, descending, runs=True)
    start, stop = 0, len(order)
    if low is not None:
        start = int(np.flatnonzero(order == 0)[0])
    if high is not None:
        stop = int(np.flatnonzero(order == len(ends) - 1)[0])
    mine = order[start:stop] - len(ends)
    return table.combine_chunks().take(to_arrow(mine[mine >= 0]))


def ranks(table: pa.Table, by: Sequence[str], descending: Sequence[bool]) -> Any:
    """Return the order of rows, and for each row a number: equal for equal keys, rising with them."""
    order = order_rows(table, by, descending)
    hashes = hash_keys(table, by)[order]
    ranks_ = np.empty(len(order), np.int64)
    ranks_[order] = np.cumsum(np.append(False, hashes[1:] != hashes[:-1])[: len(order)])
    return order, ranks_
