"""Heavy keys: which have so many rows that their partition is slow, and how many.

Each map task looks at some thousand of its rows, taken evenly; a task of fewer counts all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mapred.arrays import from_arrow, picked, to_arrow
from mapred.shuffle.groups import grouped_by
from mapred.shuffle.texts import decoded_table, encoded_table

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 10
_KEPT = 40
_SAMPLE = 1 << 14
_SHARE = 1 / 1000


class Heavy:
    """About how many rows the most frequent keys of one task have."""

    def __init__(self, by: Sequence[str]) -> None:
        self.by = list(by)
        self.rows = 0
        self._found: list[pa.Table] = []

    def note(self, table: pa.Table) -> None:
        """Count the keys of some rows of a table."""
        rows = table.num_rows
        self.rows += rows
        keys = table.select(self.by).rename_columns(_names(self.by))
        if rows > _SAMPLE:
            places = np.random.default_rng(0).integers(0, rows, _SAMPLE)
            keys = picked(keys, np.sort(places))
        if rows:
            keys = keys.append_column("rows", to_arrow(np.full(len(keys), rows / len(keys))))
            self._found.append(_heaviest([keys], len(self.by)))

    def encoded(self) -> str | None:
        """The keys of a thousandth of the rows or more, as text for a commit."""
        if not self._found:
            return None
        found = _heaviest(self._found, len(self.by))
        heavy = from_arrow(found["rows"]) >= self.rows * _SHARE
        found = found.slice(0, int(heavy.sum()))
        if not found.num_rows:
            return None
        return encoded_table(found)


def heaviest(texts: Iterable[str], by: Sequence[str], rows: int) -> dict[str, float]:
    """The ten heaviest keys of all tasks by name, and about how many of all `rows` each has."""
    tables = [decoded_table(text) for text in texts]
    if not tables:
        return {}
    found = _heaviest(tables, len(by)).slice(0, SHOWN)
    counts = from_arrow(found["rows"])
    names = [f"rows of {named_key(found, row, by)}" for row in range(len(counts))]
    least = max(2, rows * _SHARE)
    return {
        name: float(round(count))
        for name, count in zip(names, counts.tolist(), strict=True)
        if count >= least
    }


def _heaviest(tables: list[pa.Table], count: int) -> pa.Table:
    import pyarrow as pa

    names = _names(range(count))
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowInvalid:
        # Keys that no one type holds are refused where they are reduced.
        return tables[0].slice(0, 0)
    summed = grouped_by(whole, names, [("rows", "sum")])
    summed = summed.select([*names, "rows_sum"]).rename_columns([*names, "rows"])
    order = np.argsort(-from_arrow(summed["rows"]), kind="stable")[:_KEPT]
    return summed.take(to_arrow(order))


def _names(by: Iterable[Any]) -> list[str]:
    return [f"k{i}" for i, _ in enumerate(by)]


def named_key(keys: pa.Table, row: int, by: Sequence[str]) -> str:
    """The key in one row of the columns `k0`, `k1`, … as people read it."""
    values = (f"{name}={_text(keys[f'k{i}'][row]):.60}" for i, name in enumerate(by))
    return ", ".join(values)


def _text(value: pa.Scalar) -> str:
    import pyarrow as pa

    # Python has no dates before the year 1, which Arrow has.
    if pa.types.is_temporal(value.type) and value.is_valid:
        value = value.cast(pa.string())
        return str(value.as_py())
    return repr(value.as_py())
