"""The items of a shard that are outputs of other runs, loaded from the folders of these."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mapred.errors import DatasetError, FunctionError, RecordError, StorageError
from mapred.formats import Reading
from mapred.formats.base import Range, planned_ranges
from mapred.formats.items import Items
from mapred.functions.modules.importing import is_known, offer
from mapred.model.spec import RunReference
from mapred.runfolder import pieces, places, references
from mapred.runfolder.folder import RunFolder
from mapred.storage import map_ahead, open_store
from mapred.worker.context import Context

if TYPE_CHECKING:
    import pyarrow as pa


def read(run: Context, ranges: pa.Table, reading: Reading) -> Items:
    """Return the items of a shard; one that cannot be loaded raises, and the next one follows."""
    source = _Source(run, ranges)
    return Items(planned_ranges(ranges), source.begin, source.load, reading)


class _Source:
    """What a shard names, fetched ahead where that takes a network."""

    def __init__(self, run: Context, ranges: pa.Table) -> None:
        self._run, self._format = run, run.job.format
        self._fetched = self._iter_fetched(list(planned_ranges(ranges)))
        self._values: references.Values | DatasetError | None = None

    def _iter_fetched(self, ranges: list[Range]) -> Iterator[references.Fetched | DatasetError]:
        """Yield what each range names, or why it cannot be had."""
        placed = [(places.place_of(self._format, range_.path), range_) for range_ in ranges]
        for other, some in itertools.groupby(placed, lambda pair: pair[0].run):
            try:
                folder = folder_of(self._run, other)
            except DatasetError as error:
                yield from [error for _ in some]
                continue

            def one(pair: tuple[places.Place, Range], folder: RunFolder = folder) -> Any:
                try:
                    return references.fetch(folder, *pair)
                except DatasetError as error:
                    return error

            yield from map_ahead(folder.store, one, some)

    def begin(self, range_: Range) -> None:
        """Take what the next range names. Its values are loaded one by one: they may be large."""
        fetched = next(self._fetched)
        if isinstance(fetched, references.Fetched):
            self._values = references.Values(fetched, self._format)
        else:
            self._values = fetched

    def load(self, range_: Range, number: int) -> Any:
        if isinstance(self._values, DatasetError):
            raise self._values
        assert self._values is not None
        return self._values.value(range_.offset + number)


def folder_of(run: Context, other: RunReference) -> RunFolder:
    """Return the folder of another run, once the classes of its values can be imported here."""
    if other.uri not in run.others:
        try:
            folder = RunFolder(open_store(other.uri))
            _offer_modules(folder, other)
        except (StorageError, RecordError, FunctionError) as error:
            raise DatasetError(str(error)) from error
        run.others[other.uri] = folder
    return run.others[other.uri]


def _offer_modules(folder: RunFolder, other: RunReference) -> None:
    for path, digest in other.code.items():
        if not is_known(digest):
            try:
                archive = pieces.read(folder.store, other.code, path)
            except FileNotFoundError as error:
                raise references.gone_error(folder, f"{other.uri}/{path} is gone") from error
            offer(archive)
