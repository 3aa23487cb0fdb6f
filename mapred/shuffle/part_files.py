"""Files of partition-ordered batches: written by one task, read by many, a range each."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mapred.arrow.buffers import to_arrow
from mapred.errors import StorageError
from mapred.process.lazy import pa
from mapred.shuffle.hashing import Hashes, partition_numbers
from mapred.shuffle.schemas import fit_to_schema
from mapred.storage.local import temporary_failure

if TYPE_CHECKING:
    import numpy.typing as npt


_MAGIC = len(b"ARROW1\0\0")


class Parts(Protocol):
    """Rows in the order of their partitions."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...

    @property
    def count(self) -> int: ...
    def part(self, number: int) -> pa.Table: ...


@dataclass(frozen=True)
class MemoryParts:
    """Parts in memory: those of partition `p` are rows `bounds[p]` to `bounds[p + 1]`."""

    table: pa.Table
    bounds: npt.NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        return int(self.table.nbytes)

    @property
    def count(self) -> int:
        return len(self.bounds) - 1

    def part(self, number: int) -> pa.Table:
        start, stop = self.bounds[number : number + 2].tolist()
        return self.table.slice(start, stop - start)


@dataclass(frozen=True)
class SpilledParts:
    """Parts on the local disk, in a file without a name that goes when its process does."""

    data: pa.Buffer
    offsets: tuple[int, ...]
    schema: pa.Schema

    @property
    def nbytes(self) -> int:
        return 0

    @property
    def count(self) -> int:
        return len(self.offsets) - 1

    def part(self, number: int) -> pa.Table:
        start, stop = self.offsets[number : number + 2]
        return read_part(self.data.slice(start, stop - start), self.schema)


def order_by_partition(
    table: pa.Table, hashes: Hashes, partitions: int, level: int = 0
) -> MemoryParts:
    """Return the rows of a table by partition, those of each in the order they came."""
    if partitions == 1:
        return MemoryParts(table, np.array([0, table.num_rows]))
    numbers = partition_numbers(hashes, partitions, level)
    counts = np.bincount(numbers, minlength=partitions)
    order = np.argsort(numbers, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(counts)])
    return MemoryParts(table.combine_chunks().take(to_arrow(order)), bounds)


def spill(held: MemoryParts) -> SpilledParts:
    """Put parts on the local disk; read, they are mapped into memory."""
    schema = held.table.schema
    try:
        with tempfile.TemporaryFile() as file, pa.PythonFile(file, mode="w") as sink:
            offsets = write_parts(sink, schema, map(held.part, range(held.count)))
            file.flush()
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise cannot_spill(error) from error
    return SpilledParts(pa.py_buffer(data), offsets, schema)


def cannot_spill(error: OSError) -> StorageError:
    """Return what to say where the local disk refuses what does not fit into memory."""
    return temporary_failure("spill to", error, ", or give tasks more memory or more partitions")


def write_parts(sink: Any, schema: pa.Schema, parts: Iterable[pa.Table]) -> tuple[int, ...]:
    """Write an Arrow file of partition-ordered batches; where each part begins, and the end."""
    with pa.ipc.new_file(sink, schema) as writer:
        # The head of the file may not be written before its first batch.
        offsets = [_MAGIC]
        for part in parts:
            if part.num_rows:
                writer.write_table(fit_to_schema(part, schema).combine_chunks())
            offsets.append(max(sink.tell(), _MAGIC))
    return tuple(offsets)


def read_part(data: pa.Buffer, schema: pa.Schema) -> pa.Table:
    """Return the batches that lie in `data`, a range of a file that `write_parts` wrote."""
    batches = []
    with pa.BufferReader(data) as source:
        while source.tell() < data.size:
            message = pa.ipc.read_message(source)
            if message.type == "record batch":
                batches.append(pa.ipc.read_record_batch(message, schema))
    return pa.Table.from_batches(batches, schema)


def concat_with_schema(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Tables one below the other, in one schema."""
    if not tables:
        return pa.Table.from_batches([], schema)
    return pa.concat_tables([fit_to_schema(table, schema) for table in tables])
