"""What tasks return, as bytes in the run's folder, and back again.

Tables and frames are stored as Arrow IPC files; everything else is pickled, and small
pickles travel inside the commit.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import pickle
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

from mapred.arrow import from_frames, to_frames
from mapred.arrow import schemas as unifying
from mapred.errors import FunctionError, StorageError
from mapred.functions import pickling
from mapred.model import checksums, layout
from mapred.model.checking import said
from mapred.model.frozen import dataclass
from mapred.model.records import Output
from mapred.process.lazy import pa, pl
from mapred.storage import Store

INLINE_LIMIT = 16 * 1024
_ROWS, _OWN = b"mapred.rows", b"mapred.schemas"
_MANY = 10_000
_SMALL = 2**20
_TABULAR = {"pyarrow": ("Table", "RecordBatch"), "pandas": ("DataFrame",), "polars": ("DataFrame",)}

Tabular = tuple[str, "pa.Table"]  # what the function returned, and its rows


@dataclass(frozen=True)
class Broken:
    """A value that was stored and cannot be loaded."""

    error: Exception

    def __str__(self) -> str:
        return f"cannot be loaded: {type(self.error).__name__}: {said(str, self.error)}"


def encode(
    values: Sequence[Any], check: Callable[[list[pa.Table | None]], None] | None = None
) -> tuple[Output, Any]:
    """How `values` are stored: an `Output` without its path, and its bytes (None if inline).

    Where all of them are tables, but for None, `check` gets them before anything is stored.
    """
    kinds = {None if value is None else _tabular(value) or "object" for value in values} - {None}
    if not kinds:
        return Output("none", count=len(values)), None
    if "object" in kinds:
        return _encoded([_pickled(value) for value in values], Output("pickle", count=len(values)))
    tables = [_to_arrow(value) for value in values]
    if check is not None:
        check(tables)
    found = [table for table in tables if table is not None]
    rows = sum(table.num_rows for table in found)
    if len(kinds) == 1 and _fit_one_file(found):
        payload = _to_ipc(tables)
        return _measured(Output("arrow", str(kinds.pop()), len(values), rows), payload), payload
    pickles = [
        pickle.dumps(None if table is None else (_tabular(value), _to_ipc([table]).to_pybytes()))
        for value, table in zip(values, tables, strict=True)
    ]
    return _encoded(pickles, Output("pickle", "tables", len(values), rows))


def _encoded(pickles: list[bytes], output: Output) -> tuple[Output, Any]:
    payload = b"".join(pickles)
    if len(payload) > INLINE_LIMIT:
        return _measured(output, payload), payload
    inline = base64.b64encode(payload).decode()
    return replace(_measured(output, payload), kind="inline", inline=inline), None


def is_tabular(output: Output) -> bool:
    """Whether the values are tables, frames or batches, and None among them at most."""
    return output.kind == "arrow" or output.type == "tables"


def are_tabular(found: Sequence[Output | None]) -> bool:
    """Whether tasks returned tables, and nothing else but None."""
    tabular = [output for output in found if output is not None and output.kind != "none"]
    return bool(tabular) and all(map(is_tabular, tabular))


def suffix(output: Output) -> str:
    return "arrow" if output.kind == "arrow" else "pkl"


def fetch(store: Store, output: Output) -> bytes | None:
    """The bytes of a small output that lies in a file on a store; None for every other.

    With them, `decode` asks the store for nothing: they can be fetched ahead.
    """
    if output.path is None or output.size > _SMALL or store.local_path("") is not None:
        return None
    try:
        return store.read(output.path)
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error


def decode(store: Store, output: Output, data: bytes | None = None) -> Iterator[Any]:
    """The values of an output, one by one; `data` is what `fetch` gave."""
    for value in load(store, output, data):
        if isinstance(value, Broken):
            raise FunctionError(f"the returned value {value}") from value.error
        yield value


def load(store: Store, output: Output, data: bytes | None = None) -> Iterator[Any]:
    """The values of an output, one by one; a `Broken` where one cannot be loaded."""
    if is_tabular(output):
        for found in load_tables(store, output, data):
            yield None if found is None else from_arrow(found[1], found[0])
    elif output.kind == "none":
        yield from [None] * output.count
    else:
        yield from _unpickled(store, output, data)


def load_tables(
    store: Store, output: Output, data: bytes | None = None
) -> Iterator[Tabular | None]:
    """The values of an output that `is_tabular`, one by one, each as Arrow."""
    if output.kind == "arrow":
        for table in _from_ipc(read_table(store, output, data)):
            yield None if table is None else (output.type, table)
        return

    for found in _unpickled(store, output, data, pickling.load_plain):
        if found is None:
            yield None
            continue
        kind, payload = found
        (table,) = _from_ipc(_read_all(pa.py_buffer(payload)))
        yield kind, table


def _unpickled(
    store: Store,
    output: Output,
    data: bytes | None,
    load: Callable[[IO[bytes]], Any] = pickling.load,
) -> Iterator[Any]:
    with _checked_reader(store, output, data) as file:
        for place in range(output.count):
            start = file.tell()
            try:
                value = load(file)
            except pickling.Refused:
                raise
            except Exception as error:  # classes of users raise what they like
                value = Broken(error)
                if not _skip_pickle(file, start):
                    yield from [value] * (output.count - place)
                    return
            yield value


def _skip_pickle(file: Any, start: int) -> bool:
    """Go to the end of the pickle that begins at `start`; False where it has none."""
    import pickletools

    file.seek(start)
    try:
        for _ in pickletools.genops(file):
            pass
    except ValueError:
        return False
    return True


def _checked_reader(store: Store, output: Output, data: bytes | None) -> Any:
    """A reader of pickled values, once their checksum was compared; `data` is what `fetch` gave."""
    if output.kind == "inline":
        return io.BytesIO(inline_value(store, output))
    if data is None and store.local_path("") is not None:
        with _open(store, output) as file:
            compare(store, output, checksums.of_file(file))
        return _open(store, output)
    return io.BytesIO(check(store, output, read_whole(store, output) if data is None else data))


def inline_value(store: Store, output: Output) -> bytes:
    """The bytes of a value that lies in a commit; a `StorageError` where they have changed."""
    try:
        data = base64.b64decode(output.inline or "", validate=True)
    except ValueError as error:
        raise StorageError(f"{store.uri}: a value in a commit is not base64: {error}") from None
    checksums.check(data, output.size, output.crc32, f"{store.uri}: a value in a commit")
    return data


def read_whole(store: Store, output: Output) -> bytes:
    """The bytes of an output's file, as they are."""
    with _open(store, output) as file:
        return bytes(file.read())


