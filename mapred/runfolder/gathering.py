"""The tables that all tasks of a run returned, as one: read lazily, or in memory."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.arrow import indexes, to_frames
from mapred.arrow import schemas as unifying
from mapred.errors import DatasetError, StorageError
from mapred.model.records import Output
from mapred.process.lazy import ds, pa
from mapred.runfolder import agreement, outputs, tabular
from mapred.runfolder.agreement import Source
from mapred.storage import Store, arrow_filesystem, map_ahead

TaskOutputs = Sequence[tuple[int, Output | None]]

_ONE_BY_ONE = "run.outputs() gives them one by one"


@dataclass(frozen=True)
class Part:
    """Rows of a task or an item: in the Arrow file of an `output`, or a `table` in memory."""

    source: Source
    schema: pa.Schema
    output: Output | None = None
    table: pa.Table | None = None
    hidden: Sequence[str] = ()  # columns of the file that are not part of the rows

    def load(self, store: Store) -> pa.Table:
        if self.output is None:
            assert self.table is not None
            return self.table
        return outputs.read_table(store, self.output).drop_columns(list(self.hidden))


def open_dataset(store: Store, stage: str, tasks: TaskOutputs) -> Any:
    """Return a `pyarrow.dataset.Dataset` of all rows in plan order, which reads files lazily."""
    parts = _parts(store, tasks)
    agreed = unify_schemas(store, stage, parts)
    children = []
    for lazy, some in itertools.groupby(parts, lambda part: _is_lazy(part, agreed.schema)):
        if lazy:
            children.append(_open_files(store, [part.output for part in some], agreed.schema))
        else:
            tables = [_conform(agreed, part.source, part.load(store)) for part in some]
            children.append(ds.dataset(tables, schema=agreed.schema))
    return children[0] if len(children) == 1 else ds.dataset(children, schema=agreed.schema)


def load_table(store: Store, stage: str, tasks: TaskOutputs) -> pa.Table:
    """Return all rows in plan order, without the slow import of `pyarrow.dataset`."""
    return concat_parts(store, stage, _parts(store, tasks))


def concat_parts(store: Store, stage: str, parts: Sequence[Part]) -> pa.Table:
    """Return the rows of all parts; two schemas that differ are a `DatasetError`."""
    agreed = unify_schemas(store, stage, parts)
    tables = list(map_ahead(store, lambda part: part.load(store), parts))
    if not agreed.schema.names:
        return unifying.make_columnless_table(sum(table.num_rows for table in tables))
    pairs = zip(parts, tables, strict=True)
    return pa.concat_tables([_conform(agreed, part.source, table) for part, table in pairs])


def _conform(agreed: agreement.Agreed, source: Source, table: pa.Table) -> pa.Table:
    try:
        return unifying.conform(table, agreed.schema)
    except unifying.ColumnTypeConflict as error:
        raise _add_advice(agreement.conflict_error(agreed, source, error)) from None


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
    agreed: agreement.Agreed | None = None
    try:
        for part in parts:
            agreed = agreement.agree(agreed, part.source, part.schema)
    except DatasetError:
        # A column without values may be of any type, so what counts are the columns with values:
        # the tasks put the schema of these into the folder.
        agreed = agreement.latest(store, stage)
        for part in parts:
            agreed = _agree_by_values(store, agreed, part)
    assert agreed is not None
    return agreed


def _agree_by_values(store: Store, agreed: agreement.Agreed | None, part: Part) -> agreement.Agreed:
    try:
        return agreement.agree(agreed, part.source, part.schema)
    except DatasetError:
        pass
    try:
        return agreement.agree(agreed, part.source, unifying.observed_schema(part.load(store)))
    except DatasetError as error:
        raise _add_advice(error) from None


def _parts(store: Store, tasks: TaskOutputs) -> list[Part]:
    """Return the parts that have rows, or the first one if none has."""
    some = [(task, output) for task, output in tasks if output and outputs.is_tabular(output)]
    some = [pair for pair in some if pair[1].rows] or some[:1]
    files = [output for _, output in some if output.kind == "arrow"]
    schemas = map_ahead(store, lambda output: _schema_of(store, output), files)
    parts: list[Part] = []
    for task, output in some:
        if output.kind == "arrow":
            parts.append(_part_of_file(task, output, next(schemas)))
            continue
        pairs = [pair for pair in outputs.load_tables(store, output) if pair is not None]
        tables = [tabular.drop_numbering(table, kind) for kind, table in pairs]
        tables = [table for table in tables if table.num_rows] or tables[:1]
        parts += [Part(Source(task), t.schema.remove_metadata(), table=t) for t in tables]
    return parts


def _part_of_file(task: int, output: Output, stored: pa.Schema) -> Part:
    hidden = indexes.numbering_of(stored) if output.type == "pandas" else []
    fields = [field for field in stored if field.name not in hidden]
    return Part(Source(task), pa.schema(fields), output, hidden=hidden)


def _schema_of(store: Store, output: Output) -> pa.Schema:
    schema = _stored_schema(store, output)
    if to_frames.register_types(schema):
        schema = _stored_schema(store, output)
    return schema


def _stored_schema(store: Store, output: Output) -> pa.Schema:
    path = output.path or ""
    try:
        with outputs.explain_missing(store, path):
            here = store.local_path(path)
            if here is not None:
                with pa.memory_map(here) as file:
                    return pa.ipc.open_file(file).schema
            with store.open(path, (output.size, "")) as opened:
                return pa.ipc.open_file(pa.PythonFile(opened)).schema
    except (OSError, pa.ArrowException) as error:
        # Of a file that has changed, this says more.
        outputs.check(store, output, outputs.read_whole(store, output))
        raise StorageError(f"{store.uri}/{path} cannot be read: {error}") from error


def _is_lazy(part: Part, schema: pa.Schema) -> bool:
    if part.output is None or not set(part.hidden).isdisjoint(schema.names):
        return False
    return part.schema.equals(schema) or unifying.can_cast(part.schema, schema)


def _open_files(store: Store, chosen: Sequence[Output | None], schema: pa.Schema) -> Any:
    """Return a dataset of files, each of which is checked when it is first opened."""
    files = {output.path or "": output for output in chosen if output is not None}
    sizes = {path: output.size for path, output in files.items()}
    filesystem = arrow_filesystem(store, sizes, functools.partial(_check, store, files))
    return ds.dataset(list(files), format="ipc", schema=schema, filesystem=filesystem)


def _check(store: Store, files: Mapping[str, Output], path: str, data: Any) -> None:
    outputs.check(store, files[path], data)
