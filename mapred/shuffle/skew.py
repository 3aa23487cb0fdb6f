"""Heavy keys: which have so many rows that their partition is slow, and how many.

Each map task looks at some thousand of its rows, taken evenly; a task of fewer counts all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mapred.arrow.buffers import from_arrow, take_sorted, to_arrow
from mapred.arrow.encoding import decode_table, encode_table
from mapred.process.lazy import pa
from mapred.shuffle.groups import grouped_by

_KEPT = 40
_SAMPLE = 1 << 14
_SHARE = 1 / 1000
_MUCH, _TIMES = 1 / 10, 3


class HeavyKeyCounter:
    """About how many rows the most frequent keys of one task have."""

    def __init__(self, by: Sequence[str]) -> None:
        self.by = list(by)
        self.rows = 0
        self._counts: list[pa.Table] = []

    def note(self, table: pa.Table) -> None:
        """Count the keys of some rows of a table."""
        rows = table.num_rows
        self.rows += rows
        keys = table.select(self.by).rename_columns(_key_names(self.by))
        if rows > _SAMPLE:
            places = np.random.default_rng(0).integers(0, rows, _SAMPLE)
            keys = take_sorted(keys, np.sort(places))
        if rows:
            keys = keys.append_column("rows", to_arrow(np.full(len(keys), rows / len(keys))))
            self._counts.append(_top_keys([keys], len(self.by)))

    def encoded(self) -> str | None:
        """Return the keys of a thousandth of the rows or more, as text for a commit."""
        if not self._counts:
            return None
        keys = _top_keys(self._counts, len(self.by))
        heavy = from_arrow(keys["rows"]) >= self.rows * _SHARE
        keys = keys.slice(0, int(heavy.sum()))
        if not keys.num_rows:
            return None
        return encode_table(keys)


def find_heavy_keys(texts: Iterable[str], by: Sequence[str], rows: int) -> dict[str, int]:
    """Return the keys that stand out among those of all tasks, and about how many rows each has.

    A key stands out with a tenth of all `rows` and three times as many as the other frequent
    keys: with fewer, partitions are about as even as they can be.
    """
    tables = [decode_table(text) for text in texts]
    if not tables:
        return {}
    keys = _top_keys(tables, len(by))
    counts = from_arrow(keys["rows"])
    least = max(2.0, rows * _SHARE)
    frequent = counts[counts >= least]
    # The rest are keys of fewer rows than any known one.
    rest = np.full(max(0, int((rows - frequent.sum()) / least)), least)
    heavy = [
        row
        for row, count in enumerate(frequent.tolist())
        if count >= _MUCH * rows
        and count >= _TIMES * _median(np.concatenate([np.delete(frequent, row), rest]))
    ]
    return {named_key(keys, row, by): round(float(counts[row])) for row in heavy}


def _median(counts: Any) -> float:
    return float(np.median(counts)) if len(counts) else 0.0


def _top_keys(tables: list[pa.Table], count: int) -> pa.Table:
    names = _key_names(range(count))
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowInvalid:
        # Keys that no one type holds are refused where they are reduced.
        return tables[0].slice(0, 0)
    summed = grouped_by(whole, names, [("rows", "sum")])
    summed = summed.select([*names, "rows_sum"]).rename_columns([*names, "rows"])
    order = np.argsort(-from_arrow(summed["rows"]), kind="stable")[:_KEPT]
    return summed.take(to_arrow(order))


def _key_names(by: Iterable[Any]) -> list[str]:
    return [f"k{i}" for i, _ in enumerate(by)]


def named_key(keys: pa.Table, row: int, by: Sequence[str]) -> str:
    """Return the key in one row of the columns `k0`, `k1`, … as people read it."""
    values = (f"{name}={_text(keys[f'k{i}'][row]):.60}" for i, name in enumerate(by))
    return ", ".join(values)


def _text(value: pa.Scalar) -> str:

    # Python has no dates before the year 1, which Arrow has.
    if pa.types.is_temporal(value.type) and value.is_valid:
        value = value.cast(pa.string())
        return str(value.as_py())
    return repr(value.as_py())