def check(store: Store, output: Output, data: Any) -> Any:
    """The bytes of an output's file; a `StorageError` where they are not those committed."""
    compare(store, output, (memoryview(data).nbytes, zlib.crc32(data)))
    return data


def compare(store: Store, output: Output, found: tuple[int, int]) -> None:
    """Raise a `StorageError` unless a file has the size and CRC-32 of an output."""
    path = output.path or ""
    try:
        checksums.compare(found, output.size, output.crc32, f"{store.uri}/{path}")
    except StorageError as error:
        index = layout.index_of(path)
        if index is None:
            raise
        commit = layout.commit(path.partition("/")[0], index)
        raise StorageError(
            f"{error}; to have its task run again, delete {commit} in {store.uri} and resume the run"
        ) from None


def _open(store: Store, output: Output) -> Any:
    try:
        return store.open(output.path or "")
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error


def _measured(output: Output, payload: Any) -> Output:
    return replace(output, size=memoryview(payload).nbytes, crc32=zlib.crc32(payload))


def _tabular(value: Any) -> str | None:
    module = type(value).__module__.split(".")[0]
    if type(value).__name__ not in _TABULAR.get(module, ()):
        return None
    if module == "pyarrow":
        return "batch" if type(value).__name__ == "RecordBatch" else "table"
    return module


def as_arrow(value: Any) -> pa.Table | None:
    """A table, frame or batch as a table, with a frame's index; None for all else."""
    kind = _tabular(value)
    return None if kind is None else _to_arrow(value)


def to_table(value: Any) -> pa.Table | None:
    """A table, frame or batch as a table without a frame's index; None for all else."""
    kind = _tabular(value)
    return None if kind is None else _to_arrow(value, preserve_index=False)


