"""Driving a pipeline: its function is called, from the first line, until it has returned or failed."""

from __future__ import annotations

import hashlib
import inspect
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from mapred.client.pipelines import context, failing, stored, waiting
from mapred.client.pipelines.steps import Cancelled, Execution, Mismatch, failed_runs
from mapred.client.run_handle import Run, stop_local
from mapred.engine import leaving
from mapred.errors import AccessError, BackendError, FullError, MapredError, StorageError
from mapred.model import layout
from mapred.runfolder import liveness
from mapred.runfolder.pipelines import PipelineFolder, PipelineRecord, Resumption
from mapred.runfolder.records import End

# How often trouble of a cluster or a store is tried again, after a pause that doubles from these seconds.
_TROUBLES, _PAUSE = 5, 2.0
# What drives a pipeline in this process, by the pipeline's folder.
_driven: weakref.WeakValueDictionary[str, Driver] = weakref.WeakValueDictionary()


def driven(uri: str) -> Driver | None:
    """Return what drives a pipeline in this process, if anything does."""
    found = _driven.get(uri)
    return found if found is not None and not found.ended.is_set() else None


class Driver:
    """Calls the function of a pipeline, again where its `retries` say so, and writes its end.

    `value` is what the function returned, and `error` what it raised. A process that a cluster has
    started is one of several that do it one after the other.
    """

    def __init__(
        self,
        folder: PipelineFolder,
        record: PipelineRecord,
        function: Callable[..., Any],
        parameters: Callable[[], Mapping[str, Any]],
        defaults: Mapping[str, Any],
    ) -> None:
        self.folder, self.record = folder, record
        self._function, self._parameters, self._defaults = function, parameters, defaults
        self.stopped, self.ended = threading.Event(), threading.Event()
        self.value: Any = None
        self.error: BaseException | None = None
        self.execution: Execution | None = None
        self._thread = threading.get_ident()
        self._cluster, self._troubles = waiting.cluster_ref(), 0

    @property
    def is_this_thread(self) -> bool:
        return self._thread == threading.get_ident()

    @property
    def has_value(self) -> bool:
        return self.ended.is_set() and self.error is None and not self.stopped.is_set()

    def start(self) -> None:
        """Drive the pipeline in a thread of its own, which ends with this process."""
        self._begin()
        name = f"mapred-pipeline-{self.record.name}"
        threading.Thread(target=self._run_in_thread, name=name, daemon=True).start()
        leaving.watch(self)

    def leave(self, *, alone: bool) -> None:
        """Stop a pipeline that this process leaves at work, and say how to continue it.

        If `alone`, the runs are stopped before it.
        """
        if self.ended.is_set() or alone or self.folder.end() is not None:
            return
        self.stopped.set()
        how = failing.how_to_continue(self.folder, "interrupted", "")
        sys.stderr.write(
            f"mapred: this process is ending, and pipeline {self.record.run_id} ends with it; {how}\n"
        )

    def run(self) -> None:
        """Drive the pipeline in this thread; `KeyboardInterrupt` leaves it to be continued."""
        self._begin()
        self._run()

    def _begin(self) -> None:
        self._ref = self._cluster or liveness.own_ref("pipeline")
        self.folder.note_start(self._ref)  # of each pod of a cluster, as its sign of life
        _driven[self.folder.uri] = self

    def _run_in_thread(self) -> None:
        with suppress(BaseException):  # which `error` has
            self._run()

    def _run(self) -> None:
        self._thread, ended = threading.get_ident(), False
        try:
            with nullcontext() if self._cluster else self.folder.send_heartbeats(self._ref):
                while not self._attempt():
                    pass
            ended = True
        except BaseException as error:
            self.error = error
            self.stopped.set()  # for pipelines inside of this one, in threads of their own
            if self.execution is not None:
                _stop_local(self.execution)
            raise
        finally:
            self.ended.set()
            if not ended and self._cluster is None:
                self.folder.note_interruption(self._ref)

    def _attempt(self) -> bool:
        """Call the function once; whether the pipeline has ended with it."""
        resumptions = self.folder.resumptions()
        execution = self.execution = Execution(
            self.folder, self.record.name, self._defaults, resumptions, self.stopped
        )
        try:
            with context.within(execution):
                value = _call(self._function, self._parameters())
                execution.finish()
            data = stored.dump_result(value)
        except Cancelled:
            return True
        except Exception as error:
            if self._is_passing(error):
                return False
            with suppress(Cancelled), context.within(execution):
                execution.wait_for_all()
            if self.stopped.is_set():
                return True
            if self._may_retry(error, resumptions):
                self._retry(resumptions)
                return False
            self._end("failed", failing.text_of(error))
            self.error = error
            return True
        self.value = value
        self.folder.store.write(layout.RESULT, data)
        self._end("succeeded", "", hashlib.sha256(data).hexdigest())
        return True

    def _is_passing(self, error: Exception) -> bool:
        """Whether to call the function again since a cluster or a store had trouble; waits first.

        A person who started the pipeline in a process of theirs sees the error instead.
        """
        if self._cluster is None or not isinstance(error, StorageError | BackendError):
            return False
        if isinstance(error, AccessError | FullError):
            return False
        self._troubles += 1
        return self._troubles <= _TROUBLES and not self.stopped.wait(_PAUSE * 2**self._troubles)

    def _may_retry(self, error: Exception, resumptions: list[Resumption]) -> bool:
        """Whether `retries` are left since a person last resumed the pipeline."""
        made = 0
        for one in reversed(resumptions):
            if not one.automatic:
                break
            made += 1
        return made < self.record.retries and not isinstance(error, Mismatch)

    def _retry(self, resumptions: list[Resumption]) -> None:
        failed, number = failed_runs(self.folder), len(resumptions) + 1
        self.folder.put_resumption(
            Resumption(number, failed, "mapred", automatic=True, time=time.time())
        )

    def _end(self, state: Any, message: str, result: str = "") -> None:
        record = self.folder.record_digest()
        self.folder.put_end(End(state, message, time.time(), record, result))


def _call(function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """Call a function with arguments by name, those that it takes by their place alone included."""
    signature = inspect.signature(function)
    own = {name: value for name, value in values.items() if name in signature.parameters}
    rest = {name: value for name, value in values.items() if name not in own}
    bound = inspect.BoundArguments(signature, OrderedDict(own))
    return function(*bound.args, **bound.kwargs, **rest)


def _stop_local(execution: Execution) -> None:
    """Stop the runs that end with this process, so that they continue with the pipeline."""
    for run in execution.runs:
        inner = driven(run.uri)
        if inner is not None:
            inner.stopped.set()
        elif isinstance(run, Run):
            with suppress(MapredError):
                stop_local(run)
