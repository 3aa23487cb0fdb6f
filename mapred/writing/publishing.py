"""Making what the tasks wrote visible: one put decides, then files change one by one.

1. The next version of the manifest is put if absent. It names the new files where they lie
   hidden, and what they replace. Before it nothing is visible, after it there is no way back.
2. Partition by partition, replaced files go and new ones get their names, by a copy within
   the store: nobody ever sees half a file, nor an old row beside the new one.
3. Another version names the files where they are now, and the hidden ones go.

A process that is killed is followed by another that continues at 2: the same task's next attempt,
a resumed run, or the next run that writes to the same partitions. Two at once do no harm: each
step can be repeated, and a hidden file that is gone means that the other process got further.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from mapred.errors import DatasetError, StorageError
from mapred.storage import Store, open_store
from mapred.writing import manifest, parquet_files, replacing, schemas
from mapred.writing.manifest import Entry, Manifest
from mapred.writing.parquet_files import WrittenFile
from mapred.writing.replacing import Named
from mapred.writing.tables import folder_of, values_of
from mapred.writing.target import Target

_THREADS = 16
_RETYPED = 4
_BATCH = 32


@dataclass(frozen=True)
class Reach:
    """The partitions that a run changes: those it writes to, and those that it owns."""

    target: Target
    folders: frozenset[str]
    named: Named

    def covers(self, folder: str) -> bool:
        if self.target.mode == "overwrite" or folder in self.folders:
            return True
        names = self.target.partition_by
        values = values_of(names, folder) if self.named else None
        return values is not None and replacing.owns(self.named, names, values)


def publish(
    target: Target, write_id: str, written: Sequence[WrittenFile], schema: pa.Schema | None
) -> Manifest:
    """Make the files of `write_id` the dataset's, unless that was done before."""
    store = open_store(target.uri, dataset=True)
    now = manifest.latest(store)
    if write_id not in now.runs:
        try:
            now = _decide(store, target, write_id, written, schema)
        except FileNotFoundError as error:
            # Our twin may have published, and dropped what lay hidden.
            now = manifest.latest(store)
            if write_id not in now.runs:
                raise _gone_error(store, write_id) from error
    roll_forward(store, write_id, now, [file.path for file in written])
    return now


def _decide(
    store: Store,
    target: Target,
    write_id: str,
    written: Sequence[WrittenFile],
    schema: pa.Schema | None,
) -> Manifest:
    """Put the version of the manifest that has the files, once no other run is in the way."""
    now = manifest.latest(store)
    types, columns = replacing.types_of(now.columns), {}
    if schema is not None and written:
        schema, written = _apply_types(store, target, types, schema, written)
        types = {field.name: field.type for field in schema}
        columns = {field.name: str(field.type) for field in schema}
    folders = frozenset(file.folder for file in written)
    reach = Reach(target, folders, replacing.spell_values(target, types))
    foreign = _foreign_files(store, reach)
    change = partial(_commit, store, reach, write_id, written, columns, foreign)
    while write_id not in (now := manifest.update(store, change)).runs:
        for run in _conflicting_runs(now, reach):
            roll_forward(store, run, now)
    return now


def _apply_types(
    store: Store,
    target: Target,
    types: Mapping[str, pa.DataType],
    schema: pa.Schema,
    written: Sequence[WrittenFile],
) -> tuple[pa.Schema, list[WrittenFile]]:
    """Return schema and files, once columns of nulls have the types of the dataset."""
    if not any(file.rows for file in written) and target.mode != "overwrite":
        schema = pa.schema([f.with_type(types.get(f.name, f.type)) for f in schema])
        written = [replace(file, typeless=True) for file in written]
    schema = schemas.fill_null_types(schema, types, target.kind)
    with ThreadPoolExecutor(_RETYPED) as pool:
        return schema, list(
            pool.map(partial(parquet_files.rewrite_typed, target, store, schema), written)
        )


