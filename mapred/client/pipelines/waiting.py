"""How a pipeline waits: in a pod of a cluster only for a short while, since another one can continue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HOLD = 30.0  # seconds for which a pod waits before it leaves
_LOOK = 0.5


@dataclass(frozen=True)
class Wait:
    """Something awaited: `over` waits up to some seconds, and says whether it has come.

    `since` tells when it began, and `due` is when it passes by itself; both in seconds since the epoch.
    """

    over: Callable[[float], bool]
    since: Callable[[], float]
    due: float | None = None


class _Process:
    """What this process does where a pipeline waits, and how many of its threads are at a step.

    `ref` is that of what a cluster has started, which this process is part of.
    """

    ref: str | None = None
    leave: Callable[[Wait], None] | None = None
    busy = 0
    lock = threading.Lock()


def leave_by(ref: str, leave: Callable[[Wait], None]) -> None:
    """Have this process leave by a call that does not return, unless what is awaited has come."""
    _Process.ref, _Process.leave = ref, leave


def stay() -> None:
    """Have this process wait as long as it takes, as any does at first."""
    _Process.ref = _Process.leave = None


def cluster_ref() -> str | None:
    """Return the ref of what a cluster has started, if this process is part of that."""
    return _Process.ref


@contextmanager
def busy() -> Iterator[None]:
    """Keep the process from leaving while it starts a run, or computes a value to record."""
    with _Process.lock:
        _Process.busy += 1
    try:
        yield
    finally:
        with _Process.lock:
            _Process.busy -= 1


def hold(wait: Wait, may_leave: Callable[[], bool]) -> None:
    """Wait for a while, then leave where that is allowed; at once back where this process stays."""
    leave = _Process.leave
    while leave is not None and not _comes(wait, HOLD):
        if not _Process.busy and may_leave():
            leave(wait)
            return


def _comes(wait: Wait, seconds: float) -> bool:
    limit = time.monotonic() + seconds
    while not wait.over(min(_LOOK, max(0.0, limit - time.monotonic()))):
        if time.monotonic() >= limit:
            return False
    return True
