"""The runs of a root, told by their job.json and last words: no commit is read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from mapred import layout, losses, records
from mapred.api import default_root
from mapred.display.numbers import several
from mapred.errors import MapredError, StorageError
from mapred.model import GivenUp, Job
from mapred.runs import driver_alive, read_handle
from mapred.storage import Store, is_local, open_store


@dataclass(frozen=True)
class Entry:
    """One run of a root: `created` in UTC as job.json writes it, tasks of all stages.

    `given_up` counts what it goes without: `what` is `item` or `shard`.
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


def entries(root: str | None, limit: int | None = None) -> list[Entry]:
    """The runs of a root (the default one where None), newest first, at most `limit`."""
    base = root or default_root()
    newest = [name for _, name in sorted(_folders(base), reverse=True)]
    return [_entry(f"{base.rstrip('/')}/{name}") for name in newest[:limit]]


def rows(found: Sequence[Entry]) -> list[dict[str, str]]:
    """The entries as rows of a table, the time in the zone of this machine."""
    return [
        {
            "id": entry.id,
            "state": entry.state,
            "name": entry.name,
            "tasks": f"{entry.done:,}/{entry.tasks:,}{_less(entry)}",
            "when": _local_time(entry.created),
        }
        for entry in found
    ]


def _less(entry: Entry) -> str:
    return f", {several(entry.given_up, entry.what)} given up" if entry.given_up else ""


def _local_time(created: str) -> str:
    try:
        when = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return created
    return f"{when.astimezone():%Y-%m-%d %H:%M}"


def find(reference: str, root: str | None) -> str:
    """The folder of a run by its path or URI, its id, the unique start of its id, or `last`."""
    if "/" in reference or os.path.isfile(os.path.join(reference, layout.JOB)):
        return reference
    base = (root or default_root()).rstrip("/")
    found = sorted(_folders(base))
    names = [name for _, name in found]
    if reference == "last" and names:
        return f"{base}/{names[-1]}"
    matching = [name for name in names if name.startswith(reference)]
    if reference in names or len(matching) == 1:
        return f"{base}/{reference if reference in names else matching[0]}"
    if matching:
        shown = ", ".join(matching[:5]) + (", …" if len(matching) > 5 else "")
        raise MapredError(f"{len(matching)} runs begin with {reference!r}: {shown}")
    raise MapredError(f"no run {reference!r} in {base}; `mapred ls` shows those that are there")


def _folders(root: str) -> Iterator[tuple[tuple[str, int], str]]:
    """(a key that sorts by age, name) of every folder of the root that holds a job.json.

    An id begins with its second; within one second the file's own time decides.
    """
    if not is_local(root):
        for path, _ in open_store(root).list(""):
            name, _, rest = path.partition("/")
            if rest == layout.JOB:
                yield (name[:15], 0), name
        return
    folder = open_store(root).uri
    try:
        with os.scandir(folder) as found:
            for entry in found:
                try:
                    stat = os.stat(os.path.join(entry.path, layout.JOB))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                yield (entry.name[:15], stat.st_mtime_ns), entry.name
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error


def _entry(uri: str) -> Entry:
    store = open_store(uri)
    try:
        data = store.read(layout.JOB)
        job = json.loads(data)
        stages = [(stage["name"], int(stage["tasks"])) for stage in job["stages"]]
        given_up = _given_up(store, data) if job.get("max_failed") else GivenUp()
        state = _state(store)
        tasks = sum(count for _, count in stages)
        done = tasks - len(given_up.tasks)
        if state != "succeeded":
            found = {name: records.committed(store, name) for name, _ in stages}
            done = sum(map(len, found.values())) - len(given_up.tasks.intersection(found["map"]))
        lost = len(given_up.indices)
        return Entry(
            job["run_id"],
            store.uri,
            job["name"],
            state,
            tasks,
            done,
            job["created"],
            lost,
            given_up.what if lost else "",
        )
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return Entry(uri.rsplit("/", 1)[-1], store.uri, "", "unreadable", 0, 0, "")


def _given_up(store: Store, job: bytes) -> GivenUp:
    tasks = records.read_given_up(store)
    return losses.given_up(store, Job.from_bytes(job), tasks) if tasks else GivenUp()


def _state(store: Store) -> Any:
    end = records.read_end(store)
    if end is not None:
        return end["state"]
    ref, left = read_handle(store)
    if ref is not None and driver_alive(ref):
        return "running"
    return "interrupted" if left == "running" else left