def roll_forward(store: Store, write_id: str, now: Manifest, staged: Iterable[str] = ()) -> None:
    """Finish a run as version `now` of the manifest says, and drop its hidden files.

    They go once a version names the run's files where they are visible; `staged` are names of
    hidden files that a listing may not show yet.
    """
    todo: dict[str, tuple[list[str], list[Entry]]] = {}
    for path, run in now.removing.items():
        if run == write_id:
            todo.setdefault(path.rpartition("/")[0], ([], []))[0].append(path)
    for entry in now.entries:
        if entry.run == write_id and entry.final is not None:
            todo.setdefault(entry.folder, ([], []))[1].append(entry)
    with ThreadPoolExecutor(_THREADS) as pool:
        for some in _batches(todo):
            list(pool.map(partial(_remove, store), [path for old, _ in some for path in old]))
            moved = list(
                pool.map(partial(_publish_file, store), [e for _, new in some for e in new])
            )
            if not all(moved):
                if write_id in manifest.latest(store, now).find_unfinished_runs():
                    raise _gone_error(store, write_id)
                break
    left = manifest.update(store, partial(_mark_finished, write_id), now)
    # Another process may have finished the run, and a later one replaced its files, before ours
    # were shown: files that no version names any more are removed again.
    names = {entry.name for entry in left.entries}
    shown = [entry.final for _, new in todo.values() for entry in new if entry.final is not None]
    for path in set(shown) - names:
        _remove(store, path)
    if write_id in left.runs and write_id not in left.find_unfinished_runs():
        hidden = (entry.path for _, new in todo.values() for entry in new)
        drop_staging(store, write_id, {*staged, *hidden})


def _gone_error(store: Store, write_id: str) -> StorageError:
    return StorageError(
        f"{store.uri}/{parquet_files.staging(write_id)}: files that were to be published are gone; someone "
        "removed them: run the job again"
    )


def drop_staging(store: Store, write_id: str, names: Iterable[str] = ()) -> int:
    """Remove the hidden files of a run that is published or given up; return their bytes.

    Files of the given `names` go as well, listed or not.
    """
    folder = parquet_files.staging(write_id)
    files = store.list(folder)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(partial(_remove, store), {path for path, _ in files}.union(names)))
    here = store.local_path(folder)
    if here is not None:
        shutil.rmtree(here, ignore_errors=True)
    drop_folders(store, write_id)
    return sum(size for _, size in files)


def drop_folders(store: Store, write_id: str) -> None:
    """Remove the folders in which files lay hidden, where they are empty."""
    own, shared = (
        store.local_path(path) for path in (parquet_files.staging(write_id), parquet_files.STAGING)
    )
    if own is None or shared is None:
        return
    inner = os.walk(own, topdown=False)
    for folder in (*(path for path, _, _ in inner), shared):
        with suppress(OSError):
            os.rmdir(folder)


def discard(uri: str, write_id: str) -> None:
    """Drop the hidden files at `uri` of a run that is being removed.

    A run that the manifest names already is published first, since readers count on it.
    """
    store = open_store(uri, dataset=True)
    now = manifest.latest(store)
    if write_id in now.find_unfinished_runs():
        roll_forward(store, write_id, now)
        return
    for path, _ in parquet_files.staged_files(uri, write_id):
        _remove(store, path)
    drop_folders(store, write_id)


def _commit(
    store: Store,
    reach: Reach,
    write_id: str,
    written: Sequence[WrittenFile],
    columns: dict[str, str],
    foreign: Iterable[str],
    now: Manifest,
) -> Manifest:
    """Return the next version, or `now` itself where other runs have to be finished first."""
    if write_id in now.runs or _conflicting_runs(now, reach):
        return now
    target = reach.target
    _check_layout(store, target, columns, now)
    gone: set[str] = set()
    if target.mode != "append":
        gone = {entry.path for entry in now.entries if reach.covers(entry.folder)}
        names = {entry.name for entry in now.entries} | now.removing.keys()
        others = [path for path in foreign if path not in names]
        _check_foreign(store, target, others)
        gone.update(others)
    entries = [entry for entry in now.entries if entry.path not in gone]
    entries += [
        Entry(f.path, f.folder, f.values, f.rows, f.bytes, f.sha256, write_id, f.final)
        for f in written
    ]
    return replace(
        now,
        partition_by=target.partition_by,
        columns=columns if target.mode == "overwrite" else {**now.columns, **columns},
        entries=tuple(entries),
        removing={**now.removing, **dict.fromkeys(sorted(gone), write_id)},
        runs=(*now.runs, write_id),
    )


