"""What to read: files by URI, items, tables, sweeps; listed into Arrow, pinned on the client."""

from __future__ import annotations

from mapred.dataset.coercion import as_dataset
from mapred.dataset.pins import pin, why_whole
from mapred.dataset.sources import (
    array,
    files,
    format_of,
    items,
    read_arrow,
    read_csv,
    read_files,
    read_json,
    read_parquet,
    read_text,
)
from mapred.dataset.sweeps import loguniform, sweep, uniform
from mapred.dataset.values import Dataset, handed_over
from mapred.dataset.walks import listing

__all__ = [
    "Dataset",
    "array",
    "as_dataset",
    "files",
    "format_of",
    "handed_over",
    "items",
    "listing",
    "loguniform",
    "pin",
    "read_arrow",
    "read_csv",
    "read_files",
    "read_json",
    "read_parquet",
    "read_text",
    "sweep",
    "uniform",
    "why_whole",
]
