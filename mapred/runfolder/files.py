"""The files of a run's folder, and taking them away: those of a run that is removed, say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from mapred.errors import MapredError
from mapred.model import layout
from mapred.model.coding import encode
from mapred.runfolder.records import Removal
from mapred.storage import Store, map_ahead

# Without the first there is no run; without the next two, no result.
_FIRST = (layout.JOB, layout.END, layout.MANIFEST)


class Files:
    """The files of a run's folder in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def uri(self) -> str:
        return self.store.uri

    @contextmanager
    def remove_on_error(self) -> Iterator[None]:
        """Remove the folder of a run that could not be started: no phantom is left among the runs.

        One that was complete when Ctrl-C came may have been at work, and can be resumed; so can one
        with a commit, as where the disk got full on the way.
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
        """Put files of a run back as they were, where what changes them is refused in the end."""
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
        """Remove all of a folder in which nothing works, job.json first: without it nothing opens it as a run."""
        for path in [layout.JOB, *(path for path, _ in self.store.list(""))]:
            self.delete([path])
        root = self.store.local_path("")
        if root is not None:
            import shutil

            shutil.rmtree(root, ignore_errors=True)

    def files(self, listed: list[tuple[str, int]] | None = None) -> list[tuple[str, int]]:
        """Path and size of every file, as `listed`, or by a listing.

        Those that say what becomes of a run are among them, though a listing may lag behind.
        """
        found = self.store.list("") if listed is None else list(listed)
        shown = {path for path, _ in found}
        for path in (layout.JOB, layout.END):
            if path not in shown:
                with suppress(FileNotFoundError):
                    found.append((path, len(self.store.read(path))))
        return found

    def remove(self, paths: Iterable[str]) -> None:
        """Remove files of a run: marked first, so that it is finished later if this is cut off.

        Without job.json there is no run to be opened, so nobody reads one that is half there.
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
        """Delete files, those that are gone already among them."""

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
