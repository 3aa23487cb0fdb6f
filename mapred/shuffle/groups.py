"""Rows by group: Arrow's `group_by`, and where the rows of each group are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrow.buffers import as_numbers, as_strings, from_arrow, to_arrow
from mapred.process.lazy import pa
from mapred.process.private import acero

if TYPE_CHECKING:
    import numpy.typing as npt


def grouped_by(table: pa.Table, keys: list[str], specs: list[tuple[str, str]]) -> pa.Table:
    """`group_by`, nearly in the order of first sight, without the modules that its method imports."""
    strings = {}
    for number, name in enumerate(table.column_names):
        numbers = as_numbers(table.column(number)) if name in keys else None
        if numbers is not None:
            strings[name] = table.column(number).type
            table = table.set_column(number, name, numbers)
    named = [(name, f"hash_{how}", None, f"{name}_{how}") for name, how in specs]
    source = acero.Declaration("table_source", acero.TableSourceNodeOptions(table))
    aggregate = acero.Declaration("aggregate", acero.AggregateNodeOptions(named, keys=keys))
    grouped = acero.Declaration.from_sequence([source, aggregate]).to_table(use_threads=False)
    for name, type_ in strings.items():
        number = grouped.column_names.index(name)
        grouped = grouped.set_column(number, name, as_strings(grouped.column(number), type_))
    return grouped


@dataclass(frozen=True)
class Groups:
    """Which rows each group has: those of group `g` are `rows[bounds[g]:bounds[g + 1]]`, rising."""

    rows: npt.NDArray[np.int64]
    bounds: npt.NDArray[np.int64]

    @property
    def count(self) -> int:
        return len(self.bounds) - 1

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """The group of every row."""
        numbers = np.empty(len(self.rows), np.int64)
        numbers[self.rows] = np.repeat(np.arange(self.count), np.diff(self.bounds))
        return numbers


def groups_of(
    table: pa.Table, keys: Sequence[str], specs: Sequence[tuple[str, str]] = ()
) -> tuple[pa.Table, Groups]:
    """Return what `grouped_by` gives, and the rows of each of its groups."""
    columns = list(dict.fromkeys([*keys, *(name for name, _ in specs)]))
    numbered = table.select(columns).append_column("row", to_arrow(np.arange(table.num_rows)))
    grouped: Any = grouped_by(numbered, list(keys), [*specs, ("row", "list")])
    rows = grouped.column("row_list").combine_chunks()
    bounds = np.append(0, np.cumsum(from_arrow(rows.value_lengths()), dtype=np.int64))
    return grouped, Groups(from_arrow(rows.flatten()), bounds)


def take_or_null(
    values: pa.Array | pa.ChunkedArray, places: npt.NDArray[np.int64]
) -> pa.ChunkedArray:
    """Return the values at `places`, null where a place is below zero."""
    valid = pa.py_buffer(np.packbits(places >= 0, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(places))
    indices = pa.Array.from_buffers(pa.int64(), len(places), [valid, data])
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return column.take(indices)
