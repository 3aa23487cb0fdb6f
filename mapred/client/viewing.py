"""What a notebook shows of a run: looked up while it is at work, and once it is over."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mapred import display
from mapred.client import drivers, hints
from mapred.client.run_results import RunResults
from mapred.client.run_summaries import RunSummaries
from mapred.display import notebook, preview
from mapred.display.summary import Preview, Scene
from mapred.engine.base import Handle, Looks
from mapred.model.status import Look, RunStatus, WorkerStatus
from mapred.runfolder import results
from mapred.runfolder.folder import RunFolder
from mapred.storage.concurrency import map_ahead

_LARGEST = 16 * 2**20  # bytes of a stored value that are loaded for a preview
_MOST_POINTS = 10_000  # of a sweep whose picture the display shows by itself
_FEW_FILES = 64  # of a dataset whose rows are counted
_ROWS = 5
_LINES = 3  # of each task that printed something
_NAMED_WORKERS, _ITEMS_READ = 16, 64
_OFTEN, _RARELY = 0.5, 5.0  # seconds between two looks
_shown_in: dict[str, Any] = {}  # the cell that has the display of a run, by the run's folder


class RunViews:
    """The views of a run for `display.notebook`: as little work as there is news.

    `handle` is what drives the run from here; of all others the folder tells what it can.
    """

    def __init__(self, run: RunSummaries, handle: Handle | None) -> None:
        self._run, self._handle = run, handle
        self._folder, self._job = RunFolder(run.store), run.job
        self._near = run.store.local_path("") is not None
        # Looks at a folder far away are requests, unless the handle decides when they are due.
        self.seconds = _OFTEN if self._near or handle is not None else _RARELY
        self._last: RunStatus | None = None
        self._start = self._folder.start()
        self._read: set[tuple[str, int, str]] = set()
        self._points: dict[int, str] = {}

    def look(self, seen: int) -> Look:
        if isinstance(self._handle, Looks):
            look = self._handle.look(seen)
            status = self._folder.add_times(look.status, self._job, self._start)
            return replace(look, status=status)
        return Look(self._status_from_afar())

    def _status_from_afar(self) -> RunStatus:
        """Return the status of a run that something else drives, without reading its commits."""
        if self._handle is None and self._folder.end() is None:
            start = self._folder.start()
            if drivers.alive(self._folder, start):
                status = self._folder.progress(self._job)
                return self._folder.add_times(status, self._job, start)
        status = self._run.status()
        self._last = None if status.live else status
        return replace(status, times=())

    def scene(self, look: Look) -> Scene:
        workers = look.workers or ()
        printed = [line for attempt in look.attempts for line in self._log_lines(*attempt)]
        for worker in workers:
            printed += _last_lines(f"{worker.stage} {worker.task}", worker.log)
        return Scene(look.workers, self._find_points(workers), tuple(printed))

    def end(self) -> tuple[RunStatus, Scene]:
        """Return the whole status, and the result's beginning where this process made it."""
        if isinstance(self._handle, Looks):
            status = self._handle.status()
            assert status is not None
            status = self._folder.add_times(status, self._job, self._folder.start())
            printed = [line for a in self._handle.look(0).attempts for line in self._log_lines(*a)]
        else:
            status, printed = self._last or self._final_status(), []
        result, picture = None, ""
        if status.state == "succeeded" and self._handle is not None:
            with suppress(Exception):  # what the result is, or lacks, `run.result()` says
                result = result_preview(self._run)
        if self._handle is not None:
            with suppress(Exception):  # why there is nothing to draw, `run.plot()` says
                picture = sweep_picture(self._run)
        line = next_line(self._run, status)
        return status, Scene(None, {}, tuple(printed), None, result, line, picture)

    def _final_status(self) -> RunStatus:
        """Return the status by the folder: a handle on another machine learns of the end late."""
        if self._folder.end() is None:
            return self._run.status()
        return self._folder.status(self._job, alive=False)

    def _log_lines(self, stage: str, task: int, attempt: str) -> list[str]:
        """Return the last lines of an attempt that ended; from a folder of this machine alone."""
        place = stage, task, attempt
        if not self._near or place in self._read:
            return []
        self._read.add(place)
        return _last_lines(f"{stage} {task}", self._folder.log_of(*place))

    def _find_points(self, workers: tuple[WorkerStatus, ...]) -> Mapping[int, str]:
        """Return what the items are that workers are at, where that is quickly read."""
        job, items = self._job, self._job.items
        if not self._near or not items or items > _ITEMS_READ * job.shards:
            return {}
        longest = sorted(workers, key=lambda worker: worker.since)[:_NAMED_WORKERS]
        at = [(worker.task, worker.item) for worker in longest if worker.stage == "map"]
        known = {item: self._points[item] for _, item in at if item in self._points}
        for task, item in at:
            if task is not None and item is not None and item not in known:
                with suppress(Exception):
                    known |= self._folder.item_texts(job, task, [item])
        self._points = known
        return known


