"""A Parquet file's statistics as a Delta table's log holds them."""

from __future__ import annotations

import datetime
from typing import Any

_LONGEST_TEXT = 64
_MILLISECOND = datetime.timedelta(milliseconds=1)


def of_file(metadata: Any) -> dict[str, Any]:
    """Return `numRecords`, `nullCount`, and the exact least and greatest values.

    Floats have none, since Parquet's statistics leave NaN out, nor have long texts.
    """
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    unknown: set[str] = set()
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            name, statistics = column.path_in_schema, column.statistics
            if "." in name:
                continue
            if statistics is None or not statistics.has_null_count:
                unknown.add(name)
                continue
            nulls[name] = nulls.get(name, 0) + statistics.null_count
            if statistics.null_count == column.num_values and column.num_values:
                continue
            if not statistics.has_min_max or not (
                _exact(statistics.min) and _exact(statistics.max)
            ):
                unknown.add(name)
                continue
            least[name] = min(least.get(name, statistics.min), statistics.min)
            most[name] = max(most.get(name, statistics.max), statistics.max)
    return {
        "numRecords": metadata.num_rows,
        "minValues": {n: _text(v) for n, v in least.items() if n not in unknown},
        "maxValues": {n: _text(v, up=True) for n, v in most.items() if n not in unknown},
        "nullCount": nulls,
    }


def _exact(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if isinstance(value, bool):
        return False
    return isinstance(value, int | datetime.date)


def _text(value: Any, up: bool = False) -> Any:
    """Return a bound as JSON; times have milliseconds there, so an upper bound is rounded up."""
    if isinstance(value, datetime.datetime):
        rest = datetime.timedelta(microseconds=value.microsecond % 1000)
        value = value - rest + (_MILLISECOND if up and rest else datetime.timedelta())
        zone = "Z" if value.tzinfo is not None else ""
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + zone
    return value.isoformat() if isinstance(value, datetime.date) else value
