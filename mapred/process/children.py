"""Child processes that go with what they started, and with their parent.

Where Linux has it, a worker is the reaper of what it started: a daemon whose parent ended becomes
its child. When the worker ends, the process that forked it inherits them all, and ends them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Container

from mapred.process.lazy import Lazy

ctypes, psutil = Lazy("ctypes"), Lazy("psutil")  # not every process needs them
UNCONNECTED = 71  # the exit status of a worker that has lost its connection
_DIE_WITH_PARENT, _ADOPT = 1, 36  # of prctl
_SECONDS = 2.0  # in which killed processes end


def kill_group(pid: int) -> None:
    """Kill a child and everything it started that stayed in its process group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when `parent` ends (Linux; a no-op elsewhere)."""
    if sys.platform == "linux":
        _prctl(_DIE_WITH_PARENT, number)
        if os.getppid() != parent:
            os._exit(1)


def signal_name(number: int) -> str:
    """Return the name of a signal that ended a process, and what sends it."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # one of those for real time, which have none
        return f"signal {number}"
    return f"{name} (the system's out-of-memory killer does that)" if name == "SIGKILL" else name


def adopt() -> None:
    """Become the parent of what descends from this process and loses its own (Linux)."""
    if sys.platform == "linux":
        _prctl(_ADOPT, 1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def children() -> set[int]:
    """Return the processes whose parent this one is, by birth or since theirs ended."""
    pids: set[int] = set()
    try:
        for thread in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{thread}/children") as file:
                pids.update(map(int, file.read().split()))
    except OSError:  # a kernel without that file, or another system
        pids.update(child.pid for child in psutil.Process().children())
    return pids


def end_children(but: Container[int] = ()) -> None:
    """Kill what this process has started or adopted, and what these leave behind in turn."""
    limit, wait = time.monotonic() + _SECONDS, 0.0005
    while left := [pid for pid in children() if pid not in but]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > limit:
            return
        time.sleep(wait)
        wait = min(2 * wait, 0.05)


def how_it_ended(status: int | None) -> str:
    """Return the end of a worker process in words; a negative status is a signal's number."""
    if status is None or status == UNCONNECTED:
        return (
            "the worker process lost its connection: a function that closes descriptors which it "
            "did not open (os.closerange) does that; close those that you open"
        )
    if status < 0:
        return f"the worker process was killed by {signal_name(-status)}"
    return f"the worker process exited with status {status} before its task was committed"