def _to_arrow(value: Any, *, preserve_index: bool | None = None) -> pa.Table | None:
    try:
        return from_frames.as_table(value, preserve_index=preserve_index)
    except from_frames.Unfit as error:
        raise FunctionError(
            f"the returned frame cannot be stored as Arrow: {error}; give that column one type, "
            "or return something else than a frame"
        ) from error


def _to_ipc(tables: list[pa.Table | None]) -> Any:
    """An Arrow file of tables of one schema; its metadata tells where each begins."""

    found = [table for table in tables if table is not None]
    schema = found[0].schema
    if len(tables) > 1:
        rows = [None if table is None else table.num_rows for table in tables]
        known = {**(schema.metadata or {}), _ROWS: json.dumps(rows).encode()}
        if not all(table.schema.equals(schema, check_metadata=True) for table in found):
            known[_OWN] = _own_schemas(found)
        schema = schema.with_metadata(known)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        if schema.names:
            whole = pa.concat_tables(found).unify_dictionaries()
            writer.write_table(whole.replace_schema_metadata(schema.metadata))
        else:
            # A table forgets its rows with its last column; a batch does not.
            count = sum(table.num_rows for table in found)
            writer.write_batch(_blank_batch(count))
    return sink.getvalue()


def _blank_batch(rows: int) -> pa.RecordBatch:

    none = pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.RecordBatch.from_struct_array(none)


def _fit_one_file(tables: list[pa.Table]) -> bool:
    """Whether tables have one schema and the same dictionaries, as an Arrow file holds one each."""

    first, *others = tables
    if not all(table.schema.equals(first.schema) for table in others):
        return False
    for place, type_ in enumerate(first.schema.types):
        if others and pa.types.is_dictionary(type_):
            known = [chunk.dictionary for table in tables for chunk in table.column(place).chunks]
            if not all(dictionary.equals(known[0]) for dictionary in known):
                return False
    return True


def _own_schemas(tables: list[pa.Table]) -> bytes:
    """What differs in the metadata of tables: each one's schema, by its number in a list."""
    places: dict[bytes, int] = {}
    numbers = [
        places.setdefault(table.schema.serialize().to_pybytes(), len(places)) for table in tables
    ]
    texts = [base64.b64encode(schema).decode() for schema in places]
    return json.dumps([numbers, texts]).encode()


def read_table(store: Store, output: Output, data: bytes | None = None) -> pa.Table:
    """All rows of an `arrow` output, mapped into memory where the store is a path."""

    try:
        here = store.local_path(output.path or "")
        if here is None:
            source = pa.py_buffer(read_whole(store, output) if data is None else data)
        else:
            with pa.memory_map(here) as file:
                source = file.read_buffer()
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error
    return _read_all(check(store, output, source))


def _read_all(source: Any) -> pa.Table:

    table = pa.ipc.open_file(source).read_all()
    return pa.ipc.open_file(source).read_all() if to_frames.register_types(table.schema) else table


def _from_ipc(whole: pa.Table) -> Iterator[pa.Table | None]:
    """The tables that `_to_ipc` put into a file, each with its own schema."""

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
            yield unifying.blank(count, schema.metadata)


def from_arrow(table: pa.Table, kind: str) -> Any:
    """A table as the type that the function returned."""
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


def _pickled(value: Any) -> bytes:
    if type(value) in (dict, Counter) and len(value) > _MANY and _plain(value):
        # Nothing in it can refer to anything else in it: no need to remember every string.
        sink = io.BytesIO()
        pickler = pickle.Pickler(sink, protocol=5)
        pickler.fast = True
        pickler.dump(value)
        return sink.getvalue()
    if pickling.is_plain(value):
        return pickle.dumps(value, protocol=5)
    try:
        return pickling.dumps(value)
    except Exception as error:
        raise FunctionError(
            f"the returned {type(value).__name__} cannot be stored: {said(str, error)}; return plain "
            "data, a table or a frame, or write a file by task.output"
        ) from error


def _plain(counts: dict[Any, Any]) -> bool:
    """Whether all keys are strings and all values numbers."""
    return set(map(type, counts)) == {str} and set(map(type, counts.values())) <= {int, float}
