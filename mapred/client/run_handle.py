"""The handle of a run: its state, and how to wait for it, stop it and continue with it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from mapred import backends, display
from mapred.client import drivers
from mapred.client.options import Progress, ResumeOptions
from mapred.client.pipelines import context
from mapred.client.pipelines.waiting import Wait
from mapred.client.run_summaries import RunSummaries
from mapred.client.signature import takes
from mapred.engine.base import Backend, Handle, Suspends, Vanished
from mapred.errors import (
    BackendError,
    FunctionError,
    PlanError,
    RecordError,
    RunError,
    StorageError,
)
from mapred.functions import origins
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.limits import Limits
from mapred.model.rules import DurationFromZero, Location, seconds
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.process import interrupts, shortages
from mapred.process.describing import plain_annotations
from mapred.process.lazy import Lazy
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.starts import Start
from mapred.storage import Store, open_store

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from mapred.client import changes, hints, run_errors, viewing
else:  # A run that succeeds needs none of these.
    changes = Lazy("mapred.client.changes")
    hints = Lazy("mapred.client.hints")
    run_errors = Lazy("mapred.client.run_errors")
    viewing = Lazy("mapred.client.viewing")

Standing = Literal["succeeded", "at work", "started"]

_ENDING_SECONDS = 60.0  # in which a driver that gave up says so, on a store that may not answer


@plain_annotations
class Run(RunSummaries):
    """One run of a job: its state, its results, and what one can do with it.

    Made by `mapred.run`, `mapred.submit` and `mapred.open`. All that is known of a run lies in its
    folder, so any process that reads the folder can have one.

    Attributes:
        job: What the run was asked to do, as job.json holds it.
        store: The run's folder, as a `mapred.Store`.

    Examples:
        >>> run = mapred.run(abs, [-1, -2, -3], reduce=sum, name="total")
        >>> run.state, run.result()
        ('succeeded', 6)
        >>> run.uri.endswith(run.id), run.counters
        (True, {})
    """

    def __init__(
        self, store: Store, job: Job, handle: Handle | None = None, *, allow_pickle: bool = True
    ) -> None:
        super().__init__(store, job, allow_pickle)
        self._handle: Handle | None = None
        self._last_start: Start | None = None
        if handle is not None:
            self._start(handle, ())

    def status(self) -> RunStatus:
        """Return state and progress now.

        They come from what drives the run where it lives in this process, else from the run's folder.
        Where a cluster that works on the run cannot be reached, the folder tells its progress, the
        state is `unknown`, and the message says why.

        Returns:
            The status at this moment: it does not change by itself.

        Raises:
            StorageError: The run's folder cannot be read.

        Examples:
            >>> status = mapred.run(abs, [-1, -2]).status()
            >>> status.state, status.stages[0].done, status.stages[0].total
            ('succeeded', 2, 2)
        """
        try:
            handle = self._attach()
            status = handle.status() if handle else None
        except BackendError as error:
            if isinstance(error, StorageError):
                raise
            status = self._folder.status(self.job, alive=True)
            return replace(status, state="unknown", message=str(error))
        if status is not None:
            if self._last_start is None:
                self._last_start = self._folder.start()
            return self._folder.add_times(status, self.job, self._last_start)
        start = self._folder.start()
        alive = drivers.alive(self._folder, start)
        return self._folder.status(self.job, start, alive=alive)

    @property
    def state(self) -> str:
        """The state now: `running`, `queued`, `succeeded`, `failed`, `suspended`, …; see `RunStatus.state`."""
        return self.status().state

    @checks(PlanError)
    def wait(self, progress: Progress = "none", timeout: DurationFromZero | None = None) -> Run:
        """Wait until nothing works on the run, and show progress meanwhile.

        Unlike `result` it raises nothing where the run fails.

        Args:
            progress: How progress is shown: `"auto"`, `"bar"`, `"plain"`, `"jupyter"` or `"none"`.
            timeout: How long to wait at most: seconds, a `timedelta` or a text such as `"10m"`
                (default: until the end).

        Returns:
            The run itself; its `state` says how it ended, or that it still works.

        Examples:
            >>> import time
            >>> run = mapred.submit(time.sleep, [60])
            >>> run.wait(timeout=0.1).state
            'running'
            >>> run.cancel()
        """
        __tracebackhide__ = True
        limit = None if timeout is None else time.monotonic() + seconds(timeout)
        self._follow(progress, self._leave, limit)
        return self

    def check(self) -> None:
        """Raise what kept the run from its result; return None if it succeeded.

        Raises:
            RunError: The run failed, was stopped, or is still at work.

        Examples:
            >>> mapred.run(abs, [-1, -2]).check()
        """
        __tracebackhide__ = True
        pipeline = context.current()
        if pipeline is not None:
            pipeline.note_checked(self.uri)
        if self._handle is not None:
            try:
                self._handle.raise_error()
            except (FunctionError, RecordError):
                raise
            except Vanished as error:
                raise RunError(str(error), run=self) from error
            except Exception as error:
                raise run_errors.make_driver_error(self, error) from error
        state = self.state
        if state != "succeeded":
            raise run_errors.make_end_error(self, state)

    def cancel(self) -> None:
        """Stop the run for good, on any backend. What is committed stays in its folder.

        Raises:
            BackendError: It cannot be told whether the run is alive, or it cannot be stopped from here.

        Examples:
            >>> import time
            >>> run = mapred.submit(time.sleep, [60])
            >>> run.cancel()
            >>> run.state
            'cancelled'
        """
        finished = None if self._stop() else self.status().finished
        self._handle = None
        drivers.forget(self.uri)
        self._folder.finish(self.job, "cancelled", "cancelled by run.cancel()", when=finished)

    def suspend(self) -> None:
        """Stop the run so that `resume` continues with it. On a cluster, tasks at work may end first.

        Raises:
            BackendError: It cannot be told whether the run is alive, or it cannot be stopped from here.

        Examples:
            >>> import time
            >>> run = mapred.submit(time.sleep, [60])
            >>> run.suspend()
            >>> run.state
            'suspended'
            >>> run.resume(abs).result()
            [60]
        """
        handle = self._attach()
        if isinstance(handle, Suspends) and handle.suspend():
            self._last_start = self._folder.note_stop(handle.ref, "suspended")
            return
        self._stop()
        if self._folder.end() is None:
            self._last_start = self._folder.note_stop(None, "suspended")
        self._handle = None
        drivers.forget(self.uri)

    @takes(ResumeOptions)
    @checks(PlanError)
    def resume(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        backend: str | Backend | None = None,
        progress: Progress = "auto",
        **options: Unpack[ResumeOptions],
    ) -> Run:
        """Do what is missing, with the stored job or the changes given here, and wait for the end.

        Committed map tasks are kept, whichever function made them; each commit names its digest, and
        `audit` tells them apart. A run that succeeded is left alone, and one that is at work is
        followed.

        Args:
            fn: Another function for the map tasks that are missing (default: the stored one).
            reduce: Another reduce, which does all of the reduce again, in the tree and with the
                `finalize` that the run has.
            attempts: How often a task may be tried; see `mapred.run`. Limits stay as they were where
                left out.
            timeout: What one attempt may take; see `mapred.run`.
            deadline: What the whole run may take: a new one counts from now, the old one from the
                submission, without pauses.
            max_failed: How many shards or items may be given up; see `mapred.run`.
            resources: What a map task needs.
            reduce_resources: What a reduce task needs.
            backend: Where to continue (default: where the run was made).
            progress: How progress is shown; see `mapred.run`.

        Returns:
            The run itself, which succeeded.

        Raises:
            RunError: The run ended without its result once more, or is at work and cannot be changed.

        Examples:
            >>> try:
            ...     mapred.run(lambda n: 12 / n, [1, 2, 0, 4], name="shares")
            ... except mapred.RunError as error:
            ...     run = error.run
            >>> run.resume(lambda n: 12 / n if n else None).result()
            [12.0, 6.0, None, 3.0]
        """
        __tracebackhide__ = True
        self._refuse_code("resume")
        target = None if backend is None else backends.resolve(backend)
        if target is not None:
            backends.remember(self.uri, target)
        new = changes.Changes(fn, options)
        display.progress(progress)  # Loaded here, not while the run is already at work.
        return self if self._continue(target, new) == "succeeded" else self.finish(progress)

    def _continue(self, backend: Backend | None, new: changes.Changes) -> Standing:
        """Start what is missing, unless the run is at work or succeeded; say which it was."""
        handle = self._attach()
        alive = handle is not None and _is_at_work(handle)
        if alive or (handle is None and drivers.alive(self._folder)):
            if names := new.names():
                raise run_errors.make_at_work_error(self, names, here=handle is not None)
            start = self._folder.start()
            if alive and start.state == "suspended":
                assert handle is not None
                if isinstance(handle, Suspends):
                    handle.resume()
                self._start(handle, starts.add_pause(start, start.ended, time.time()).pauses)
            return "at work"
        end = self._folder.end()
        succeeded = end is not None and end.state == "succeeded"
        if succeeded and self._folder.is_whole(self.job):
            return "succeeded"
        self._restart(backend, new)
        return "started"

    def _restart(self, backend: Backend | None, new: changes.Changes) -> None:
        """Submit the run again, with the changes; a failure leaves its folder as it was."""
        self.job = self._folder.job()  # Another handle may have changed it since.
        revision = changes.plan_revision(self._folder, self.job, new)
        backend = backend or backends.resolve(self._backend())
        backends.check(backend, _limits(revision.job))
        self._warn_of_changes(revision.job)
        paused = starts.add_pause(self._folder.start(), self.status().finished, time.time())
        with (
            interrupts.interrupted_with(lambda: how_to_continue(self.uri, revision.job)),
            shortages.explain_shortages(),
            self._folder.restore_on_error((*revision.paths, layout.END, layout.HANDLE)),
        ):
            if new.names():
                revision.write(self._folder)
            self._folder.delete_end()
            # A deadline counts from the moment at which the run is submitted again.
            self._folder.write_start(paused)
            handle = backend.submit(self.store, revision.job, self.digest)
        self.job = revision.job
        self._start(handle, paused.pauses)

    @checks(PlanError)
    def finish(self, progress: Progress) -> Run:
        """Wait and check; an interrupt stops a local run, resumable, and leaves a remote one."""
        __tracebackhide__ = True
        self._follow(progress, self._stop_or_leave)
        self.check()
        return self

    def _follow(
        self,
        progress: Progress,
        interrupted: Callable[[display.Progress], str],
        limit: float | None = None,
    ) -> None:
        """Show the run's status until it is over, or the clock is past `limit`."""
        __tracebackhide__ = True
        pipeline = context.current()
        if pipeline is not None:
            pipeline.before_waiting(self._awaited() if limit is None else None)
            progress = "none" if progress == "auto" else progress  # which the pipeline shows
        show = display.progress("none")
        with interrupts.interrupted_with(lambda: interrupted(show)):
            try:
                show = display.progress(progress)
                if follows := isinstance(show, display.Follows):
                    viewing.follow(show, *self._for_display())
                while not self._wait_over(0.5 if follows or progress == "none" else 0.1):
                    if not follows:
                        show(self.status())
                    if limit is not None and time.monotonic() > limit:
                        break
            except KeyboardInterrupt:
                raise
            except BaseException:
                show.close()
                raise
        if pipeline is not None and limit is None and pipeline.continues(self):
            self._follow(progress, interrupted)
            return
        show.close(self.status())

    def _awaited(self) -> Wait:
        """Return the end of the run as what a pipeline waits for."""
        return Wait(self._wait_over, lambda: self._folder.start().time)

    def _stop_or_leave(self, show: display.Progress) -> str:
        """Stop what ends with this process, and say how the run continues."""
        if self._handle is not None and self._handle.survives_client:
            return self._leave(show)
        self._stop()  # first, so that the last status says so
        show.close(self.status())
        return how_to_continue(self.uri, self.job)

    def _leave(self, show: display.Progress) -> str:
        if not isinstance(show, display.Follows):  # which continues by itself
            show.close()
        line = f"import mapred; run = mapred.open({self.uri!r}).wait('auto')"
        return f"the run continues; to follow it: {line}"

    def _warn_of_changes(self, job: Job) -> None:
        """Warn that the stored function runs though its source has changed since."""
        old = origins.find_outdated(self.store, job)
        if old:
            hint = hints.in_python(self.uri, job, hints.renewal(job, old))
            warnings.warn(
                f"the run resumes with the code that it stored; to use the new code, stop it: {hint}",
                UserWarning,
                stacklevel=7,
            )

    def _start(self, handle: Handle, pauses: tuple[tuple[float, float], ...]) -> None:
        """Keep the handle of what was started, and record it for every other `Run`."""
        self._handle = handle
        drivers.remember(self.uri, handle)
        try:
            self._last_start = self._folder.note_start(handle.ref, pauses)
        except StorageError:
            if handle.survives_client or handle.alive():
                raise
            return  # The folder went while the run was at work: the handle says that it failed.
        status = None if handle.survives_client else handle.status()
        if status is not None and status.state == "interrupted":
            self._folder.note_interruption(handle.ref)

    def _backend(self) -> str | Backend:
        name = str(self.job.backend.get("name"))
        if name not in backends.NAMES:
            raise BackendError(
                f"the run was made on {name!r}, which cannot be reopened from here; name a backend:\n"
                f"import mapred; run = mapred.open({self.uri!r}).resume(backend='local')"
            )
        return backends.of_run(self.uri, self.job.backend, self._folder.start().ref)

    def _attach(self) -> Handle | None:
        """Return what drives the run: from here, by another `Run` of this process, or a cluster."""
        latest, own = drivers.driven(self.uri), self._handle
        if latest is not own and (own is None or not own.survives_client):
            # Another `Run` of this process may have started it since, or stopped it.
            self._handle = latest if latest is not None and latest.alive() else None
            self._last_start = None
        if self._handle is None and self._folder.end() is None:
            ref = self._folder.start().ref
            self._handle = None if ref is None else backends.reopen(self.store, self.job, ref)
        return self._handle

    def _wait_over(self, seconds: float) -> bool:
        handle = self._attach()
        if handle is not None:
            return handle.wait(seconds)
        if self._folder.end() is not None or not drivers.alive(self._folder):
            return True
        time.sleep(seconds)
        return False

    def _wait_or_leave(self, seconds: float) -> bool:
        __tracebackhide__ = True
        with interrupts.interrupted_with(lambda: self._leave(display.progress("none"))):
            return self._wait_over(seconds)

    def _stop(self) -> bool:
        """Stop what works on the run, and record when; False if nothing did."""
        handle = self._attach()
        if handle is None:
            reason = drivers.may_live(self._folder)
            if reason and self._folder.end() is None:
                raise BackendError(f"run {self.id} may be running: {reason}")
        if handle is None or not handle.alive():
            return False
        handle.cancel()
        ref, state = (handle.ref, "running") if handle.survives_client else (None, "interrupted")
        self._last_start = self._folder.note_stop(ref, state)
        return True

    def __repr__(self) -> str:
        # Reads nothing: debuggers ask for it all the time.
        return f"<Run {self.id} of {self.job.name}: {self.uri}>"

    def __str__(self) -> str:
        return display.status_text(self.status(), time.time())

    def _ipython_display_(self) -> None:
        """Show a live display of a run at work; nothing where this cell has one already."""
        if viewing.is_shown_here(self.uri):
            return
        if display.in_notebook() and self.status().live:
            viewing.show(*self._for_display())
            return
        raise NotImplementedError  # so that what `_repr_mimebundle_` returns is shown

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return viewing.bundle(*self._for_display())

    def _for_display(self) -> tuple[Run, Handle | None]:
        """Return what the thread of a display may look at: looks change what some handles know."""
        handle = None
        with suppress(BackendError):  # whose cause the status tells
            handle = self._attach()
        if handle is None or handle.survives_client:
            return Run(self.store, self.job, allow_pickle=self._allow_pickle), handle
        return self, handle

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]


