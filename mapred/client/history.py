"""The runs of a root as a list, newest first.

It is told by each run's job.json and last words; commits are read of those alone that were killed,
and left no word.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from mapred import backends, display
from mapred.arrow.to_frames import import_pandas
from mapred.client import drivers, hints, lookup
from mapred.display.format import format_seconds, format_time, one_line, pluralize
from mapred.errors import BackendError, MapredError, StorageError
from mapred.functions import parameters
from mapred.model.checking import checks
from mapred.model.fields import Moment, Seconds, StageName, Tasks
from mapred.model.records import GivenUp
from mapred.model.rules import FromOne, Location
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.storage import is_local, map_ahead, open_store

if TYPE_CHECKING:
    import pandas as pd

_RESUMABLE = ("failed", "interrupted", "suspended", "cancelled")
_ADVISED = 3
_MOST_COMMITS = 1000


@dataclass(frozen=True)
class Entry:
    """One run of a root: `created` in UTC as job.json writes it, tasks of all stages.

    `seconds` are those from its submission to its end, or to now, without pauses; None where its
    end would take many commits to know. `given_up` counts what it goes without: `what`
    is `item` or `shard`. `queued_since`, in seconds since the epoch, is since when a run on a
    cluster waits for its turn. `problem` says why a run is `unreadable`.
    """

    id: str
    uri: str
    name: str
    state: str
    tasks: int
    done: int
    created: str
    given_up: int = 0
    what: str = ""
    seconds: float | None = None
    dataset: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    backend: str = ""
    queued_since: float | None = None
    problem: str = ""

    @property
    def resumable(self) -> bool:
        return self.state in _RESUMABLE


@dataclass(frozen=True)
class Runs:
    """The runs of a root, newest first; a prompt and a notebook show them as a table."""

    root: str
    entries: tuple[Entry, ...]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: int | slice) -> Entry | Runs:
        found = self.entries[place]
        return Runs(self.root, found) if isinstance(found, tuple) else found

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a row for each run; the parameter `day` is the column
        `parameters.day`."""
        pd = import_pandas()
        names = list(dict.fromkeys(name for entry in self for name in entry.parameters))
        rows = []
        for entry in self:
            row = {k: v for k, v in vars(entry).items() if k not in ("parameters", "what")}
            row["created"] = _time(entry.created)
            row |= {f"parameters.{name}": entry.parameters.get(name) for name in names}
            rows.append(row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        if not self.entries:
            return f"no runs in {self.root}"
        return "\n".join([display.table_text(rows(self), None), *self._advice()])

    def _repr_html_(self) -> str:
        return display.table_html(rows(self), [repr(self)] if not self else self._advice())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _advice(self) -> list[str]:
        """How the newest runs that can be resumed are."""
        chosen = [entry for entry in self if entry.resumable][:_ADVISED]
        return [f"{e.state}: import mapred; {_format_resume(e)}" for e in chosen]


@checks(BackendError)
def runs(root: Location | None = None, limit: FromOne | None = None) -> Runs:
    """Return the runs of a root (default `$MAPRED_ROOT`, else `~/.mapred/runs`), newest first.

    The table has their parameters, states, durations and datasets. It is a sequence of entries,
    `to_pandas()` gives a frame, and `limit` is the most runs to list.

        >>> mapred.runs(limit=20)
        >>> failed = [entry.id for entry in mapred.runs() if entry.state == "failed"]
    """
    base = lookup.base_of(root)
    newest = [name for _, name in sorted(lookup.folders(base), reverse=True)][:limit]
    store = open_store(base)
    clusters = _Clusters()
    found = (
        map_ahead(store, lambda name: _entry(f"{base}/{name}", clusters), newest) if newest else ()
    )
    return Runs(base, tuple(found))


def rows(found: Runs) -> list[dict[str, str]]:
    """Return the entries as rows of a table, the time in the zone of this machine."""
    with_parameters = any(entry.parameters for entry in found)
    return [
        {
            "id": entry.id,
            "state": _state_text(entry),
            "name": entry.name,
            **({"parameters": parameters.text_of(entry.parameters)} if with_parameters else {}),
            "tasks": f"{entry.done:,}/{entry.tasks:,}{_format_losses(entry)}",
            "duration": "" if entry.seconds is None else format_seconds(entry.seconds),
            "when": _local_time(entry.created),
            "dataset": one_line(entry.problem or entry.dataset, 60),
        }
        for entry in found
    ]


def _format_resume(entry: Entry) -> str:
    backend = hints.backend_for({"name": entry.backend})
    given = "" if backend is None else f"backend={backend!r}"
    return f"run = mapred.open({entry.uri!r}).resume({given})"


def _state_text(entry: Entry) -> str:
    if entry.queued_since is None:
        return entry.state
    return f"{entry.state} since {format_time(entry.queued_since)}"


def _format_losses(entry: Entry) -> str:
    return f", {pluralize(entry.given_up, entry.what)} given up" if entry.given_up else ""


def _time(created: str) -> datetime | None:
    try:
        return datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return None


def _local_time(created: str) -> str:
    when = _time(created)
    return created if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"


class _Clusters:
    """What clusters say of the runs of a list. One that gives no answer is asked once."""

    def __init__(self) -> None:
        self._away: set[str] = set()
        self._lock = threading.Lock()

    def state(self, folder: RunFolder, ref: str) -> tuple[str, float | None] | None:
        """Return the state of a run that goes on there and since when it is queued; None of any
        other."""
        if ref.count(":") != 2:
            return None
        cluster = ref.rpartition(":")[0]
        with self._lock:
            if cluster in self._away:
                return "unknown", None
            try:
                known = backends.standing(folder.store, folder.job(), ref)
            except MapredError:
                self._away.add(cluster)
                return "unknown", None
        return None if known is None else (known.state, known.queued_since)


@dataclass(frozen=True)
class _JobSummary:
    """What a list tells of a run by its job.json; to open the run reads the rest as well."""

    run_id: str
    name: str
    created: Moment
    stages: tuple[_Stage, ...]
    backend: Mapping[str, Any]
    max_failed: float = 0
    submitted: Seconds = 0.0
    dataset: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stage:
    name: StageName
    tasks: Tasks


def _entry(uri: str, clusters: _Clusters) -> Entry:
    folder = RunFolder(open_store(uri))
    try:
        return _read_entry(folder, clusters)
    except (MapredError, FileNotFoundError) as error:
        if isinstance(error, StorageError) and not is_local(uri):
            raise  # the store's fault, and so that of every run; a file may be that of another user
        problem = str(error).removeprefix(f"{folder.uri}/")
        name = uri.rsplit("/", 1)[-1]
        return Entry(name, folder.uri, "", "unreadable", 0, 0, "", problem=problem)


def _read_entry(folder: RunFolder, clusters: _Clusters) -> Entry:
    job = folder.parse_job(folder.job_data(), _JobSummary)
    failed = folder.given_up_tasks() if job.max_failed else {}
    given_up = folder.given_up(folder.job(), failed) if failed else GivenUp()
    state, seconds, queued = _state(folder, job.submitted, clusters)
    tasks = sum(stage.tasks for stage in job.stages)
    done = tasks - len(given_up.tasks)
    if state != "succeeded":
        found = {stage.name: folder.list_committed(stage.name) for stage in job.stages}
        number = sum(map(len, found.values()))
        done = number - len(given_up.tasks.intersection(found.get("map", ())))
        if seconds is None and number <= _MOST_COMMITS:
            seconds = _seconds_of_killed(folder)
    lost = len(given_up.indices)
    return Entry(
        id=job.run_id,
        uri=folder.uri,
        name=job.name,
        state=state,
        tasks=tasks,
        done=done,
        created=job.created,
        given_up=lost,
        what=given_up.what if lost else "",
        seconds=seconds,
        dataset=job.dataset,
        parameters=parameters.from_json(job.parameters),
        backend=str(job.backend.get("name", "")),
        queued_since=queued,
    )


def _seconds_of_killed(folder: RunFolder) -> float | None:
    """How long a run worked that ended without a word, by its commits and failures."""
    job, start = folder.job(), folder.start()
    status = folder.status(job, start, alive=False)
    return starts.working_seconds(
        starts.submission_time(job), start, status.finished or status.started
    )


def _state(
    folder: RunFolder, submitted: float, clusters: _Clusters
) -> tuple[str, float | None, float | None]:
    """Return the state of a run, how long it has worked where that is known, since when it is
    queued."""
    end, start, queued = folder.end(), folder.start(), None
    state, until = "interrupted" if start.state == "running" else start.state, start.ended
    if end is None and drivers.at_work(folder, start):
        state, until = "running", time.time()
    elif end is None and start.ref is not None:
        known = clusters.state(folder, start.ref)
        if known is None:
            end = folder.end()  # A look at a cluster may write it.
        else:
            state, queued = known
            until = start.ended if state == "suspended" else time.time()
    if end is not None:
        state, until = end.state, end.time
    seconds = (
        starts.working_seconds(submitted, start, until) if until is not None and submitted else None
    )
    return state, seconds, queued
