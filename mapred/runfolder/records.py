"""Single records: values in JSON files of a run's folder, and how they are read.

The error of a damaged record says what can be done about it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Literal, TypeVar

from mapred.errors import NotAFile, RecordError
from mapred.model import layout
from mapred.model.coding import decode
from mapred.model.fields import Count, Seconds
from mapred.model.frozen import dataclass
from mapred.model.spec import Job
from mapred.storage import Store, map_ahead

T = TypeVar("T")

LARGEST = 2**30  # bytes; the manifest of a million tasks is smaller
_USUAL = 16 * 2**20

# What can be done about a record that cannot be read.
_REMEDIES = {
    layout.JOB: "restore it from a copy; without it the run cannot be used",
    layout.FAILED: "delete it, then resume the run: what was given up is tried again",
}
_AGAIN = "delete it, then resume the run: its task runs again"


@dataclass(frozen=True)
class End:
    """The end record of a run; `time` is in seconds since the epoch.

    `job` and `manifest` are the SHA-256 of these files as they were then.
    """

    state: Literal["succeeded", "failed", "cancelled"]
    message: str = ""
    time: Seconds | None = None
    job: str = ""
    manifest: str = ""


@dataclass(frozen=True)
class FailedTasks:
    """What failed.json says: the map tasks that gave up items, None for all of a task."""

    tasks: Mapping[int, list[Count] | None]


@dataclass(frozen=True)
class Write:
    """A dataset that a run writes to, and the name of the run there."""

    uri: str
    id: str
    time: Seconds = 0.0


@dataclass(frozen=True)
class Removal:
    """What removed.json says: the id of the run that is being removed."""

    run: str | None = None


def read(store: Store, path: str, cls: type[T]) -> T:
    """Return the record in a file of the run's folder.

    Raises `FileNotFoundError` if there is none, and for anything else a `RecordError`, which names
    the file, the field and what was expected.
    """
    return decode_record(store, path, cls, read_data(store, path))


def read_data(store: Store, path: str) -> bytes:
    """Return the bytes of a record, of limited size."""
    data = store.read(path, 0, _USUAL + 1)
    if len(data) <= _USUAL:
        return data
    here = store.local_path(path)
    if here is None or os.path.getsize(here) <= LARGEST:
        data = store.read(path, 0, LARGEST + 1)
        if len(data) <= LARGEST:
            return data
    raise RecordError(f"{store.uri}/{path} is larger than {LARGEST:,} bytes, which no record is")


def decode_record(store: Store, path: str, cls: type[T], data: bytes) -> T:
    where = f"{store.uri}/{path}"
    try:
        if cls is Job:
            return Job.from_bytes(data, where)  # type: ignore[return-value]
        return decode(cls, data, where)
    except RecordError as error:
        remedy = _AGAIN if "/commits/" in path else _REMEDIES.get(path)
        if remedy is None or error.newer:
            raise
        raise RecordError(f"{error}; {remedy}", blank=error.blank) from None


def read_if_sound(store: Store, path: str, cls: type[T]) -> T | None:
    """Return a record; None if there is none, or none that can be read, as after a power cut.

    That of a newer version is a `RecordError` here too.
    """
    try:
        return read(store, path, cls)
    except FileNotFoundError:
        return None
    except RecordError as error:
        if error.newer:
            raise
        return None


def refuse_newer(store: Store, paths: Iterable[str]) -> None:
    """Raise a `RecordError` if one of these records was made by a newer mapred.

    Those that are missing or damaged pass.
    """

    def check(path: str) -> None:
        with suppress(NotAFile):
            read_if_sound(store, path, _AnyRecord)

    for _ in map_ahead(store, check, paths):
        pass


@dataclass(frozen=True)
class _AnyRecord:
    """Any record, of which the version alone is read."""
