"""The schema that all tables of a stage agree on, kept in the run's folder.

The first table with rows puts its schema. A table that adds to it (a column, the type of a column
that had no value so far, a wider type) puts the next one, if absent; one that contradicts it
fails its task before the commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mapred.arrow import schemas as unifying
from mapred.errors import DatasetError, RecordError
from mapred.model import layout
from mapred.model.coding import EMPTY, is_blank
from mapred.process.lazy import pa
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

_FROM = b"mapred.from"


@dataclass(frozen=True)
class Source:
    """Where a table comes from: a task, and its item if the function runs once per item."""

    task: int
    item: int | None = None

    def __str__(self) -> str:
        return f"shard {self.task}" if self.item is None else f"item {self.item}"


@dataclass(frozen=True)
class Agreed:
    """Names and types so far, and the table that each column has its type from."""

    number: int
    schema: pa.Schema
    sources: tuple[Source, ...]

    def to_bytes(self) -> bytes:
        sources = json.dumps([[source.task, source.item] for source in self.sources]).encode()
        data: bytes = self.schema.with_metadata({_FROM: sources}).serialize().to_pybytes()
        return data

    @classmethod
    def from_bytes(cls, number: int, data: bytes, where: str) -> Agreed:
        """Parse the file `where`; raise a `RecordError` if it cannot be read."""
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(data))
            pairs = json.loads(schema.metadata[_FROM])
            sources = tuple(Source(int(task), item) for task, item in pairs)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as e:
            why = EMPTY if is_blank(data) else f"cannot be read ({e})"
            raise RecordError(
                f"{where} {why}: what the tables of this run agree on is lost; start a new run"
            ) from None
        return cls(number, schema.remove_metadata(), sources)


def agree_on_tables(
    store: Store, stage: str, agreed: Agreed | None, tables: Sequence[tuple[Source, pa.Table]]
) -> Agreed | None:
    """Add tables to what the stage agreed on, and return the outcome.

    The store is read only if they add something to `agreed`. Two types of one column are a
    `DatasetError`, which a second attempt would not fix.
    """
    tables = [
        (source, table)
        for source, table in tables
        if table.num_rows and (agreed is None or not agreed.schema.equals(table.schema))
    ]
    for source, table in tables:
        name = unifying.find_duplicate_column(table.schema)
        if name is not None:
            raise DatasetError(
                f"{source} returned a table with two columns {name!r}: give each a name of its own"
            )
    if tables and agreed is None:
        agreed = _read(store, stage, 0)
    while True:
        wider = agreed
        for source, table in tables:
            wider = _add_table(wider, source, table)
        if wider is agreed or wider is None:
            return agreed
        wider = replace(wider, number=0 if agreed is None else agreed.number + 1)
        if store.put_if_absent(layout.schema(stage, wider.number), wider.to_bytes()):
            return wider
        # Another task was faster: its schema has to hold these tables too.
        agreed = _read(store, stage, wider.number)


def latest(store: Store, stage: str) -> Agreed | None:
    """Return what the tables of a stage agree on; None if none had rows."""
    indices = [layout.index_of(path) for path, _ in store.list(layout.schemas(stage))]
    number, last = max((index for index in indices if index is not None), default=0), None
    # A listing may not show yet what was put last.
    while agreed := _read(store, stage, number):
        number, last = number + 1, agreed
    return last


def files(store: Store, stage: str) -> list[str]:
    """Return the paths of all schemas of a stage."""
    last = latest(store, stage)
    return [] if last is None else [layout.schema(stage, n) for n in range(last.number + 1)]


def list_uncommitted(folder: RunFolder, stage: str) -> list[str]:
    """Return the paths of the schemas that came from tasks without a commit, and of later ones."""
    last = latest(folder.store, stage)
    paths: list[str] = []
    for number in range(-1 if last is None else last.number, -1, -1):
        agreed = _read(folder.store, stage, number)
        if agreed is not None:
            tasks = {source.task for source in agreed.sources}
            if None not in folder.commits(stage, tasks):
                break
        paths.append(layout.schema(stage, number))
    return paths


def _read(store: Store, stage: str, number: int) -> Agreed | None:
    try:
        path = layout.schema(stage, number)
        return Agreed.from_bytes(number, store.read(path), f"{store.uri}/{path}")
    except FileNotFoundError:
        return None


def _add_table(agreed: Agreed | None, source: Source, table: pa.Table) -> Agreed:
    """Add a table; returns the same object if that adds nothing."""
    if agreed is not None and agreed.schema.equals(table.schema):
        return agreed
    after = agree(agreed, source, unifying.observed_schema(table))
    try:
        unifying.check_times(table, after.schema)
    except unifying.ColumnTypeConflict as error:
        raise conflict_error(after, source, error) from None
    return after


def agree(agreed: Agreed | None, source: Source, schema: pa.Schema) -> Agreed:
    """Add a schema; returns the same object if that adds nothing."""
    if agreed is None:
        return Agreed(0, schema, (source,) * len(schema))
    before = agreed.schema
    try:
        after = unifying.unify(before, schema)
    except unifying.ColumnTypeConflict as error:
        raise conflict_error(agreed, source, error) from None
    if after.equals(before):
        return agreed
    sources = [
        agreed.sources[place]
        if place < len(before) and field.equals(before.field(place))
        else source
        for place, field in enumerate(after)
    ]
    return Agreed(agreed.number, after, tuple(sources))


def conflict_error(
    agreed: Agreed, other: Source, error: unifying.ColumnTypeConflict
) -> DatasetError:
    """Make the error of a column of two types, which names both tables."""
    one = agreed.sources[agreed.schema.get_field_index(error.column)]
    kind = "shards" if one.item is None else "items"
    numbers = [part.task if part.item is None else part.item for part in (one, other)]
    return DatasetError(
        f"{kind} {numbers[0]} and {numbers[1]} returned tables of two schemas: {error}; "
        f"{unifying.HOW_TO_AGREE}"
    )
