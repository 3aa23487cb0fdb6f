"""The stages of a keyed reduce in a worker: what maps send, the manifest, a partition."""

from __future__ import annotations

import itertools
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mapred.arrow import encoding
from mapred.errors import StorageError
from mapred.formats import Reading
from mapred.model import checksums, layout
from mapred.model.records import Commit, Output
from mapred.model.shuffle import Parts, Shuffle
from mapred.model.spec import Stage
from mapred.process.lazy import pa
from mapred.runfolder import failures
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.outputs import explain_missing
from mapred.shuffle import manifest, map_side, part_files, reduce_side, skew
from mapred.shuffle.schemas import Misfit, fit_to_schema
from mapred.storage import Store, map_ahead
from mapred.worker.attempt import Attempt

MEMORY = 512 * 2**20
_MEMORY_SHARE = 4


@dataclass(frozen=True)
class PartitionedOutput:
    """Tables that become one Arrow file of about `size` bytes.

    `describe` makes its output, given the offset of each part; `schema` is None if there is no
    table.
    """

    schema: pa.Schema | None
    tables: Iterable[pa.Table]
    size: int
    describe: Callable[[tuple[int, ...]], Output]


def _nothing() -> PartitionedOutput:
    return PartitionedOutput(None, (), 0, lambda offsets: Output("none"))


def memory_limit(stage: Stage) -> int:
    """Return how many bytes of rows a task holds before it spills to the disk."""
    memory = stage.resources.memory_bytes
    return MEMORY if memory is None else max(1, memory // _MEMORY_SHARE)


def partition_map_output(shuffle: Shuffle, values: Iterable[Any], limit: int) -> PartitionedOutput:
    """Return what a map task's values send to each partition."""
    rows = map_side.MapOutputBuffer(shuffle, limit)
    for value in values:
        if value is not None:
            rows.add(value)
    if rows.schema is None:
        return _nothing()
    schema, parts = rows.parts()
    counted = _Counted(parts)
    summary = encoding.encode_schema(rows.schema), rows.rows, rows.heavy.encoded(), rows.sample()

    def describe(offsets: tuple[int, ...]) -> Output:
        return Output("parts", "table", 1, counted.rows, parts=Parts(offsets, *summary))

    return PartitionedOutput(schema, counted, rows.nbytes, describe)


class _Counted:
    """Counts the rows of tables while they are iterated."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables, self.rows = tables, 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._tables:
            self.rows += table.num_rows
            yield table


def shuffle_manifest(
    folder: RunFolder, shuffle: Shuffle, indices: Sequence[int], reading: Reading
) -> PartitionedOutput:
    """Return the manifest of the committed map tasks `indices`, and note the heavy keys."""
    outputs = [commit.output for commit in _commits(folder, "map", indices)]
    parts = [output.parts for output in outputs if output.parts]
    schema, tables = manifest.manifest(outputs, indices, shuffle)
    heavy = [part.heavy for part in parts if part.heavy]
    reading.heavy.update(skew.find_heavy_keys(heavy, shuffle.by, sum(p.taken for p in parts)))
    encoded = encoding.encode_schema(schema)

    def describe(offsets: tuple[int, ...]) -> Output:
        return Output("parts", "table", 1, parts=Parts(offsets, encoded))

    return PartitionedOutput(schema, tables, 0, describe)


def _commits(folder: RunFolder, stage: str, indices: Iterable[int]) -> Iterator[Commit]:
    indices = list(indices)
    for index, commit in zip(indices, folder.commits(stage, indices), strict=True):
        if commit is None:
            raise StorageError(f"{folder.uri}: the commit of {stage} task {index} is gone")
        yield commit


def reduce_partition(
    attempt: Attempt, shuffle: Shuffle, function: Callable[[Any], Any] | None
) -> PartitionedOutput:
    """Return the answer of a task's partition: `function` of its rows, or their aggregates."""
    folder, stage, index = attempt.run.folder, attempt.stage, attempt.index
    limit = memory_limit(stage)
    outline, segments = _segments(folder, stage.inputs or "", index)
    size = sum(segment.length for segment in segments)
    attempt.reading.ranges = len(segments)
    # If there are no rows at all, one partition has to give the schema of the answer.
    if outline.schema is None or not (segments or (index == 0 and not outline.rows)):
        return _nothing()
    parts = _read(folder.store, shuffle, outline, segments, limit, attempt.reading)
    answers = reduce_side.reduce_partition(
        shuffle, function, outline.schema, parts, size, limit, outline.between(index)
    )
    # The first table tells the schema of all.
    first = next(answers, None)
    if first is None:
        return _nothing()
    counted = _Counted(itertools.chain([first], answers))
    size = max(size if size > limit else 0, first.nbytes)
    return PartitionedOutput(
        first.schema, counted, size, lambda offsets: Output("arrow", "table", 1, counted.rows)
    )


def _segments(
    folder: RunFolder, stage: str, index: int
) -> tuple[manifest.Outline, list[manifest.Segment]]:
    """Return the manifest's outline, and its segments of one partition."""
    (commit,) = _commits(folder, stage, [0])
    output, parts = commit.output, commit.output.parts
    assert parts is not None
    schema = encoding.decode_schema(parts.schema)
    outline = manifest.read_outline(schema)
    start, stop = parts.offsets[index : index + 2]
    if start == stop:
        return outline, []
    before, after = parts.checksums[index : index + 2] or (-1, -1)
    data = _range(folder.store, output.path or "", start, stop - start, before, after)
    return outline, manifest.segments(part_files.read_part(data, schema), outline)


def _range(store: Store, path: str, offset: int, length: int, before: int, after: int) -> pa.Buffer:
    """Return a checked range of a run's file, mapped into memory if the store is a path.

    The CRC-32 of the file is `before` up to the range, and `after` with it; -1 if unknown. Since
    a CRC-32 continues from any prefix, each range of a file can be checked by itself.
    """
    with explain_missing(store, path):
        here = store.local_path(path)
        if here is not None:
            with pa.memory_map(here) as file:
                file.seek(offset)
                data = file.read_buffer(length)
        else:
            data = pa.py_buffer(store.read(path, offset, length))
    if data.size != length:
        raise StorageError(
            f"{store.uri}/{path}: bytes {offset} to {offset + length} were committed, and "
            f"{data.size} of them are there"
        )
    if before >= 0 and zlib.crc32(data, before) != after:
        # The next attempt at the map writes another file, which the manifest has to name: it
        # runs again too.
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
    outline: manifest.Outline,
    segments: Sequence[manifest.Segment],
    limit: int,
    reading: Reading,
) -> Iterator[pa.Table]:
    """Yield the rows of segments, in order and in one schema."""
    whole = map_side.sent_schema(outline.schema, shuffle)

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
                raise manifest.misfit(error, column, segment.task, outline) from error


