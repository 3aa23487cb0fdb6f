"""The files of a run's folder, and how they are removed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from mapred.errors import MapredError
from mapred.model import layout
from mapred.model.coding import encode
from mapred.runfolder.records import Removal
from mapred.storage import Store, map_ahead

# A folder that lacks the first two holds no run; one that lacks the next two has no result.
_FIRST = (layout.JOB, layout.PIPELINE, layout.END, layout.MANIFEST)


class Files:
    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def uri(self) -> str:
        return self.store.uri

    @contextmanager
    def remove_on_error(self) -> Iterator[None]:
        """Remove the folder of a run that could not be started.

        A folder that was complete when Ctrl-C came may belong to a run at work, which can be
        resumed; so can one with a commit, as after a full disk.
        """
        try:
            yield
        except BaseException as error:
            with suppress(MapredError, OSError):
                began = any("/commits/" in path for path, _ in self.store.list(""))
                failed = isinstance(error, Exception) and not began
                if failed or _read(self.store, layout.JOB) is None:
                    self.discard()
            raise

    @contextmanager
    def restore_on_error(self, paths: Iterable[str]) -> Iterator[None]:
        """Put files of a run back as they were, if what changes them fails."""
        before = {path: _read(self.store, path) for path in dict.fromkeys(paths)}
        try:
            yield
        except Exception:
            with suppress(MapredError, OSError):
                for path, data in before.items():
                    if data is not None:
                        self.store.write(path, data)
                    else:
                        self.delete([path])
            raise

    def discard(self) -> None:
        """Remove all of a folder, job.json first: without it nobody opens it as a run."""
        for path in [layout.JOB, *(path for path, _ in self.store.list(""))]:
            self.delete([path])
        root = self.store.local_path("")
        if root is not None:
            import shutil  # few runs are discarded

            shutil.rmtree(root, ignore_errors=True)

    def files(self, listed: list[tuple[str, int]] | None = None) -> list[tuple[str, int]]:
        """Return path and size of every file, as `listed`, or by a listing.

        job.json and end.json are among them even if the listing lags behind.
        """
        files = self.store.list("") if listed is None else list(listed)
        known = {path for path, _ in files}
        first = {layout.PIPELINE} if layout.PIPELINE in known else {layout.JOB}
        for path in sorted({*first, layout.END} - known):
            with suppress(FileNotFoundError):
                files.append((path, len(self.store.read(path))))
        return files

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files of a run, after a mark by which an interrupted removal is finished later.

        job.json goes first: nobody opens a run that is half there.
        """
        run_id = self.uri.rstrip("/").rpartition("/")[2]
        self.store.write(layout.REMOVED, encode(Removal(run_id)))
        for path in _FIRST:
            self.delete([path])
        self.delete(path for path in paths if path not in (*_FIRST, layout.REMOVED))
        self.delete([layout.REMOVED])
        # Empty folders, and so the run's own where nothing is left in it.
        root = self.store.local_path("")
        for folder, _, _ in () if root is None else os.walk(root, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files; those that are gone already are fine."""

        def one(path: str) -> None:
            with suppress(FileNotFoundError):
                self.store.delete(path)

        for _ in map_ahead(self.store, one, paths):
            pass


def _read(store: Store, path: str) -> bytes | None:
    try:
        return store.read(path)
    except FileNotFoundError:
        return None
