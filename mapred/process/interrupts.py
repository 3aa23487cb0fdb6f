"""Ctrl-C: what the user is told, and how it differs from a KeyboardInterrupt of a function."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from mapred.errors import Interrupted

_came = False
_noting: Callable[[int, FrameType | None], None] | None = None  # the handler that does so


@contextmanager
def note_interrupts() -> Iterator[None]:
    """Note each SIGINT that comes meanwhile, and let its handler do what it does.

    Signals reach the main thread alone; where the handler is not Python's, as in a process that
    ignores them, there is nothing to note.
    """
    global _came, _noting
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(before) or before is _noting:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        global _came
        _came = True
        before(number, frame)

    _came, _noting = False, note
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        _noting = None
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


def is_real(error: BaseException) -> bool:
    """Whether an exception came of a signal, so that it is not the user's code's."""
    main = threading.current_thread() is threading.main_thread()
    if not main or not isinstance(error, KeyboardInterrupt):
        return False
    # Where nobody notes, it may be, unless this process ignores the signal.
    return _came if _noting is not None else callable(signal.getsignal(signal.SIGINT))


@contextmanager
def interrupted_with(text: Callable[[], str]) -> Iterator[None]:
    """Have a Ctrl-C end in `Interrupted` with this text, which is shown without a traceback."""
    try:
        yield
    except Interrupted:
        raise
    except KeyboardInterrupt:
        stopped = Interrupted(text())
    else:
        return
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _show
    raise stopped from None


def _show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show what a script shows as it ends; a notebook asks the exception itself."""
    if isinstance(error, Interrupted):
        sys.stderr.write(f"{error}\n")
    else:
        sys.__excepthook__(kind, error, traceback)
