"""What drives a run: a handle of this process, or another process."""

from __future__ import annotations

import os
from contextlib import suppress
from weakref import WeakValueDictionary

from mapred.display.format import format_seconds
from mapred.engine.base import Handle
from mapred.runfolder import liveness
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.starts import Start

# What drives a run in this process, by the run's folder, however many handles it has.
_driven: WeakValueDictionary[str, Handle] = WeakValueDictionary()


def remember(uri: str, handle: Handle) -> None:
    """Share the handle that drives a run with the whole process, unless a cluster drives it."""
    if not handle.survives_client:
        with suppress(TypeError):  # A backend's own handle may allow no weak reference.
            _driven[uri] = handle


def forget(uri: str) -> None:
    """Drop the handle of a run that was stopped, unless it was started again since."""
    handle = _driven.get(uri)
    if handle is not None and not handle.alive():
        _driven.pop(uri, None)


def driven(uri: str) -> Handle | None:
    """Return what drives a run in this process, or did last; None where nothing here does."""
    handle = _driven.get(uri)
    # A process that was forked from the one that drives it drives nothing.
    here = handle is not None and handle.ref.split(":")[2:3] == [str(os.getpid())]
    return handle if here else None


def any_at_work_here() -> bool:
    """Whether this process drives a run that ends with it."""
    return any(handle.alive() for handle in list(_driven.values()))


def at_work(folder: RunFolder, start: Start) -> bool:
    """Whether a process drives a run, this one included."""
    here = driven(folder.uri)
    return (here is not None and here.alive()) or alive(folder, start)


def alive(folder: RunFolder, start: Start | None = None) -> bool:
    """Whether another process drives a run: it lives here, or gave a sign of life elsewhere."""
    driver = folder.driver(start)
    return driver is not None and driver.alive and not driver.is_here


def is_of_cluster(ref: str) -> bool:
    """Whether a ref names what a cluster has started, and not a process."""
    return liveness.process_of(ref) is None


def may_live(folder: RunFolder, start: Start | None = None) -> str | None:
    """Why the process that drove a run may live, and what to do; None where it has ended.

    None also where a cluster drives the run, which can be asked.
    """
    driver = folder.driver(start)
    if driver is None or not driver.may_live:
        return None
    pid, host = driver.process.pid, driver.process.host
    if driver.is_here:
        return _may_live_here(folder.uri)
    if driver.lives:
        return (
            f"the process {pid} of this machine drives it; stop it there, in a shell: "
            f"kill -INT {pid}"
        )
    return (
        f"the process {pid} of {host} drives it, which cannot be seen from here, and was "
        f"active {format_seconds(driver.quiet)} ago; stop it there, or, if it is gone, resume "
        f"the run here first: mapred.open({folder.uri!r}).resume()"
    )


def _may_live_here(uri: str) -> str | None:
    here = driven(uri)
    if here is None:  # An inline run has a handle only once it is over.
        return "a thread of this process drives it; wait for its end, or press Ctrl-C there"
    if not here.alive():
        return None
    return f"this process drives it; stop it first: mapred.open({uri!r}).cancel()"
