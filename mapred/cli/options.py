"""The options of the command line, gathered into values; and how a duration is written."""

from __future__ import annotations

import functools
import sys
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mapred import backends
from mapred.cli import completing
from mapred.client.options import JobOptions, Options, PlanOptions, ResumeOptions
from mapred.model import rules

if TYPE_CHECKING:
    from mapred.engine.base import Backend

F = TypeVar("F", bound=Callable[..., Any])


def seconds(text: str) -> float:
    """Seconds of a duration such as `90`, `90s`, `10m`, `1h30m`."""
    try:
        return rules.seconds(text)
    except rules.Unfit:
        raise click.BadParameter(
            f"{text!r} is not a duration; write seconds, or a form such as 10m or 1h30m"
        ) from None


def max_failed(text: str) -> float | str:
    """Return a count, a fraction below 1 or a percentage, as `mapred.run` takes it."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Place:
    """Where a run is kept and what runs it."""

    root: str | None
    backend: str | None
    workers: int | None

    def resolve_backend(self) -> str | Backend | None:
        """Return the backend; None where the command line names none."""
        if self.workers is None:
            return self.backend
        if self.backend not in (None, "local"):
            raise click.UsageError("--workers is for --backend local")
        return backends.restore("local", {"workers": self.workers})


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


def gather_fields(kind: type[Any], *options: Callable[[F], F]) -> Callable[[F], F]:
    """Options that a command takes as one value, passed under the lower-case name of `kind`."""
    names = [field.name for field in fields(kind)]
    return _gather(kind.__name__.lower(), kind, names, options)


def gather_given(name: str, *options: tuple[str, Callable[[F], F]]) -> Callable[[F], F]:
    """Options that a command takes as one mapping, `name`, of those that are given."""

    def given(**values: Any) -> dict[str, Any]:
        return {option: value for option, value in values.items() if value not in (None, ())}

    return _gather(name, given, *zip(*options, strict=True))


def _gather(
    name: str,
    make: Callable[..., Any],
    names: Collection[str],
    options: Sequence[Callable[[F], F]],
) -> Callable[[F], F]:
    """Options whose values, of these names, make the argument `name` of a command."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def call(*args: Any, **values: Any) -> Any:
            own = {option: values.pop(option) for option in names}
            return command(*args, **values, **{name: make(**own)})

        decorated: Any = call
        for option in reversed(options):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def spell(name: str) -> str:
    """`--max-tasks` for `max_tasks`."""
    return f"--{name.replace('_', '-')}"


def _show_traceback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["mapred.traceback"] = True


# How the value of an option is read from a word, by the types that it may have in Python.
_TYPES: dict[frozenset[Any], Callable[[str], Any]] = {
    frozenset({int}): int,
    frozenset({float, str}): max_failed,
    frozenset({float, str, timedelta}): seconds,
}


def _build_click_options(kind: type[Any]) -> Iterator[tuple[str, Callable[[F], F]]]:
    """Those of the options of a job that the command line takes, with their names."""
    types = typing.get_type_hints(kind)
    for option in fields(Options):
        if option.metadata and option.name in kind.__annotations__:
            type_ = types[option.name]
            kinds = frozenset(typing.get_args(type_) or (type_,)) - {type(None)}
            read = _TYPES.get(kinds, str)
            yield option.name, click.option(spell(option.name), type=read, **option.metadata)


plan_options = gather_given("settings", *_build_click_options(PlanOptions))
setting_options = gather_given("settings", *_build_click_options(JobOptions))
_FN_HELP = "A fixed function: module:function or file.py:function."
change_options = gather_given(
    "changes",
    ("fn", click.option("--fn", metavar="NAME", help=_FN_HELP)),
    *_build_click_options(ResumeOptions),
)
_MEMORY_HELP = "Memory of a map task, such as 4Gi."
resource_options = gather_given(
    "resources",
    ("cpu", click.option("--cpu", type=float, metavar="CORES", help="Cores of a map task.")),
    ("memory", click.option("--memory", metavar="SIZE", help=_MEMORY_HELP)),
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
    shell_complete=completing.folders,
    help="Where runs are kept (default: $MAPRED_ROOT, else ~/.mapred/runs).",
)
place_options = gather_fields(
    Place,
    root_option,
    click.option(
        "--backend",
        metavar="NAME",
        shell_complete=completing.backend_names,
        help="local (the default), inline, dask, argo, or a name of mapred.toml.",
    ),
    click.option("--workers", type=int, metavar="N", help="Processes of the local backend."),
)
json_option = click.option("--json", "json", is_flag=True, help="One JSON document on stdout.")
report_options = gather_fields(
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
