"""A reader per format: the plan rows of one shard become what the function takes.

Every reader is exact to the record: however a file is cut into ranges that follow each
other, each line, row group, record batch or item is read once, in order.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mapred.arrow.samples import Place, Sample
from mapred.errors import DatasetError
from mapred.formats.base import Fingerprint, Open, Reading, guarded, range_opener
from mapred.formats.compression import is_splittable
from mapred.model.spec import Format

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Place", "Reading", "Sample", "check", "is_splittable", "read", "sniff"]

_TABULAR = ("parquet", "csv", "json", "arrow")
_MODULES = {
    **{name: name for name in ("parquet", "csv", "json", "text", "items")},
    "array": "items",
    "arrow": "ipc",
    "files": "whole_files",
}


def read(
    format: Format,
    ranges: pa.Table,
    open_: Open,
    reading: Reading,
    fingerprint: Fingerprint | None = None,
) -> Any:
    """Return what the function takes from one shard, `ranges` being its rows of the plan.

    A format that is read once per item gives an iterator of (item index, value) instead.
    Iterators are lazy, and keep `reading` true as they go. `fingerprint(path, file)` gives
    size and tag of an opened file, which must be the planned ones.
    """
    module = _module(format.name)
    open_range = range_opener(open_, fingerprint)
    reading.shard = ranges
    if format.name in _TABULAR and format.as_ != "dicts":
        return _tables().read(module.read_pieces, format, ranges, open_range, reading)
    return module.read(format, ranges, open_range, reading)


def check(format: Format) -> None:
    """Refuse a filter that does not fit the pinned schema, before a task has to."""
    if format.filter is not None and format.name in _TABULAR:
        _tables().shape_of(format)


def sniff(format: Format, places: Iterable[Place], open_: Open) -> Sample:
    """Return what the files at `places` say of their columns, until enough of them had rows.

    Columns that come from the names of folders are left to the caller.
    """
    if format.name not in _TABULAR:
        raise DatasetError(f"{format.name} has no schema")
    reading = Reading()
    with guarded(reading):
        sample: Sample = _module(format.name).sniff(format, places, open_, reading)
    return sample


def _tables() -> Any:
    """Import what the tabular formats share, which lines of text, items and files do without."""
    return importlib.import_module("mapred.formats.tables")


def _module(name: str) -> Any:
    if name not in _MODULES:
        names = ", ".join(sorted(_MODULES))
        raise DatasetError(f"there is no format {name!r}; there are {names}")
    return importlib.import_module(f"mapred.formats.{_MODULES[name]}")