@checks(RunError)
def open_run(uri: Location, allow_pickle: bool = True) -> Run:
    """Open a run by its folder's URI; a `RunError` where there is none."""
    store = open_store(os.fspath(uri))
    return Run(store, RunFolder(store).job(), allow_pickle=allow_pickle)


def continue_run(run: Run, backend: Backend) -> Standing:
    """Have a run do what is missing, and return at once; one that succeeded is left alone."""
    return run._continue(backend, changes.Changes())


def stop_local(run: Run) -> None:
    """Stop a run if it ends with this process, so that it can be resumed."""
    if run._handle is not None and not run._handle.survives_client:
        run._stop()


def _is_at_work(handle: Handle) -> bool:
    """Whether something works on a run; waits for a driver of this process that is about to end."""
    status = None if handle.survives_client else handle.status()
    if status is not None and not status.live:
        handle.wait(_ENDING_SECONDS)
    return handle.alive()


def how_to_continue(uri: str, job: Job) -> str:
    """Return what is shown when Ctrl-C stopped a run."""
    hint = hints.in_python(uri, job, hints.Remedy())
    return f"stopped; {hint.words}: {hint.line}"


def _limits(job: Job) -> Limits:
    """Return what a run needs of the backend where it is resumed."""
    resources = tuple(stage.resources for stage in job.stages)
    return Limits(job.timeout, job.max_tasks_per_worker, resources)
