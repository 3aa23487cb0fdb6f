"""One execution of a pipeline's function: each step is found where it was done before, or started."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from mapred import backends
from mapred.client import drivers
from mapred.client.job import Job, start_if
from mapred.client.options import Destination
from mapred.client.pipelines import identity, waiting
from mapred.client.pipelines.identity import Identity
from mapred.client.pipelines.waiting import Wait
from mapred.client.run_handle import Run, continue_run, open_run
from mapred.engine.base import Backend
from mapred.errors import FunctionError, RunError
from mapred.model.checking import short_repr
from mapred.model.spec import Job as JobRecord
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import (
    Answer,
    Claim,
    Gate,
    PipelineFolder,
    Recorded,
    Resumption,
    Step,
    to_json,
)
from mapred.storage import open_store

LARGEST = 2**20  # bytes of a recorded value
_POLL = 0.5
_REMEDY = (
    "A pipeline has to ask for the same steps each time that it is started again: keep what may "
    "change, such as the time, by mapred.recorded(…). An edited function keeps the steps that still "
    "match."
)


class Mismatch(FunctionError):
    """A replay that asks for other steps than the ones before it."""


class Cancelled(BaseException):
    """The pipeline was cancelled: its function is left, and no `except Exception` keeps it."""


class Inner(Protocol):
    """A pipeline that is about to start inside of another one."""

    def make(self, parent: str) -> tuple[str, str]:
        """Make a folder beside that of `parent`, without its record; return both."""

    def take(self, claim: Claim, failed: float | None, backend: Backend | None) -> Any:
        """Return the run of a claim, and have it driven unless it has ended; `failed` starts again.

        Its runs go to `backend` where neither they nor it say otherwise.
        """


class Execution:
    """What `mapred.run`, `recorded` and `approve` do inside of a pipeline.

    Its own thread asks for steps in an order, which each replay has to keep; threads that it hands
    itself over to have none.
    """

    def __init__(
        self,
        folder: PipelineFolder,
        name: str,
        defaults: Mapping[str, Any],
        resumptions: Sequence[Resumption],
        stopped: threading.Event,
    ) -> None:
        self.folder, self.name = folder, name
        self._defaults = defaults
        self._generation = sum(bool(one.files) for one in resumptions)
        # Runs that failed before the last resumption and not since then start again.
        self._failed = dict(resumptions[-1].failed) if resumptions else {}
        self._stopped = stopped
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._place = 0
        self._ordinals: Counter[str] = Counter()
        self._asked: set[str] = set()
        self._gates: set[str] = set()
        self._runs: dict[str, Any] = {}
        self._checked: set[str] = set()
        self._mismatch: Mismatch | None = None
        self._elsewhere: dict[str, Backend] = {}  # runs that another process drives

    def submit(self, job: Job, start: Mapping[str, Any], run_id: str | None) -> Run:
        """Return the run that does this step: the one that was started before, else a new one."""
        self._refuse_stopped()
        with waiting.busy():
            return self._submit(job, start, run_id)

    def _submit(self, job: Job, start: Mapping[str, Any], run_id: str | None) -> Run:
        if run_id is not None:
            raise FunctionError(
                f"run_id={run_id!r}: a pipeline finds its runs by what they do; leave run_id= out"
            )
        if start.get("root") is not None:
            raise FunctionError(
                f"root={start['root']!r}: the runs of a pipeline lie beside it; give root= to the pipeline"
            )
        destination = Destination(**{**self._defaults, **start})
        step = self._ask(identity.of_job(job))
        claim = self.folder.claim(step.address)
        if claim is None:
            run = start_if(job, destination, lambda uri, record: self._claim(step, uri, record))
            if run is not None:
                return self._note(run)
            claim = self.folder.claim(step.address)
            assert claim is not None
        return self._note(self._take(claim, backends.resolve(destination.backend)))

    def _claim(self, step: Step, uri: str, record: bytes) -> bool:
        """Whether the run at `uri` is the one that does a step: the first that says so."""
        claim = Claim(step, uri, record.decode(), self._generation, time.time())
        return self.folder.put_claim(claim).uri == uri

    def _take(self, claim: Claim, backend: Backend) -> Run:
        """Return the run that was made for a step, continued where nothing drives it."""
        store = open_store(claim.uri)
        folder = RunFolder(store)
        if not folder.has_job():
            # The driver that claimed the step ended before it wrote this, its last file.
            JobRecord.from_bytes(claim.record.encode(), f"{self.folder.uri}: claim of {claim.uri}")
            folder.put_job_data(claim.record.encode())
        run = open_run(claim.uri)
        backends.remember(claim.uri, backend)
        end = folder.end()
        if end is not None and end.state == "succeeded":
            return run
        if end is not None and self._failed.get(claim.uri) != (end.time or 0.0):
            return run  # It failed since: its error is raised in every replay.
        start = folder.start()
        if start.state == "suspended" and claim.uri not in self._failed:
            return run
        if continue_run(run, backend) == "at work" and drivers.alive(folder):
            self._elsewhere[run.uri] = backend
        return run

    def continues(self, run: Run) -> bool:
        """Continue a run whose driver, in another process, was lost; whether it was.

        A process of another machine counts as alive until it has given no sign of life for a while.
        """
        folder = RunFolder(run.store)
        lost = run.uri in self._elsewhere and folder.end() is None and not drivers.alive(folder)
        if lost:
            continue_run(run, self._elsewhere.pop(run.uri))
        return lost

    def _note(self, run: Run) -> Run:
        with self._lock:
            self._runs[run.uri] = run
        return run

    def note_checked(self, uri: str) -> None:
        self._checked.add(uri)

    def before_waiting(self, wait: Wait | None = None) -> None:
        """Raise where the pipeline was cancelled; in its own thread, leave a pod for a long wait."""
        self._refuse_stopped()
        if wait is not None and threading.get_ident() == self._thread:
            waiting.hold(wait, lambda: not drivers.any_at_work_here())

    def recorded(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str) -> Any:
        """Return what the function returned when it was first asked for."""
        self._refuse_stopped()
        step = self._ask(identity.of_values("recorded", name, {"args": args} if args else {}))
        kept = self.folder.recorded(step.address)
        if kept is None:
            with waiting.busy():
                value = _as_json(fn(*args), name)
                kept = self.folder.put_recorded(Recorded(step, value, time.time()))
        return json.loads(kept.value)

    def approve(
        self,
        name: str,
        question: str,
        choices: tuple[Any, ...],
        timeout: float | None,
        default: Any,
    ) -> Any:
        """Return the answer of a gate; wait for it."""
        self._refuse_stopped()
        if name in self._gates:
            raise FunctionError(
                f"the gate {name!r} is asked twice: give each a name of its own, such as "
                f'f"{name}-{{number}}" in a loop'
            )
        self._gates.add(name)
        self._ask(identity.of_values("gate", name, {"choices": choices}))
        asked = time.time()
        due = None if timeout is None else asked + timeout
        gate = self.folder.put_gate(Gate(name, question, choices, asked, due, default))
        return self._await_answer(gate).value

    def _await_answer(self, gate: Gate) -> Answer:
        def answered(seconds: float) -> bool:
            if self.folder.answer(gate.name) is not None:
                return True
            time.sleep(seconds)
            return gate.due is not None and time.time() >= gate.due

        while True:
            answer = self.folder.answer(gate.name)
            if answer is not None:
                return answer
            if gate.due is not None and time.time() >= gate.due:
                late = Answer(gate.name, gate.default, "", "timeout", time.time())
                return self.folder.put_answer(late)
            self.before_waiting(Wait(answered, lambda: gate.asked, gate.due))
            if self._stopped.wait(_POLL):
                raise Cancelled
            if self.folder.end() is not None:
                raise Cancelled

    def nested(self, found: Identity, inner: Inner) -> Any:
        """Return the run of the pipeline that does a step: the one of before, else a new one."""
        self._refuse_stopped()
        step = self._ask(found)
        claim = self.folder.claim(step.address)
        if claim is None:
            uri, record = inner.make(self.folder.uri)
            claim = self.folder.put_claim(Claim(step, uri, record, self._generation, time.time()))
        run = inner.take(claim, self._failed.get(claim.uri), self._defaults.get("backend"))
        with self._lock:
            self._runs[run.uri] = run
        return run

    @property
    def id(self) -> str:
        return self.folder.uri.rpartition("/")[2]

    @property
    def runs(self) -> tuple[Any, ...]:
        return tuple(self._runs.values())

    def finish(self) -> None:
        """Wait for the runs that nobody waited for, and raise the first failure among them."""
        failure: RunError | None = None
        for run in self.runs:
            self.before_waiting()
            run.wait()
            try:
                if run.uri not in self._checked:
                    run.check()
            except RunError as error:
                failure = failure or error
        if self._mismatch is not None:
            raise self._mismatch
        if failure is not None:
            raise failure
        self._refuse_unasked()

    def wait_for_all(self) -> None:
        """Wait until nothing works on the runs that the function started, however they end."""
        for run in self.runs:
            self.before_waiting()
            run.wait()

    def _ask(self, found: Identity) -> Step:
        """Note that a step is asked for; raise where a replay asks for another one in its place."""
        if self._mismatch is not None:
            raise self._mismatch  # again, since the function caught it
        with self._lock:
            own = threading.get_ident() == self._thread
            first = found.step("").address
            # What cannot be told apart from others is never equal to what was asked for before.
            ordinal = os.urandom(8).hex() if found.unknown else str(self._ordinals[first])
            step = found.step(ordinal)
            self._ordinals[first] += 1
            self._asked.add(step.address)
            place = self._place
            self._place += own
        standing = self.folder.put_order(self._generation, place if own else step.address, step)
        if standing.address != step.address:
            text = self._describe_mismatch(place, standing, step, found.unknown)
            self._mismatch = Mismatch(text)
            raise self._mismatch
        if found.unknown:
            warnings.warn(
                f"{identity.describe(step)} of the pipeline {self.name} cannot be found again when "
                f"the pipeline is started again: {found.unknown}; make it inside of the function that "
                "uses it, or the pipeline cannot be resumed beyond this step",
                UserWarning,
                stacklevel=_level_of_user(),
            )
        return step

    def _describe_mismatch(self, place: int, before: Step, now: Step, unknown: str) -> str:
        parts = " and ".join(identity.differences(before, now)) or "the order"
        differs = f"what differs is {parts}"
        if unknown and not identity.differences(before, now):
            differs = f"whether these are the same cannot be told: {unknown}"
        return (
            f"step {place + 1} of the pipeline {self.name} was {identity.describe(before)} and is now "
            f"{identity.describe(now)}; {differs}.\n{_REMEDY}"
        )

    def _refuse_unasked(self) -> None:
        """Raise where a thread asked for a step before, and none asks for it in this replay."""
        for claim in self.folder.claims():
            if claim.generation == self._generation and claim.step.address not in self._asked:
                raise Mismatch(
                    f"the pipeline {self.name} started {identity.describe(claim.step)} before, and did "
                    f"not ask for it this time.\n{_REMEDY}"
                )

    def _refuse_stopped(self) -> None:
        if self._stopped.is_set():
            raise Cancelled


def _level_of_user() -> int:
    """Return the `stacklevel` of a warning for the first line that is not of this package."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(backends.__file__))) + os.sep
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        level, frame = level + 1, frame.f_back
    return level


def _as_json(value: Any, name: str) -> str:
    try:
        text = to_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise FunctionError(
            f"recorded {name} gave {short_repr(value)}, which JSON cannot keep as it is ({error}): "
            "return texts, numbers, true and false, None, lists and dicts with texts as keys, and a date "
            "as its text, by str(…)"
        ) from None
    if len(text.encode(errors="surrogatepass")) > LARGEST:
        raise FunctionError(
            f"recorded {name} gave {len(text):,} characters of JSON; the limit is {LARGEST:,} bytes: "
            "have a run return what is larger"
        )
    return text


def failed_runs(folder: PipelineFolder) -> dict[str, float]:
    """Return the runs of a pipeline that ended without their results, with the times of their ends.

    One that was suspended has no end, and counts with the time 0.
    """
    found = {}
    for claim in folder.claims():
        run = RunFolder(open_store(claim.uri))
        end = run.end()
        if end is not None and end.state != "succeeded":
            found[claim.uri] = end.time or 0.0
        elif end is None and run.start().state == "suspended":
            found[claim.uri] = 0.0
    return found
