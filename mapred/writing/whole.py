"""What a run writes as a whole: checked before it begins, and published by its last task.

Clients load this to check a run, and none of the modules that write, which load pyarrow.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mapred.errors import DatasetError, MissingDependency, PlanError, StorageError
from mapred.functions import parameters
from mapred.model.records import Output
from mapred.model.spec import Job
from mapred.reducers import Reducer
from mapred.runfolder import outputs
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, is_there, open_store, probe
from mapred.writing import manifest, replacing
from mapred.writing.target import Target

if TYPE_CHECKING:
    import pyarrow as pa

    from mapred.writing.parquet_files import WrittenFile, Wrote

_THREADS = 4
_DELTA_BEGINS = "_delta_log/00000000000000000000.json"


@dataclass(frozen=True)
class Written:
    """What a run put into a dataset: the result of a run with `write=`.

    Attributes:
        uri: The dataset's folder.
        kind: `parquet` or `delta`.
        version: The version of its manifest or table; -1 where nothing was written.
        files: How many files were written.
        rows: How many rows they have.
        bytes: How many bytes they have.
        partitions: The folders of partitions that were written to.

    Examples:
        >>> target = mapred.write_parquet("by-city", partition_by="city")
        >>> written = mapred.run(lambda table: table, "sales.csv", write=target).result()
        >>> written.rows, written.files, written.partitions
        (3, 2, ('city=Oslo', 'city=Rome'))
    """

    uri: str
    kind: str
    version: int
    files: int
    rows: int
    bytes: int
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Publish:
    """The reducer of a run that writes: turns what each task wrote into a `Written`."""

    target: Target

    def __call__(self, wrote: Iterable[Wrote]) -> Written:
        return publish(self.target, wrote)


def publisher(target: Target) -> Reducer:
    """Return the reducer that publishes what a run writes to `target`."""
    step = Publish(target)
    return Reducer(f"write_{target.kind}", step, step)


def check_losses(target: Target, max_failed: float) -> None:
    """Raise for a run that may lose rows of what it replaces."""
    if target.replace and max_failed:
        raise PlanError(
            f"max_failed={max_failed!r} together with replace=: what was there would be removed, and "
            "the rows of a shard that is given up would be missing; leave one of the two out"
        )


def check(target: Target) -> None:
    """Raise before a run begins what would keep it from publishing: no package, no right."""
    for text in target.texts()[1:]:
        if places := parameters.names_in(text):
            raise PlanError(
                f"replace= has a place for {min(places)!r} in {text!r}, and the job has no value for "
                f"it: set it by job.bind({min(places)}=…)"
            )
    store = open_store(target.uri, dataset=True)
    probe(store)
    if target.kind == "delta":
        if find_spec("deltalake") is None:
            raise MissingDependency("deltalake", "delta")

        if manifest.latest(store).version:
            raise DatasetError(f"{target.uri} is a folder that write_parquet made: name another")
    elif store.list("_delta_log") or is_there(store, _DELTA_BEGINS):
        raise DatasetError(
            f"{target.uri} is a Delta table, and write_parquet would bypass its log: use "
            "write_delta, or another folder"
        )
    if target.replace:
        replacing.spell_values(target, _types(target, store))


def publish(target: Target, wrote: Iterable[Wrote]) -> Written:
    """Make what the tasks wrote visible by one put; once, however often it is called."""
    write_id, written, schema = gather_files(wrote, target)
    if write_id is None:
        return Written(target.uri, target.kind, -1, 0, 0, 0)
    if target.kind == "delta":
        from mapred.writing import delta

        version = delta.commit(target, write_id, written, schema)
    else:
        from mapred.writing import publishing

        version = publishing.publish(target, write_id, written, schema).version
    rows, size = sum(file.rows for file in written), sum(file.bytes for file in written)
    folders = tuple(sorted({file.folder for file in written}))
    return Written(target.uri, target.kind, version, len(written), rows, size, folders)


def gather_files(
    wrote: Iterable[Wrote], target: Target
) -> tuple[str | None, list[WrittenFile], pa.Schema | None]:
    """Return the run, all files, and the schema of the tables, of those with rows if any has."""
    from mapred.writing import schemas

    parts = list(wrote)
    written = [file for part in parts for file in part.files]
    filled = any(file.rows for file in written)
    typed = [(p.shard, p.schema) for p in parts if p.schema and (p.rows or not filled)]
    schema = schemas.merge_shard_schemas(typed if filled else typed[:1], target.uri)
    if not target.partition_by:
        # One empty file is enough for the columns.
        written = [file for file in written if file.rows] or written[:1]
    return parts[0].write_id if parts else None, written, schema


def write_result(folder: RunFolder, job: Job, target: Target, write_id: str) -> Written:
    """Write the tables of a run that is over from this process, a few outputs at a time."""
    from mapred.writing.parquet_files import write_values
    from mapred.writing.publishing import discard

    check_losses(target, len(folder.given_up_tasks()))

    # Which pickles may be loaded is a setting of this thread's context, for the pool as well.
    context = contextvars.copy_context()

    def one(entry: tuple[int, Output | None, Any]) -> Wrote:
        task, output, _ = entry
        values = outputs.decode(folder.store, output) if output is not None else iter(())
        return context.copy().run(write_values, target, write_id, task, "1", values)

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            wrote = list(pool.map(one, folder.outputs(job)))
        return publish(target, wrote)
    except BaseException:
        with suppress(StorageError):
            discard(target.uri, write_id)
        raise


def _types(target: Target, store: Store) -> Mapping[str, pa.DataType]:
    """Return the types of the partition columns, as far as `schema=` or the dataset gives them."""
    schema = target.parse_schema()
    if schema is not None:
        return {name: schema.field(name).type for name in target.partition_by}
    if target.kind == "delta":
        from mapred.writing import delta

        return delta.types_of(delta.open_table(target))
    return replacing.types_of(manifest.latest(store).columns)
