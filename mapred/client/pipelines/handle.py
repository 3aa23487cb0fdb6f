"""The handle of a pipeline that was started: its state, its steps, its gates and its result."""

from __future__ import annotations

import functools
import getpass
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mapred import backends, display
from mapred.client import drivers, naming
from mapred.client.options import Progress
from mapred.client.pipelines import (
    context,
    driver,
    failing,
    identity,
    remote,
    standing,
    stored,
    waiting,
)
from mapred.client.pipelines.driver import Driver
from mapred.client.pipelines.steps import failed_runs
from mapred.client.run_handle import Run, open_run
from mapred.client.submission import code_of
from mapred.engine.base import Backend, PipelineHandle
from mapred.errors import BackendError, Interrupted, PlanError, RunError, StorageError
from mapred.model import layout
from mapred.model.checking import checks, short_repr
from mapred.model.pipelines import PipelineStatus
from mapred.model.rules import DurationFromZero, seconds
from mapred.process import interrupts
from mapred.process.describing import plain_annotations
from mapred.process.lazy import Lazy
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import (
    Answer,
    Gate,
    PipelineFolder,
    PipelineRecord,
    Resumption,
)
from mapred.runfolder.records import End
from mapred.storage import Store, open_store

if TYPE_CHECKING:
    from mapred.client import viewing
    from mapred.client.audit import pipelines as audits
    from mapred.client.pipelines import watching
else:  # Many pipelines are neither audited nor shown.
    audits = Lazy("mapred.client.audit.pipelines")
    viewing = Lazy("mapred.client.viewing")
    watching = Lazy("mapred.client.pipelines.watching")

_POLL = 0.5


