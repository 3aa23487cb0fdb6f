"""What became of tasks: the commit of each, where its values are, and what a run goes without."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, NamedTuple

from mapred.model import checksums
from mapred.model.coding import decode, encode
from mapred.model.failure import Failure
from mapred.model.fields import Count, Inside, Seconds, StageName, Sum, Tasks
from mapred.model.frozen import dataclass
from mapred.model.packs import Pack
from mapred.model.shuffle import Parts


@dataclass(frozen=True)
class Output:
    """Where a task's values are. `kind`: `arrow`, `parts`, `pickle`, `inline` or `none`.

    `count` values lie in `path` (`size` bytes with checksum `crc32`, and the store's own `etag`
    where it tells one), or, small ones, base64-encoded in `inline`. `type` is what the function returned: `table`, `pandas`,
    `polars`, `batch` or `object`.
    """

    kind: Literal["arrow", "parts", "pickle", "inline", "none"]
    type: str = "object"
    count: Count = 0
    rows: Count = 0
    path: Inside | None = None
    size: Count = 0
    crc32: Count = 0
    etag: str = ""
    inline: str | None = None
    parts: Parts | None = None


@dataclass(frozen=True)
class StoredFile:
    """A file that a task wrote by `task.output(name)`."""

    name: str
    path: Inside
    size: Count
    crc32: Count
    etag: str = ""


class Span(NamedTuple):
    """The bytes `start` to `stop` that a reader really took for range number `range`.

    Listed only where they differ from the planned range: the first and last line of a cut.
    """

    range: Count
    start: Count
    stop: Count


@dataclass(frozen=True)
class Commit:
    """The record that makes one attempt's output the task's output.

    `records` counts lines, rows or items read, `skipped` the rows that the reader left out as
    malformed; `ranges` the ranges read to their end; `spans` the ranges whose bytes differ from
    the plan; `units` the row groups or record batches that were read or pruned; `seconds` is
    wall time, `peak_memory` bytes resident; `heavy` estimates the rows of keys that stand out,
    of a manifest alone.
    """

    stage: StageName
    task: Tasks
    attempt: str
    function: str
    output: Output
    files: tuple[StoredFile, ...] = ()
    records: Count = 0
    skipped: Count = 0
    bytes: Count = 0
    ranges: Count = 0
    spans: tuple[Span, ...] = ()
    units: Count = 0
    started: Seconds = 0.0
    seconds: Seconds = 0.0
    peak_memory: Count = 0
    counters: Mapping[str, Sum] = field(default_factory=dict)
    heavy: Mapping[str, Count] = field(default_factory=dict)
    worker: str = ""

    def to_bytes(self) -> builtins.bytes:
        return checksums.add_seal(encode(self))

    @classmethod
    def from_bytes(cls, data: builtins.bytes, where: str = "a commit") -> Commit:
        """Return the commit in a file, whose place is `where`; a `RecordError` if there is none."""
        return decode(cls, data, where)


class Block(NamedTuple):
    """Tasks of one stage that a driver has a worker run, one after the other.

    `uri` and `digest` (of its job.json) name the run; `attempt` counts from 1. A reduce that is to
    `follow` waits for inputs that are not committed yet, as its driver sees to it that they will
    be. Tasks that are `fresh` had neither a commit nor kept values a moment ago: nobody asks again,
    since the commit decides. `pack` says whose turn it is in a task whose items failed.
    """

    uri: str
    digest: str
    stage: str
    tasks: Sequence[int]
    attempt: int = 1
    follow: bool = False
    fresh: bool = False
    pack: Pack | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one task: its commit (its own or its twin's), or why it has none.

    `more` says of a task without one whether it has items that another attempt is to call.
    """

    task: int
    commit: Commit | None = None
    failure: Failure | None = None
    more: bool = False


@dataclass(frozen=True)
class GivenUp:
    """What a run goes without, within max_failed: items, or shards where there are no items.

    `what` is `item` or `shard`; `lost` names those of each map task that lost any (a shard is
    its own), and `kept` says how many of its items are left.
    """

    what: str = "shard"
    lost: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    kept: Mapping[int, int] = field(default_factory=dict)

    @property
    def indices(self) -> tuple[int, ...]:
        """The items or shards that were given up, in plan order."""
        return tuple(index for task in sorted(self.lost) for index in sorted(self.lost[task]))

    @property
    def tasks(self) -> frozenset[int]:
        """The map tasks of which nothing is left."""
        return frozenset(task for task, left in self.kept.items() if not left)
