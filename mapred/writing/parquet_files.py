"""The worker's part: tables in, Parquet files of about one size out, put where nobody looks yet."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mapred.errors import DatasetError, StorageError
from mapred.formats.base import Source
from mapred.model import checksums
from mapred.storage import Store, open_store
from mapred.storage.local import NO_ROOM, temporary_failure
from mapred.writing import replacing, stats
from mapred.writing.schemas import HOW_TO_AGREE, describe_difference, is_typeless, merge_schemas
from mapred.writing.tables import Values, by_partition, folder_of, tables
from mapred.writing.target import Target

STAGING = "_staging"
_STAGED = re.compile(rf"{STAGING}/[^/]+/(?:[^/]+=[^/]*/)*_\d{{6,}}-[^/]+\.parquet(?:\.part)?", re.S)
_GROUP_ROWS = 2**20
_GROUP_BYTES = 64 * 2**20
_PENDING_BYTES = 256 * 2**20
_OPEN_FILES = 128
_UPLOADS = 8


def staged_files(uri: str, write_id: str) -> list[tuple[str, int]]:
    """Return path and size of a run's files that lie hidden at `uri`, named as tasks name them."""
    listed = open_store(uri, dataset=True).list(staging(write_id))
    return [(path, size) for path, size in listed if _STAGED.fullmatch(path)]


@dataclass(frozen=True)
class WrittenFile:
    """One Parquet file: it lies at `path`, and is to be seen at `final`, in folder `folder`.

    Both are relative to the target. `values` are those of the partition columns as text;
    `stats` are a Delta table's, as JSON. What is `typeless` has columns of nulls alone, and
    takes their types from the other files before it is published.
    """

    path: str
    final: str
    folder: str
    values: Values
    rows: int
    bytes: int
    sha256: str
    stats: str = ""
    typeless: bool = False


@dataclass(frozen=True)
class Wrote:
    """What one task of a run wrote; `schema` is that of its tables, serialised, or None."""

    write_id: str
    shard: int
    files: tuple[WrittenFile, ...]
    schema: bytes | None

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)


@dataclass
class _Part:
    """A partition with rows that wait, or with an open file."""

    values: Values
    waiting: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0
    writer: Any = None
    path: Path | None = None
    number: int = 0
    written: int = 0
    typeless: bool = False


def staging(write_id: str) -> str:
    """Return the folder that holds a run's files until they are published."""
    return f"{STAGING}/{write_id}"


def write_values(
    target: Target, write_id: str, shard: int, attempt: str, values: Iterable[Any]
) -> Wrote:
    """Write the tables among a task's `values`; no reader sees the files before they are published."""
    with _on_disk():
        writer = _Writer(target, write_id, shard, attempt)
    try:
        for table in tables(values, target):
            with _on_disk():
                writer.add(table)
        with _on_disk():
            return writer.finish()
    except BaseException:
        writer.undo()
        raise
    finally:
        writer.clean_up()


@contextmanager
def _on_disk() -> Iterator[None]:
    """Name the folder that has no room for the files before they are stored."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*NO_ROOM, errno.ENOENT):
            raise
        raise temporary_failure("write tables to", error) from error


def drop(target: Target, wrote: Wrote) -> None:
    """Remove what a task wrote whose commit is another attempt's, or was never put."""
    _drop(open_store(target.uri, dataset=True), [file.path for file in wrote.files])


