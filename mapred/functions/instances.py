"""Classes given as functions: one instance for each thread of a worker, closed at the end.

An instance that is a context manager is entered when it is made and left at the end; any other
one is closed, if it has a `close()`.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Processes of someone else's pool are not told of a run's end: they close what is this old.
_RUNS = 4
_lock = threading.RLock()
_made: dict[str, list[Instance]] = {}
_working: set[tuple[str, int]] = set()
_over: set[str] = set()
_owner = 0  # the process that made what is in `_made`
_log = logging.getLogger("mapred")


class Instance:
    """One instance of a run's class; `function` is what is called."""

    def __init__(self, cls: Callable[[], Any]) -> None:
        made = cls()
        self.function: Callable[..., Any] = made
        self.thread, self.open, self._made = threading.get_ident(), True, made
        self._entered = hasattr(type(made), "__enter__") and hasattr(type(made), "__exit__")
        if self._entered:
            entered = made.__enter__()
            self.function = entered if callable(entered) else made

    def close(self) -> str | None:
        """Close it, once, and say what went wrong."""
        made, kind = self._made, type(self._made)
        if not self.open:
            return None
        self.open, self._made, self.function = False, None, _raise_closed
        try:
            if not self._entered and callable(getattr(made, "close", None)):
                made.close()
            elif hasattr(kind, "__exit__"):
                made.__exit__(None, None, None)
        except BaseException as error:
            text = "".join(traceback.format_exception_only(error)).strip()
            return f"{kind.__qualname__} could not be closed: {text}"
        return None


def _raise_closed(*args: Any, **keywords: Any) -> None:
    raise RuntimeError("the instance was closed")


class ThreadInstances:
    """The instances of a run's class, made when a thread first asks for its own."""

    def __init__(self, run: str, cls: Callable[[], Any]) -> None:
        self._run, self._cls = run, cls
        self._local = threading.local()

    def here(self) -> Callable[..., Any]:
        """Return what this thread calls."""
        instance: Instance | None = getattr(self._local, "instance", None)
        if instance is None or not instance.open:
            instance = self._local.instance = Instance(self._cls)
            _keep(self._run, instance)
        return instance.function


def _keep(run: str, instance: Instance) -> None:
    with _lock:
        _register_exit()
        _made.setdefault(run, []).append(instance)
        busy = {name for name, _ in _working}
        old = [name for name in _made if name not in busy and name != run]
    for name in old[: max(0, len(_made) - _RUNS)]:
        close(name)


@contextmanager
def mark_working(run: str) -> Iterator[None]:
    """Mark this thread as at work for a run; if the run ends meanwhile, close its instance after."""
    place = run, threading.get_ident()
    with _lock:
        _working.add(place)
        _over.discard(run)
    try:
        yield
    finally:
        with _lock:
            _working.discard(place)
            over = run in _over
        if over:
            close(run)


def close(run: str) -> None:
    """Close the instances of a run that has ended; those at work, once they are done."""
    with _lock:
        busy = {thread for name, thread in _working if name == run}
        instances = _made.pop(run, [])
        later = [instance for instance in instances if instance.thread in busy]
        if later:
            _made[run] = later
            _over.add(run)
        else:
            _over.discard(run)
    for instance in instances:
        if instance not in later and (text := instance.close()):
            _log.warning("%s", text)


def close_all() -> list[str]:
    """Close everything, as this process ends, and say what went wrong."""
    with _lock:
        instances = [instance for several in _made.values() for instance in several]
        _made.clear()
    return [text for instance in instances if (text := instance.close())]


def _register_exit() -> None:
    """Have this process close its instances when it ends, a child of `multiprocessing` too."""
    global _owner
    if _owner != os.getpid():
        from multiprocessing import util  # no run without a class has a use for it

        _owner = os.getpid()
        _made.clear()  # a parent's, which closes them itself
        util.Finalize(None, _close_at_exit, exitpriority=10)


def _close_at_exit() -> None:
    for text in close_all():
        _log.warning("%s", text)