@plain_annotations
class PipelineRun:
    """One run of a pipeline. Made by a pipeline's `run` and `submit`, and by `mapred.open`.

    Attributes:
        record: What the pipeline was asked to do, as pipeline.json holds it.
        store: The pipeline's folder, as a `mapred.Store`.

    Examples:
        >>> @mapred.pipeline
        ... def total(numbers):
        ...     squares = mapred.run(lambda n: n * n, numbers)
        ...     return sum(squares.result())
        >>> run = total.run(numbers=[1, 2, 3])
        >>> run.state, run.result(), [step.name for step in run.status().steps]
        ('succeeded', 14, ['total.<lambda>'])
    """

    def __init__(
        self,
        store: Store,
        record: PipelineRecord,
        driver: Driver | None = None,
        *,
        allow_pickle: bool = True,
    ) -> None:
        self.store, self.record, self._allow_pickle = store, record, allow_pickle
        self._driver = driver
        self._remote: PipelineHandle | None = None

    @property
    def _folder(self) -> PipelineFolder:
        return PipelineFolder(self.store)

    @property
    def id(self) -> str:
        """The name of the pipeline's folder below its root."""
        return self.record.run_id

    @property
    def uri(self) -> str:
        """The pipeline's folder, as a path or a URI."""
        return self.store.uri

    @property
    def name(self) -> str:
        """The name of the pipeline."""
        return self.record.name

    def status(self) -> PipelineStatus:
        """Return the state of the pipeline and of each step now.

        Returns:
            The status at this moment: it does not change by itself.

        Examples:
            >>> @mapred.pipeline
            ... def signs():
            ...     return mapred.run(abs, [-1, -2])
            >>> status = signs.run().status()
            >>> status.state, status.steps[0].name, status.steps[0].state
            ('succeeded', 'abs', 'succeeded')
        """
        return standing.status(self._folder, self.record, at_work=self._seen_at_work())

    @property
    def state(self) -> str:
        """The state now: `running`, `waiting`, `succeeded`, `failed`, …; see `PipelineStatus.state`."""
        return standing.state(self._folder, at_work=self._seen_at_work())

    @property
    def runs(self) -> list[Run]:
        """The runs that the pipeline has started, oldest first; those of pipelines in it are theirs."""
        uris = [claim.uri for claim in self._folder.claims() if claim.step.kind == "run"]
        for uri in uris:
            backends.share(self.uri, uri)
        # One whose driver has claimed it a moment ago gets its job.json next.
        there = [uri for uri in uris if RunFolder(open_store(uri)).has_job()]
        return [open_run(uri, self._allow_pickle) for uri in there]

    @property
    def gates(self) -> dict[str, Gate]:
        """The gates that wait for an answer, by name, oldest first."""
        folder = self._folder
        return {gate.name: gate for gate in folder.gates() if folder.answer(gate.name) is None}

    def approve(self, name: str, value: Any = True, note: str = "") -> Answer:
        """Answer a gate. The first answer stands.

        Args:
            name: The name of the gate.
            value: One of its choices.
            note: What to keep with the answer.

        Returns:
            The answer that stands, which says who gave it, as told by their client.

        Raises:
            RunError: The pipeline has not asked at such a gate, it was answered before, or the value is
                not among its choices.

        Examples:
            >>> @mapred.pipeline
            ... def guarded():
            ...     return mapred.approve("release", "Publish?")
            >>> run = guarded.submit()
            >>> while not run.gates:
            ...     _ = run.wait(timeout=0.1)
            >>> run.approve("release", False, note="not on a Friday").value
            False
            >>> run.result()
            False
        """
        folder = self._folder
        gate = folder.gate(name) if layout.is_run_id(name) else None
        if gate is None:
            names = ", ".join(map(repr, self.gates)) or "none"
            raise RunError(
                f"the pipeline {self.id} has not asked at a gate {name!r}; waiting are: {names}"
            )
        if not any(type(value) is type(choice) and value == choice for choice in gate.choices):
            choices = " or ".join(map(repr, gate.choices))
            raise RunError(f"value={short_repr(value)} must be {choices}: the choices of {name!r}")
        answer = Answer(name, value, note, _user(), time.time())
        stands = folder.put_answer(answer)
        remote.wake(self._in_cluster)
        if stands != answer:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(stands.time))
            raise RunError(
                f"the gate {name!r} was answered by {stands.by or 'another client'} at {when}: "
                f"{stands.value!r}; the first answer stands"
            )
        return stands

    @checks(PlanError)
    def wait(
        self, progress: Progress = "none", timeout: DurationFromZero | None = None
    ) -> PipelineRun:
        """Wait until nothing works on the pipeline. Raises nothing where it fails.

        Args:
            progress: How progress is shown: `"auto"`, `"bar"`, `"plain"`, `"jupyter"` or `"none"`.
            timeout: How long to wait at most: seconds, a `timedelta` or a text such as `"10m"`
                (default: until the end).

        Returns:
            The pipeline's run itself.

        Examples:
            >>> @mapred.pipeline
            ... def total(numbers):
            ...     return mapred.run(abs, numbers, reduce=sum).result()
            >>> total.submit([-1, -2]).wait(timeout="1m").state
            'succeeded'
        """
        limit = None if timeout is None else time.monotonic() + seconds(timeout)
        with watching.shown(self, progress):
            self._await_end(limit)
        return self

    def _await_end(self, limit: float | None) -> None:
        if self._folder.end() is not None and driver.driven(self.uri) is None:
            return
        if self._in_cluster() is not None and driver.driven(self.uri) is None:
            with interrupts.interrupted_with(self._how_to_follow):
                remote.follow(self._folder, self._in_cluster, limit)
            return
        while self._at_work() and self._folder.end() is None:
            left = _POLL if limit is None else limit - time.monotonic()
            if left <= 0:
                break
            if self._driver is not None:
                self._driver.ended.wait(min(_POLL, left))
            else:
                time.sleep(min(_POLL, left))

    def check(self) -> None:
        """Raise what kept the pipeline from its result; return None if it succeeded.

        Raises:
            RunError: The pipeline failed, was stopped, or is still at work.

        Examples:
            >>> @mapred.pipeline
            ... def total(numbers):
            ...     return mapred.run(abs, numbers, reduce=sum).result()
            >>> total.submit([-1, -2]).wait().check()
        """
        __tracebackhide__ = True
        inside = context.current()
        if inside is not None:
            inside.note_checked(self.uri)
        end = self._folder.end()
        if end is not None and end.state == "succeeded":
            return
        error = None if self._driver is None else self._driver.error
        failures = getattr(error, "failures", ())
        if isinstance(error, Exception):
            raise failing.make_error(self, "failed", failing.text_of(error), failures) from error
        raise failing.make_error(self, self.state, "" if end is None else end.message, failures)

    def _how_it_stopped(self) -> str:
        return f"stopped; {failing.how_to_continue(self._folder, 'interrupted', '')}"

    def _how_to_follow(self) -> str:
        return f"the pipeline continues; to follow it: mapred.open({self.uri!r}).wait()"

    def result(self) -> Any:
        """Return what the pipeline's function returned; wait for it first.

        Returns:
            The value. Runs in it are opened.

        Raises:
            RunError: The pipeline ended without its result.

        Examples:
            >>> @mapred.pipeline
            ... def total(numbers):
            ...     return mapred.run(abs, numbers, reduce=sum).result()
            >>> run = total.run([-1, -2])
            >>> mapred.open(run.uri).result()
            3
        """
        __tracebackhide__ = True
        self.wait()
        self.check()
        if self._driver is not None and self._driver.has_value:
            return self._driver.value
        self._refuse_code("result() loads a pickle")
        return stored.load_result(self._folder, self.record)

    @checks(PlanError)
    def audit(self, *, content: bool = True, contact: bool = False) -> audits.PipelineAudit:
        """Check the pipeline's own files, and all that `Run.audit` checks of each of its runs.

        Args:
            content: Whether to read every output of the runs once; else only their sizes are compared.
            contact: Whether to contact servers that the records of runs name; see `Run.audit`.

        Returns:
            What was compared, and the problems.

        Raises:
            StorageError: A folder cannot be read.

        Examples:
            >>> @mapred.pipeline
            ... def signs():
            ...     return mapred.run(abs, [-1, -2])
            >>> signs.run().audit().ok
            True
        """
        return audits.audit_pipeline(self._folder, self.record, content=content, contact=contact)

    def cancel(self) -> None:
        """Stop the pipeline and its runs for good. What they have committed stays.

        Raises:
            BackendError: Another process drives it, which cannot be stopped from here.

        Examples:
            >>> @mapred.pipeline
            ... def guarded():
            ...     return mapred.approve("release", "Publish?")
            >>> run = guarded.submit()
            >>> run.cancel()
            >>> run.state
            'cancelled'
        """
        here, there = driver.driven(self.uri), self._in_cluster()
        reason = None if here else drivers.may_live(RunFolder(self.store))
        if reason and self._folder.end() is None:
            raise BackendError(f"pipeline {self.id} may be running: {reason}")
        self._folder.put_end(End("cancelled", "cancelled by run.cancel()", time.time()))
        if here is not None:
            here.stopped.set()
        if there is not None:
            there.cancel()
        self._cancel_steps()
        if here is not None and not here.is_this_thread:
            while not here.ended.wait(_POLL):  # for a run of which its function waits
                self._cancel_steps()
            self._cancel_steps()  # what it started meanwhile

    def _cancel_steps(self) -> None:
        for claim in self._folder.claims():
            backends.share(self.uri, claim.uri)
            _cancel(claim.step.kind, claim.uri, self.id)

    @checks(PlanError)
    def resume(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        backend: str | Backend | None = None,
        progress: Progress = "auto",
    ) -> PipelineRun:
        """Call the pipeline's function again, and wait for the end.

        Runs that succeeded are kept, those that were interrupted continue, and those that failed start
        again with what they miss. A pipeline that succeeded is left alone, and one that is at work is
        followed.

        Args:
            fn: The function as it was edited since; a `mapred.pipeline` or what it was made of. Steps
                that still match what they were are kept (default: the function as it was stored).
            backend: Where the runs that are missing go (default: as before).
            progress: How progress is shown; see `wait`.

        Returns:
            The pipeline's run itself, which succeeded.

        Raises:
            RunError: The pipeline ended without its result once more.

        Examples:
            >>> def parse(text):
            ...     return int(text)
            >>> @mapred.pipeline
            ... def total(texts):
            ...     return sum(mapred.run(parse, mapred.items(texts), attempts=1).result())
            >>> try:
            ...     total.run(["1", "2", "x"])
            ... except mapred.RunError as error:
            ...     run = error.run
            >>> @mapred.pipeline
            ... def total(texts):
            ...     numbers = [text for text in texts if text.isdigit()]
            ...     return sum(mapred.run(parse, mapred.items(numbers)).result())
            >>> run.resume(fn=total).result()
            3
        """
        __tracebackhide__ = True
        self._refuse_code("resume() runs the pipeline's function")
        if self._at_work():
            if fn is not None:
                raise RunError(
                    f"pipeline {self.id} is running, and takes fn= only when it is not", run=self
                )
            remote.wake(self._in_cluster)
            return self._finish(progress)
        end = self._folder.end()
        if end is not None and end.state == "succeeded":
            return self
        self._prepare_resumption(fn)
        with watching.shown(self, progress):
            self._drive(None, None if backend is None else backends.resolve(backend))
        return self._finish()

    def _clear_failure(self, ended: float) -> None:
        """Prepare a pipeline inside of one that is resumed, unless it was since `ended`."""
        end = self._folder.end()
        if end is not None and end.state != "succeeded" and (end.time or 0.0) == ended:
            self._prepare_resumption(None)

    def _prepare_resumption(self, fn: Callable[..., Any] | None) -> None:
        """Note what may start again, and take the end away."""
        folder = self._folder
        made = folder.resumptions()
        new = Resumption(len(made) + 1, failed_runs(folder), _user(), time=time.time())
        if fn is not None:
            function = getattr(fn, "fn", fn)
            files = folder.put_edited(code_of(function, None, frozenset()))
            new = replace(new, files=files, code=identity.code_of(function))
        folder.put_resumption(new)
        folder.delete_end()

    def _drive(
        self,
        function: Callable[..., Any] | None,
        backend: Backend | None,
        *,
        in_thread: bool = False,
    ) -> None:
        """Call the function, which is loaded from the folder where it is not given, or have it called.

        A cluster that can calls it itself, unless the pipeline is part of another one.
        """
        __tracebackhide__ = True
        made_on = self.record.backend
        chosen = backend or (backends.of_run(self.uri, made_on, None) if made_on else None)
        if chosen is not None and not self.record.parent:
            self._remote = remote.start(self._folder, chosen)
            if self._remote is not None:
                return
        if function is None:
            function = stored.load_function(self._folder, self.record)
        defaults: dict[str, Any] = {"root": self.uri.rpartition("/")[0]}
        if chosen is not None:
            defaults["backend"] = chosen
        if self.record.mode is not None:
            defaults["mode"] = self.record.mode
        load = functools.partial(stored.load_arguments, self._folder, self.record)
        self._driver = Driver(self._folder, self.record, function, load, defaults)
        if in_thread:
            self._driver.start()
            return
        with interrupts.interrupted_with(self._how_it_stopped):
            try:
                self._driver.run()
            except Interrupted:  # which says how to continue with one of the runs
                raise KeyboardInterrupt from None

    def _finish(self, progress: Progress = "none") -> PipelineRun:
        __tracebackhide__ = True
        self.wait(progress)
        self.check()
        return self

    def _at_work(self) -> bool:
        """Whether a driver is at work on the pipeline, here or elsewhere."""
        if driver.driven(self.uri) is not None:
            return True
        return self._folder.end() is None and standing.at_work(self._folder, self._in_cluster())

    def _seen_at_work(self) -> bool | None:
        """Return the same, or None where a cluster does not answer."""
        try:
            return self._at_work()
        except StorageError:
            raise
        except BackendError:
            return None

    def _can_be_driven(self) -> bool:
        """Whether it has no end yet, and nothing is at work on it that this process knows of."""
        if self._folder.end() is not None or driver.driven(self.uri) is not None:
            return False
        # Of a cluster's processes one at a time drives a pipeline and the pipelines in it.
        return waiting.cluster_ref() is not None or not self._at_work()

    def _in_cluster(self) -> PipelineHandle | None:
        """Return what drives the pipeline in a cluster, as its folder says now."""
        self._remote = remote.reopen(self._folder, self._remote)
        return self._remote

    def _refuse_code(self, what: str) -> None:
        if not self._allow_pickle:
            raise RunError(
                f"{what} that lies in {self.uri}, and the pipeline was opened with "
                "allow_pickle=False; if you trust everyone who can write to its root: "
                "mapred.open(…, allow_pickle=True)"
            )

    def __repr__(self) -> str:
        # Reads nothing: debuggers ask for it all the time.
        return f"<PipelineRun {self.id} of {self.name}: {self.uri}>"

    def __str__(self) -> str:
        return display.pipeline_text(self.status(), time.time(), word=naming.word)

    def _ipython_display_(self) -> None:
        """Show a live display of a pipeline at work; nothing where this cell has one already."""
        if viewing.is_shown_here(self.uri):
            return
        if display.in_notebook() and self.status().live:
            watching.follow(self)
            return
        raise NotImplementedError  # so that what `_repr_mimebundle_` returns is shown

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return watching.bundle(self.status())

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]