def _conflicting_runs(now: Manifest, reach: Reach) -> list[str]:
    """Return the unfinished runs that change the same partitions."""
    return [
        run for run, theirs in now.find_unfinished_runs().items() if any(map(reach.covers, theirs))
    ]


def _check_layout(store: Store, target: Target, columns: dict[str, str], now: Manifest) -> None:
    if not now.entries or target.mode == "overwrite":
        return
    if now.partition_by != target.partition_by:
        raise DatasetError(
            f"{store.uri} is partitioned by {list(now.partition_by)}, and this run by "
            f"{list(target.partition_by)}; use the same, or mode='overwrite'"
        )
    for name, type_ in columns.items():
        if now.columns.get(name, type_) != type_:
            raise DatasetError(
                f"column {name!r} is {type_}, and {store.uri} holds it as {now.columns[name]}; "
                "cast it (schema=), or replace everything with mode='overwrite'"
            )


def _foreign_files(store: Store, reach: Reach) -> list[str]:
    """Return the Parquet files in the folders to replace, whatever program wrote them."""
    target = reach.target
    if target.mode == "append":
        return []
    places = {*reach.folders, *_owned_folders(reach)}
    if target.mode == "overwrite" or not target.partition_by or "" in places:
        listed = store.list("")
    else:
        with ThreadPoolExecutor(_THREADS) as pool:
            listed = [file for some in pool.map(store.list, sorted(places)) for file in some]
    paths = dict.fromkeys(path for path, _ in listed if path.endswith(".parquet"))
    mine = [path for path in paths if path[0] != "_"]
    if target.mode == "overwrite" or not target.partition_by:
        return mine
    folders = {path: path.rpartition("/")[0] for path in mine}
    odd = {path for path, f in folders.items() if values_of(target.partition_by, f) is None}
    return [path for path in mine if path in odd or reach.covers(folders[path])]


def _owned_folders(reach: Reach) -> list[str]:
    """Return the folders of all partitions that the run owns, whether they exist or not."""
    if not reach.named:
        return []
    names = tuple(itertools.takewhile(reach.named.__contains__, reach.target.partition_by))
    return [folder_of(names, v) for v in itertools.product(*(reach.named[n] for n in names))]


def _check_foreign(store: Store, target: Target, paths: Iterable[str]) -> None:
    for path in paths:
        names = tuple(part.partition("=")[0] for part in path.split("/")[:-1])
        if names != target.partition_by:
            raise DatasetError(
                f"{store.uri} holds {path}, which is not a file of a dataset partitioned by "
                f"{list(target.partition_by)}: move it away, or name another folder"
            )


def _batches(
    todo: dict[str, tuple[list[str], list[Entry]]],
) -> Iterator[list[tuple[list[str], list[Entry]]]]:
    """Yield a few partitions at a time, so that little is between old and new at any moment."""
    batch: list[Any] = []
    count = 0
    for folder in sorted(todo):
        batch.append(todo[folder])
        count += len(todo[folder][0]) + len(todo[folder][1])
        if count >= _BATCH:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def _remove(store: Store, path: str) -> None:
    with suppress(FileNotFoundError):
        store.delete(path)


def _publish_file(store: Store, entry: Entry) -> bool:
    try:
        store.copy(entry.path, entry.final or entry.path)
    except FileNotFoundError:
        return False
    return True


def _mark_finished(write_id: str, now: Manifest) -> Manifest:
    if write_id not in now.find_unfinished_runs():
        return now
    return replace(
        now,
        entries=tuple(
            replace(entry, path=entry.name, final=None) if entry.run == write_id else entry
            for entry in now.entries
        ),
        removing={path: run for path, run in now.removing.items() if run != write_id},
    )
