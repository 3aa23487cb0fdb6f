"""A run's result as one table: what was returned, beside the item that it was returned for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.arrow import objects as cells
from mapred.arrow import schemas as unifying
from mapred.arrow import to_frames
from mapred.arrow.buffers import to_arrow as as_arrow
from mapred.errors import FunctionError
from mapred.functions import pickling
from mapred.model import layout
from mapred.model.spec import Job
from mapred.process.lazy import np, pa, pd
from mapred.runfolder import gathering, outputs, pieces, plans, tabular
from mapred.runfolder.agreement import Source
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.results import Entry, count_items, entries_of, load_numbered, load_reduced
from mapred.storage import Store, map_ahead


def to_arrow(folder: RunFolder, job: Job) -> pa.Table:
    """Return the result as one table; see `Run.to_pandas` for what is not a table."""
    store, entries = folder.store, entries_of(folder, job)
    if job.stages[-1].kind == "reduce":
        whole = load_reduced(store, job, entries)
        table = tabular.to_table(whole)
        return _array_table(*_reduced_rows(whole)) if table is None else table
    if outputs.are_tabular([output for _, output in entries]):
        if job.format.once_per_item and job.shuffle is None:
            return _join_parameters(store, job, entries)[0]
        return gathering.load_table(store, job.stages[-1].name, entries)
    if job.shuffle is not None:
        return pa.table({})
    return _array_table(*_load_columns(store, job, entries))


def to_pandas(folder: RunFolder, job: Job, dtype_backend: str) -> pd.DataFrame:
    """Return the result as one frame; see `Run.to_pandas`."""
    pd = to_frames.import_pandas()
    to_frames.check(dtype_backend)
    store, entries = folder.store, entries_of(folder, job)
    if job.stages[-1].kind == "reduce":
        whole = load_reduced(store, job, entries)
        if isinstance(whole, pd.DataFrame):
            return whole
        table = tabular.to_table(whole)
        if table is not None:
            return to_frames.to_pandas(table, dtype_backend)
        return _object_frame(_reduced_rows(whole)[0], dtype_backend)
    if outputs.are_tabular([output for _, output in entries]):
        if job.format.once_per_item and job.shuffle is None:
            table, objects = _join_parameters(store, job, entries)
            frame = to_frames.to_pandas(table, dtype_backend)
            for name, (place, values) in objects.items():
                if name in frame:
                    del frame[name]
                frame.insert(place, name, pd.Series(_to_object_array(values), dtype=object))
            return frame
        return _restore_labels(store, job, entries, dtype_backend)
    if job.shuffle is not None:
        return pd.DataFrame()
    return _object_frame(_load_columns(store, job, entries)[0], dtype_backend)


def _array_table(columns: dict[str, list[Any]], where: Sequence[str]) -> pa.Table:
    arrays = {
        name: cells.to_array(name, values, where.__getitem__) for name, values in columns.items()
    }
    return pa.table(arrays) if arrays else unifying.make_columnless_table(len(where))


def _object_frame(columns: dict[str, list[Any]], dtype_backend: str) -> pd.DataFrame:
    """Make a frame: numbers, text and times by Arrow, and all else as Python objects."""
    series: dict[str, Any] = {}
    for name, values in columns.items():
        array = cells.convert(values) if cells.is_plain(values) else None
        if array is None or isinstance(array, cells.Unfit):
            series[name] = pd.Series(_to_object_array(values), dtype=object)
        else:
            series[name] = to_frames.to_pandas(pa.table({name: array}), dtype_backend)[name]
    return pd.DataFrame(series)


def _to_object_array(values: Sequence[Any]) -> Any:
    # By itself, numpy makes an axis of arrays that are equally long.
    array = np.empty(len(values), object)
    for place, value in enumerate(values):
        array[place] = value
    return array


def _reduced_rows(whole: Any) -> tuple[dict[str, list[Any]], list[str]]:
    if isinstance(whole, Mapping):
        columns = {"key": list(whole), "value": list(whole.values())}
    elif isinstance(whole, list | tuple):
        columns = _expand_mappings(whole, "value")
    else:
        raise FunctionError(f"the result is a {type(whole).__name__}, not a table; use result()")
    return columns, [f"row {row}" for row in range(len(whole))]


def _load_columns(
    store: Store, job: Job, entries: list[Entry]
) -> tuple[dict[str, list[Any]], list[str]]:
    """Return columns of values that are not tables: of the items, then their keys or `result`."""
    pairs = list(load_numbered(store, job, entries))
    inputs = _item_parameters(store, job)
    before = _columns([inputs[number] if inputs else {"item": number} for number, _ in pairs])
    returned = _expand_mappings([value for _, value in pairs], "result")
    names = rename_taken(list(returned), before)
    after = dict(zip(names, returned.values(), strict=True))
    what = "item" if job.format.once_per_item else "shard"
    return {**before, **after}, [f"{what} {number}" for number, _ in pairs]


def _expand_mappings(values: Sequence[Any], name: str) -> dict[str, list[Any]]:
    """Return a column for every key of returned mappings, and `name` for other values."""
    mappings = any(isinstance(value, Mapping) for value in values)
    rows: list[dict[str, Any]] = []
    for value in values:
        if isinstance(value, Mapping):
            rows.append({str(key): cell for key, cell in value.items()})
            if len(rows[-1]) < len(value):
                raise FunctionError(
                    f"two keys of {dict(value)!r:.200} are one as the name of a column; return "
                    "keys that are text, or use result()"
                )
        else:
            rows.append({} if value is None and mappings else {name: value})
    return _columns(rows)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return a column for every name that a row has, with None for rows that lack it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def rename_taken(returned: Sequence[str], taken: Mapping[str, Any]) -> list[str]:
    """Add `_result` to the names of returned columns that are taken, until they are free."""
    names = []
    for name in returned:
        new = name
        while new in taken or (new != name and new in returned):
            new += "_result"
        names.append(new)
    return names


def _item_parameters(store: Store, job: Job) -> list[dict[str, Any]]:
    """Return the parameters of every item, for the first columns; empty if it has a number alone."""
    if job.format.name == "items":
        items = list(_load_items(store, job))
        return items if job.format.as_ == "keywords" else [{"item": item} for item in items]
    if job.format.name == "files":
        tables = (plans.load_plan_file(store, number) for number in plans.plan_numbers(job))
        return [{"item": path} for table in tables for path in table["path"].to_pylist()]
    return []


def _load_items(store: Store, job: Job) -> Iterator[Any]:
    with pieces.open_input(store, job.digests, layout.ITEMS) as file:
        for number in range(job.items):
            try:
                yield pickling.load(file)
            except pickling.Refused:
                raise
            except Exception as error:  # classes of users raise what they like
                raise FunctionError(
                    f"item {number} cannot be loaded here: {type(error).__name__}: {error}; "
                    "run.result() and run.outputs() do without the items"
                ) from error


def _join_parameters(
    store: Store, job: Job, entries: list[Entry]
) -> tuple[pa.Table, dict[str, tuple[int, list[Any]]]]:
    """Return the rows of all tables beside the numbers and parameters of their points.

    A parameter that Arrow cannot hold is left out. Second come those that a frame shows as
    Python objects: place and values, row by row.
    """
    tables = _tables(store, job, entries)
    rows = _concat_returned(store, job, tables)
    numbers = np.repeat(
        [returned.source.item for returned in tables],
        [returned.table.num_rows for returned in tables],
    )
    places = as_arrow(numbers.astype(np.int64))
    inputs = _columns(_item_parameters(store, job))
    columns: dict[str, Any] = {_number_name(inputs): places}
    objects: dict[str, tuple[int, list[Any]]] = {}
    for place, (name, values) in enumerate(inputs.items(), 1):
        array = cells.convert(values)
        if not isinstance(array, cells.Unfit):
            columns[name] = array.take(places)
        if isinstance(array, cells.Unfit) or not cells.is_plain(values):
            objects[name] = place, [values[number] for number in numbers]
    names = rename_taken(rows.column_names, {**columns, **objects})
    arrays = [*columns.values(), *rows.columns]
    return pa.Table.from_arrays(arrays, names=[*columns, *names]), objects


def _number_name(inputs: Mapping[str, Any]) -> str:
    """Name the column of the numbers: `point` beside parameters, else `item`; one not in use."""
    name = "point" if inputs else "item"
    while name in inputs:
        name += "_number"
    return name


@dataclass(frozen=True)
class _ReturnedTable:
    """One table, where it comes from, and what it was returned as."""

    source: Source
    kind: str
    table: pa.Table


def _tables(store: Store, job: Job, entries: list[Entry]) -> list[_ReturnedTable]:
    """Return the tables that have rows, or the first one if none has."""
    per_item = job.format.once_per_item and job.shuffle is None
    there = [(task, output) for task, output in entries if output is not None]
    fetched = map_ahead(store, lambda entry: outputs.fetch(store, entry[1]), there)
    tables: list[_ReturnedTable] = []
    first = 0
    for task, output in entries:
        data = None if output is None else next(fetched)
        if output is not None and outputs.is_tabular(output):
            for place, value in enumerate(outputs.load_tables(store, output, data)):
                if value is not None:
                    source = Source(task, first + place if per_item else None)
                    tables.append(_ReturnedTable(source, *value))
        first += count_items(store, job, task, output) if per_item else 0
    return [returned for returned in tables if returned.table.num_rows] or tables[:1]


def _concat_returned(store: Store, job: Job, tables: list[_ReturnedTable]) -> pa.Table:
    parts = []
    for returned in tables:
        plain = returned.table.replace_schema_metadata(None)
        parts.append(gathering.Part(returned.source, plain.schema, table=plain))
    return gathering.concat_parts(store, job.stages[-1].name, parts)


def _restore_labels(
    store: Store, job: Job, entries: list[Entry], dtype_backend: str
) -> pd.DataFrame:
    """Put tables below each other, with the index and the labels that all frames share."""
    tables = _tables(store, job, entries)
    frame = to_frames.to_pandas(_concat_returned(store, job, tables), dtype_backend)
    if any(returned.kind != "pandas" for returned in tables):
        return frame
    by_metadata = {returned.table.schema.metadata[b"pandas"]: returned.table for returned in tables}
    indexes = {json.dumps(_index_of(metadata)) for metadata in by_metadata}
    if len(indexes) > 1:
        return frame
    index = _index_of(next(iter(by_metadata)))
    first, *others = [table.slice(0, 0).to_pandas() for table in by_metadata.values()]
    if index:
        frame = frame.set_index(index)
        frame.index.names = first.index.names
    if all(first.columns.identical(other.columns) for other in others):
        frame.columns = first.columns
    return frame


def _index_of(metadata: bytes) -> list[str]:
    # A range is not stored as a column; the metadata describes it.
    names = json.loads(metadata)["index_columns"]
    return [name for name in names if isinstance(name, str)]
