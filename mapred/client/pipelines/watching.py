"""What a terminal and a notebook show of a pipeline while it is at work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from mapred import display
from mapred.client import naming, viewing
from mapred.client.pipelines import context, standing
from mapred.display.notebook import Updates
from mapred.model.pipelines import PipelineStatus
from mapred.runfolder.pipelines import PipelineFolder, PipelineRecord
from mapred.storage import Store, is_local

_OFTEN, _RARELY = 0.25, 5.0  # seconds between two looks, where each costs requests
_LAST_LOOK = 5.0  # seconds for a look that is under way, on a store that may not answer


class Watched(Protocol):
    """A pipeline's run."""

    store: Store
    record: PipelineRecord


class _Watch:
    """Looks at a pipeline again and again; what has ended is read once."""

    def __init__(self, run: Watched) -> None:
        self._folder, self._record = PipelineFolder(run.store), run.record
        self.uri = run.store.uri
        self._looks = standing.Looks()
        self.seconds = _OFTEN if is_local(self.uri) else _RARELY

    def look(self) -> PipelineStatus:
        alive = standing.seen_at_work(self._folder)
        return standing.status(self._folder, self._record, at_work=alive, looks=self._looks)


def bundle(status: PipelineStatus) -> dict[str, str]:
    """Return what a notebook shows of a pipeline."""
    now = time.time()
    return {
        "text/plain": display.pipeline_text(status, now, word=naming.word),
        "text/html": display.pipeline_html(status, now, word=naming.word),
    }


def follow(run: Watched) -> tuple[Updates, Callable[[], bool]]:
    """Show a pipeline in this cell until it is over; return at once, with what draws it now."""
    updates, watch = Updates(), _Watch(run)

    def draw() -> bool:
        status = watch.look()
        updates.show(bundle(status))
        return status.live

    updates.follow(draw, watch.seconds)
    viewing.note_shown(watch.uri)
    return updates, draw


@contextlib.contextmanager
def shown(run: Watched, progress: str) -> Iterator[None]:
    """Show the progress of a pipeline meanwhile; nothing of one inside of another pipeline."""
    if progress == "none" or context.current() is not None:
        yield
        return
    if progress == "jupyter" or (progress == "auto" and display.in_notebook()):
        updates, draw = follow(run)
        try:
            yield
        finally:
            updates.stop()
            with contextlib.suppress(Exception):  # what breaks ends the showing alone
                draw()
        return
    show, stopped = display.pipeline_progress(progress, naming.word), threading.Event()
    watch = _Watch(run)

    def refresh() -> None:
        while not stopped.wait(watch.seconds):
            with contextlib.suppress(Exception):
                show(watch.look())

    thread = threading.Thread(target=refresh, name="mapred-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(_LAST_LOOK)
        with contextlib.suppress(Exception):
            show.close(watch.look())
