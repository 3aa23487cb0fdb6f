"""The index of a pandas frame among the columns of its table.

Arrow stores an index as columns, and one without a name as `__index_level_0__`. Whole numbers
there are what a filter or a concat leaves of 0, 1, 2, …, and no part of a row. Other values and
those with a name are.
"""

from __future__ import annotations

import json
from typing import Any

from mapred.process.lazy import pa

_UNNAMED = "__index_level_"


def drop_numbering(table: pa.Table) -> pa.Table:
    """Return a table made from a frame without the whole numbers of an index without a name."""
    numbering = numbering_of(table.schema)
    return table.drop_columns(numbering) if numbering else table


def numbering_of(schema: pa.Schema) -> list[str]:
    """Return the columns that hold whole numbers of an index without a name."""
    return [
        stored
        for stored, name in _unnamed(schema).items()
        if name is None and pa.types.is_integer(schema.field(stored).type)
    ]


def columns_only(table: pa.Table) -> pa.Table:
    """Return the columns of a frame, those of a named index among them.

    Raises `ValueError` for other values in an index without a name, and for a name that a column
    has.
    """
    table = drop_numbering(table)
    for stored, name in _unnamed(table.schema).items():
        if not table.num_rows:
            table = table.drop_columns([stored])
        elif name is None:
            raise ValueError(
                f"its index (of {table.schema.field(stored).type}) has no name; make it a column with "
                "reset_index(), or leave it out with reset_index(drop=True)"
            )
        else:
            raise ValueError(
                f"{name!r}, the name of its index, is also that of a column; rename the index with "
                "rename_axis, or leave it out with reset_index(drop=True)"
            )
    return table


def _unnamed(schema: pa.Schema) -> dict[str, Any]:
    """Return the index columns that are not stored by their name, with the names that they have."""
    if not any(name.startswith(_UNNAMED) for name in schema.names):
        return {}
    about = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    stored = {name for name in about.get("index_columns", []) if isinstance(name, str)}
    return {
        column["field_name"]: column["name"]
        for column in about.get("columns", [])
        if column["field_name"] in stored.intersection(schema.names)
        and column["field_name"] != column["name"]
    }
