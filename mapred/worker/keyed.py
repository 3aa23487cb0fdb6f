"""The stages of a keyed reduce, as a worker runs them: what maps send, the manifest, a partition."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mapred.arrow import encoding
from mapred.errors import StorageError
from mapred.formats import Reading
from mapred.model import checksums, layout
from mapred.model.records import Commit, Output
from mapred.model.shuffle import Parts, Shuffle
from mapred.model.spec import Job, Stage
from mapred.process.lazy import pa
from mapred.runfolder import failures
from mapred.runfolder.folder import RunFolder
from mapred.shuffle import manifest, map_side, part_files, reduce_side, skew
from mapred.shuffle.schemas import Misfit, fit_to_schema
from mapred.storage import Store, map_ahead

MEMORY = 512 * 2**20
_SHARE = 4


@dataclass(frozen=True)
class PartitionedOutput:
    """Tables that become one Arrow file; `describe` says what it is from where each part lies.

    `size` is about how many bytes they will take, and `schema` None where there are none.
    """

    schema: pa.Schema | None
    tables: Iterable[pa.Table]
    size: int
    describe: Callable[[tuple[int, ...]], Output]


def memory_limit(stage: Stage) -> int:
    """Bytes of rows that a task holds before it spills: a quarter of its memory, else 512 MiB."""
    memory = stage.resources.memory_bytes
    return MEMORY if memory is None else max(1, memory // _SHARE)


def partition_map_output(shuffle: Shuffle, values: Iterable[Any], limit: int) -> PartitionedOutput:
    """Return what a map task's values send to each partition."""
    rows = map_side.MapOutputBuffer(shuffle, limit)
    for value in values:
        if value is not None:
            rows.add(value)
    if rows.schema is None:
        return PartitionedOutput(None, (), 0, lambda offsets: Output("none"))
    schema, parts = rows.parts()
    counted = _Counted(parts)
    known = encoding.encode_schema(rows.schema), rows.rows, rows.heavy.encoded(), rows.sample()

    def describe(offsets: tuple[int, ...]) -> Output:
        return Output("parts", "table", 1, counted.rows, parts=Parts(offsets, *known))

    return PartitionedOutput(schema, counted, rows.nbytes, describe)


