"""The clean-up at the normal end of a worker process.

A forked process ends without that of the interpreter, so what a task's module keeps open is closed
here, and what it registered with `atexit` runs.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
from typing import Any

from mapred.functions import instances

# The base of all files as it is in C: `isinstance` with the abstract class above it is slow.
_FILE: Any = io.IOBase.__base__
SECONDS = 30.0  # that a process may take to leave


def leave() -> tuple[str, ...]:
    """Close instances, run exit handlers, flush files; return what went wrong."""
    complaints = instances.close_all()
    atexit._run_exitfuncs()
    complaints += [text for file in _open_files() if (text := _close(file)) is not None]
    return tuple(complaints)


def _open_files() -> list[io.IOBase]:
    """Return the files that something still refers to, each before the one that it writes to."""
    files: list[Any] = [item for item in gc.get_objects() if issubclass(type(item), _FILE)]
    return sorted((file for file in files if _is_ours(file)), key=_depth)


def _is_ours(file: io.IOBase) -> bool:
    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    if any(file is stream or file is getattr(stream, "buffer", None) for stream in streams):
        return False
    try:
        return not file.closed and not isinstance(file, io.RawIOBase) and file.writable()
    except Exception:
        return False


def _depth(file: io.IOBase) -> int:
    # Text files write to compressed files, and those to plain ones.
    if isinstance(file, io.TextIOBase):
        return 0
    return 2 if isinstance(file, io.BufferedWriter | io.BufferedRandom) else 1


def _close(file: io.IOBase) -> str | None:
    try:
        file.close()
    except Exception as error:
        name = getattr(file, "name", type(file).__name__)
        return f"the file {name!r} could not be written: {type(error).__name__}: {error}"
    return None
