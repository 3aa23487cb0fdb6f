"""What a user writes: `mapred.pipeline`, `recorded` and `approve`."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from mapred import backends
from mapred.backends.schedules import Schedule
from mapred.client import submission
from mapred.client.naming import default_root
from mapred.client.options import Progress
from mapred.client.pipelines import arguments, context
from mapred.client.pipelines.handle import PipelineRun
from mapred.client.pipelines.prepared import Prepared
from mapred.engine.base import Backend
from mapred.errors import FunctionError, RunError
from mapred.functions import transport
from mapred.functions.modules.importing import refuse_while_importing
from mapred.model.checking import short_repr
from mapred.model.rules import FolderMode, Location
from mapred.process import definitions
from mapred.process.lazy import Lazy
from mapred.storage import open_store, probe, refuse_secrets

if TYPE_CHECKING:
    from mapred.client.pipelines import watching
else:  # Many pipelines are not shown.
    watching = Lazy("mapred.client.pipelines.watching")

_OWN = ("backend", "root", "mode", "run_id", "progress")
_MOST_RETRIES = 100


@dataclass(frozen=True)
class Pipeline:
    """A function that starts runs, and continues where it was. Made by `mapred.pipeline`.

    Attributes:
        fn: The function.
        name: The name of the pipeline.
        retries: How often it is resumed by itself after a failure.

    Examples:
        >>> @mapred.pipeline
        ... def total(numbers):
        ...     return mapred.run(abs, numbers, reduce=sum).result()
        >>> total.name, total.run(numbers=[-1, -2]).result()
        ('total', 3)
    """

    fn: Callable[..., Any]
    name: str
    retries: int = 0

    def __call__(self, *args: Any, **parameters: Any) -> Any:
        """Call the function as it is: inside of another pipeline, as a part of that."""
        return self.fn(*args, **parameters)

    def run(
        self,
        *args: Any,
        backend: str | Backend | Executor | None = None,
        root: Location | None = None,
        mode: FolderMode | None = None,
        run_id: str | None = None,
        progress: Progress = "auto",
        **parameters: Any,
    ) -> PipelineRun:
        """Run the pipeline, and return its run once it succeeded.

        Its function is called in this process, or on Argo in pods of the cluster. If the process ends
        before it returns, `resume` calls it again from its first line: runs that succeeded answer from
        their folders, those that were interrupted continue, and all other lines run again.

        Args:
            *args: What the function is called with. Each value must have a canonical form: numbers,
                texts, dates, lists, dicts, dataclasses, arrays and tables have.
            backend: Where runs go that do not say it themselves, and on Argo where the function is called
                (default: processes of this machine).
            root: The folder or bucket prefix below which all folders are made; see `mapred.run`.
            mode: The rights of these folders; see `mapred.run`.
            run_id: The name of the pipeline's folder (default: a new one). The same pipeline with the same
                arguments under that name continues, or is returned as it is if it succeeded.
            progress: How progress is shown: `"auto"`, `"bar"`, `"plain"`, `"jupyter"` or `"none"`.
            **parameters: As `args`, by name.

        Returns:
            The pipeline's run, which succeeded.

        Raises:
            RunError: The pipeline ended without its result; the error's `run` can be resumed.
            FunctionError: The arguments do not fit the function.

        Examples:
            >>> @mapred.pipeline
            ... def spread(numbers):
            ...     low = mapred.run(float, numbers, reduce=min)
            ...     high = mapred.run(float, numbers, reduce=max)
            ...     return high.result() - low.result()
            >>> spread.run([3, 9, 5]).result()
            6.0
        """
        __tracebackhide__ = True
        place = (backend, root, mode, run_id)
        started = self._start(args, parameters, *place, progress, in_thread=False)
        if started.state in ("running", "waiting"):  # in another process
            started.wait(progress)
        started.check()
        return started

    def submit(
        self,
        *args: Any,
        backend: str | Backend | Executor | None = None,
        root: Location | None = None,
        mode: FolderMode | None = None,
        run_id: str | None = None,
        **parameters: Any,
    ) -> PipelineRun:
        """Start the pipeline, and return its run at once. Takes what `run` takes.

        On Argo, pods of the cluster call the function, whether this process lives or not. On other
        backends a thread of this process calls it and ends with the process; then it can be resumed.

        Args:
            *args: What the function is called with; see `run`.
            backend: Where runs go that do not say it themselves; see `run`.
            root: The folder or bucket prefix below which all folders are made; see `mapred.run`.
            mode: The rights of these folders; see `mapred.run`.
            run_id: The name of the pipeline's folder; see `run`.
            **parameters: As `args`, by name.

        Returns:
            The pipeline's run, at work: `result` waits for what the function returns.

        Raises:
            FunctionError: The arguments do not fit the function.

        Examples:
            >>> @mapred.pipeline
            ... def total(numbers):
            ...     return mapred.run(abs, numbers, reduce=sum).result()
            >>> total.submit([-1, -2]).result()
            3
        """
        __tracebackhide__ = True
        place = (backend, root, mode, run_id)
        return self._start(args, parameters, *place, "none", in_thread=True)

    def schedule(
        self,
        cron: str | Sequence[str],
        *,
        timezone: str = "UTC",
        params: Mapping[str, Any] | None = None,
        on_failure: str | Sequence[str] | None = None,
        backend: str | Backend = "argo",
        root: Location | None = None,
        name: str | None = None,
    ) -> Schedule:
        """Have a cluster start the pipeline on a schedule, as `mapred.schedule` does with jobs.

        While one is at work, or waits for an answer, the next one does not start.

        Args:
            cron: Five fields, such as `"0 3 * * *"`, or a list of several.
            timezone: The time zone of `cron`, and of the parameter `date`, which a function that takes
                it gets as a `datetime`: the time for which the pipeline was planned.
            params: What the function is called with: texts, numbers, booleans.
            on_failure: Who is told when a pipeline fails; see `mapred.schedule`.
            backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.
            root: Where the pipeline is stored and its runs are made, which pods must reach (default:
                the backend's).
            name: The schedule's name, of lower case, digits and `-` (default: the pipeline's).

        Returns:
            The schedule, which `mapred.schedules` lists and `mapred.unschedule` removes.

        Raises:
            FunctionError: The parameters do not fit the function.
            BackendError: The cluster does not take it, or the backend has no schedules.

        Examples:
            >>> @mapred.pipeline
            ... def nightly(date, city):
            ...     return mapred.run(abs, [-1, -2], name=city)
            >>> schedule = nightly.schedule("0 3 * * *", params={"city": "Bern"})
            >>> schedule.name, schedule.pipeline
            ('nightly', True)
        """
        from mapred.client import scheduling  # which only those who schedule load

        return scheduling.schedule_pipeline(
            self,
            cron,
            timezone=timezone,
            params=params,
            on_failure=on_failure,
            backend=backend,
            root=root,
            name=name,
        )

    def _start(
        self,
        args: tuple[Any, ...],
        parameters: Mapping[str, Any],
        backend: str | Backend | Executor | None,
        root: Location | None,
        mode: FolderMode | None,
        run_id: str | None,
        progress: Progress,
        *,
        in_thread: bool,
    ) -> PipelineRun:
        definitions.may_start()
        refuse_while_importing()
        values = arguments.bind(self.fn, self.name, args, parameters)
        chosen = None if backend is None else backends.resolve(backend)
        prepared = Prepared(self.fn, self.name, self.retries, values, chosen, mode, in_thread)
        inside = context.current()
        if inside is not None:
            if run_id is not None or root is not None:
                raise FunctionError(
                    "a pipeline inside of a pipeline takes neither run_id= nor root=: leave them out"
                )
            nested: PipelineRun = inside.nested(prepared.identity(), prepared)
            return nested
        base = default_root() if chosen is None else submission.choose_root(None, chosen)
        base = base if root is None else os.fspath(root)
        refuse_secrets(base)
        store = open_store(f"{base.rstrip('/')}/{run_id or submission.new_id()}", mode=mode)
        probe(open_store(base, mode=mode))
        run = prepared.open(store)
        if run_id is not None and not prepared.is_same(run):
            raise _make_other_error(run)
        with watching.shown(run, progress):
            prepared.begin(run)
        return run


def _make_other_error(run: PipelineRun) -> RunError:
    """Return the error of a name that another pipeline has."""
    return RunError(
        f"run_id={run.id!r} is the name of {run.uri}, a run of the pipeline {run.record.name} that "
        f"was submitted at {run.record.created}, with another function or other arguments; choose "
        "another run_id=, or continue that run:\n"
        f"import mapred; mapred.open({run.uri!r}).resume()",
        run=run,
    )


@overload
def pipeline(fn: Callable[..., Any], /) -> Pipeline: ...
@overload
def pipeline(
    fn: None = None, /, *, name: str | None = None, retries: int = 0
) -> Callable[[Callable[..., Any]], Pipeline]: ...
def pipeline(
    fn: Callable[..., Any] | None = None, /, *, name: str | None = None, retries: int = 0
) -> Any:
    """Make a pipeline of a function that starts runs: one that continues where it was.

    The function may use `if`, loops, `try`, recursion and other pipelines. Whenever it is started
    again, it is called from its first line: what `mapred.run` and `mapred.submit` started before is
    found again, and answers from its folder. So all other lines run again, and have to ask for the
    same steps: keep what may change, such as the time, by `mapred.recorded`.

    Args:
        fn: The function.
        name: The name of the pipeline (default: the function's).
        retries: How often it is resumed by itself after a failure, from 0.

    Returns:
        The pipeline, with `run` and `submit`; without `fn`, a decorator that makes one.

    Raises:
        FunctionError: It cannot be a pipeline.

    Examples:
        >>> @mapred.pipeline
        ... def largest(numbers):
        ...     squares = mapred.run(lambda n: n * n, numbers)
        ...     return mapred.run(float, squares, reduce=max)
        >>> largest.run(numbers=[1, -3, 2]).result().result()
        9.0
    """
    if fn is None:
        return functools.partial(_make, name=name, retries=retries)
    return _make(fn, name=name, retries=retries)


def _make(fn: Any, *, name: Any, retries: Any) -> Pipeline:
    if not inspect.isfunction(fn):
        raise FunctionError(
            f"mapred.pipeline takes a function, and not {short_repr(fn)}; options have names, as in "
            '@mapred.pipeline(name="nightly", retries=2)'
        )
    if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
        raise FunctionError(
            f"{transport.name_of(fn)} is a coroutine or a generator: a pipeline is a plain function"
        )
    taken = [own for own in _OWN if own in inspect.signature(fn).parameters]
    if taken:
        raise FunctionError(
            f"{transport.name_of(fn)} has a parameter {taken[0]!r}, which `run` of a pipeline takes "
            "itself: give it another name"
        )
    if not isinstance(retries, int) or not 0 <= retries <= _MOST_RETRIES:
        raise FunctionError(
            f"retries={short_repr(retries)} must be a whole number from 0 to {_MOST_RETRIES}"
        )
    return Pipeline(fn, name or transport.name_of(fn), retries)
