"""What drives a run: a handle of this process, or another process."""

from __future__ import annotations

import os
from contextlib import suppress
from weakref import WeakValueDictionary

from mapred.display.format import format_seconds
from mapred.engine.base import Handle
from mapred.runfolder import liveness
from mapred.runfolder.starts import Start
from mapred.storage import Store

# What drives a run in this process, by the run's folder, however many handles it has.
_driven: WeakValueDictionary[str, Handle] = WeakValueDictionary()


def remember(uri: str, handle: Handle) -> None:
    """Have all handles of this process know what drives a run; a cluster knows by itself."""
    if not handle.survives_client:
        with suppress(TypeError):  # A backend's own handle may allow no weak reference.
            _driven[uri] = handle


def forget(uri: str) -> None:
    """Have the folder alone tell of a run that was stopped, unless it was started again since."""
    handle = _driven.get(uri)
    if handle is not None and not handle.alive():
        _driven.pop(uri, None)


def driven(uri: str) -> Handle | None:
    """What drives a run in this process, or did last; None where nothing here does."""
    handle = _driven.get(uri)
    # A process that was forked from the one that drives it drives nothing.
    here = handle is not None and handle.ref.split(":")[2:3] == [str(os.getpid())]
    return handle if here else None


def at_work(store: Store, start: Start) -> bool:
    """Whether a process drives a run, this one included."""
    here = driven(store.uri)
    if here is not None and here.alive():
        return True
    return alive(store, start)


def alive(store: Store, start: Start) -> bool:
    """Whether another process drives a run: one that lives, or elsewhere gave a sign lately."""
    process = None if start.ref is None else liveness.process_of(start.ref)
    if start.ref is None or process is None:
        return False
    lives = liveness.lives(process)
    if lives is not None:
        return lives and not _is_own(process)
    if not process.boot:
        return False
    return liveness.seconds_quiet(store, start.ref, start.time) < liveness.FRESH_SECONDS


def may_live(store: Store, start: Start) -> str | None:
    """Why the process that drove a run may live, and what to do; None where it has ended.

    None also of a cluster, which is asked itself.
    """
    process = None if start.ref is None else liveness.process_of(start.ref)
    if start.ref is None or process is None:
        return None
    lives = liveness.lives(process)
    if lives:
        if _is_own(process):
            return _may_live_here(store)
        return (
            f"the process {process.pid} of this machine drives it; stop it there, in a shell: "
            f"kill -INT {process.pid}"
        )
    quiet = liveness.seconds_quiet(store, start.ref, start.time)
    if lives is False or (process.boot and quiet > liveness.QUIET_SECONDS):
        return None
    if not process.boot:
        return None
    return (
        f"the process {process.pid} of {process.host} drives it, which cannot be seen from here and "
        f"gave a sign of life {format_seconds(quiet)} ago; stop it there, or, if it is gone, "
        f"resume the run here first: mapred.open({store.uri!r}).resume()"
    )


def _may_live_here(store: Store) -> str | None:
    here = driven(store.uri)
    if here is None:  # An inline run has a handle only once it is over.
        return "a thread of this process drives it; wait for its end, or press Ctrl-C there"
    if not here.alive():
        return None
    return f"this process drives it; stop it first: mapred.open({store.uri!r}).cancel()"


def _is_own(process: liveness.Process) -> bool:
    return process.pid == os.getpid()