def open_pipeline(uri: str, allow_pickle: bool = True) -> PipelineRun:
    """Open a pipeline by its folder's URI; a `RunError` where there is none."""
    store = open_store(uri)
    return PipelineRun(
        store, PipelineFolder(store).record(), driver.driven(store.uri), allow_pickle=allow_pickle
    )


def drive(
    run: PipelineRun,
    function: Callable[..., Any] | None,
    backend: Backend | None,
    *,
    in_thread: bool = False,
) -> None:
    """Call the function of a pipeline, which is loaded where it is not given, or have it called."""
    __tracebackhide__ = True
    run._drive(function, backend, in_thread=in_thread)


def clear_failure(run: PipelineRun, ended: float) -> None:
    """Prepare a pipeline inside of one that is resumed, unless it was since `ended`."""
    run._clear_failure(ended)


def can_be_driven(run: PipelineRun) -> bool:
    """Whether a pipeline has no end yet, and nothing is at work on it that this process knows of."""
    return run._can_be_driven()


def _cancel(kind: str, uri: str, pipeline: str) -> None:
    """Cancel a run of a pipeline, unless it has ended, or is another one's by what it says itself."""
    folder = PipelineFolder(open_store(uri))
    if folder.parent() == pipeline and folder.end() is None:
        (open_pipeline if kind == "pipeline" else open_run)(uri).cancel()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
