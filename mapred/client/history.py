"""The runs of a root as a list, newest first.

It comes from each run's job.json and records of its end; commits are read only where a run was
killed, and so left no such record.
"""

from __future__ import annotations

import ast
import functools
import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast, overload

from mapred import backends, display
from mapred.arrow.to_frames import import_pandas
from mapred.client import drivers, hints, lookup
from mapred.client.filtering import Filter, Since, States
from mapred.display.format import format_seconds, format_time, one_line, pluralize
from mapred.errors import BackendError, MapredError, StorageError
from mapred.functions import parameters
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.fields import Moment, Seconds, StageName, Tasks
from mapred.model.pipelines import PipelineStatus
from mapred.model.records import GivenUp
from mapred.model.rules import FromOne, Location, Text
from mapred.process.lazy import Lazy
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import is_local, map_ahead, open_store

if TYPE_CHECKING:
    import pandas as pd

    from mapred.client.pipelines import standing
    from mapred.client.run_handle import Run
else:
    standing = Lazy("mapred.client.pipelines.standing")  # most roots hold no pipelines

_RESUMABLE = ("failed", "interrupted", "suspended", "cancelled")
_ADVISED = 3
_SHOWN = 40  # rows in a prompt or a notebook
_MOST_COMMITS = 1000


