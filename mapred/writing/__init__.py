"""Writing a run's tables as a dataset: files by the workers, made visible by one last task."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapred import outputs, records
from mapred.errors import DatasetError, StorageError
from mapred.model import Output
from mapred.reducers import Reducer
from mapred.storage import Store, open_store, probe
from mapred.writing.target import Target, write_delta, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

    from mapred.writing.files import Wrote

__all__ = [
    "Target",
    "Written",
    "check",
    "discard",
    "publish",
    "publisher",
    "write_delta",
    "write_parquet",
    "write_result",
    "write_values",
]


_THREADS = 4


@dataclass(frozen=True)
class Written:
    """What a run put into a dataset: `version` of its manifest or table, `partitions` by folder."""

    uri: str
    kind: str
    version: int
    files: int
    rows: int
    bytes: int
    partitions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Publish:
    """The reducer of a run that writes: takes what each task wrote, gives a `Written`."""

    target: Target

    def __call__(self, wrote: Iterable[Wrote]) -> Written:
        return publish(self.target, wrote)


def publisher(target: Target) -> Reducer:
    """The last task of a run that writes to `target`."""
    step = Publish(target)
    return Reducer(f"write_{target.kind}", step, step)


def check(target: Target) -> None:
    """Raise what would keep a run from publishing, before it begins: no package, no right."""
    store = open_store(target.uri)
    probe(store)
    locate = getattr(store, "local_path", None)
    if locate is not None:
        # A dataset shows no folder of ours that is empty.
        with suppress(OSError):
            os.rmdir(locate(".probe"))
    if target.kind == "delta":
        from mapred.writing.files import need_deltalake

        need_deltalake()
        if store.list("_manifest"):
            raise DatasetError(f"{target.uri} is a folder that write_parquet made: name another")
    elif store.list("_delta_log"):
        raise DatasetError(
            f"{target.uri} is a Delta table, and write_parquet would write past its log: use "
            "write_delta, or another folder"
        )


def write_values(
    target: Target, write_id: str, shard: int, attempt: str, values: Iterable[Any]
) -> Wrote:
    """Write a task's tables; no reader sees them before `publish`."""
    from mapred.writing.files import write

    return write(target, write_id, shard, attempt, values)


def publish(target: Target, wrote: Iterable[Wrote]) -> Written:
    """Make what the tasks wrote visible, all of it by one put; once, however often it is called."""
    write_id, written, schema = gathered(wrote, target)
    if write_id is None:
        return Written(target.uri, target.kind, -1, 0, 0, 0)
    rows, size = sum(file.rows for file in written), sum(file.bytes for file in written)
    if target.kind == "delta":
        from mapred.writing import delta

        version = delta.commit(target, write_id, written, schema)
    else:
        from mapred.writing import publishing

        columns = {} if schema is None else {f.name: str(f.type) for f in schema}
        version = publishing.publish(target, write_id, written, columns).version
    folders = tuple(sorted({file.folder for file in written}))
    return Written(target.uri, target.kind, version, len(written), rows, size, folders)


def write_result(store: Store, target: Target, write_id: str) -> Written:
    """Write the tables of a run that is over from this process, a few outputs at a time."""

    def one(entry: tuple[int, Output | None, Any]) -> Wrote:
        task, output, _ = entry
        values = outputs.decode(store, output) if output is not None else iter(())
        return write_values(target, write_id, task, "1", values)

    try:
        with ThreadPoolExecutor(_THREADS) as pool:
            wrote = list(pool.map(one, records.read_manifest(store)))
        return publish(target, wrote)
    except BaseException:
        with suppress(StorageError):
            discard(target.uri, write_id)
        raise


def discard(uri: str, write_id: str, *, dry_run: bool = False) -> int:
    """Drop what lies hidden at `uri` of a run that goes; the bytes that it takes.

    What a manifest names already is published first, for readers count on it.
    """
    from mapred.writing import files, manifest, publishing

    store = open_store(uri)
    if dry_run:
        return sum(size for _, size in store.list(files.staging(write_id)))
    if write_id in manifest.latest(store).unfinished():
        publishing.roll_forward(store, write_id)
    return publishing.drop_staging(store, write_id)


def gathered(
    wrote: Iterable[Wrote], target: Target
) -> tuple[str | None, list[Any], pa.Schema | None]:
    """The run, all files, and the schema that all tables have; two schemas are an error."""
    import pyarrow as pa

    from mapred.writing.files import HOW_TO_AGREE, differing

    written: list[Any] = []
    first: tuple[int, pa.Schema] | None = None
    seen: bytes | None = None
    write_id: str | None = None
    for each in wrote:
        write_id = each.write_id
        written += each.files
        if each.schema is None or each.schema == seen:
            continue
        schema = pa.ipc.read_schema(pa.py_buffer(each.schema))
        if first is None:
            first, seen = (each.shard, schema), each.schema
        elif not schema.equals(first[1]):
            raise DatasetError(
                f"shards {first[0]} and {each.shard} have tables of two schemas, so nothing was "
                f"published to {target.uri}: {differing(first[1], schema)}; {HOW_TO_AGREE}"
            )
    if not target.partition_by and any(file.rows for file in written):
        written = [file for file in written if file.rows]
    elif not target.partition_by:
        # One empty file is enough for the columns.
        written = written[:1]
    return write_id, written, None if first is None else first[1]