class _Counted:
    """Tables, and how many rows they had so far."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables, self.rows, self.count = tables, 0, 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._tables:
            self.rows += table.num_rows
            self.count += 1
            yield table


def shuffle_manifest(
    folder: RunFolder, shuffle: Shuffle, indices: Sequence[int], reading: Reading
) -> PartitionedOutput:
    """Return the manifest over the committed map tasks `indices`; notes the keys that stand out."""
    outputs = [commit.output for commit in _commits(folder, "map", indices)]
    rows = [output.parts.taken for output in outputs if output.parts]
    found = [output.parts.heavy for output in outputs if output.parts and output.parts.heavy]
    schema, parts = manifest.manifest(outputs, indices, shuffle)
    reading.heavy.update(skew.find_heavy_keys(found, shuffle.by, sum(rows)))
    known = encoding.encode_schema(schema)

    def describe(offsets: tuple[int, ...]) -> Output:
        return Output("parts", "table", 1, parts=Parts(offsets, known))

    return PartitionedOutput(schema, parts, 0, describe)


def _commits(folder: RunFolder, stage: str, indices: Iterable[int]) -> Iterator[Commit]:
    indices = list(indices)
    for index, commit in zip(indices, folder.commits(stage, indices), strict=True):
        if commit is None:
            raise StorageError(f"{folder.uri}: the commit of {stage} task {index} is gone")
        yield commit


def reduce_partition(
    folder: RunFolder,
    job: Job,
    stage: Stage,
    index: int,
    function: Callable[[Any], Any] | None,
    reading: Reading,
) -> PartitionedOutput:
    """Return the answer of partition `index`: `function` of its rows, or their aggregates."""
    assert job.shuffle is not None
    limit = memory_limit(stage)
    known, segments = _segments(folder, stage.inputs or "", index)
    size = sum(segment.length for segment in segments)
    reading.ranges = len(segments)
    # Without a row anywhere, one partition answers for the schema of the answer.
    if known.schema is None or not (segments or (index == 0 and not known.rows)):
        return PartitionedOutput(None, (), 0, lambda offsets: Output("none"))
    parts = _read(folder.store, job.shuffle, known, segments, limit, reading)
    ends = known.between(index)
    answers = reduce_side.reduce_partition(
        job.shuffle, function, known.schema, parts, size, limit, ends
    )
    return _sheets(answers, size if size > limit else 0)


def _sheets(answers: Iterator[pa.Table], size: int) -> PartitionedOutput:
    first = next(answers, None)
    if first is None:
        return PartitionedOutput(None, (), 0, lambda offsets: Output("none"))

    def tables() -> Iterator[pa.Table]:
        yield first
        yield from answers

    counted = _Counted(tables())
    size = max(size, first.nbytes)
    return PartitionedOutput(
        first.schema, counted, size, lambda offsets: Output("arrow", "table", 1, counted.rows)
    )


def _segments(
    folder: RunFolder, stage: str, index: int
) -> tuple[manifest.Outline, list[manifest.Segment]]:
    """Return what the manifest says of one partition."""
    (commit,) = _commits(folder, stage, [0])
    output, parts = commit.output, commit.output.parts
    assert parts is not None
    schema = encoding.decode_schema(parts.schema)
    known = manifest.read_outline(schema)
    start, stop = parts.offsets[index : index + 2]
    if start == stop:
        return known, []
    before, after = parts.checksums[index : index + 2] or (-1, -1)
    data = _range(folder.store, output.path or "", start, stop - start, before, after)
    return known, manifest.segments(part_files.read_part(data, schema), known)


def _range(store: Store, path: str, offset: int, length: int, before: int, after: int) -> pa.Buffer:
    """Return a checked range of a run's file; mapped into memory where the store is a path.

    The CRC-32 of the file up to the range is `before`, and with it `after`; -1 where unknown.
    """

    try:
        here = store.local_path(path)
        if here is not None:
            with pa.memory_map(here) as file:
                file.seek(offset)
                data = file.read_buffer(length)
        else:
            data = pa.py_buffer(store.read(path, offset, length))
    except FileNotFoundError as error:
        raise StorageError(f"{store.uri}/{path}: committed, but gone") from error
    if data.size != length:
        raise StorageError(
            f"{store.uri}/{path}: bytes {offset} to {offset + length} were committed, and "
            f"{data.size} of them are there"
        )
    if before >= 0 and zlib.crc32(data, before) != after:
        # The manifest names the files of the maps, and has to name that of another attempt.
        stages = dict.fromkeys((path.partition("/")[0], "manifest"))
        index = layout.index_of(path) or 0
        commits = [layout.commit(name, index if name == "map" else 0) for name in stages]
        raise StorageError(
            f"{store.uri}/{path}: bytes {offset} to {offset + length} are not what was committed; "
            f"to have its task run again, delete {' and '.join(commits)} in {store.uri} and resume "
            "the run"
        )
    return data


def _read(
    store: Store,
    shuffle: Shuffle,
    known: manifest.Outline,
    segments: Sequence[manifest.Segment],
    limit: int,
    reading: Reading,
) -> Iterator[pa.Table]:
    """Yield the rows of segments, in order and in one schema; over a network some are on their way
    meanwhile."""
    whole = map_side.sent_schema(known.schema, shuffle)

    def read(segment: manifest.Segment) -> tuple[manifest.Segment, pa.Buffer]:
        place = segment.path, segment.offset, segment.length
        return segment, _range(store, *place, segment.before, segment.after)

    for group in _groups(segments, limit):
        for segment, data in map_ahead(store, read, group):
            schema = map_side.sent_schema(segment.schema, shuffle)
            table = part_files.read_part(data, schema)
            reading.records += table.num_rows
            try:
                yield fit_to_schema(table, whole)
            except Misfit as error:
                column = map_side.rows_column(error.column, shuffle)
                raise manifest.misfit(error, column, segment.task, known) from error


def _groups(segments: Sequence[manifest.Segment], limit: int) -> Iterator[list[manifest.Segment]]:
    """Consecutive segments of about `limit` bytes together, at least one."""
    group: list[manifest.Segment] = []
    held = 0
    for segment in segments:
        if group and held + segment.length > limit:
            yield group
            group, held = [], 0
        group.append(segment)
        held += segment.length
    if group:
        yield group


def store_partitions(store: Store, sheets: PartitionedOutput, path: str, limit: int) -> Output:
    """Write tables to `path` as one Arrow file; through the local disk beyond `limit` bytes."""

    if sheets.schema is None:
        return sheets.describe(())
    if sheets.size <= limit:
        sink = pa.BufferOutputStream()
        offsets = part_files.write_parts(sink, sheets.schema, sheets.tables)
        payload = sink.getvalue()
        sums, crc32 = checksums.running_crc32(payload, offsets)
        size, etag = payload.size, store.write(path, payload)
    else:
        offsets, sums, size, crc32, etag = _through_disk(store, sheets, path)
    output = sheets.describe(offsets)
    parts = None if output.parts is None else replace(output.parts, checksums=sums)
    return replace(output, path=path, size=size, crc32=crc32, etag=etag, parts=parts)


def _through_disk(
    store: Store, sheets: PartitionedOutput, path: str
) -> tuple[tuple[int, ...], tuple[int, ...], int, int, str]:
    """Offsets and the checksums there, size, checksum and etag of a file."""

    try:
        handle, name = tempfile.mkstemp(prefix="mapred-")
    except OSError as error:
        raise part_files.cannot_spill(error) from error
    os.close(handle)
    try:
        with pa.OSFile(name, "wb") as sink:
            offsets = part_files.write_parts(sink, sheets.schema, sheets.tables)
        with pa.memory_map(name) as file:
            data = file.read_buffer()
            sums, crc32 = checksums.running_crc32(data, offsets)
            size = data.size
        etag = store.put_file(Path(name), path)
    except OSError as error:
        if failures.is_of_user(error):
            raise
        raise part_files.cannot_spill(error) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
    return offsets, sums, size, crc32, etag