@dataclass(frozen=True)
class Entry:
    """A run in the list that `mapred.runs` returns.

    Attributes:
        id: The name of the run's folder.
        uri: The folder.
        name: The run's name.
        state: As `RunStatus.state`, or `unreadable`.
        tasks: How many tasks all stages have.
        done: How many of them are done.
        created: When it was submitted, in UTC, as job.json writes it.
        given_up: How many items or shards, as `what` says, it goes without.
        what: What `given_up` counts: `items` or `shards`.
        seconds: From its submission to its end, or to now, without pauses; None where only many
            commits would tell its end.
        dataset: What it ran over, as text.
        parameters: The values that `Job.bind` or `--param` gave, by name.
        backend: Where it ran.
        queued_since: When a run on a cluster started to wait for its turn, in seconds since the
            epoch.
        problem: Why a run is `unreadable`.
        kind: `run` or `pipeline`, of which `tasks` and `done` count the steps that it has asked for.
        pipeline: The id of the pipeline that it is a step of, else empty.

    Examples:
        >>> run = mapred.run(abs, [-1, -2], name="signs")
        >>> entry = mapred.runs()[0]
        >>> entry.name, entry.state, entry.done, entry.resumable
        ('signs', 'succeeded', 2, False)
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
    kind: str = "run"
    pipeline: str = ""

    @property
    def resumable(self) -> bool:
        """Whether `run.resume()` has something to do: it failed, was stopped, or was killed."""
        return self.state in _RESUMABLE

    @property
    def waits(self) -> bool:
        """Whether it is a pipeline that waits for the answer of a person."""
        return self.state == "waiting"

    def open(self) -> Run:
        """Return the run itself, as `mapred.open` does.

        Returns:
            The run.

        Examples:
            >>> run = mapred.run(abs, [-1, -2], name="signs")
            >>> mapred.runs()[0].open().result()
            [1, 2]
        """
        return lookup.open(self.uri)


@dataclass(frozen=True)
class Runs(Sequence[Entry]):
    """The runs of a root, newest first: a sequence that shows itself as a table.

    A long table shows the newest runs, and says how many older ones there are. An index gives one
    run, a slice gives a table.

    Attributes:
        root: The root that was listed.
        entries: A tuple of what is known of each run.
        filter: Which runs were to be listed.

    Examples:
        >>> run = mapred.run(abs, [-1, -2], name="signs")
        >>> runs = mapred.runs()
        >>> len(runs), runs[0].name
        (1, 'signs')
    """

    root: str
    entries: tuple[Entry, ...]
    filter: Filter = field(default_factory=Filter)

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> Runs: ...
    def __getitem__(self, place: int | slice) -> Entry | Runs:
        part = self.entries[place]
        return Runs(self.root, part, self.filter) if isinstance(part, tuple) else part

    def to_pandas(self) -> pd.DataFrame:
        """Return a frame with a row per run; a parameter `day` is the column `parameters.day`.

        Returns:
            The frame, with the attributes of the entries as columns.

        Raises:
            MissingDependency: pandas is not installed.

        Examples:
            >>> run = mapred.run(abs, [-1, -2], name="signs")
            >>> mapred.runs().to_pandas()[["name", "state", "tasks"]]
                name      state  tasks
            0  signs  succeeded      2
        """
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
            words = str(self.filter)
            return f"no runs in {self.root}{' with ' * bool(words)}{words}"
        table = display.table_text(rows(self[:_SHOWN]), None)
        return "\n".join([table, *self._older(), *self._advice()])

    def _repr_html_(self) -> str:
        below = [*self._older(), *self._advice()] if self else [repr(self)]
        return display.table_html(rows(self[:_SHOWN]), below)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _older(self) -> list[str]:
        older = len(self) - _SHOWN
        return [f"… and {older:,} older, which the slice [{_SHOWN}:] shows"] if older > 0 else []

    def _advice(self) -> list[str]:
        """Return how to resume each of the newest runs that can be, or to see what it waits for."""
        lines = []
        for entry in [entry for entry in self if entry.resumable or entry.waits][:_ADVISED]:
            if entry.waits:
                lines.append(f"waiting: import mapred; print(mapred.open({entry.uri!r}))")
                continue
            backend = hints.backend_for({"name": entry.backend})
            argument = "" if backend is None else f"backend={backend!r}"
            call = f"run = mapred.open({entry.uri!r}).resume({argument})"
            lines.append(f"{entry.state}: import mapred; {call}")
        return lines


@checks(BackendError)
def runs(
    root: Location | None = None,
    limit: FromOne | None = None,
    *,
    state: States | None = None,
    job: Text | None = None,
    since: Since | None = None,
    folded: bool = True,
) -> Runs:
    """Return the runs of a root, newest first, with their states, durations, datasets and parameters.

    A pipeline is one of them, and stands for all of its runs.

    Args:
        root: The folder of runs (default: `$MAPRED_ROOT`, else `~/.mapred/runs`).
        limit: The most runs to list (default: all).
        state: Only runs in this state, or in one of several: `"failed"`, `["running", "queued"]`.
        job: Only runs of the job of this name, which may be a glob: `"nightly*"`.
        since: Only runs made since a date or time (`"2026-03-01"`, a `datetime`), or within an
            age (`"2h"`, a `timedelta`). Times without a zone are in that of this machine. Older
            runs are not read, since ids begin with a date.
        folded: With False, the runs of pipelines are listed too.

    Returns:
        A sequence of entries, which a prompt and a notebook show as a table: an index gives one,
        whose `open()` gives the run, and a slice gives a table. Its `to_pandas` gives a frame.

    Raises:
        BackendError: A value does not fit, or the root cannot be listed.

    Examples:
        >>> run = mapred.run(abs, [-1, -2], name="signs")
        >>> [entry.id for entry in mapred.runs(limit=20) if entry.state == "failed"]
        []
        >>> mapred.runs(state="succeeded", job="sig*", since="3d")[0].open().result()
        [1, 2]
    """
    base = lookup.base_of(root)
    states, made_since = cast(Any, (state or (), since))  # as `checks` has read them
    filter = Filter(states, job, made_since, folded)
    return Runs(base, _read_entries(base, filter, limit), filter)


def _read_entries(base: str, filter: Filter, limit: int | None) -> tuple[Entry, ...]:
    clusters = _Clusters()
    known: dict[str, bool] = {}

    def read(names: list[str]) -> Iterator[Entry]:
        read_one = functools.partial(_entry, filter, clusters)
        found = map_ahead(open_store(base), read_one, [f"{base}/{name}" for name in names])
        return (
            entry
            for entry in found
            if entry is not None and not (filter.folded and _is_folded(base, entry, known))
        )

    dated, named = lookup.newest_folders(base, filter.stamp)
    entries = [*read(named), *itertools.islice(read(dated), limit)]
    if named:  # Their job.json alone says when they were made.
        entries.sort(key=lambda entry: entry.created, reverse=True)
    return tuple(entries[:limit])


def _is_folded(base: str, entry: Entry, known: dict[str, bool]) -> bool:
    """Whether a pipeline that is there stands for an entry; `known` are those looked for before."""
    if entry.pipeline and entry.pipeline not in known:
        folder = PipelineFolder(open_store(f"{base}/{entry.pipeline}"))
        known[entry.pipeline] = folder.has_record()
    return bool(entry.pipeline) and known[entry.pipeline]


def rows(runs: Runs) -> list[dict[str, str]]:
    """Return the entries as rows of a table, the time in the zone of this machine."""
    with_parameters = any(entry.parameters for entry in runs)
    return [
        {
            "id": entry.id,
            "state": _state_text(entry),
            "name": entry.name,
            **({"parameters": parameters.text_of(entry.parameters)} if with_parameters else {}),
            "tasks": _progress(entry),
            "duration": "" if entry.seconds is None else format_seconds(entry.seconds),
            "when": _local_time(entry.created),
            "dataset": one_line(entry.problem or entry.dataset),
        }
        for entry in runs
    ]


def _state_text(entry: Entry) -> str:
    if entry.queued_since is None:
        return entry.state
    return f"{entry.state} since {format_time(entry.queued_since)}"


def _progress(entry: Entry) -> str:
    steps = " steps" * (entry.kind == "pipeline")
    return f"{entry.done:,}/{entry.tasks:,}{steps}{_format_losses(entry)}"


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
    """What clusters say of the runs of a list; one that does not answer is asked once."""

    def __init__(self) -> None:
        self._away: set[str] = set()
        self._lock = threading.Lock()

    def state(self, folder: RunFolder, ref: str) -> tuple[str, float | None] | None:
        """Return state and `queued_since` of a run that continues there; None of any other."""
        if ref.count(":") != 2:
            return None
        cluster = ref.rpartition(":")[0]
        with self._lock:
            if cluster in self._away:
                return "unknown", None
            try:
                standing = backends.standing(folder.store, folder.job(), ref)
            except MapredError:
                self._away.add(cluster)
                return "unknown", None
        return None if standing is None else (standing.state, standing.queued_since)


@dataclass(frozen=True)
class _JobSummary:
    """What a list shows of a run's job.json, all of which is read only to open the run."""

    run_id: str
    name: str
    created: Moment
    stages: tuple[_Stage, ...]
    backend: Mapping[str, Any]
    max_failed: float = 0
    submitted: Seconds = 0.0
    dataset: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pipeline: str = ""


