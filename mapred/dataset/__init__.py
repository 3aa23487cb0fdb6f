"""What to read: files by URI, items, tables, sweeps; listed into Arrow, pinned on the client.

Names are loaded at first use: items need nothing of what lists and reads files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mapred.process import lazy

if TYPE_CHECKING:
    from mapred.dataset.coercion import as_dataset as as_dataset
    from mapred.dataset.given import array as array
    from mapred.dataset.given import item_format as item_format
    from mapred.dataset.given import items as items
    from mapred.dataset.local_listing import listing as listing
    from mapred.dataset.readers import files as files
    from mapred.dataset.readers import format_of as format_of
    from mapred.dataset.readers import read_arrow as read_arrow
    from mapred.dataset.readers import read_csv as read_csv
    from mapred.dataset.readers import read_files as read_files
    from mapred.dataset.readers import read_json as read_json
    from mapred.dataset.readers import read_parquet as read_parquet
    from mapred.dataset.readers import read_text as read_text
    from mapred.dataset.runs import outputs as outputs
    from mapred.dataset.schema import pin as pin
    from mapred.dataset.schema import why_whole as why_whole
    from mapred.dataset.sweeps import loguniform as loguniform
    from mapred.dataset.sweeps import sweep as sweep
    from mapred.dataset.sweeps import uniform as uniform
    from mapred.dataset.values import Dataset as Dataset
    from mapred.dataset.values import function_input as function_input

_WHERE = {
    "coercion": ("as_dataset",),
    "given": ("array", "item_format", "items"),
    "schema": ("pin", "why_whole"),
    "readers": "files format_of read_arrow read_csv read_files read_json read_parquet read_text".split(),
    "runs": ("outputs",),
    "sweeps": ("loguniform", "sweep", "uniform"),
    "values": ("Dataset", "function_input"),
    "local_listing": ("listing",),
}

__getattr__ = lazy.names_of(__name__, _WHERE)