def _groups(segments: Sequence[manifest.Segment], limit: int) -> Iterator[list[manifest.Segment]]:
    """Yield consecutive segments of up to `limit` bytes together, at least one."""
    # `map_ahead` fetches segments before they are wanted: a group bounds what it may hold.
    group: list[manifest.Segment] = []
    size = 0
    for segment in segments:
        if group and size + segment.length > limit:
            yield group
            group, size = [], 0
        group.append(segment)
        size += segment.length
    if group:
        yield group


def store_partitions(store: Store, parts: PartitionedOutput, path: str, limit: int) -> Output:
    """Write tables to `path` as one Arrow file, on the local disk first if beyond `limit` bytes."""
    if parts.schema is None:
        return parts.describe(())
    if parts.size <= limit:
        sink = pa.BufferOutputStream()
        offsets = part_files.write_parts(sink, parts.schema, parts.tables)
        payload = sink.getvalue()
        sums, crc32 = checksums.running_crc32(payload, offsets)
        size, etag = payload.size, store.write(path, payload)
    else:
        offsets, sums, size, crc32, etag = _through_disk(store, parts, path)
    output = parts.describe(offsets)
    described = None if output.parts is None else replace(output.parts, checksums=sums)
    return replace(output, path=path, size=size, crc32=crc32, etag=etag, parts=described)


def _through_disk(
    store: Store, parts: PartitionedOutput, path: str
) -> tuple[tuple[int, ...], tuple[int, ...], int, int, str]:
    """Return offsets and the checksums there, size, checksum and etag of a file."""
    try:
        with tempfile.TemporaryDirectory(prefix="mapred-") as folder:
            local = Path(folder, "parts.arrow")
            with pa.OSFile(str(local), "wb") as sink:
                offsets = part_files.write_parts(sink, parts.schema, parts.tables)
            with pa.memory_map(str(local)) as file:
                data = file.read_buffer()
                sums, crc32 = checksums.running_crc32(data, offsets)
                size = data.size
            return offsets, sums, size, crc32, store.put_file(local, path)
    except OSError as error:
        if failures.is_of_user(error):
            raise
        raise part_files.cannot_spill(error) from error
