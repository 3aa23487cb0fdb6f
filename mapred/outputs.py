"""What tasks return, as bytes in the run's folder, and back again.

Tables and frames are stored as Arrow IPC files; everything else is pickled, and small
pickles travel inside the commit.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle

from mapred.errors import FunctionError, StorageError
from mapred.model import Output
from mapred.storage import Store

if TYPE_CHECKING:
    import pyarrow as pa

INLINE_LIMIT = 16 * 1024
_ROWS = b"mapred.rows"
_MANY = 10_000
_SMALL = 2**20
_TABULAR = {"pyarrow": ("Table", "RecordBatch"), "pandas": ("DataFrame",), "polars": ("DataFrame",)}


def encode(values: Sequence[Any]) -> tuple[Output, Any]:
    """How `values` are stored: an `Output` without its path, and its bytes (None if inline)."""
    if not values:
        return Output("none"), None
    types = {_tabular(value) for value in values}
    if len(types) == 1 and (kind := types.pop()) is not None:
        tables = [_to_arrow(value, kind) for value in values]
        if all(table.schema.equals(tables[0].schema) for table in tables):
            payload = _to_ipc(tables)
            rows = sum(table.num_rows for table in tables)
            return _measured(Output("arrow", kind, len(values), rows), payload), payload
    pickles = [_pickled(value) for value in values]
    size = sum(map(len, pickles))
    if size <= INLINE_LIMIT:
        data = b"".join(pickles)
        inline, crc32 = base64.b64encode(data).decode(), zlib.crc32(data)
        return Output("inline", count=len(values), size=size, crc32=crc32, inline=inline), None
    payload = b"".join(pickles)
    return _measured(Output("pickle", count=len(values)), payload), payload


def suffix(output: Output) -> str:
    return "arrow" if output.kind == "arrow" else "pkl"


def fetch(store: Store, output: Output) -> bytes | None:
    """The bytes of a small output that lies in a file on a store; None for every other.

    With them, `decode` asks the store for nothing: they can be fetched ahead.
    """
    if output.path is None or output.size > _SMALL or hasattr(store, "local_path"):
        return None
    try:
        return store.read(output.path)
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error


def decode(store: Store, output: Output, data: bytes | None = None) -> Iterator[Any]:
    """The values of an output, one by one; `data` is what `fetch` gave."""
    if output.kind == "none":
        return
    if output.kind == "arrow":
        yield from _from_ipc(store, output, data)
        return
    if output.kind == "inline":
        file: Any = io.BytesIO(base64.b64decode(output.inline or ""))
    else:
        file = _open(store, output) if data is None else io.BytesIO(data)
    with file:
        for _ in range(output.count):
            yield pickle.load(file)


def _open(store: Store, output: Output) -> Any:
    try:
        return store.open(output.path or "")
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error


def _measured(output: Output, payload: Any) -> Output:
    return Output(
        output.kind,
        output.type,
        output.count,
        output.rows,
        size=memoryview(payload).nbytes,
        crc32=zlib.crc32(payload),
    )


def _tabular(value: Any) -> str | None:
    module = type(value).__module__.split(".")[0]
    if type(value).__name__ not in _TABULAR.get(module, ()):
        return None
    if module == "pyarrow":
        return "batch" if type(value).__name__ == "RecordBatch" else "table"
    return module


def to_table(value: Any) -> pa.Table | None:
    """A table, frame or batch as a table without a frame's index; None for all else."""
    import pyarrow as pa

    kind = _tabular(value)
    if kind != "pandas":
        return None if kind is None else _to_arrow(value, kind)
    try:
        return pa.Table.from_pandas(value, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise FunctionError(f"the returned frame cannot be stored as Arrow: {error}") from error


def _to_arrow(value: Any, kind: str) -> pa.Table:
    import pyarrow as pa

    if kind == "table":
        return value
    if kind == "batch":
        return pa.Table.from_batches([value])
    if kind == "polars":
        return value.to_arrow()
    try:
        return pa.Table.from_pandas(value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise FunctionError(
            f"the returned frame cannot be stored as Arrow: {error}; give that column one type, "
            "or return something else than a frame"
        ) from error


def _to_ipc(tables: list[pa.Table]) -> Any:
    import pyarrow as pa

    schema = tables[0].schema
    if len(tables) > 1:
        rows = json.dumps([table.num_rows for table in tables]).encode()
        schema = schema.with_metadata({**(schema.metadata or {}), _ROWS: rows})
    # An Arrow file holds one dictionary for a column.
    whole = pa.concat_tables(tables).unify_dictionaries()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(whole.replace_schema_metadata(schema.metadata))
    return sink.getvalue()


def read_table(store: Store, output: Output, data: bytes | None = None) -> pa.Table:
    """All rows of an `arrow` output, mapped into memory where the store is a path."""
    import pyarrow as pa

    locate = getattr(store, "local_path", None)
    if locate is not None:
        try:
            source: Any = pa.memory_map(locate(output.path))
        except FileNotFoundError as error:
            raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error
    else:
        source = pa.py_buffer(_open(store, output).read() if data is None else data)
    return pa.ipc.open_file(source).read_all()


def _from_ipc(store: Store, output: Output, data: bytes | None) -> Iterator[Any]:
    table = read_table(store, output, data)
    metadata = dict(table.schema.metadata or {})
    rows = json.loads(metadata.pop(_ROWS, b"null")) or [table.num_rows]
    table = table.replace_schema_metadata(metadata or None)
    start = 0
    for count in rows:
        part = table.slice(start, count)
        start += count
        yield from_arrow(part, output.type)


def from_arrow(table: pa.Table, kind: str) -> Any:
    """A table as the type that the function returned."""
    if kind == "pandas":
        return table.to_pandas()
    if kind == "polars":
        import polars as pl

        return pl.from_arrow(table)
    if kind == "batch":
        batches = table.combine_chunks().to_batches()
        if batches:
            return batches[0]
        import pyarrow as pa

        return pa.RecordBatch.from_pylist([], schema=table.schema)
    return table


def _pickled(value: Any) -> bytes:
    if type(value) in (dict, Counter) and len(value) > _MANY and _plain(value):
        # Nothing in it can refer to anything else in it: no need to remember every string.
        sink = io.BytesIO()
        pickler = pickle.Pickler(sink, protocol=5)
        pickler.fast = True
        pickler.dump(value)
        return sink.getvalue()
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:
        # Classes that were shipped by value are not importable, so plain pickle refuses them.
        try:
            return bytes(cloudpickle.dumps(value, protocol=5))
        except Exception as error:
            raise FunctionError(
                f"the returned {type(value).__name__} cannot be stored: {error}; return plain "
                "data, a table or a frame, or write a file by task.output"
            ) from error


def _plain(counts: dict[Any, Any]) -> bool:
    """Whether all keys are strings and all values numbers."""
    return set(map(type, counts)) == {str} and set(map(type, counts.values())) <= {int, float}