@dataclass(frozen=True)
class _Stage:
    name: StageName
    tasks: Tasks


def _entry(filter: Filter, clusters: _Clusters, uri: str) -> Entry | None:
    """Return what a list shows of a run; None of one that does not match, or where there is none."""
    folder = RunFolder(open_store(uri))
    try:
        try:
            data = folder.job_data()
        except FileNotFoundError:
            pipeline = PipelineFolder(folder.store)
            if not pipeline.has_record():
                raise
            entry = _pipeline_entry(pipeline, filter)
        else:
            entry = _read_entry(folder, data, clusters, filter)
    except (MapredError, FileNotFoundError) as error:
        if isinstance(error, StorageError) and not is_local(uri):
            raise  # the store's fault, and so that of every run; a file may be that of another user
        if isinstance(error, FileNotFoundError) and not is_local(uri):
            return None  # A listing of the root's folders does not tell which are runs.
        problem = str(error).removeprefix(f"{folder.uri}/")
        name = uri.rsplit("/", 1)[-1]
        entry = Entry(name, folder.uri, "", "unreadable", 0, 0, "", problem=problem)
    if entry is None or not filter.matches(entry.state, entry.name, _time(entry.created)):
        return None
    return entry


def _read_entry(
    folder: RunFolder, data: bytes, clusters: _Clusters, filter: Filter
) -> Entry | None:
    job = folder.parse_job(data, _JobSummary)
    if not filter.matches_job(job.name, _time(job.created)):
        return None  # without reading more of it
    failed = folder.given_up_tasks() if job.max_failed else {}
    given_up = folder.given_up(folder.job(), failed) if failed else GivenUp()
    state, seconds, queued = _state(folder, job.submitted, clusters)
    tasks = sum(stage.tasks for stage in job.stages)
    done = tasks - len(given_up.tasks)
    if state != "succeeded":
        commits = {stage.name: folder.list_committed(stage.name) for stage in job.stages}
        number = sum(map(len, commits.values()))
        done = number - len(given_up.tasks.intersection(commits.get("map", ())))
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
        pipeline=job.pipeline if layout.is_run_id(job.pipeline) else "",
    )


