"""Child processes that go with what they started, and with their parent."""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def kill_group(pid: int) -> None:
    """Kill a child and everything it started that stayed in its process group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends (Linux; a no-op elsewhere)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def signal_name(number: int) -> str:
    """The name of a signal that ended a process, and what sends it."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # one of those for real time, which have none
        return f"signal {number}"
    return f"{name} (the system's out-of-memory killer does that)" if name == "SIGKILL" else name


def how_it_ended(status: int | None) -> str:
    """The end of a worker process in words; a negative status is a signal's number."""
    if status is None:
        return "the worker process ended, no one knows how"
    if status < 0:
        return f"the worker process was killed by {signal_name(-status)}"
    return f"the worker process exited with status {status} before its task was committed"
