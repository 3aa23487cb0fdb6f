"""The options of a job, in one place: their names, what each may be, and the defaults.

A new option is a field of `Options` and, with what users may write for it, of `JobOptions`; with
`_cli_field` as its default it is one of the command line as well. `mapred.run` documents them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from mapred import writing
from mapred.engine.base import Backend
from mapred.errors import BackendError, FunctionError, PlanError, ReduceError
from mapred.model import checking, retries, rules
from mapred.model.frozen import dataclass
from mapred.model.resources import Resources
from mapred.model.retries import Retried
from mapred.model.rules import (
    DURATION,
    MAX_FAILED,
    Duration,
    FolderMode,
    FromOne,
    FromZero,
    Location,
    Rule,
    Size,
    Unfit,
    between,
    one_of,
)
from mapred.model.shuffle import Aggregate, By, SortBy
from mapred.reducers import Reducer, as_reducer
from mapred.writing.target import Target

if TYPE_CHECKING:
    from mapred.model.shuffle import Shuffle

Reduce = Callable[..., Any] | Reducer
Progress = Annotated[str, one_of("auto", "bar", "plain", "jupyter", "none", error=PlanError)]


class PlanOptions(TypedDict, total=False):
    """What cuts a dataset into shards."""

    target_bytes: Size | None
    max_tasks: int | None
    per_task: int | None


class ResumeOptions(TypedDict, total=False):
    """What a run may change when it is resumed."""

    reduce: Reduce | None
    attempts: int
    timeout: Duration | None
    deadline: Duration | None
    max_failed: float | str
    resources: Resources | None
    reduce_resources: Resources | None


class JobOptions(PlanOptions, ResumeOptions, total=False):
    """What users may write for each of the `Options`; `mapred.run` says what they mean."""

    fan_in: int | None
    finalize: Callable[[Any], Any] | None
    by: By | None
    aggregate: Aggregate | None
    sort_by: SortBy | None
    partitions: int | None
    write: Target | None
    retry_on: Retried | None
    no_retry_on: Retried | None
    max_tasks_per_worker: int | None
    seed: int | None
    name: str | None


class StartOptions(TypedDict, total=False):
    """What users may write for each field of `Destination`."""

    backend: str | Backend | Executor
    root: Location | None
    mode: FolderMode | None


class RunOptions(JobOptions, StartOptions, total=False):
    """The options of a job and of its start."""


_DEFAULT = Resources()
_MAX_PARTITIONS = 1 << 16


def _cli_field(default: Any, metavar: str, help: str) -> Any:
    """Return the field of an option that the command line has as well."""
    return field(default=default, metadata={"metavar": metavar, "help": help})


def _or_default(kind: type, fits: str, default: Callable[[], Any]) -> Rule:
    """Return a rule for one of `kind`, or None for the default."""

    def read(value: Any) -> Any:
        if not isinstance(value, kind | None):
            raise Unfit
        return default() if value is None else value

    return Rule(fits, read)


# `reducers` and `shuffle.arguments` check what depends on other options as well.
_CHECKED_LATER = Rule("", lambda value: value)
_Reduce = Annotated[Reduce, _CHECKED_LATER]
_FanIn = Annotated[int, between(2, error=ReduceError)]
_Finalize = Annotated[
    Callable[[Any], Any], Rule("a function of the reduced value", rules.function, ReduceError)
]
_WRITE = Rule(
    "write_parquet(uri, …) or write_delta(uri, …)", rules.instance(Target).read, FunctionError
)
_RETRIED = Rule(
    "an exception type such as ConnectionError, an exit status of a command other than 0 such as "
    "75, or a list of these",
    retries.option_values,
)
_RESOURCES = _or_default(Resources, "a mapred.Resources(…)", lambda: _DEFAULT)
_NAME = _or_default(str, "a text", str)
_READY = "concat, count, max, mean, merge_counts, min, sum, top_k:K"


@dataclass(frozen=True)
class Options:
    """The options of a job as they are kept: checked, and durations in seconds."""

    reduce: _Reduce | None = _cli_field(None, "NAME", f"module:function, or {_READY}.")
    fan_in: _FanIn | None = _cli_field(None, "N", "Reduce in a tree of groups of N.")
    finalize: _Finalize | None = _cli_field(
        None, "NAME", "module:function, applied once at the end."
    )
    by: Annotated[By, _CHECKED_LATER] | None = None
    aggregate: Annotated[Aggregate, _CHECKED_LATER] | None = None
    sort_by: Annotated[SortBy, _CHECKED_LATER] | None = None
    partitions: Annotated[int, between(1, _MAX_PARTITIONS)] | None = None
    write: Annotated[Target, _WRITE] | None = None
    target_bytes: Size | None = _cli_field(None, "SIZE", "Size of a shard, such as 64Mi.")
    max_tasks: FromOne | None = _cli_field(None, "N", "The most map tasks to make.")
    per_task: FromOne | None = _cli_field(None, "N", "Items in a task (items, arrays).")
    attempts: FromOne = _cli_field(3, "N", "Attempts at each task (default 3).")
    retry_on: Annotated[tuple[retries.Given, ...], _RETRIED] | None = None
    no_retry_on: Annotated[tuple[retries.Given, ...], _RETRIED] | None = None
    timeout: Annotated[float, DURATION] | None = _cli_field(
        None, "TIME", "Time limit of one attempt, such as 90 or 10m."
    )
    deadline: Annotated[float, DURATION] | None = _cli_field(
        None, "TIME", "Time limit of the whole run."
    )
    max_failed: Annotated[float, MAX_FAILED] = _cli_field(
        0, "N", "Shards (or items) that may be given up: a count, a fraction below 1, or 1%."
    )
    max_tasks_per_worker: FromOne | None = None
    resources: Annotated[Resources, _RESOURCES] = _DEFAULT
    reduce_resources: Resources | None = None
    seed: FromZero | None = _cli_field(None, "N", "Seed of the tasks' random numbers.")
    name: Annotated[str, _NAME] = _cli_field(
        "", "TEXT", "Name of the job (default: the function's)."
    )

    @cached_property
    def shuffle(self) -> Shuffle | None:
        """The shuffle that `by`, `aggregate`, `sort_by` and `partitions` ask for."""
        arguments = (self.by, self.aggregate, self.sort_by, self.partitions)
        if all(argument is None for argument in arguments):
            return None
        from mapred.shuffle.arguments import as_shuffle  # most jobs have no shuffle

        return as_shuffle(*arguments)

    @cached_property
    def reducer(self) -> Reducer | None:
        """What merges the outputs, or publishes them."""
        if self.shuffle is not None:
            from mapred.shuffle.arguments import keyed_reducer  # as above

            return keyed_reducer(self.shuffle, self.reduce, self.fan_in, self.finalize)
        if self.write is not None:
            return writing.publisher(self.write)
        if self.reduce is not None:
            return as_reducer(self.reduce, fan_in=self.fan_in, finalize=self.finalize)
        if self.fan_in is not None or self.finalize is not None:
            raise FunctionError("fan_in= and finalize= need a reduce=")
        return None


@dataclass(frozen=True)
class Destination:
    """What runs a job, and where its folder goes: at `root`, with the rights `mode`."""

    backend: str | Backend | Executor = "local"
    root: Location | None = None
    mode: FolderMode | None = None

    def __post_init__(self) -> None:
        checking.check_fields(self, BackendError)


def validate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of some of the `Options` as they are kept; a wrong one raises by its name."""
    return {
        name: checking.check(name, value, checking.hint_of(Options, name), PlanError)
        for name, value in options.items()
    }
