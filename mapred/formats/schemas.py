"""The types that are pinned: plain ones, which hold the values of every sampled file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mapred.arrow.samples import ENOUGH, Place
from mapred.arrow.types import to_plain, unify_types
from mapred.process.lazy import pa

_PANDAS = b"pandas"


def read_schemas(
    places: Iterable[Place], schema_of: Callable[[Place], tuple[pa.Schema, bool]]
) -> Iterator[tuple[pa.Schema, bool]]:
    """Yield the schemas of files. Only the first has to be readable: a run reports the others, or
    gives them up.
    """
    beginnings = (place for place in places if place.offset == 0)
    for number, place in enumerate(beginnings):
        try:
            yield schema_of(place)
        except (pa.ArrowException, OSError):
            if number == 0:
                raise


def merge_schemas(schemas: Iterable[tuple[pa.Schema, bool]], *, union: bool) -> pa.Schema:
    """Return the plain schema of sampled files, each given with whether it has rows.

    Names and their order are the first's; with `union`, others of later files follow. A
    column that differs in type gets the type that holds all values, or where there is none,
    the first's. A file without rows says nothing unless none has any.
    """
    fields: dict[str, pa.Field] = {}
    first: pa.Schema | None = None
    bare: pa.Schema | None = None
    seen = 0
    for schema, has_rows in schemas:
        schema = _plain_schema(schema)
        if not has_rows:
            bare = bare or schema
            continue
        seen += 1
        if first is None:
            first = schema
            fields = {field.name: field for field in schema}
        for field in schema:
            if field.name in fields:
                before = fields[field.name]
                type_ = unify_types(before.type, field.type, union=union)
                fields[field.name] = before.with_type(type_ or before.type)
            elif union:
                fields[field.name] = field
        if seen == ENOUGH:
            break
    if first is None or len(set(first.names)) < len(first.names):
        return first or bare or pa.schema([])
    return pa.schema(list(fields.values()), first.metadata)


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [field.with_type(to_plain(field.type)).with_nullable(True) for field in schema],
        index_metadata(schema) or None,
    )


# What pandas says of an index


def index_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that pandas stored as the index of a frame."""
    stored = _stored_by_pandas(schema).get("index_columns", [])
    names = set(schema.names)
    return [name for name in stored if isinstance(name, str) and name in names]


def index_metadata(schema: pa.Schema, *, dtypes: bool = False) -> dict[bytes, bytes]:
    """Return a schema's metadata, of pandas' the index columns alone unless `dtypes`.

    An index that is just a range is left out: it numbers the rows of one file.
    """
    metadata = dict(schema.metadata or {})
    if metadata.pop(_PANDAS, None) is None:
        return metadata
    stored, names = _stored_by_pandas(schema), index_columns(schema)
    columns = stored.get("columns", [])
    if not dtypes:
        stored = {"column_indexes": []}
        columns = [column for column in columns if column.get("field_name") in names]
    if names or dtypes:
        stored = {**stored, "index_columns": names, "columns": columns}
        metadata[_PANDAS] = json.dumps(stored).encode()
    return metadata


def _stored_by_pandas(schema: pa.Schema) -> dict[str, Any]:
    try:
        stored = json.loads((schema.metadata or {}).get(_PANDAS, b"{}"))
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
