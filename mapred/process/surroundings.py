"""What a task may change of its process and must not leave to the next one.

Only the main thread's tasks are looked after: what threads share cannot be restored for one
of them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# What a task handles to stop itself, or for its children; SIGINT is its driver's.
_SIGNALS = (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True)
class Surroundings:
    """The current folder (None where it was removed), umask, variables, locale, signals, streams.

    `alarm` says whether a timer runs that ends in SIGALRM.
    """

    folder: str | None
    umask: int
    environment: Mapping[bytes, bytes]
    locale: str | None
    handlers: Mapping[int, Any]
    alarm: bool
    streams: tuple[Any, Any]


def capture() -> Surroundings | None:
    """Return the process as it is now; None in a thread that shares it with others."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return Surroundings(
        _folder(),
        _umask(),
        _environment().copy(),
        _locale(),
        _handlers(),
        _has_alarm(),
        (sys.stdout, sys.stderr),
    )


def restore(before: Surroundings | None) -> None:
    """Undo what has changed since `before` was noted."""
    if before is None:
        return
    if before.folder is not None and _folder() != before.folder:
        # A folder that the task removed does not affect the next one's relative paths.
        with suppress(OSError):
            os.chdir(before.folder)
    if _umask() != before.umask:
        os.umask(before.umask)
    if _environment() != before.environment:
        zone = os.environb.get(b"TZ")
        os.environb.clear()
        os.environb.update(before.environment)
        if zone != before.environment.get(b"TZ"):
            time.tzset()
    if _locale() != before.locale:
        _set_locale(before.locale)
    if _has_alarm() and not before.alarm:
        signal.alarm(0)
    for number, handler in _handlers().items():
        earlier = before.handlers[number]
        # A handler that was not set by Python cannot be set by it.
        if handler is not earlier and earlier is not None:
            signal.signal(number, earlier)
    sys.stdout, sys.stderr = before.streams


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def _umask() -> int:
    # The system tells it only to those who set it.
    value = os.umask(0o077)
    os.umask(value)
    return value


def _environment() -> dict[bytes, bytes]:
    """Return the variables as they are kept: `os.environ` decodes them all for a copy, which is
    slow."""
    kept: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    return kept


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _SIGNALS}


def _has_alarm() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _locale() -> str | None:
    """Return the C library's locale; None before anybody could have set one."""
    locale = sys.modules.get("locale")
    return None if locale is None else str(locale.setlocale(locale.LC_ALL))


def _set_locale(value: str | None) -> None:
    import locale

    with suppress(locale.Error):
        # Python starts with the user's character type and the "C" locale for all else.
        locale.setlocale(locale.LC_ALL, value or "C")
        if value is None:
            locale.setlocale(locale.LC_CTYPE, "")
