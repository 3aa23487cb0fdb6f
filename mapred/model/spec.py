"""The frozen values that everything else passes around, and their JSON both ways."""

from __future__ import annotations

import base64
import builtins
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from mapred.errors import PlanError, RecordError
from mapred.model import checksums
from mapred.model.coding import (
    ArrowSchema,
    Count,
    Inside,
    Moment,
    Seconds,
    StageName,
    Sum,
    Tasks,
    decode,
    encode,
)
from mapred.model.frozen import dataclass
from mapred.model.resources import Resources as Resources
from mapred.model.resources import Volume as Volume
from mapred.model.resources import parse_bytes as parse_bytes
from mapred.model.shuffle import Parts as Parts
from mapred.model.shuffle import Shuffle as Shuffle

if TYPE_CHECKING:
    import pyarrow as pa

    from mapred.model.failure import Failure, Retry

# What users write for the columns of a `Shuffle`.
By = str | Sequence[str]
SortBy = str | Sequence[str | tuple[str, str]]
_Function = str | tuple[str, Mapping[str, Any]]
_Named = tuple[str, str] | tuple[str, str, Mapping[str, Any]]
Aggregate = Mapping[str, _Function | _Named | Sequence[_Function]]


@dataclass(frozen=True)
class Format:
    """How a worker reads its ranges, and what it hands to the function.

    `as_` is one of `lines`, `byte_lines`, `strings` (pa.Array), `bytes` for text; `table`,
    `batches`, `pandas`, `polars` for the tabular formats; `file`, `bytes`, `path` for
    whole files; `item` or `keywords` for items. Names and types of `schema` are pinned on
    the client; `partitions` are those of its fields that come from `name=value` folders.
    `storage` is how the user's own file system is made, as `storage.filesystems` has it.

    `inferred` are the columns whose types come from values in a sample, `seen` the number of
    values for each. `missing_columns` is `error` or `null`,
    `extra_columns` `error` or `ignore`, `on_bad_rows` `error` or `skip`; `dtype_backend` says
    how Arrow types become pandas', "" for those that a frame came with. The rest are the
    dialect of a CSV file, as `read_csv` takes it.
    """

    name: str
    as_: str
    schema: pa.Schema | None = None
    columns: tuple[str, ...] | None = None
    filter: Any = None
    encoding: str = "utf-8"
    errors: str = "strict"
    compression: str | None = "infer"
    delimiter: str = ","
    quote: str = '"'
    header: bool | str = True
    newlines_in_values: bool = False
    null_values: tuple[str, ...] | None = None
    escape: str = ""
    decimal: str = "."
    thousands: str = ""
    skip_rows: int = 0
    comment: str = ""
    names: tuple[str, ...] | None = None
    true_values: tuple[str, ...] | None = None
    false_values: tuple[str, ...] | None = None
    date_formats: tuple[str, ...] | None = None
    on_bad_rows: str = "error"
    missing_columns: str = "error"
    extra_columns: str = "error"
    dtype_backend: str = "numpy_nullable"
    inferred: tuple[str, ...] = ()
    seen: tuple[int, ...] = ()
    partitions: tuple[str, ...] = ()
    storage: Mapping[str, Any] | None = None

    # A filter is left pickled: a run that is only looked at unpickles nothing.
    in_json: ClassVar[Mapping[str, Any]] = {
        "schema": ArrowSchema | None,
        "filter": builtins.bytes | None,
    }

    @property
    def predicate(self) -> Any:
        """The filter as the user gave it, unpickled where it came from JSON."""
        if not isinstance(self.filter, bytes):
            return self.filter
        import pickle

        return pickle.loads(self.filter)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The inferred columns for which the sample held no value: their type is unknown."""
        pairs = zip(self.inferred, self.seen, strict=True)
        return tuple(name for name, count in pairs if not count)

    @property
    def once_per_item(self) -> bool:
        """Whether the function is called for every item, not once for a shard."""
        return self.name in ("files", "items", "array")

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(
            dataclasses.replace(self, schema=None, filter=None),
        )
        if self.schema is not None:
            values["schema"] = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        if self.filter is not None:
            import pickle

            filter_ = self.filter if isinstance(self.filter, bytes) else pickle.dumps(self.filter)
            values["filter"] = base64.b64encode(filter_).decode()
        return values


@dataclass(frozen=True)
class Stage:
    """One level of a run: `map`, or a `reduce-N` over the outputs of the stage before it.

    A keyed reduce has a `manifest` of one task, then a `shuffle` of a task a partition.
    Task *i* of a reduce takes the outputs of the input tasks `i * fan_in` up to
    `(i + 1) * fan_in`; `fan_in` of None takes all of them. `seconds`, an attempt's limit.
    """

    name: StageName
    kind: Literal["map", "reduce", "manifest", "shuffle"]
    tasks: Tasks
    inputs: StageName | None = None
    input_tasks: Tasks = 0
    fan_in: Tasks | None = None
    last: bool = False
    check: bool = False
    resources: Resources = field(default_factory=Resources)

    def input_range(self, index: int) -> range:
        """The indices of the tasks whose outputs task `index` reduces."""
        if self.fan_in is None:
            return range(self.input_tasks)
        return range(index * self.fan_in, min((index + 1) * self.fan_in, self.input_tasks))


@dataclass(frozen=True)
class Job:
    """The immutable specification of a run; `job.json` is its JSON.

    `digests` maps every file that a worker loads to its SHA-256; the digest of `job.json`
    itself travels with the engine. `max_failed` is a count or a fraction below 1; a process
    runs at most `max_tasks_per_worker` tasks; `write` says where map tasks write their tables, as
    `writing.Target` has it. `retry_on` and `no_retry_on` hold names of exception classes with
    their modules, and exit statuses. `task_parameters` are those of the function that receive the
    task. `submitted` is seconds since the epoch, and so is `deadline_since`, from which
    `deadline` counts (0: the submission); `parameters` are typed as `parameters.to_json` does it;
    `code` tells of every function of the run, by its path, where it came from (`origins.Origin`).
    """

    run_id: str
    name: str
    created: Moment
    format: Format
    stages: tuple[Stage, ...]
    shards: Tasks
    items: Count
    files: Count
    bytes: Count
    function: Inside
    task_parameters: tuple[str, ...] | None = None
    reduce: Inside | None = None
    modules: Inside | None = None
    shuffle: Shuffle | None = None
    seed: int = 0
    attempts: Count = 3
    retry_on: tuple[str | int, ...] | None = None
    no_retry_on: tuple[str | int, ...] = ()
    timeout: Seconds | None = None
    deadline: Seconds | None = None
    deadline_since: Seconds = 0.0
    max_failed: float = 0
    max_tasks_per_worker: Count | None = None
    workdir: str | None = None
    write: Mapping[str, Any] | None = None
    backend: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    mapred: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    submitted: Seconds = 0.0
    dataset: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    code: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PlanError(f"run {self.run_id} has no stage {name!r}")

    def function_of(self, stage: Stage) -> str:
        """The path of the function that the tasks of a stage call."""
        folds = stage.kind in ("reduce", "shuffle")
        return self.reduce if folds and self.reduce else self.function

    def python_of(self, path: str) -> str:
        """The version of Python that pickled the function at a path."""
        return str(self.code.get(path, {}).get("python") or self.python)

    @property
    def failures_allowed(self) -> int:
        """How many shards (items, where the function runs once per item) may be given up."""
        total = self.items if self.format.once_per_item else self.shards
        return int(self.max_failed * total) if self.max_failed < 1 else int(self.max_failed)

    def to_bytes(self) -> builtins.bytes:
        return encode(self, indent=1)

    @classmethod
    def from_bytes(cls, data: builtins.bytes, where: str = "job.json") -> Job:
        """The job in a job.json, whose place is `where`; a `RecordError` if there is none."""
        job = decode(cls, data, where)
        names = [stage.name for stage in job.stages]
        inputs = {stage.inputs for stage in job.stages} - {None}
        if names[:1] != ["map"] or len(set(names)) < len(names) or not inputs.issubset(names):
            raise RecordError(f"{where}: stages must be map and others, each with its input")
        if any(stage.kind in ("manifest", "shuffle") for stage in job.stages) and not job.shuffle:
            raise RecordError(f"{where}: shuffle is missing, and a stage needs it")
        if job.stages[0].tasks != job.shards:
            raise RecordError(
                f"{where}: shards must be {job.stages[0].tasks}, the tasks of the first stage, "
                f"and is {job.shards}"
            )
        return job


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
        return checksums.sealed(encode(self))

    @classmethod
    def from_bytes(cls, data: builtins.bytes, where: str = "a commit") -> Commit:
        """The commit in a file, whose place is `where`; a `RecordError` if there is none."""
        return decode(cls, data, where)


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


@dataclass(frozen=True)
class StageStatus:
    """Progress of one stage, in tasks.

    `given_up` counts the tasks of which nothing is left, and `given_up_items` the items given
    up in all tasks, those that are done otherwise among them.
    """

    name: str
    total: int
    done: int = 0
    running: int = 0
    failed: int = 0
    given_up: int = 0
    given_up_items: int = 0


@dataclass(frozen=True)
class TaskTime:
    """When one task ran, for a timeline: `started` in seconds since the epoch."""

    stage: str
    task: int
    started: float
    seconds: float
    worker: str
    bytes: int = 0
    peak_memory: int = 0


@dataclass(frozen=True, repr=False)
class RunStatus:
    """What is known of a run at one moment.

    `state` is `running`, `succeeded`, `failed`, `cancelled`, `suspended` or `interrupted`
    (no last word was written, and nothing runs); on a cluster also `queued` (none of its pods
    runs, and some wait for their turn since `queued_since`; `message` says for what) or
    `unknown` (what the cluster says cannot be read). Times are seconds since the epoch: `started`
    is the submission, and nothing worked in the `pauses`. `records` leaves out what was given up;
    `skipped` counts malformed rows that were left out; `heavy`
    estimates the rows of the keys that stand out; `retries` are failed attempts at tasks that
    succeeded later.
    """

    run_id: str
    uri: str
    name: str
    state: str
    stages: tuple[StageStatus, ...]
    started: float
    finished: float | None = None
    bytes: int = 0
    bytes_done: int = 0
    records: int = 0
    skipped: int = 0
    message: str = ""
    counters: Mapping[str, float] = field(default_factory=dict)
    heavy: Mapping[str, int] = field(default_factory=dict)
    given_up: GivenUp = field(default_factory=GivenUp)
    times: tuple[TaskTime, ...] = ()
    failures: tuple[Failure, ...] = ()
    pauses: tuple[tuple[float, float], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    retries: tuple[Retry, ...] = ()
    queued_since: float | None = None

    @property
    def live(self) -> bool:
        """Whether the run goes on by itself, as far as is known."""
        return self.state in ("running", "queued", "unknown")

    def __repr__(self) -> str:
        done = ", ".join(f"{stage.done} of {stage.total} {stage.name}" for stage in self.stages)
        return f"<RunStatus of {self.run_id}: {self.state}, {done}>"
