"""Tables, frames and batches that tasks return: as Arrow, as one Arrow file, and back again."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

from mapred.arrow import from_frames, indexes, to_frames
from mapred.arrow import schemas as unifying
from mapred.errors import FunctionError
from mapred.process.lazy import pa, pl

_ROWS, _OWN = b"mapred.rows", b"mapred.schemas"
_TABULAR = {"pyarrow": ("Table", "RecordBatch"), "pandas": ("DataFrame",), "polars": ("DataFrame",)}


def kind_of(value: Any) -> str | None:
    """Return the name of a table, frame or batch in a commit; None for all else."""
    module = type(value).__module__.split(".")[0]
    if type(value).__name__ not in _TABULAR.get(module, ()):
        return None
    if module == "pyarrow":
        return "batch" if type(value).__name__ == "RecordBatch" else "table"
    return module


def to_table(value: Any) -> pa.Table | None:
    """Convert a table, frame or batch to a table of its rows; None for all else."""
    table = None if kind_of(value) is None else to_arrow(value)
    return table if table is None else drop_numbering(table, kind_of(value))


def drop_numbering(table: pa.Table, kind: str | None) -> pa.Table:
    """Return the rows of a frame without the whole numbers of an index without a name."""
    return indexes.drop_numbering(table) if kind == "pandas" else table


def to_rows(value: Any) -> pa.Table | None:
    """Convert a table, frame or batch to rows that can be stored with those of others."""
    if kind_of(value) is None:
        return None
    try:
        return from_frames.as_rows(value)
    except from_frames.Unfit as error:
        raise FunctionError(
            f"the returned frame cannot be stored as Arrow: {error}{error.remedy}"
        ) from error


def to_arrow(value: Any) -> pa.Table | None:
    """Convert a value to a table; raise a `FunctionError` if Arrow cannot hold it."""
    try:
        return from_frames.as_table(value)
    except from_frames.Unfit as error:
        raise FunctionError(
            f"the returned frame cannot be stored as Arrow: {error}; give that column one type, "
            "or return something other than a frame"
        ) from error


def from_arrow(table: pa.Table, kind: str) -> Any:
    """Convert a table to the type that the function returned."""
    if kind == "pandas":
        # A column of objects, whole numbers and None, would become floats.
        return table.to_pandas(integer_object_nulls=True)
    if kind == "polars":
        return pl.from_arrow(table)
    if kind == "batch":
        if not table.schema.names:
            return _blank_batch(table.num_rows)
        batches = table.combine_chunks().to_batches()
        if batches:
            return batches[0]
        return pa.RecordBatch.from_pylist([], schema=table.schema)
    return table


def fit_one_file(tables: list[pa.Table]) -> bool:
    """Whether tables have one schema and the same dictionaries, as an Arrow file holds one each."""
    first, *others = tables
    if not all(table.schema.equals(first.schema) for table in others):
        return False
    if len({tuple(indexes.numbering_of(table.schema)) for table in tables}) > 1:
        return False  # Readers of the file see the metadata of the first.
    for place, type_ in enumerate(first.schema.types):
        if others and pa.types.is_dictionary(type_):
            chunks = [chunk for table in tables for chunk in table.column(place).chunks]
            if not all(chunk.dictionary.equals(chunks[0].dictionary) for chunk in chunks):
                return False
    return True


def to_file(tables: list[pa.Table | None]) -> Any:
    """Make an Arrow file of tables of one schema; its metadata says where each begins."""
    written = [table for table in tables if table is not None]
    schema = written[0].schema
    if len(tables) > 1:
        rows = [None if table is None else table.num_rows for table in tables]
        metadata = {**(schema.metadata or {}), _ROWS: json.dumps(rows).encode()}
        if not all(table.schema.equals(schema, check_metadata=True) for table in written):
            metadata[_OWN] = _own_schemas(written)
        schema = schema.with_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        if schema.names:
            whole = pa.concat_tables(written).unify_dictionaries()
            writer.write_table(whole.replace_schema_metadata(schema.metadata))
        else:
            # A table forgets its rows with its last column; a batch does not.
            writer.write_batch(_blank_batch(sum(table.num_rows for table in written)))
    return sink.getvalue()


def _own_schemas(tables: list[pa.Table]) -> bytes:
    """Encode the schemas of tables that differ in metadata: a number for each, and the schemas."""
    places: dict[bytes, int] = {}
    numbers = [
        places.setdefault(table.schema.serialize().to_pybytes(), len(places)) for table in tables
    ]
    texts = [base64.b64encode(schema).decode() for schema in places]
    return json.dumps([numbers, texts]).encode()


def read_file(source: Any) -> pa.Table:
    """Return all rows of an Arrow file, and register the extension types that it names."""
    table = pa.ipc.open_file(source).read_all()
    return pa.ipc.open_file(source).read_all() if to_frames.register_types(table.schema) else table


def tables_of(whole: pa.Table) -> Iterator[pa.Table | None]:
    """Yield the tables that `to_file` put into a file, each with its own schema."""
    metadata = dict(whole.schema.metadata or {})
    rows = json.loads(metadata.pop(_ROWS, b"null")) or [whole.num_rows]
    numbers, texts = json.loads(metadata.pop(_OWN, b"null")) or (None, [])
    own = [pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text))) for text in texts]
    plain = whole.schema.with_metadata(metadata or None)
    schemas = itertools.repeat(plain) if numbers is None else (own[number] for number in numbers)
    start = 0
    for count in rows:
        if count is None:
            yield None
            continue
        columns = [column.slice(start, count) for column in whole.columns]
        start += count
        schema = next(schemas)
        if columns:
            yield pa.Table.from_arrays(columns, schema=schema)
        else:
            yield unifying.make_columnless_table(count, schema.metadata)


def _blank_batch(rows: int) -> pa.RecordBatch:
    none = pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.RecordBatch.from_struct_array(none)
