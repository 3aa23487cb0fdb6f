"""What tasks return, as bytes in the run's folder, and back again.

Tables and frames are stored as Arrow IPC files; everything else is pickled, and small
pickles travel inside the commit.
"""

from __future__ import annotations

import base64
import io
import pickle
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

from mapred.errors import FunctionError, StorageError
from mapred.functions import pickling
from mapred.model import checksums, layout
from mapred.model.checking import safe_text
from mapred.model.frozen import dataclass
from mapred.model.records import Output
from mapred.process.lazy import pa
from mapred.runfolder import tabular
from mapred.storage import Store

INLINE_LIMIT = 16 * 1024
_MANY = 10_000
_SMALL = 2**20

Tabular = tuple[str, "pa.Table"]  # what the function returned, and its rows


@dataclass(frozen=True)
class Broken:
    """A stored value that cannot be loaded."""

    error: Exception

    def __str__(self) -> str:
        return f"cannot be loaded: {type(self.error).__name__}: {safe_text(str, self.error)}"


def encode(
    values: Sequence[Any], check: Callable[[list[pa.Table | None]], None] | None = None
) -> tuple[Output, Any]:
    """Return an `Output` without its path for `values`, and its bytes (None if inline).

    If all of them are tables or None, `check` gets their rows before anything is stored.
    """
    kinds = {tabular.kind_of(value) or "object" for value in values if value is not None}
    if not kinds:
        return Output("none", count=len(values)), None
    if "object" in kinds:
        pickles = [_pickle_value(value) for value in values]
        return _join_pickles(pickles, Output("pickle", count=len(values)))
    places = [tabular.to_arrow(value) for value in values]
    if check is not None:
        check(
            [
                None if table is None else tabular.drop_numbering(table, tabular.kind_of(value))
                for value, table in zip(values, places, strict=True)
            ]
        )
    tables = [table for table in places if table is not None]
    rows = sum(table.num_rows for table in tables)
    if len(kinds) == 1 and tabular.fit_one_file(tables):
        payload = tabular.to_file(places)
        return _add_size_and_crc(Output("arrow", kinds.pop(), len(values), rows), payload), payload
    pickles = [_pickle_table(value, table) for value, table in zip(values, places, strict=True)]
    return _join_pickles(pickles, Output("pickle", "tables", len(values), rows))


def _pickle_table(value: Any, table: pa.Table | None) -> bytes:
    if table is None:
        return pickle.dumps(None)
    return pickle.dumps((tabular.kind_of(value), tabular.to_file([table]).to_pybytes()))


def _join_pickles(pickles: list[bytes], output: Output) -> tuple[Output, Any]:
    payload = b"".join(pickles)
    if len(payload) > INLINE_LIMIT:
        return _add_size_and_crc(output, payload), payload
    inline = base64.b64encode(payload).decode()
    return replace(_add_size_and_crc(output, payload), kind="inline", inline=inline), None


def is_tabular(output: Output) -> bool:
    """Whether the values are tables, frames or batches, or None."""
    return output.kind == "arrow" or output.type == "tables"


def are_tabular(outputs: Sequence[Output | None]) -> bool:
    """Whether tasks returned tables, and nothing else but None."""
    returned = [output for output in outputs if output is not None and output.kind != "none"]
    return bool(returned) and all(map(is_tabular, returned))