def _last_lines(place: str, log: str) -> list[str]:
    return [f"{place}: {line}" for line in log.rstrip().split("\n")[-_LINES:] if line.strip()]


def show(run: RunSummaries, handle: Handle | None) -> None:
    """Show a run that is at work in this cell, until it is over, and return at once."""
    follow(notebook.Notebook(), run, handle)


def follow(shown: display.Follows, run: RunSummaries, handle: Handle | None) -> None:
    """Have a display follow a run in this cell."""
    shown.follow(RunViews(run, handle))
    note_shown(run.uri)


def note_shown(uri: str) -> None:
    """Note that the cell that runs now has a display of the run in a folder."""
    _shown_in[uri] = notebook.cell()


def is_shown_here(uri: str) -> bool:
    """Whether the cell that runs now has a display of the run in a folder already."""
    here = notebook.cell()
    return here is not None and _shown_in.get(uri) == here


def bundle(run: RunSummaries, handle: Handle | None) -> dict[str, str]:
    """Return what is shown of a run where nothing can be updated."""
    status, scene = RunViews(run, handle).end()
    now = time.time()
    return {
        "text/plain": display.status_text(status, now),
        "text/html": display.status_html(status, now, True, scene),
    }


def next_line(run: RunResults, status: RunStatus) -> str:
    """Return what to type next, as a line that works when it is pasted."""
    if status.state == "succeeded":
        tabular = run.job.format.as_ == "keywords" or run.job.shuffle is not None
        what = "to_pandas" if tabular and run.job.reduce is None else "result"
        return f"import mapred; run = mapred.open({run.uri!r}); run.{what}()"
    if status.live or status.state == "cancelled":
        return ""
    with suppress(Exception):
        remedy = hints.remedy(RunFolder(run.store), run.job, status.failures)
        return hints.in_python(run.uri, run.job, remedy).line
    return ""


def result_preview(run: RunResults) -> Preview | None:
    """Return the beginning of a run's result; loads little, however large it is."""
    job, last = run.job, run.job.stages[-1]
    folder = RunFolder(run.store)
    if last.kind == "reduce":
        commit = folder.commit(last.name, 0)
        if commit is None:
            return None
        if commit.output.size > _LARGEST:
            size = display.format_bytes(commit.output.size)
            return Preview(f"a value of {size}; run.result() loads it")
        return preview.preview(run.result())
    if job.shuffle is not None:
        return _of_dataset(run, last.tasks)
    first = list(itertools.islice(_first_values(folder, run), _ROWS))
    if first and type(first[0][2]).__module__.partition(".")[0] in ("pyarrow", "pandas", "polars"):
        return preview.preview(first[0][2]) if last.tasks == 1 else _of_dataset(run, last.tasks)
    number = job.items if job.format.once_per_item else job.shards
    if job.format.as_ != "keywords":
        return preview.of_list("list", number, [value for _, _, value in first])
    rows = [
        {"point": folder.item_texts(job, task, [item]).get(item, item), **_cells(value)}
        for task, item, value in first
    ]
    more = f", the first {len(rows)}" if number > len(rows) else ""
    return preview.of_rows(f"{number:,} points{more}", rows)


def sweep_picture(run: RunSummaries) -> str:
    """Return what `run.plot()` draws as HTML; empty for any other run, and where much is to be loaded."""
    job = run.job
    if job.format.as_ != "keywords" or job.reduce or job.shuffle or job.items > _MOST_POINTS:
        return ""
    folder, size = RunFolder(run.store), 0
    for commit in map_ahead(run.store, lambda task: folder.commit("map", task), range(job.shards)):
        size += 0 if commit is None else commit.output.size
        if size > _LARGEST:
            return ""
    return display.sweep_html(run.plot().points, how="run.plot({})")


def _cells(value: Any) -> dict[str, Any]:
    return (
        {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {"result": value}
    )


def _of_dataset(run: RunResults, files: int) -> Preview:
    dataset = run.result()
    rows = dataset.head(_ROWS).to_pylist()
    count = f" of {dataset.count_rows():,} rows" if files <= _FEW_FILES else ""
    head = f"{type(dataset).__name__}{count}, {len(dataset.schema.names)} columns"
    return preview.of_rows(head, rows)


def _first_values(folder: RunFolder, run: RunResults) -> Iterator[tuple[int, int, Any]]:
    """Yield task, number and value of what the first tasks returned, as long as it is small."""
    for task in range(min(run.job.shards, 2 * _ROWS)):
        commit = folder.commit("map", task)
        if commit is not None and commit.output.size <= _LARGEST:
            for number, value in results.task_values(folder, run.job, task, commit.output):
                yield task, number, value
