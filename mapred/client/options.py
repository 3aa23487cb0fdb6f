"""The options of a job, in one place: what `run`, `submit` and `job` take, and what each must be.

A new option is a field of `Options` and, with what users may write for it, of `JobOptions`.
`mapred.run` documents them.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Annotated, Any, TypedDict, TypeVar

from mapred.errors import FunctionError, PlanError, ReduceError
from mapred.model import retries
from mapred.model.checking import (
    DURATION,
    MAX_FAILED,
    Duration,
    FromOne,
    FromZero,
    Rule,
    Size,
    Unfit,
    between,
    one_of,
)
from mapred.model.frozen import dataclass
from mapred.model.spec import Aggregate, By, Resources, SortBy
from mapred.reducers import Reducer
from mapred.writing.target import Target

Reduce = Callable[..., Any] | Reducer
Progress = Annotated[str, one_of("auto", "bar", "plain", "jupyter", "none", error=PlanError)]


class JobOptions(TypedDict, total=False):
    """What users may write for each of the `Options`; `mapred.run` says what they mean."""

    reduce: Reduce | None
    fan_in: int | None
    finalize: Callable[[Any], Any] | None
    by: By | None
    aggregate: Aggregate | None
    sort_by: SortBy | None
    partitions: int | None
    write: Target | None
    attempts: int
    retry_on: retries.Retried | None
    no_retry_on: retries.Retried | None
    timeout: Duration | None
    deadline: Duration | None
    max_failed: float | str
    max_tasks_per_worker: int | None
    target_bytes: int | str | None
    max_tasks: int | None
    per_task: int | None
    resources: Resources | None
    reduce_resources: Resources | None
    seed: int | None
    name: str | None


_DEFAULT = Resources()
_MAX_PARTITIONS = 1 << 16


def _or_default(kind: type, fits: str, default: Callable[[], Any]) -> Rule:
    """One of `kind`, or None for the default."""

    def read(value: Any) -> Any:
        if not isinstance(value, kind | None):
            raise Unfit
        return default() if value is None else value

    return Rule(fits, read)


def _target(value: Any) -> Target:
    if not isinstance(value, Target):
        raise Unfit
    return value


def _finalize(value: Any) -> Any:
    if not callable(value):
        raise Unfit
    return value


# `reducers` and `shuffle.asking` check what depends on other options as well.
_CHECKED_LATER = Rule("", lambda value: value)
_FINALIZE = Rule("a function of the reduced value", _finalize, ReduceError)
_WRITE = Rule("write_parquet(uri, …) or write_delta(uri, …)", _target, FunctionError)
_RETRIED = Rule(
    "an exception type such as ConnectionError, an exit status of a command other than 0 such as "
    "75, or a list of these",
    retries.listed,
)
_RESOURCES = _or_default(Resources, "a mapred.Resources(…)", lambda: _DEFAULT)
_NAME = _or_default(str, "a text", str)


@dataclass(frozen=True)
class Options:
    """The options of a job as they are kept: checked, and durations in seconds."""

    reduce: Annotated[Reduce, _CHECKED_LATER] | None = None
    fan_in: Annotated[int, between(2, error=ReduceError)] | None = None
    finalize: Annotated[Callable[[Any], Any], _FINALIZE] | None = None
    by: Annotated[By, _CHECKED_LATER] | None = None
    aggregate: Annotated[Aggregate, _CHECKED_LATER] | None = None
    sort_by: Annotated[SortBy, _CHECKED_LATER] | None = None
    partitions: Annotated[int, between(1, _MAX_PARTITIONS)] | None = None
    write: Annotated[Target, _WRITE] | None = None
    attempts: FromOne = 3
    retry_on: Annotated[tuple[retries.Given, ...], _RETRIED] | None = None
    no_retry_on: Annotated[tuple[retries.Given, ...], _RETRIED] | None = None
    timeout: Annotated[float, DURATION] | None = None
    deadline: Annotated[float, DURATION] | None = None
    max_failed: Annotated[float, MAX_FAILED] = 0
    max_tasks_per_worker: FromOne | None = None
    target_bytes: Size | None = None
    max_tasks: FromOne | None = None
    per_task: FromOne | None = None
    resources: Annotated[Resources, _RESOURCES] = _DEFAULT
    reduce_resources: Resources | None = None
    seed: FromZero | None = None
    name: Annotated[str, _NAME] = ""


F = TypeVar("F", bound=Callable[..., Any])


@functools.cache
def _keywords() -> tuple[inspect.Parameter, ...]:
    types, options = typing.get_type_hints(JobOptions), {f.name: f for f in fields(Options)}
    return tuple(
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None if type(None) in typing.get_args(type_) else options[name].default,
            annotation=type_,
        )
        for name, type_ in types.items()
    )


def takes_options(function: F) -> F:
    """Have `help()` and editors show every option in place of `**options`."""
    shown = inspect.signature(function)
    *own, _ = shown.parameters.values()
    first = [each for each in own if each.kind is not each.KEYWORD_ONLY]
    parameters = [*first, *_keywords(), *own[len(first) :]]
    function.__signature__ = shown.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def refuse_unknown(function: str, names: Iterable[str]) -> None:
    """Raise for a name that is not an option, as Python does, with the one that was meant."""
    known = [f.name for f in fields(Options)] + ["backend", "root", "mode", "progress"]
    for name in names:
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            if name == "workers":
                hint = "; write backend=mapred.Local(workers=…)"
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")
