"""Telling a real Ctrl-C from a KeyboardInterrupt that a function raises by itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_came = False


@contextmanager
def noted() -> Iterator[None]:
    """Note each SIGINT that comes meanwhile, and let its handler do what it does.

    Signals reach the main thread alone; where the handler is not Python's, as in a process that
    ignores them, there is nothing to note.
    """
    global _came
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(before) or getattr(before, "notes", False):
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        global _came
        _came = True
        before(number, frame)

    note.notes = True  # type: ignore[attr-defined]
    _came = False
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


def is_real(error: BaseException) -> bool:
    """Whether an exception came of a signal, so that it is not the function's."""
    main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and main and _came