@contextmanager
def explain_missing(store: Store, path: str) -> Iterator[None]:
    """Raise a `StorageError` if a committed file is gone."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{path}: committed, but gone") from error


def suffix(output: Output) -> str:
    return "arrow" if output.kind == "arrow" else "pkl"


def fetch(store: Store, output: Output) -> bytes | None:
    """Return the bytes of a small output that lies in a file on a store, else None.

    `decode` takes them instead of reading the store, so that they can be fetched ahead.
    """
    if output.path is None or output.size > _SMALL or store.local_path("") is not None:
        return None
    with explain_missing(store, output.path):
        return store.read(output.path)


def decode(store: Store, output: Output, data: bytes | None = None) -> Iterator[Any]:
    """Yield the values of an output, one by one; `data` comes from `fetch`."""
    for value in load(store, output, data):
        if isinstance(value, Broken):
            raise FunctionError(f"the returned value {value}") from value.error
        yield value


def load(store: Store, output: Output, data: bytes | None = None) -> Iterator[Any]:
    """Yield the values of an output, one by one; a `Broken` for one that cannot be loaded."""
    if is_tabular(output):
        for pair in load_tables(store, output, data):
            yield None if pair is None else tabular.from_arrow(pair[1], pair[0])
    elif output.kind == "none":
        yield from [None] * output.count
    else:
        yield from _load_pickles(store, output, data)


def load_tables(
    store: Store, output: Output, data: bytes | None = None
) -> Iterator[Tabular | None]:
    """Yield the values of a tabular output, one by one, each as Arrow."""
    if output.kind == "arrow":
        for table in tabular.tables_of(read_table(store, output, data)):
            yield None if table is None else (output.type, table)
        return
    for pair in _load_pickles(store, output, data, pickling.load_plain):
        if pair is None:
            yield None
            continue
        kind, payload = pair
        (table,) = tabular.tables_of(tabular.read_file(pa.py_buffer(payload)))
        yield kind, table


def _load_pickles(
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
    """Go to the end of the pickle that begins at `start`; False if it has none."""
    import pickletools  # only needed for damaged values

    file.seek(start)
    try:
        for _ in pickletools.genops(file):
            pass
    except ValueError:
        return False
    return True


def _checked_reader(store: Store, output: Output, data: bytes | None) -> Any:
    """Compare the checksum of pickled values, and return a reader of them."""
    if output.kind == "inline":
        return io.BytesIO(inline_value(store, output))
    if data is None and store.local_path("") is not None:
        with _open(store, output) as file:
            compare(store, output, checksums.of_file(file))
        return _open(store, output)
    return io.BytesIO(check(store, output, read_whole(store, output) if data is None else data))


def inline_value(store: Store, output: Output) -> bytes:
    """Return the bytes of a value in a commit; raise a `StorageError` if they have changed."""
    try:
        data = base64.b64decode(output.inline or "", validate=True)
    except ValueError as error:
        raise StorageError(f"{store.uri}: a value in a commit is not base64: {error}") from None
    checksums.check(data, output.size, output.crc32, f"{store.uri}: a value in a commit")
    return data


def read_whole(store: Store, output: Output) -> bytes:
    """Return the bytes of an output's file, unchecked."""
    with _open(store, output) as file:
        return bytes(file.read())


def check(store: Store, output: Output, data: Any) -> Any:
    """Return the bytes of an output's file; raise a `StorageError` unless they are as committed."""
    compare(store, output, (memoryview(data).nbytes, zlib.crc32(data)))
    return data


def compare(store: Store, output: Output, measured: tuple[int, int]) -> None:
    """Raise a `StorageError` unless a file has the size and CRC-32 of an output."""
    path = output.path or ""
    try:
        checksums.compare(measured, output.size, output.crc32, f"{store.uri}/{path}")
    except StorageError as error:
        index = layout.index_of(path)
        if index is None:
            raise
        commit = layout.commit(path.partition("/")[0], index)
        raise StorageError(
            f"{error}; to have its task run again, delete {commit} in {store.uri} and resume the run"
        ) from None


def _open(store: Store, output: Output) -> Any:
    with explain_missing(store, output.path or ""):
        return store.open(output.path or "")


def _add_size_and_crc(output: Output, payload: Any) -> Output:
    return replace(output, size=memoryview(payload).nbytes, crc32=zlib.crc32(payload))


def read_table(store: Store, output: Output, data: bytes | None = None) -> pa.Table:
    """Return all rows of an `arrow` output, mapped into memory if the store is a path."""
    here = store.local_path(output.path or "")
    if here is None:
        source = pa.py_buffer(read_whole(store, output) if data is None else data)
    else:
        with explain_missing(store, output.path or ""), pa.memory_map(here) as file:
            source = file.read_buffer()
    return tabular.read_file(check(store, output, source))


def _pickle_value(value: Any) -> bytes:
    if type(value) in (dict, Counter) and len(value) > _MANY and _is_plain(value):
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
            f"the returned {type(value).__name__} cannot be stored: {safe_text(str, error)}; return plain "
            "data, a table or a frame, or write a file by task.output"
        ) from error


def _is_plain(counts: dict[Any, Any]) -> bool:
    return set(map(type, counts)) == {str} and set(map(type, counts.values())) <= {int, float}
