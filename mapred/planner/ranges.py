"""A plan as values: its ranges as a few arrays, and their rows as a table.

A worker reads such rows before anything else, so nothing here may load pandas, which
`pyarrow.dataset`, `pyarrow.compute` and `to_numpy` would.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from mapred.arrow.buffers import from_arrow, to_arrow
from mapred.errors import PlanError
from mapred.model.frozen import dataclass
from mapred.process.lazy import pa

if TYPE_CHECKING:
    import numpy.typing as npt

Ints: TypeAlias = "npt.NDArray[np.int64]"


class Skew(NamedTuple):
    """Sizes of the shards: in bytes, or in items where a plan has no bytes."""

    smallest: int
    median: int
    largest: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Every range of every shard.

    Range *r* is `length[r]` bytes from `offset[r]` of row `file[r]` of `listing`, and holds
    `count[r]` items from item `first[r]` on (`first` is the file's number and `count` 0 for
    ranges of bytes). Shard *i* is the ranges `starts[i]` to `starts[i + 1]`.

    `limit` names what chose the number of shards; `target_bytes` is the size in use (None
    for items). `unsplittable_files` and `_bytes` count the files that may not be cut.
    """

    listing: pa.Table = field(repr=False)
    file: Ints = field(repr=False)
    offset: Ints = field(repr=False)
    length: Ints = field(repr=False)
    first: Ints = field(repr=False)
    count: Ints = field(repr=False)
    starts: Ints = field(repr=False)
    limit: str
    bytes: int
    items: int
    files: int
    target_bytes: int | None = None
    unsplittable_files: int = 0
    unsplittable_bytes: int = 0
    unsplittable_reason: str = ""

    @property
    def shards(self) -> int:
        return len(self.starts) - 1

    @property
    def ranges(self) -> int:
        return len(self.file)

    def shard_bytes(self) -> Ints:
        """Return the bytes of each shard, in order; zeros for an array."""
        return np.add.reduceat(self.length, self.starts[:-1])

    def shard_items(self) -> Ints:
        """Return the items of each shard, in order; zeros for ranges of bytes."""
        return np.add.reduceat(self.count, self.starts[:-1])

    def shard_sizes(self) -> Ints:
        """Return the size of each shard, in order: its bytes, or its items where no file is read."""
        return self.shard_bytes() if self.files and self.bytes else self.shard_items()

    @property
    def skew(self) -> Skew:
        """The smallest, median and largest of the shards' sizes."""
        sizes = self.shard_sizes()
        return Skew(int(sizes.min()), int(np.median(sizes)), int(sizes.max()))

    def largest_files(self, most: int = 5) -> tuple[tuple[str, int], ...]:
        """Return the largest files as `(path, bytes)`, largest first; none for items."""
        if not self.files:
            return ()
        sizes = sizes_of(self.listing)
        most = min(most, len(sizes))
        top = np.argpartition(sizes, len(sizes) - most)[len(sizes) - most :]
        top = top[np.lexsort((top, -sizes[top]))]
        return tuple((self.listing["path"][int(i)].as_py(), int(sizes[i])) for i in top)

    def shard_ranges(self, shard: int) -> pa.Table:
        """Return the ranges of one shard, with the columns of a plan file."""
        if not 0 <= shard < self.shards:
            raise PlanError(f"shard {shard} is not in the plan: it has {self.shards}")
        return rows(self, shard, shard + 1)


def sizes_of(files: pa.Table) -> Ints:
    """Return the sizes of a listing, without a copy where it is one chunk."""
    column = files["size"]
    if not len(column):
        raise PlanError("the dataset has no files: there is nothing to plan")
    if column.null_count:
        missing = column.is_null().index(True).as_py()
        raise PlanError(f"{files['path'][missing]}: its size is unknown, so it cannot be planned")
    sizes: Ints = from_arrow(column).astype(np.int64, copy=False)
    if int(sizes.min()) < 0:
        negative = int(sizes.argmin())
        raise PlanError(f"{files['path'][negative]}: a size of {sizes[negative]} bytes")
    return sizes


def plan_schema() -> pa.Schema:
    """Return the columns of a plan file, one row per range."""
    return pa.schema(
        {
            "shard": pa.int64(),
            "path": pa.large_string(),
            "offset": pa.int64(),
            "length": pa.int64(),
            "size": pa.int64(),
            "etag": pa.string(),
            "first": pa.int64(),
            "count": pa.int64(),
        }
    )


def rows(plan: Plan, shard: int, stop: int) -> pa.Table:
    """Return the rows of the shards up to `stop`, as they stand in a plan file."""
    starts = plan.starts[shard : stop + 1]
    here = slice(int(starts[0]), int(starts[-1]))
    file = plan.file[here]
    head = int(file[0])
    listing = plan.listing.slice(head, int(file[-1]) + 1 - head)
    if len(listing) != len(file):
        listing = _take_rows(listing, file - head)
    columns = {
        "shard": to_arrow(np.repeat(np.arange(shard, stop, dtype=np.int64), np.diff(starts))),
        "path": listing["path"],
        "offset": to_arrow(plan.offset[here]),
        "length": to_arrow(plan.length[here]),
        "size": listing["size"],
        "etag": listing["etag"],
        "first": to_arrow(plan.first[here]),
        "count": to_arrow(plan.count[here]),
    }
    table, schema = pa.table(columns), plan_schema()
    return table if table.schema == schema else table.cast(schema)  # which loads pyarrow.compute


def _take_rows(listing: pa.Table, file: Ints) -> pa.Table:
    """Return the rows of a listing at the places `file`."""
    if len(listing) > 1:
        return listing.take(to_arrow(file))  # which loads pyarrow.compute
    columns = {name: pa.repeat(listing[name][0], len(file)) for name in listing.column_names}
    return pa.table(columns)