def _pipeline_entry(folder: PipelineFolder, filter: Filter) -> Entry | None:
    """Return what a list shows of a pipeline; of one that succeeded without a look at its steps."""
    record = folder.record()
    if not filter.matches_job(record.name, _time(record.created)):
        return None
    end, alive = folder.end(), standing.seen_at_work(folder)
    if end is not None and end.state == "succeeded":
        status = PipelineStatus(record.name, end.state, finished=end.time)
        tasks = done = folder.count_asked()
    else:
        status = standing.status(folder, record, at_work=alive)
        tasks, done = len(status.steps), status.done
    names = [row.step.name for row in display.open_gates(status)]
    until = time.time() if status.finished is None and alive else status.finished
    return Entry(
        id=record.run_id,
        uri=folder.uri,
        name=record.name,
        state=status.state,
        tasks=tasks,
        done=done,
        created=record.created,
        seconds=None if until is None else max(0.0, until - record.submitted),
        dataset=f"waits for an answer: {', '.join(names)}" if names else "",
        parameters={name: _value_of(text) for name, text in record.parameters.items()},
        backend=str(record.backend.get("name", "local")),
        kind="pipeline",
        pipeline=record.parent if layout.is_run_id(record.parent) else "",
    )


def _value_of(text: str) -> str | int | float | bool:
    """Return what a pipeline was called with, by its text: a plain value, else the text itself."""
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        value = ast.literal_eval(text)
        if isinstance(value, str | int | float | bool):
            return value
    return text


def _seconds_of_killed(folder: RunFolder) -> float | None:
    """Return how long a run worked that left no record of its end, by commits and failures."""
    job, start = folder.job(), folder.start()
    status = folder.status(job, start, alive=False)
    until = status.finished or status.started
    return starts.working_seconds(starts.submission_time(job), start, until)


def _state(
    folder: RunFolder, submitted: float, clusters: _Clusters
) -> tuple[str, float | None, float | None]:
    """Return the state of a run, the seconds it has worked if known, and `queued_since`."""
    end, start, queued = folder.end(), folder.start(), None
    state, until = "interrupted" if start.state == "running" else start.state, start.ended
    if end is None and drivers.at_work(folder, start):
        state, until = "running", time.time()
    elif end is None and start.ref is not None:
        standing = clusters.state(folder, start.ref)
        if standing is None:
            end = folder.end()  # Asking the cluster may have written it.
        else:
            state, queued = standing
            until = start.ended if state == "suspended" else time.time()
    if end is not None:
        state, until = end.state, end.time
    if until is None or not submitted:
        return state, None, queued
    return state, starts.working_seconds(submitted, start, until), queued
