"""What drives a pipeline in a cluster, as a client of it sees that."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from mapred import backends
from mapred.engine.base import Backend, DrivesPipelines, PipelineHandle
from mapred.errors import BackendError
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import open_store

_LOOK = 5.0  # seconds between two looks at the pipeline's folder


def reopen(folder: PipelineFolder, known: PipelineHandle | None) -> PipelineHandle | None:
    """Return the handle that the folder names, which is `known` if that is the one; None for a process."""
    ref = folder.start().ref
    if ref is None:
        return None
    if known is not None and known.ref == ref:
        return known
    return backends.reopen_pipeline(folder.store, folder.record_digest(), ref)


def start(folder: PipelineFolder, backend: Backend) -> PipelineHandle | None:
    """Have a cluster call the function of a pipeline; None for a backend without one that can."""
    if not isinstance(backend, DrivesPipelines):
        return None
    backends.remember(folder.uri, backend)
    return backend.start_pipeline(folder.store, folder.record_digest())


def wake(current: Callable[[], PipelineHandle | None]) -> None:
    """Have a pipeline look soon for what it waits for, where its cluster can be told."""
    with suppress(BackendError):
        handle = current()
        if handle is not None:
            handle.wake()


def follow(
    folder: PipelineFolder, current: Callable[[], PipelineHandle | None], limit: float | None
) -> None:
    """Wait until nothing works on a pipeline, or the clock is past `limit`; wake it where a run ends."""
    ended: set[str] = set()
    _note_ended(folder, ended)
    while folder.end() is None:
        handle = current()
        left = _LOOK if limit is None else min(_LOOK, limit - time.monotonic())
        if handle is None or left <= 0:
            return
        over = handle.wait(left)
        if over and (folder.end() is not None or current() is handle):
            return
        if _note_ended(folder, ended):
            handle.wake()


def _note_ended(folder: PipelineFolder, ended: set[str]) -> bool:
    """Add the runs of a pipeline that have ended; whether there are new ones."""
    uris = {claim.uri for claim in folder.claims()} - ended
    new = {uri for uri in uris if RunFolder(open_store(uri)).end() is not None}
    ended |= new
    return bool(new)
