"""The pipeline that the calling code is part of, if any."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from mapred.client.pipelines.waiting import Wait
from mapred.errors import FunctionError


class Steps(Protocol):
    """What a pipeline does with what is asked of it while its function runs."""

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> str: ...

    def submit(self, job: Any, start: Mapping[str, Any], run_id: str | None) -> Any:
        """Return the run that does this step: the one that was started before, else a new one."""

    def recorded(self, fn: Callable[..., Any], args: tuple[Any, ...], name: str) -> Any:
        """Return what the function returned when it was first asked for."""

    def approve(
        self,
        name: str,
        question: str,
        choices: tuple[Any, ...],
        timeout: float | None,
        default: Any,
    ) -> Any:
        """Return the answer of a gate."""

    def nested(self, found: Any, inner: Any) -> Any:
        """Return the run of a pipeline that does a step of this one."""

    def note_checked(self, uri: str) -> None:
        """Note that the function was told how a run ended."""

    def continues(self, run: Any) -> bool:
        """Continue a run whose driver, in another process, was lost; whether it was."""

    def before_waiting(self, wait: Wait | None = None) -> None:
        """Get ready to wait for a run or an answer, or leave the function.

        Without `wait` the function itself limits how long it waits.
        """


_current: ContextVar[Steps | None] = ContextVar("mapred_pipeline", default=None)
# Pipelines at work in this process, each with the threads that there were before it.
_own_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_at_work: dict[int, tuple[Steps, frozenset[threading.Thread]]] = {}


@contextmanager
def within(steps: Steps) -> Iterator[None]:
    """Have everything that this thread starts be part of a pipeline."""
    token = _current.set(steps)
    _own_threads.add(threading.current_thread())
    _at_work[id(steps)] = steps, frozenset(threading.enumerate())
    try:
        yield
    finally:
        del _at_work[id(steps)]
        _current.reset(token)


def current() -> Steps | None:
    """Return the pipeline that this code is part of; None outside of any.

    Raises `FunctionError` in a thread that a pipeline started without its context: what is started
    there would be started again by each replay.
    """
    steps = _current.get()
    if steps is not None or not _at_work:
        return steps
    thread = threading.current_thread()
    for steps, before in list(_at_work.values()):
        if thread not in before and thread not in _own_threads:
            raise FunctionError(
                f"the thread {thread.name!r} began while the pipeline {steps.name} was at work, and "
                "does not belong to it: hand the pipeline over when you start the thread, as in "
                "pool.submit(contextvars.copy_context().run, function, argument)"
            )
    return None
