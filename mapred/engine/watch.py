"""What a run needs of its folder, looked at while the run is at work."""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress

from mapred.engine.base import Vanished
from mapred.errors import BackendError, StorageError
from mapred.model import layout
from mapred.model.spec import Stage
from mapred.runfolder.folder import RunFolder

SECONDS = 5.0  # between two looks


class Watch:
    """Raises where someone takes away what the run needs."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._next = 0.0
        self._awaited: tuple[Stage, Collection[int]] | None = None

    def begin(self) -> None:
        """Put the next look off: all was there a moment ago."""
        self._next = time.monotonic() + SECONDS

    def await_inputs(self, stage: Stage, done: Collection[int]) -> None:
        """Look at these commits too: a task that is at work reads them."""
        self._awaited = stage, done

    def look(self, now: float) -> None:
        if now < self._next:
            return
        with suppress(StorageError):  # A store that gives no answer now has taken nothing away.
            self.check_folder()
            if self._awaited is not None:
                self.check_commits(*self._awaited)
        self.begin()

    def check_folder(self) -> None:
        if not self._folder.has_job():
            raise Vanished(
                f"{self._folder.uri}/{layout.JOB} is gone: someone removed it, or the whole "
                "folder, while the run was running; start a new run"
            )

    def check_commits(self, stage: Stage, done: Collection[int]) -> None:
        """Raise where a commit that was there is gone; a listing that lags is not believed."""
        for index in set(done).difference(self._folder.list_committed(stage.name)):
            if self._folder.commit(stage.name, index) is None:
                raise BackendError(
                    f"{self._folder.uri}/{layout.commit(stage.name, index)} is gone: someone "
                    "removed it while the run was running; resume the run, which does its task again"
                )
