"""The schema that all tables of a stage agree on, told in the run's folder as they come.

The first table that has rows puts its schema. One that adds to it (a column, the type of a column
that held no value so far, a wider type) puts the next one, if absent; one that contradicts it
fails its task before it commits.
"""

from __future__ import annotations

import itertools
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
    """Whose table it was: a task, and the item of it where the function runs once per item."""

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
        told = json.dumps([[source.task, source.item] for source in self.sources]).encode()
        data: bytes = self.schema.with_metadata({_FROM: told}).serialize().to_pybytes()
        return data

    @classmethod
    def from_bytes(cls, number: int, data: bytes, where: str) -> Agreed:
        """Return what the file `where` holds; a `RecordError` if it is nothing of the kind."""

        try:
            schema = pa.ipc.read_schema(pa.py_buffer(data))
            told = json.loads(schema.metadata[_FROM])
            sources = tuple(Source(int(task), item) for task, item in told)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as e:
            why = EMPTY if is_blank(data) else f"cannot be read ({e})"
            raise RecordError(
                f"{where} {why}: what the tables of this run agree on is lost; start a new run"
            ) from None
        return cls(number, schema.remove_metadata(), sources)


def agree_on_tables(
    store: Store,
    stage: str,
    known: Agreed | None,
    tables: Sequence[tuple[Source, pa.Table]],
) -> Agreed | None:
    """Hold tables against what the stage agreed on; what is agreed with them.

    Asks the store for nothing where they add nothing to what is `known`. Two types of one
    column are a `DatasetError`, which a second attempt would not fix.
    """
    tables = [
        (source, table)
        for source, table in tables
        if table.num_rows and (known is None or not known.schema.equals(table.schema))
    ]
    for source, table in tables:
        name = unifying.find_duplicate_column(table.schema)
        if name is not None:
            raise DatasetError(
                f"{source} returned a table with two columns {name!r}: give each a name of its own"
            )
    if tables and known is None:
        known = _read(store, stage, 0)
    while True:
        wanted = known
        for source, table in tables:
            wanted = _add_table(wanted, source, table)
        if wanted is known or wanted is None:
            return known
        wanted = replace(wanted, number=0 if known is None else known.number + 1)
        if store.put_if_absent(layout.schema(stage, wanted.number), wanted.to_bytes()):
            return wanted
        known = _read(store, stage, wanted.number)


def latest(store: Store, stage: str) -> Agreed | None:
    """Return what the tables of a stage agree on; None where none had rows."""
    names = (layout.index_of(path) for path, _ in store.list(layout.schemas(stage)))
    listed = [number for number in names if number is not None]
    found = None
    # A listing may not show yet what was put last.
    for number in itertools.count(max(listed, default=0)):
        agreed = _read(store, stage, number)
        if agreed is None:
            return found
        found = agreed
    raise AssertionError


def files(store: Store, stage: str) -> list[str]:
    """Return the files of all that tables said."""
    last = latest(store, stage)
    return [] if last is None else [layout.schema(stage, n) for n in range(last.number + 1)]


def list_uncommitted(folder: RunFolder, stage: str) -> list[str]:
    """Return the files of what tables said whose tasks have no commit, and of all that was said
    later."""
    last = latest(folder.store, stage)
    found: list[str] = []
    for number in range(-1 if last is None else last.number, -1, -1):
        agreed = _read(folder.store, stage, number)
        if agreed is not None:
            tasks = {source.task for source in agreed.sources}
            if None not in folder.commits(stage, tasks):
                break
        found.append(layout.schema(stage, number))
    return found


def _read(store: Store, stage: str, number: int) -> Agreed | None:
    try:
        path = layout.schema(stage, number)
        return Agreed.from_bytes(number, store.read(path), f"{store.uri}/{path}")
    except FileNotFoundError:
        return None


def _add_table(agreed: Agreed | None, source: Source, table: pa.Table) -> Agreed:
    """Return what is agreed with one more table; the same object where the table adds nothing."""
    if agreed is not None and agreed.schema.equals(table.schema):
        return agreed
    after = agree(agreed, source, unifying.observed_schema(table))
    try:
        unifying.check_times(table, after.schema)
    except unifying.ColumnTypeConflict as error:
        raise conflict_error(after, source, error) from None
    return after


def agree(agreed: Agreed | None, source: Source, schema: pa.Schema) -> Agreed:
    """Return what is agreed with one more schema; the same object where it adds nothing."""
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
    """Return the error of a column of two types, naming both tables."""
    one = agreed.sources[agreed.schema.get_field_index(error.column)]
    kind = "shards" if one.item is None else "items"
    numbers = [each.task if each.item is None else each.item for each in (one, other)]
    return DatasetError(
        f"{kind} {numbers[0]} and {numbers[1]} returned tables of two schemas: {error}; "
        f"{unifying.HOW_TO_AGREE}"
    )
