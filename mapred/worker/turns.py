"""Attempts at tasks of several items: what failed is tried alone, what succeeded is not repeated.

The values of items that succeeded in a failed attempt are kept in the run's folder; the attempt
that completes the task commits them with its own.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapred.errors import DatasetError, FunctionError, StorageError
from mapred.formats import Reading
from mapred.functions import pickling
from mapred.functions.task import written_files
from mapred.model import layout
from mapred.model.checking import safe_text
from mapred.model.packs import Note, Pack
from mapred.process import forks, interrupts
from mapred.runfolder import plans
from mapred.runfolder.failures import (
    MOST_LINES,
    ItemsFailed,
    error_line,
    is_final,
    is_of_store,
    to_plain_error,
)
from mapred.worker.attempt import Attempt


class Unfinished(Exception):
    """The attempt did its part, and the task has other items that are not done."""


@dataclass(frozen=True)
class _Kept:
    """What one attempt kept: pickled values by item, their counters, and their files."""

    function: str  # its digest
    values: Mapping[int, bytes]
    counters: Mapping[int, Mapping[str, float]]
    files: tuple[str, ...]


class Turn:
    """One attempt at a task of items: which of them it calls, and what became of each.

    Without a `pack` all items are called, except those that the run has given up and those that
    an earlier attempt kept; `again` says whether there may be an earlier attempt.
    """

    def __init__(self, attempt: Attempt, pack: Pack | None, again: bool) -> None:
        run, task = attempt.run, attempt.task
        self._run, self._task, self._attempt = run, task, attempt.name
        self._function = run.job.digests[run.job.function]
        self._planned = plans.items_of(attempt.ranges)
        self._given_up = frozenset(run.given_up().get(attempt.index) or ())
        self._several = run.job.items > run.job.shards
        self._kept: dict[int, bytes] = {}
        self._values: dict[int, Any] = {}
        self._counters: dict[int, Mapping[str, float]] = {}
        self._files: tuple[str, ...] = ()
        self._paths: list[str] = []
        self._kept_by = 0  # how many attempts have kept something
        self._failed: dict[int, bool] = {}
        self._first: tuple[int, BaseException] | None = None
        self._lines: dict[int, str] = {}
        self._lost = frozenset[int]() if pack is None else pack.lost
        if self._several and (again or pack is not None):
            self._take_over()
        self._passed = self._given_up.union(self._kept)
        if pack is not None:
            left = self._items_left()
            chosen = pack.turn(left) if left else ()
            if chosen:
                task.attempt = max(task.attempt, pack.attempt(chosen[0]))
            self._passed |= frozenset(self._planned).difference(chosen)

    @property
    def more(self) -> bool:
        """Whether another attempt has items to call."""
        return bool(self._items_left())

    def _items_left(self) -> list[int]:
        """Return the items that are still to be called, by this attempt or another."""
        done = self._given_up | self._lost | self._kept.keys() | self._values.keys()
        return [i for i in self._planned if i not in done and not self._failed.get(i, False)]

    def _take_over(self) -> None:
        """Load what earlier attempts of this function kept; damaged items are called again."""
        paths, self._kept_by = self._run.folder.load_kept(self._task.shard, self._load)
        self._paths = list({*paths, *self._files})

    def _load(self, data: bytes) -> None:
        with suppress(Exception):
            kept: _Kept = pickling.load(io.BytesIO(data))
            if kept.function == self._function:
                wanted = kept.values.keys() - self._given_up
                self._kept |= {item: kept.values[item] for item in wanted}
                self._counters |= {i: n for i, n in kept.counters.items() if i in wanted}
                self._files += tuple(path for path in kept.files if _item_of(path) in wanted)

    def call_each(
        self,
        inputs: Iterable[tuple[int, Any]],
        call: Callable[[Any], Any],
        reading: Reading,
        note: Note | None,
    ) -> list[Any]:
        """Call the items, and return the values of all of the task, in order.

        Raises `ItemsFailed` if some failed, after calling the others, and `Unfinished` if this
        attempt leaves items to another.
        """
        task, passed, values, pid = self._task, self._passed, self._values, os.getpid()
        numbered = iter(inputs)
        while True:
            try:
                # An item that cannot be read fails like one that the function refuses.
                item, value = next(numbered, (None, None))
                if item is None:
                    break
                task.item = item
                if item in passed:
                    continue
                if note is not None:
                    note(task.shard, item)
                values[item] = call(value)
                forks.leave_unless(pid)
                if task.counters:
                    self._counters[item], task.counters = task.counters, {}
            except BaseException as error:
                forks.leave_unless(pid)
                error = to_plain_error(error)
                task.item, task.counters = reading.item, {}
                if task.item is None or interrupts.is_real(error) or is_of_store(error):
                    raise
                if task.item not in passed:
                    self._note_failure(task.item, error)
        return self._collect_values()

    def _note_failure(self, item: int, error: BaseException) -> None:
        job = self._run.job
        self._fail(item, error, is_final(job, error) or self._task.attempt >= job.attempts)
        if self._failed[item] and not job.max_failed:
            # That ends the run, so the other items do not matter any more.
            raise ItemsFailed(self._failed, item, error, self._lines)

    def _fail(self, item: int, error: BaseException, final: bool) -> None:
        """Note a failure; the one to report is the first that is final, else the first."""
        if self._first is None or (final and not any(self._failed.values())):
            self._first = item, error
        self._failed[item] = final
        if len(self._lines) < MOST_LINES:
            self._lines[item] = error_line(type(error).__name__, safe_text(str, error))

    def _collect_values(self) -> list[Any]:
        if self._first is not None:
            raise ItemsFailed(self._failed, *self._first, self._lines)
        values = list(self._values.values()) if not self._passed else self._merge_earlier()
        if len(values) > 1:
            self._task.item = None
        for counters in self._counters.values():
            for name, number in counters.items():
                self._task.counters[name] = self._task.counters.get(name, 0) + number
        return values

    def _merge_earlier(self) -> list[Any]:
        """Return the values of this attempt and of earlier ones, if no item is left."""
        left = set(self._planned) - self._given_up - self._kept.keys() - self._values.keys()
        if left and not self._values and left - self._lost:
            raise DatasetError(f"items {sorted(left)} of the plan are not in the dataset")
        if left:
            raise Unfinished
        for item, data in self._kept.items():
            try:
                self._values[item] = pickling.load(io.BytesIO(data))
            except Exception as error:
                what = f"what item {item} returned cannot be loaded again"
                text = f"{what}: {type(error).__name__}: {safe_text(str, error)}"
                self._fail(item, FunctionError(text), final=True)
        if self._first is not None:
            raise ItemsFailed(self._failed, *self._first, self._lines)
        return [self._values.get(item) for item in self._planned]

    def keep(self, error: BaseException) -> BaseException:
        """Store what succeeded in a failed attempt, so that the next one need not call it again.

        Returns the error to report: another one if values cannot be stored.
        """
        values, pid = {}, os.getpid()
        for item in self._values.keys() - self._kept.keys() if self._several else ():
            try:
                values[item] = pickling.dumps(self._values[item])
            except Exception as why:
                kind = type(self._values[item]).__name__
                text = f"the returned {kind} cannot be stored: {safe_text(str, why)}"
                self._fail(item, FunctionError(text), final=True)
        forks.leave_unless(pid)
        if values:
            self._store(values)
        return (
            error if self._first is None else ItemsFailed(self._failed, *self._first, self._lines)
        )

    def _store(self, values: Mapping[int, bytes]) -> None:
        store, task = self._run.store, self._task
        files = []
        for source in written_files(task.folder) if task.wrote_files else ():
            if _item_of(source.name) in values:
                path = layout.kept_file(task.shard, self._attempt, source.name)
                store.put_file(source, path)
                files.append(path)
        counters = {item: self._counters[item] for item in values if item in self._counters}
        data = pickle.dumps(_Kept(self._function, values, counters, tuple(files)))
        self._kept_by = self._run.folder.put_kept(task.shard, self._kept_by, data)

    def bring_files(self) -> None:
        """Copy the files that earlier attempts kept to those of this one."""
        for path in self._files:
            self._task.wrote_files = True
            target = Path(self._task.folder, path.rpartition("/")[2])
            try:
                with self._run.store.open(path) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
            except FileNotFoundError as error:
                # Another attempt may have committed the task, and cleaned up.
                raise StorageError(f"{self._run.store.uri}/{path} is gone") from error

    def forget(self) -> None:
        """Delete what was kept, once the task is committed."""
        for path in self._paths:
            with suppress(StorageError, FileNotFoundError):
                self._run.store.delete(path)


def _item_of(path: str) -> int:
    """Return the item that wrote a file: `task.output` prefixes the name with its number."""
    return int(path.rpartition("/")[2].partition("-")[0])