def _drop(store: Store, paths: Sequence[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError, StorageError):
            store.delete(path)
    root = store.local_path("")
    if root is None:
        return
    folders = {str(parent) for path in paths for parent in Path(path).parents}
    for folder in sorted(folders - {"."}, key=len, reverse=True):
        with suppress(OSError):
            os.rmdir(os.path.join(root, folder))


class _Writer:
    def __init__(self, target: Target, write_id: str, shard: int, attempt: str) -> None:
        self.target, self.write_id = target, write_id
        self.shard, self.attempt = shard, attempt
        self.store: Store = open_store(target.uri, dataset=True)
        self.folder = Path(tempfile.mkdtemp(prefix="mapred-write-"))
        self.pool = ThreadPoolExecutor(_UPLOADS)
        self.parts: dict[Values, _Part] = {}
        self.count = self.pending = 0
        self.schema: pa.Schema | None = None  # of the tables that have rows
        self.empty: pa.Schema | None = None
        self.named: replacing.Named = {}
        self.uploads: list[Future[WrittenFile]] = []

    def add(self, table: pa.Table) -> None:
        if not table.num_rows:
            self.empty = self.empty or table.schema
            return
        if self.schema is None or not self.schema.equals(table.schema):
            self._fit(table.schema)
        for values, rows in by_partition(table.cast(self.schema), self.target.partition_by):
            replacing.refuse_others(self.named, self.target.partition_by, values, self.shard)
            if self.target.kind == "delta" and "" in values:
                raise DatasetError(
                    "a partition value is the empty text, which Delta takes for null; replace it"
                )
            part = self.parts.setdefault(values, _Part(values))
            for start in range(0, rows.num_rows, _GROUP_ROWS):
                self._wait(part, rows.slice(start, _GROUP_ROWS))
        while self.pending > _PENDING_BYTES:
            self._flush(max(self.parts.values(), key=lambda part: part.bytes))

    def _fit(self, schema: pa.Schema) -> None:
        """Accept a table's schema, by which a column that was null so far may get its type."""
        both = schema if self.schema is None else merge_schemas(self.schema, schema)
        if both is None:
            assert self.schema is not None
            raise DatasetError(
                f"shard {self.shard} gave tables of two schemas: "
                f"{describe_difference(self.schema, schema)}; {HOW_TO_AGREE}"
            )
        if self.schema is not None and not both.equals(self.schema):
            for part in self.parts.values():
                self._close(part)
        self.schema = both
        types = {name: both.field(name).type for name in self.target.partition_by}
        self.named = replacing.spell_values(self.target, types)

    def finish(self) -> Wrote:
        for part in list(self.parts.values()):
            self._close(part)
        schema = self.schema or self.empty
        empty = not self.target.partition_by and self.target.kind == "parquet"
        if not self.uploads and schema is not None and empty:
            # Readers of an empty dataset still find its columns.
            part = _Part(())
            self._open(part, schema)
            self._close(part)
        files = tuple(upload.result() for upload in self.uploads)
        data = None if schema is None else schema.serialize().to_pybytes()
        return Wrote(self.write_id, self.shard, files, data)

    def undo(self) -> None:
        """Remove the files that were stored already."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        done = [u for u in self.uploads if not u.cancelled() and u.exception() is None]
        _drop(self.store, [upload.result().path for upload in done])

    def clean_up(self) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        for part in self.parts.values():
            if part.writer is not None:
                with suppress(OSError):  # of a full disk, which was reported
                    part.writer.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self, part: _Part, rows: pa.Table) -> None:
        size = rows.nbytes
        part.waiting.append(rows)
        part.bytes, part.rows = part.bytes + size, part.rows + rows.num_rows
        self.pending += size
        limit = min(_GROUP_BYTES, self.target.target_bytes)
        if part.bytes >= limit or part.rows >= _GROUP_ROWS:
            self._flush(part)

    def _flush(self, part: _Part) -> None:
        """Write the waiting rows as row groups, and end the file once it is large enough."""
        if not part.waiting:
            return
        whole = pa.concat_tables(part.waiting)
        step = max(1, int(whole.num_rows * min(1.0, self._group_bytes() / max(1, part.bytes))))
        self.pending -= part.bytes
        part.waiting, part.bytes, part.rows = [], 0, 0
        for start in range(0, whole.num_rows, step):
            if part.writer is None:
                self._open(part, whole.schema)
            rows = whole.slice(start, step)
            part.writer.write_table(rows, row_group_size=rows.num_rows)
            part.written += rows.num_rows
            assert part.path is not None
            if part.path.stat().st_size >= self.target.target_bytes:
                self._end_file(part)

    def _group_bytes(self) -> int:
        return min(_GROUP_BYTES, self.target.target_bytes)

    def _open(self, part: _Part, schema: pa.Schema) -> None:
        opened = [other for other in self.parts.values() if other.writer is not None]
        if len(opened) >= _OPEN_FILES:
            self._end_file(opened[0])
        part.number, self.count = self.count, self.count + 1
        part.path, part.written = self.folder / f"{part.number}.parquet", 0
        part.typeless = any(is_typeless(field.type) for field in schema)
        part.writer = parquet_writer(self.target, part.path, schema)

    def _close(self, part: _Part) -> None:
        self._flush(part)
        if part.writer is not None:
            self._end_file(part)

    def _end_file(self, part: _Part) -> None:
        part.writer.close()
        assert part.path is not None
        self.uploads.append(self.pool.submit(self._upload, replace(part, waiting=[])))
        part.writer, part.path = None, None

    def _upload(self, part: _Part) -> WrittenFile:
        path, values, number = part.path, part.values, part.number
        assert path is not None
        folder = folder_of(self.target.partition_by, values)
        prefix = f"{folder}/" if folder else ""
        name = f"{self.shard:06d}-{number:04d}.parquet"
        final = f"{prefix}{self.write_id}-{name}"
        staged = f"{staging(self.write_id)}/{prefix}_{self.shard:06d}-{self.attempt}-{number:04d}"
        staged += ".parquet.part"
        text = ""
        if self.target.kind == "delta":
            # A Delta table's log names its files, so an attempt's name may stay.
            final = staged = f"{prefix}part-{self.write_id}-{self.attempt}-{name}"
            text = json.dumps(stats.of_file(pq.read_metadata(path)))
        size, digest = _size_and_digest(path)
        self.store.put_file(path, staged)
        path.unlink(missing_ok=True)
        return WrittenFile(
            staged, final, folder, values, part.written, size, digest, text, part.typeless
        )


def rewrite_typed(
    target: Target, store: Store, schema: pa.Schema, file: WrittenFile
) -> WrittenFile:
    """Return a file whose columns of nulls have the types of `schema`."""
    if not file.typeless:
        return file
    stored = pa.schema([field for field in schema if field.name not in target.partition_by])
    name = file.path.replace(".parquet", "-typed.parquet")
    with _on_disk(), tempfile.TemporaryDirectory(prefix="mapred-write-") as folder:
        path = Path(folder, "typed.parquet")
        with store.open(file.path) as opened, parquet_writer(target, path, stored) as writer:
            groups = pq.ParquetFile(Source(opened))
            for number in range(groups.num_row_groups):
                rows = groups.read_row_group(number).cast(stored)
                writer.write_table(rows, row_group_size=rows.num_rows)
        text = json.dumps(stats.of_file(pq.read_metadata(path))) if file.stats else ""
        size, digest = _size_and_digest(path)
        store.put_file(path, name)
    final = name if file.final == file.path else file.final
    return replace(file, path=name, final=final, bytes=size, sha256=digest, stats=text)


def parquet_writer(target: Target, path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer with the settings of the target; a type that Parquet lacks is an error."""
    try:
        return pq.ParquetWriter(
            path,
            schema,
            compression=None if target.compression == "none" else target.compression,
            write_statistics=True,
            write_page_index=True,
        )
    except pa.ArrowException as error:
        raise DatasetError(
            f"the returned table cannot be stored as Parquet: {error}; change the type of that "
            "column in the function, or pass schema= to cast to"
        ) from error


def _size_and_digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return checksums.sha256_of_file(file)
