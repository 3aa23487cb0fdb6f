"""The tables that all tasks of a run returned, as one: lazily read, or in memory."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.arrow import schemas as unifying
from mapred.arrow import to_frames
from mapred.errors import DatasetError, StorageError
from mapred.model.records import Output
from mapred.process.lazy import ds, pa
from mapred.runfolder import agreement, outputs
from mapred.runfolder.agreement import Source
from mapred.storage import Store, arrow_filesystem, map_ahead


@dataclass(frozen=True)
class Part:
    """Rows of a task or an item: the Arrow file of an `output`, or a `table` in memory."""

    source: Source
    schema: pa.Schema
    output: Output | None = None
    table: pa.Table | None = None

    def load(self, store: Store) -> pa.Table:
        if self.output is None:
            assert self.table is not None
            return self.table
        return outputs.read_table(store, self.output)


def open_dataset(store: Store, stage: str, found: Sequence[tuple[int, Output | None]]) -> Any:
    """Return a `pyarrow.dataset.Dataset` of all rows in plan order; the files are read when it is."""

    parts = _parts(store, found)
    known = unify_schemas(store, stage, parts)
    children = []
    for lazy, some in itertools.groupby(parts, lambda part: _is_lazy(part, known.schema)):
        if lazy:
            children.append(_files(store, [part.output for part in some], known.schema))
        else:
            tables = [_conform(known, part.source, part.load(store)) for part in some]
            children.append(ds.dataset(tables, schema=known.schema))
    return children[0] if len(children) == 1 else ds.dataset(children, schema=known.schema)


def load_table(store: Store, stage: str, found: Sequence[tuple[int, Output | None]]) -> pa.Table:
    """All rows in plan order, without what `pyarrow.dataset` takes to import."""
    parts = _parts(store, found)
    known = unify_schemas(store, stage, parts)
    loaded = map_ahead(store, lambda part: part.load(store), parts)
    return conform_and_concat(
        known, [(part.source, table) for part, table in zip(parts, loaded, strict=True)]
    )


def conform_and_concat(
    known: agreement.Agreed, tables: Sequence[tuple[Source, pa.Table]]
) -> pa.Table:
    """Return the rows of tables that agree."""

    if not known.schema.names:
        return unifying.make_columnless_table(sum(table.num_rows for _, table in tables))
    return pa.concat_tables([_conform(known, source, table) for source, table in tables])


def _conform(known: agreement.Agreed, source: Source, table: pa.Table) -> pa.Table:
    try:
        return unifying.conform(table, known.schema)
    except unifying.ColumnTypeConflict as error:
        raise _add_advice(agreement.conflict_error(known, source, error)) from None


_ONE_BY_ONE = "run.outputs() gives them one by one"


def _add_advice(error: DatasetError) -> DatasetError:
    return DatasetError(f"{error}, or take them as they are: {_ONE_BY_ONE}")


def unify_schemas(store: Store, stage: str, parts: Sequence[Part]) -> agreement.Agreed:
    """Return the schema that holds the rows of all parts; two that differ are a `DatasetError`."""
    for part in parts:
        name = unifying.find_duplicate_column(part.schema)
        if name is not None:
            raise DatasetError(
                f"{part.source} returned a table with two columns {name!r}; {_ONE_BY_ONE}"
            )
    found: agreement.Agreed | None = None
    try:
        for part in parts:
            found = agreement.agree(found, part.source, part.schema)
    except DatasetError:
        # Columns without values may be of any type: what has values was told as it came.
        found = agreement.latest(store, stage)
        for part in parts:
            found = _agree_by_values(store, found, part)
    assert found is not None
    return found


def _agree_by_values(store: Store, known: agreement.Agreed | None, part: Part) -> agreement.Agreed:
    try:
        return agreement.agree(known, part.source, part.schema)
    except DatasetError:
        pass
    try:
        return agreement.agree(known, part.source, unifying.observed_schema(part.load(store)))
    except DatasetError as error:
        raise _add_advice(error) from None


def _parts(store: Store, found: Sequence[tuple[int, Output | None]]) -> list[Part]:
    """Return what holds the rows of each task; of tables without rows one, if no other exists."""
    there = [(task, output) for task, output in found if output and outputs.is_tabular(output)]
    there = [pair for pair in there if pair[1].rows] or there[:1]
    files = [output for _, output in there if output.kind == "arrow"]
    schemas = map_ahead(store, lambda output: _schema_of(store, output), files)
    parts: list[Part] = []
    for task, output in there:
        if output.kind == "arrow":
            parts.append(Part(Source(task), next(schemas), output))
            continue
        tables = [pair[1] for pair in outputs.load_tables(store, output) if pair is not None]
        tables = [each_ for each_ in tables if each_.num_rows] or tables[:1]
        parts += [
            Part(Source(task), each_.schema.remove_metadata(), table=each_) for each_ in tables
        ]
    return parts


def _schema_of(store: Store, output: Output) -> pa.Schema:
    schema = _stored_schema(store, output)
    if to_frames.register_types(schema):
        schema = _stored_schema(store, output)
    return schema.remove_metadata()


def _stored_schema(store: Store, output: Output) -> pa.Schema:

    try:
        here = store.local_path(output.path or "")
        if here is not None:
            with pa.memory_map(here) as file:
                return pa.ipc.open_file(file).schema
        with store.open(output.path or "", (output.size, "")) as opened:
            return pa.ipc.open_file(pa.PythonFile(opened)).schema
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{output.path}: committed, but gone") from error
    except (OSError, pa.ArrowException) as error:
        outputs.check(store, output, outputs.read_whole(store, output))
        raise StorageError(f"{store.uri}/{output.path} cannot be read: {error}") from error


def _is_lazy(part: Part, schema: pa.Schema) -> bool:
    return part.output is not None and (
        part.schema.equals(schema) or unifying.can_cast(part.schema, schema)
    )


def _files(store: Store, found: Sequence[Output | None], schema: pa.Schema) -> Any:
    """Return a dataset of files, each of which is checked when it is first opened."""

    files = {output.path or "": output for output in found if output is not None}
    sizes = {path: output.size for path, output in files.items()}
    filesystem = arrow_filesystem(store, sizes, functools.partial(_check, store, files))
    return ds.dataset(list(files), format="ipc", schema=schema, filesystem=filesystem)


def _check(store: Store, files: Mapping[str, Output], path: str, data: Any) -> None:
    outputs.check(store, files[path], data)
