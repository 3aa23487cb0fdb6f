"""A run's result as one table: what was returned, beside the item that it was returned for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mapred.arrow import objects as cells
from mapred.arrow import schemas as unifying
from mapred.arrow import to_frames
from mapred.arrow.buffers import nullable
from mapred.arrow.buffers import to_arrow as as_arrow
from mapred.arrow.indexes import numbering_of
from mapred.errors import FunctionError
from mapred.process.lazy import np, pa, pd
from mapred.runfolder import flattening, gathering, outputs, tabular
from mapred.runfolder.agreement import Source
from mapred.runfolder.extent import Extent
from mapred.runfolder.results import load_reduced
from mapred.storage import map_ahead


def to_arrow(extent: Extent) -> pa.Table:
    """Return the rows of a run, or those that are there, as one table; see `Run.to_pandas`."""
    return extent.mark_table(_to_arrow(extent))


def _to_arrow(extent: Extent) -> pa.Table:
    if extent.reduced:
        whole = load_reduced(extent.store, extent.job, extent.entries)
        table = tabular.to_table(whole)
        return _array_table(*_reduced_rows(whole)) if table is None else table
    if outputs.are_tabular(extent.outputs):
        if extent.reader.per_item:
            return _join_parameters(extent)[0]
        return gathering.load_table(extent.store, extent.reader.stage.name, extent.entries)
    if extent.job.shuffle is not None:
        return pa.table({})
    columns, details, where = _load_columns(extent)
    table = _array_table(columns, where)
    return _append(table, details) if columns else table


def to_pandas(extent: Extent, dtype_backend: str) -> pd.DataFrame:
    """Return the rows of a run, or those that are there, as one frame; see `Run.to_pandas`."""
    to_frames.import_pandas()
    to_frames.check(dtype_backend)
    return extent.mark_frame(_to_pandas(extent, dtype_backend))


def _to_pandas(extent: Extent, dtype_backend: str) -> pd.DataFrame:
    if extent.reduced:
        whole = load_reduced(extent.store, extent.job, extent.entries)
        if isinstance(whole, pd.DataFrame):
            return whole
        table = tabular.to_table(whole)
        if table is not None:
            return to_frames.to_pandas(table, dtype_backend)
        return _object_frame(_reduced_rows(whole)[0], dtype_backend)
    if outputs.are_tabular(extent.outputs):
        if extent.reader.per_item:
            table, objects = _join_parameters(extent)
            frame = to_frames.to_pandas(table, dtype_backend)
            for name, (place, values) in objects.items():
                if name in frame:
                    del frame[name]
                frame.insert(place, name, pd.Series(_to_object_array(values), dtype=object))
            return frame
        return _restore_labels(extent, dtype_backend)
    if extent.job.shuffle is not None:
        return pd.DataFrame()
    columns, details, _ = _load_columns(extent)
    frame = _object_frame(columns, dtype_backend)
    if details is None or not columns:
        return frame
    return frame.join(to_frames.to_pandas(details, dtype_backend))


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
        rows, several = _expand(whole, "value")
        if not several:
            columns = _columns([cells for of_one in rows for cells in of_one])
        else:
            columns = {"value": list(whole)}
    else:
        raise FunctionError(f"the result is a {type(whole).__name__}, not a table; use result()")
    return columns, [f"row {row}" for row in range(len(whole))]


def _load_columns(
    extent: Extent,
) -> tuple[dict[str, list[Any]], pa.Table | None, list[str]]:
    """Return columns of values that are not all tables: of the items, then their cells or `result`.

    Second come the details of the rows, where they have any, and then what each row is of.
    """
    values = list(extent.load())
    rows, several = _expand([value for _, value in values], "result")
    numbers = [number for (number, _), of_one in zip(values, rows, strict=True) for _ in of_one]
    inputs = extent.reader.parameters
    named = [inputs[number] if inputs else {"item": number} for number in numbers]
    before = _columns(named)
    if several and inputs:
        before = {_number_name(before): numbers, **before}
    returned = _columns([cells for of_one in rows for cells in of_one])
    names = rename_taken(list(returned), before)
    columns = {**before, **dict(zip(names, returned.values(), strict=True))}
    what = extent.reader.what
    return columns, extent.details(numbers, columns), [f"{what} {number}" for number in numbers]


def _expand(values: Sequence[Any], name: str) -> tuple[list[list[dict[str, Any]]], bool]:
    """Return the rows of each value, and whether some are tables.

    A table has rows of its own, a mapping or record has one, and any other value a cell `name`.
    """
    rows: list[list[dict[str, Any]] | None] = []
    several = False
    for value in values:
        table = tabular.to_table(value)
        if table is not None:
            several = True
            rows.append(_rows_of(table))
        else:
            of_one = flattening.to_cells(value)
            rows.append(None if of_one is None else [of_one])
    alone = {} if any(of_one is not None for of_one in rows) else {name: None}
    return [
        ([alone] if value is None else [{name: value}]) if of_one is None else of_one
        for value, of_one in zip(values, rows, strict=True)
    ], several


def _rows_of(table: pa.Table) -> list[dict[str, Any]]:
    name = unifying.find_duplicate_column(table.schema)
    if name is not None:
        raise FunctionError(f"a returned table has two columns {name!r}; use run.outputs()")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows or [{}] * table.num_rows


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


def _join_parameters(extent: Extent) -> tuple[pa.Table, dict[str, tuple[int, list[Any]]]]:
    """Return the rows of all tables beside the numbers and parameters of their points.

    A parameter that Arrow cannot hold is left out. Second come those that a frame shows as
    Python objects: place and values, row by row.
    """
    rows, numbers = _number_rows(extent)
    places = as_arrow(numbers)
    inputs = _columns(extent.reader.parameters)
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
    table = pa.Table.from_arrays(arrays, names=[*columns, *names])
    return _append(table, extent.details(numbers, {*columns, *objects, *names})), objects


def _append(table: pa.Table, more: pa.Table | None) -> pa.Table:
    if more is None:
        return table
    for name in more.column_names:
        table = table.append_column(name, more[name])
    return table


def _number_rows(extent: Extent) -> tuple[pa.Table, Any]:
    """Return the rows of all tables, and of which item each is, in plan order.

    With details, an item without a table has a row of nulls.
    """
    tables, without = _tables(extent)
    rows = _concat_returned(extent, [returned.without_numbering() for returned in tables])
    numbers = np.repeat(
        np.array([returned.source.item for returned in tables], np.int64),
        [returned.table.num_rows for returned in tables],
    )
    if not without:
        return rows, numbers
    every = np.concatenate([numbers, np.array(without, np.int64)])
    order = np.argsort(every, kind="stable")
    if not rows.schema.names:
        return unifying.make_columnless_table(len(every)), every[order]
    places = [None if place >= len(numbers) else place for place in order.tolist()]
    return rows.take(nullable(places, int)), every[order]


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

    def without_numbering(self) -> _ReturnedTable:
        return replace(self, table=tabular.drop_numbering(self.table, self.kind))


def _tables(extent: Extent) -> tuple[list[_ReturnedTable], list[int]]:
    """Return the tables that have rows, or the first one if none has.

    Second come the items without a table that have a row, as far as rows tell of their items.
    """
    store, reader = extent.store, extent.reader
    there = [(task, output) for task, output in extent.entries if output is not None]
    fetched = map_ahead(store, lambda entry: outputs.fetch(store, entry[1]), there)
    tables: list[_ReturnedTable] = []
    without: list[int] = []
    for task, output in extent.entries:
        indices = reader.indices(task)
        data = None if output is None else next(fetched)
        found: Iterator[Any] = iter(())
        if output is not None and outputs.is_tabular(output):
            found = outputs.load_tables(store, output, data)
        for index in indices:
            value = next(found, None)
            if value is not None:
                extent.valued.add(index)
                source = Source(task, index if reader.per_item else None)
                tables.append(_ReturnedTable(source, *value))
            elif extent.detailed and extent.has_row(index):
                without.append(index)
    return [returned for returned in tables if returned.table.num_rows] or tables[:1], without


def _concat_returned(extent: Extent, tables: list[_ReturnedTable]) -> pa.Table:
    parts = []
    for returned in tables:
        plain = returned.table.replace_schema_metadata(None)
        parts.append(gathering.Part(returned.source, plain.schema, table=plain))
    return gathering.concat_parts(extent.store, extent.reader.stage.name, parts)


def _restore_labels(extent: Extent, dtype_backend: str) -> pd.DataFrame:
    """Put tables below each other, with the index and the labels that all frames share."""
    tables, _ = _tables(extent)
    are_frames = all(returned.kind == "pandas" for returned in tables)
    if not are_frames or len(_indexes_of(tables)) > 1:
        tables = [returned.without_numbering() for returned in tables]
    frame = to_frames.to_pandas(_concat_returned(extent, tables), dtype_backend)
    indexes = _indexes_of(tables) if are_frames else set()
    if len(indexes) != 1:
        return frame
    index = [name for name, _ in indexes.pop()]
    first, *others = [table.slice(0, 0).to_pandas() for table in _by_metadata(tables).values()]
    if index:
        frame = frame.set_index(index)
        frame.index.names = first.index.names
    if all(first.columns.identical(other.columns) for other in others):
        frame.columns = first.columns
    return frame


def _by_metadata(tables: list[_ReturnedTable]) -> dict[bytes, pa.Table]:
    return {returned.table.schema.metadata[b"pandas"]: returned.table for returned in tables}


def _indexes_of(tables: list[_ReturnedTable]) -> set[tuple[tuple[str, pa.DataType | None], ...]]:
    """Return the index of each frame: its columns, with a type where these just number rows."""
    return {_index_of(table.schema) for table in _by_metadata(tables).values()}


def _index_of(schema: pa.Schema) -> tuple[tuple[str, pa.DataType | None], ...]:
    # A range is not stored as a column; the metadata describes it.
    names = [name for name in schema.pandas_metadata["index_columns"] if name in schema.names]
    numbering = numbering_of(schema)
    return tuple((name, schema.field(name).type if name in numbering else None) for name in names)
