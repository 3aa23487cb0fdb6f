"""What drives a run: a handle of this process, or another process of this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from weakref import WeakValueDictionary

from mapred.backends.base import Handle, process_birth
from mapred.starts import Start

# What drives a run in this process, by the run's folder, however many handles it has.
_driven: WeakValueDictionary[str, Handle] = WeakValueDictionary()


def remember(uri: str, handle: Handle) -> None:
    """Have all handles of this process know what drives a run; a cluster knows by itself."""
    if not handle.detaches:
        with suppress(TypeError):  # A backend's own handle may allow no weak reference.
            _driven[uri] = handle


def forget(uri: str) -> None:
    """Have the folder alone tell of a run, which was stopped."""
    _driven.pop(uri, None)


def driven(uri: str) -> Handle | None:
    """What drives a run in this process, or did last; None where nothing here does."""
    handle = _driven.get(uri)
    # A process that was forked from the one that drives it drives nothing.
    here = handle is not None and handle.ref.split(":")[2:3] == [str(os.getpid())]
    return handle if here else None


def at_work(uri: str, start: Start) -> bool:
    """Whether a process of this machine, this one included, drives a run."""
    here = driven(uri)
    if here is not None and here.alive():
        return True
    return start.ref is not None and alive(start.ref)


def alive(ref: str) -> bool:
    """Whether the process that drove a run lives: known on its own machine alone."""
    parts = ref.split(":")
    if len(parts) != 4 or parts[1] != os.uname().nodename:
        return False
    return int(parts[2]) != os.getpid() and process_birth(int(parts[2])) == parts[3]
