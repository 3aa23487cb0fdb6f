"""The records of a run as a whole: its job, what it gave up, its starts and its end."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from mapred.errors import MapredError, RecordError, RunError, StorageError
from mapred.model import layout
from mapred.model.coding import encode
from mapred.model.spec import Job, Stage
from mapred.runfolder.records import (
    End,
    FailedTasks,
    Removal,
    Write,
    decode_record,
    read,
    read_data,
    read_if_sound,
)
from mapred.runfolder.starts import Start
from mapred.runfolder.task_records import TaskRecords
from mapred.storage import is_there

T = TypeVar("T")


class RunRecords(TaskRecords):
    """Every record of a run, its tasks' included, each read and written by a method."""

    def job(self) -> Job:
        """Return the specification of the run; a `RunError` where there is none."""
        try:
            return self.parse_job(self.job_data(), Job)
        except FileNotFoundError:
            raise RunError(f"{self.uri} holds no run: there is no {layout.JOB} in it") from None

    def job_data(self) -> bytes:
        """Return the bytes of job.json; `FileNotFoundError` where there is none."""
        return read_data(self.store, layout.JOB)

    def parse_job(self, data: bytes, cls: type[T]) -> T:
        """Return what job.json says, or as much of it as `cls` has fields for."""
        job = decode_record(self.store, layout.JOB, cls, data)
        # It becomes part of lines to paste.
        if not layout.is_run_id(getattr(job, "run_id", "")):
            raise RecordError(
                f"{self.uri}/{layout.JOB}: what it says as run_id is not the id of a run"
            )
        return job

    def job_digest(self) -> str:
        """Return the SHA-256 of job.json, which lists all other digests."""
        return hashlib.sha256(self.job_data()).hexdigest()

    def has_job(self) -> bool:
        """Whether the folder is that of a run."""
        return is_there(self.store, layout.JOB)

    def write_job(self, job: Job) -> None:
        """Write job.json, which makes the folder that of a run."""
        self.store.write(layout.JOB, job.to_bytes())

    def put_job(self, job: Job) -> bool:
        """Write job.json unless it is there; whether this call did."""
        return self.store.put_if_absent(layout.JOB, job.to_bytes())

    def list_done_tasks(self, stage: Stage) -> list[int]:
        """Return the tasks of a stage to look for commits of: all, once the run succeeded.

        Else those that a listing shows, which may lag behind.
        """
        end = self.end()
        if end is not None and end.state == "succeeded":
            return list(range(stage.tasks))
        return self.list_committed(stage.name)

    def given_up_tasks(self) -> Mapping[int, list[int] | None]:
        """Return the map tasks of failed.json; a list names single items of a task, None all of it."""
        try:
            return dict(read(self.store, layout.FAILED, FailedTasks).tasks)
        except FileNotFoundError:
            return {}

    def put_given_up(
        self, tasks: Mapping[int, Sequence[int] | None]
    ) -> Mapping[int, list[int] | None]:
        """Write failed.json unless it is there; what stands, by this driver or another one."""
        named = {task: None if items is None else list(items) for task, items in tasks.items()}
        if self.store.put_if_absent(layout.FAILED, encode(FailedTasks(named))):
            return named
        return self.given_up_tasks()

    # Starts and the end.

    def start(self) -> Start:
        """Return what handle.json says; of a run that never started, that it is interrupted.

        So it is of one whose handle.json cannot be read, as a power cut may leave it.
        """
        return read_if_sound(self.store, layout.HANDLE, Start) or Start()

    def write_start(self, start: Start) -> Start:
        self.store.write(layout.HANDLE, encode(start))
        return start

    def note_start(self, ref: str | None, pauses: tuple[tuple[float, float], ...] = ()) -> Start:
        """Remember where the run was started just now."""
        return self.write_start(Start(ref, "running", time.time(), None, pauses))

    def note_stop(self, ref: str | None, state: str) -> Start:
        """Remember that the run was stopped just now; `ref` is what may go on with it."""
        return self.write_start(replace(self.start(), ref=ref, state=state, ended=time.time()))

    def note_interruption(self, ref: str) -> None:
        """Remember that what drove the run has ended before the run, unless it is driven anew.

        There may be no room for a new file, since a full disk may be what ended it.
        """
        with suppress(MapredError, OSError, ValueError):
            start = self.start()
            if start.ref != ref:
                return
            ended = replace(start, ref=None, state="interrupted", ended=time.time())
            try:
                self.write_start(ended)
            except MapredError:
                self._overwrite_start(encode(ended))

    def _overwrite_start(self, data: bytes) -> None:
        """Write handle.json where it lies, in the room that it has."""
        here = self.store.local_path(layout.HANDLE)
        if here is None:
            return
        with open(here, "r+b", buffering=0) as file:
            room = os.fstat(file.fileno()).st_size
            if len(data) <= room:
                file.write(data.ljust(room))

    def end(self) -> End | None:
        """Return the last word of the run; None while there is none.

        One that cannot be read, as a power cut may leave it, counts as none: the run can be
        resumed.
        """
        return read_if_sound(self.store, layout.END, End)

    def put_end(self, word: End) -> End:
        """Write the last word unless there is one; the word that stands."""
        data = encode(word)
        if not self.store.put_if_absent(layout.END, data):
            standing = self.end()
            if standing is not None:
                return standing
            self.store.write(layout.END, data)  # one that cannot be read was in the way
        return word

    # Writes and removal.

    def delete_end(self) -> None:
        """Take the last word back, for a run that goes on."""
        self.delete([layout.END])

    def note_write(self, uri: str, write_id: str) -> None:
        """Remember where tables are written to, for cleanup."""
        self.store.write(layout.write_record(write_id), encode(Write(uri, write_id, time.time())))

    def read_write_record(self, path: str) -> Write:
        """Return what one of these records says; a `RecordError` where it cannot be read."""
        return read(self.store, path, Write)

    def read_removed_run(self) -> str | None:
        """Return the id of the run that is being removed, by removed.json; None where it tells
        none."""
        try:
            return read(self.store, layout.REMOVED, Removal).run
        except (RecordError, FileNotFoundError, StorageError):
            return None
