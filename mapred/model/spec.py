"""What a run is made of, as the client decides it once: how to read, in what stages, with what."""

from __future__ import annotations

import base64
import builtins
import dataclasses
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mapred.errors import PlanError, RecordError
from mapred.model.coding import decode, encode
from mapred.model.fields import ArrowSchema, Count, Inside, Moment, Seconds, StageName, Tasks
from mapred.model.frozen import dataclass
from mapred.model.resources import Resources
from mapred.model.shuffle import Shuffle
from mapred.process.lazy import Lazy

if TYPE_CHECKING:
    import pyarrow as pa

pickle = Lazy("pickle")  # few jobs have a filter


@dataclass(frozen=True)
class RunReference:
    """A run whose outputs a dataset has: where it lies, and its id.

    Once that is planned, `code` has the path and the SHA-256 of the modules that its values refer
    to, and `tables` says whether all of these are tables.
    """

    uri: str
    run_id: str
    code: Mapping[Inside, str] = field(default_factory=dict)
    tables: bool = False

    def to_json(self) -> dict[str, Any]:
        return vars(self)


@dataclass(frozen=True)
class Format:
    """How a worker reads its ranges, and what it hands to the function.

    `as_` is one of `lines`, `byte_lines`, `strings` (pa.Array), `bytes` for text; `table`,
    `batches`, `pandas`, `polars` for the tabular formats; `file`, `bytes`, `path` for
    whole files; `item` or `keywords` for items; `item`, `table`, `pandas`, `polars` for outputs. Names and types of `schema` are pinned on
    the client; `partitions` are those of its fields that come from `name=value` folders.
    `storage` is how the user's own file system is made, as `storage.filesystems` has it; `runs` are
    those that returned the values, or wrote the files.

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
    runs: tuple[RunReference, ...] = ()

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
        return pickle.loads(self.filter)

    @property
    def undecided(self) -> tuple[str, ...]:
        """The inferred columns for which the sample held no value: their type is unknown."""
        pairs = zip(self.inferred, self.seen, strict=True)
        return tuple(name for name, count in pairs if not count)

    @property
    def once_per_item(self) -> bool:
        """Whether the function is called for every item, not once for a shard."""
        return self.name in ("files", "items", "array", "outputs")

    @property
    def has_tables(self) -> bool:
        """Whether all outputs of the runs are tables."""
        return bool(self.runs) and all(run.tables for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        values = dataclasses.asdict(
            dataclasses.replace(self, schema=None, filter=None),
        )
        if not self.runs:
            del values["runs"]
        if self.schema is not None:
            values["schema"] = base64.b64encode(self.schema.serialize().to_pybytes()).decode()
        if self.filter is not None:
            filter_ = self.filter if isinstance(self.filter, bytes) else pickle.dumps(self.filter)
            values["filter"] = base64.b64encode(filter_).decode()
        return values


@dataclass(frozen=True)
class Stage:
    """One level of a run: `map`, or a `reduce-N` over the outputs of the stage before it.

    A keyed reduce has a `manifest` of one task, then a `shuffle` of a task a partition.
    Task *i* of a reduce takes the outputs of the input tasks `i * fan_in` up to
    `(i + 1) * fan_in`; `fan_in` of None takes all of them.
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
        """Return the indices of the tasks whose outputs task `index` reduces."""
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
    `code` tells of every function of the run, by its path, where it came from (`origins.Origin`);
    `pipeline` is the id of the pipeline that it does a step of, which lies below the same root.
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
    pipeline: str = ""

    def stage(self, name: str) -> Stage:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PlanError(f"run {self.run_id} has no stage {name!r}")

    def function_of(self, stage: Stage) -> str:
        """Return the path of the function that the tasks of a stage call."""
        folds = stage.kind in ("reduce", "shuffle")
        return self.reduce if folds and self.reduce else self.function

    def python_of(self, path: str) -> str:
        """Return the version of Python that pickled the function at a path."""
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
        """Return the job in a job.json, whose place is `where`; a `RecordError` if there is none."""
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
