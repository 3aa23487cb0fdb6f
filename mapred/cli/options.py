"""The options of the command line, gathered into values; and how a duration is written."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mapred.model import checking

if TYPE_CHECKING:
    from mapred.engine.base import Backend

F = TypeVar("F", bound=Callable[..., Any])


def seconds(text: str) -> float:
    """Seconds of a duration such as `90`, `90s`, `10m`, `1h30m`."""
    try:
        return checking.seconds(text)
    except checking.Unfit:
        raise click.BadParameter(
            f"{text!r} is not a duration; write seconds, or a form such as 10m or 1h30m"
        ) from None


def max_failed(text: str) -> float | str:
    """A count, a fraction below 1 or a percentage, as `mapred.run` takes it."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Limits:
    """What bounds a shard; None where the command line does not say."""

    target_bytes: str | None
    max_tasks: int | None
    per_task: int | None


@dataclass(frozen=True)
class Settings(Limits):
    """Settings of a job; None where the command line does not say."""

    attempts: int | None
    timeout: float | None
    deadline: float | None
    max_failed: float | str | None
    seed: int | None
    name: str | None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Reduce:
    """What becomes of the outputs."""

    reduce: str | None
    fan_in: int | None
    finalize: str | None


@dataclass(frozen=True)
class Change:
    """What a resumed run does differently; None where the command line does not say."""

    fn: str | None
    reduce: str | None
    timeout: float | None
    deadline: float | None
    attempts: int | None
    max_failed: float | None
    cpu: float | None
    memory: str | None

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Place:
    """Where a run is kept and what runs it."""

    root: str | None
    backend: str | None
    workers: int | None

    def chosen(self) -> str | Backend | None:
        """The backend; None where the command line names none."""
        if self.workers is None:
            return self.backend
        if self.backend not in (None, "local"):
            raise click.UsageError("--workers is for --backend local")
        from mapred.backends import restore

        return restore("local", {"workers": self.workers})


@dataclass(frozen=True)
class Report:
    """How progress and the result are told."""

    json: bool
    quiet: bool
    progress: str

    @property
    def shows(self) -> str:
        return "none" if self.quiet and self.progress == "auto" else self.progress

    def prints_aside(self) -> AbstractContextManager[Any]:
        """Keep what the user's code prints in this process out of what scripts read."""
        return redirect_stdout(sys.stderr) if self.json or self.quiet else nullcontext()


def gathered(kind: type[Any], *options: Callable[[F], F]) -> Callable[[F], F]:
    """Options that a command takes as one value, passed under the lower-case name of `kind`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def call(*args: Any, **values: Any) -> Any:
            own = {field.name: values.pop(field.name) for field in fields(kind)}
            return command(*args, **values, **{kind.__name__.lower(): kind(**own)})

        decorated: Any = call
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _show_traceback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["mapred.traceback"] = True


_limit_options = (
    click.option("--target-bytes", metavar="SIZE", help="Size of a shard, such as 64Mi."),
    click.option("--max-tasks", type=int, metavar="N", help="At most so many map tasks."),
    click.option("--per-task", type=int, metavar="N", help="Items in a task (items, arrays)."),
)
limit_options = gathered(Limits, *_limit_options)
_run_options = (
    click.option("--attempts", type=int, metavar="N", help="Tries of a task (default 3)."),
    click.option(
        "--timeout", type=seconds, metavar="TIME", help="Of one attempt, such as 90 or 10m."
    ),
    click.option("--deadline", type=seconds, metavar="TIME", help="Of the whole run."),
    click.option(
        "--max-failed",
        type=max_failed,
        metavar="N",
        help="Shards (or items) that may be given up: a count, a fraction below 1, or 1%.",
    ),
)
setting_options = gathered(
    Settings,
    *_limit_options,
    *_run_options,
    click.option("--seed", type=int, metavar="N", help="Seed of the tasks' generators."),
    click.option("--name", metavar="TEXT", help="Shown and recorded (default: the function's)."),
)
reduce_options = gathered(
    Reduce,
    click.option(
        "--reduce",
        metavar="NAME",
        help="module:function, or concat, count, max, mean, merge_counts, min, sum, top_k:K.",
    ),
    click.option("--fan-in", type=int, metavar="N", help="Reduce in a tree of groups of N."),
    click.option("--finalize", metavar="NAME", help="module:function, applied once at the end."),
)

change_options = gathered(
    Change,
    click.option(
        "--fn", metavar="NAME", help="A fixed function: module:function or file.py:function."
    ),
    click.option("--reduce", metavar="NAME", help="A fixed reduce, named as for `mapred run`."),
    *_run_options,
    click.option("--cpu", type=float, metavar="CORES", help="Cores of a map task."),
    click.option("--memory", metavar="SIZE", help="Memory of a map task, such as 4Gi."),
)


param_option = click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter: fills {NAME} in URIs, or reaches the function (repeatable).",
)
root_option = click.option(
    "--root",
    metavar="PATH",
    help="Where runs are kept (default: $MAPRED_ROOT, else ~/.mapred/runs).",
)
place_options = gathered(
    Place,
    root_option,
    click.option(
        "--backend",
        metavar="NAME",
        help="local (the default), inline, dask, argo, or a name of mapred.toml.",
    ),
    click.option("--workers", type=int, metavar="N", help="Processes of the local backend."),
)
json_option = click.option("--json", "json", is_flag=True, help="One JSON document on stdout.")
report_options = gathered(
    Report,
    json_option,
    click.option("--quiet", "-q", is_flag=True, help="Print the run's folder and errors only."),
    click.option(
        "--progress",
        type=click.Choice(["auto", "bar", "plain", "none"]),
        default="auto",
        help="On stderr: a bar at a terminal, else lines.",
    ),
)
traceback_option = click.option(
    "--traceback",
    is_flag=True,
    expose_value=False,
    callback=_show_traceback,
    help="Show the whole traceback of an error.",
)
