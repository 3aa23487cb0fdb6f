"""The outputs of a whole run, in plan order: as a list, a dataset, a frame."""

from __future__ import annotations

import importlib
import itertools
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mapred import layout, outputs, records
from mapred.errors import FunctionError, MissingDependency, StorageError
from mapred.model import Job, Output
from mapred.storage import Store, arrow_filesystem, each

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def result(store: Store, job: Job) -> Any:
    """The reduced value; without a reduce a lazily read dataset of the tables or frames, else a list.

    In the list of a job that runs once per item there is one place for every item, None
    where it returned None or was given up; other lists leave None out.
    """
    return _result(store, job, as_dataset)


def _result(store: Store, job: Job, tables: Callable[[Store, list[Output | None]], Any]) -> Any:
    """`result`, with what `tables` makes of the Arrow files."""
    found = [output for _, output, _ in records.read_manifest(store)]
    if job.stages[-1].kind == "reduce":
        return next(iter(outputs.decode(store, found[0]))) if found[0] else None
    if any(output and output.kind == "arrow" for output in found) and all(
        output is None or output.kind in ("arrow", "none") for output in found
    ):
        return tables(store, found)
    if job.shuffle is not None:
        return _nothing()
    return values(store, job)


def _nothing() -> Any:
    """The dataset of a keyed reduce whose function gave no table at all."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    return ds.dataset(pa.table({}))


def values(store: Store, job: Job) -> list[Any]:
    """Every value in plan order, as the type that the function returned."""
    found: list[Any] = []
    per_item = job.format.once_per_item
    entries = records.read_manifest(store)
    there = [output for _, output, _ in entries if output is not None]
    fetched = each(store, lambda output: outputs.fetch(store, output), there)
    for task, output, _ in entries:
        if output is None:
            if per_item:
                found.extend([None] * _items(store, task))
            continue
        decoded = outputs.decode(store, output, next(fetched))
        found.extend(decoded if per_item else (value for value in decoded if value is not None))
    return found


def _items(store: Store, task: int) -> int:
    return int(sum(records.shard_ranges(store, task)["count"].to_pylist()))


def _paths(found: list[Output | None]) -> list[str]:
    return [output.path for output in found if output and output.kind == "arrow" and output.path]


def as_dataset(store: Store, found: list[Output | None]) -> Any:
    """A `pyarrow.dataset.Dataset` over the files of Arrow outputs: nothing is read yet."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    paths = _paths(found)
    locate = getattr(store, "local_path", None)
    if locate is None:
        sizes = {output.path: output.size for output in found if output and output.path}
        schemas = list(each(store, lambda path: _remote_schema(store, path, sizes[path]), paths))
        return ds.dataset(
            paths,
            format="ipc",
            schema=_unified(schemas),
            filesystem=arrow_filesystem(store, sizes),
        )
    located = [locate(path) for path in paths]
    schemas = []
    for path in located:
        with pa.memory_map(path) as file:
            schemas.append(pa.ipc.open_file(file).schema.remove_metadata())
    return ds.dataset(located, format="ipc", schema=_unified(schemas))


def _unified(schemas: list[pa.Schema]) -> pa.Schema:
    import pyarrow as pa

    if all(schema.equals(schemas[0]) for schema in schemas):
        return schemas[0]
    return pa.unify_schemas(schemas, promote_options="permissive")


def _remote_schema(store: Store, path: str, size: int) -> pa.Schema:
    import pyarrow as pa

    try:
        with store.open(path, (size, "")) as file:
            return pa.ipc.open_file(pa.PythonFile(file)).schema.remove_metadata()
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{path}: committed, but gone") from error


def to_arrow(store: Store, job: Job) -> pa.Table:
    """The result as one table; see `to_pandas` for what is not a table."""
    import pyarrow as pa

    whole = _result(store, job, _table)
    if isinstance(whole, pa.Table):
        return whole
    if hasattr(whole, "to_table"):
        return whole.to_table()
    module = type(whole).__module__.split(".")[0]
    if module == "polars" and hasattr(whole, "to_arrow"):
        return whole.to_arrow()
    return pa.Table.from_pylist(_rows(store, job, whole))


def _table(store: Store, found: list[Output | None]) -> pa.Table:
    """What `as_dataset` reads, without the third of a second that its modules take to import."""
    import pyarrow as pa

    paths = _paths(found)
    locate = getattr(store, "local_path", None)

    def read(path: str) -> pa.Table:
        try:
            source = pa.OSFile(locate(path)) if locate else pa.BufferReader(store.read(path))
        except FileNotFoundError as error:
            raise StorageError(f"{store.uri}/{path}: committed, but gone") from error
        with source:
            return pa.ipc.open_file(source).read_all().replace_schema_metadata(None)

    tables = list(each(store, read, paths))
    schema = _unified([table.schema for table in tables])
    if all(table.schema.equals(schema) for table in tables):
        return pa.concat_tables(tables)
    return pa.concat_tables(tables, promote_options="permissive")


def import_pandas() -> Any:
    """pandas, or a `MissingDependency` that says how to install it."""
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise MissingDependency("pandas", "pandas") from error


def to_pandas(store: Store, job: Job) -> pd.DataFrame:
    """The result as one frame.

    Tables and frames are put one below the other. A sweep gives a row for every point: its
    parameters, then the keys of a returned mapping, or the column `result`. Other items give
    `item` and those. A reduced mapping gives the columns `key` and `value`.
    """
    pd = import_pandas()
    whole = result(store, job)
    if isinstance(whole, pd.DataFrame):
        return whole
    if hasattr(whole, "to_table"):
        return whole.to_table().to_pandas()
    if hasattr(whole, "to_pandas"):
        return whole.to_pandas()
    return pd.DataFrame(_rows(store, job, whole))


def _rows(store: Store, job: Job, whole: Any) -> list[dict[str, Any]]:
    """A result that is no table as rows: see `to_pandas`."""
    if job.stages[-1].kind == "reduce":
        if isinstance(whole, Mapping):
            return [{"key": key, "value": value} for key, value in whole.items()]
        if isinstance(whole, list | tuple):
            return [dict(v) if isinstance(v, Mapping) else {"value": v} for v in whole]
        raise FunctionError(f"the result is a {type(whole).__name__}, not a table; use result()")
    rows: list[dict[str, Any]] = []
    for parameters, value in zip(_inputs(store, job), whole, strict=False):
        results = dict(value) if isinstance(value, Mapping) else {"result": value}
        rows.append({**parameters, **results})
    return rows


def _inputs(store: Store, job: Job) -> Iterator[dict[str, Any]]:
    """The parameters of every item, for the first columns of a frame."""
    if job.format.name == "items":
        with store.open(layout.ITEMS) as file:
            for _ in range(job.items):
                item = pickle.load(file)
                yield item if job.format.as_ == "keywords" else {"item": item}
        return
    if job.format.name == "files":
        for shard in range(job.shards):
            for path in records.shard_ranges(store, shard)["path"].to_pylist():
                yield {"item": path}
        return
    items = range(job.items) if job.format.name == "array" else itertools.count()
    yield from ({"item": item} for item in items)
