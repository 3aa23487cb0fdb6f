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
from mapred.runfolder import records
from mapred.runfolder.records import End
from mapred.runfolder.starts import Start
from mapred.runfolder.task_records import TaskRecords
from mapred.storage import is_there

T = TypeVar("T")


class RunRecords(TaskRecords):
    """The records of a run and its tasks, each read and written by a method."""

    def job(self) -> Job:
        """Return the specification of the run; raise a `RunError` if there is none."""
        try:
            return self.parse_job(self.job_data(), Job)
        except FileNotFoundError:
            raise RunError(f"{self.uri} holds no run: there is no {layout.JOB} in it") from None

    def job_data(self) -> bytes:
        return records.read_data(self.store, layout.JOB)

    def parse_job(self, data: bytes, cls: type[T]) -> T:
        """Parse job.json, or as much of it as `cls` has fields for."""
        job = records.decode_record(self.store, layout.JOB, cls, data)
        # Error texts put it into lines to paste.
        if not layout.is_run_id(getattr(job, "run_id", "")):
            raise RecordError(
                f"{self.uri}/{layout.JOB}: what it says as run_id is not the id of a run"
            )
        return job

    def job_digest(self) -> str:
        """Return the SHA-256 of job.json, which has the digests of all other files."""
        return hashlib.sha256(self.job_data()).hexdigest()

    def has_job(self) -> bool:
        return is_there(self.store, layout.JOB)

    def write_job(self, job: Job) -> None:
        self.store.write(layout.JOB, job.to_bytes())

    def put_job(self, job: Job) -> bool:
        """Write job.json unless it is there; return whether this call did."""
        return self.store.put_if_absent(layout.JOB, job.to_bytes())

    def put_job_data(self, data: bytes) -> bool:
        """Write job.json as another driver has made it, unless it is there."""
        return self.store.put_if_absent(layout.JOB, data)

    def list_done_tasks(self, stage: Stage) -> list[int]:
        """Return the tasks whose commits are to be read: all of a run that succeeded.

        Else those that a listing shows, which may lag behind.
        """
        end = self.end()
        if end is not None and end.state == "succeeded":
            return list(range(stage.tasks))
        return self.list_committed(stage.name)

    def given_up_tasks(self) -> Mapping[int, list[int] | None]:
        """Return the map tasks of failed.json, with the items given up, None for all of a task."""
        try:
            return dict(records.read(self.store, layout.FAILED, records.FailedTasks).tasks)
        except FileNotFoundError:
            return {}

    def put_given_up(
        self, tasks: Mapping[int, Sequence[int] | None]
    ) -> Mapping[int, list[int] | None]:
        """Write failed.json unless it is there; return what stands, by whichever driver."""
        lists = {task: None if items is None else list(items) for task, items in tasks.items()}
        if self.store.put_if_absent(layout.FAILED, encode(records.FailedTasks(lists))):
            return lists
        return self.given_up_tasks()

    def start(self) -> Start:
        """Return what handle.json says.

        A run without one that can be read, as after a power cut, counts as interrupted.
        """
        return records.read_if_sound(self.store, layout.HANDLE, Start) or Start()

    def write_start(self, start: Start) -> Start:
        self.store.write(layout.HANDLE, encode(start))
        return start

    def note_start(self, ref: str | None, pauses: tuple[tuple[float, float], ...] = ()) -> Start:
        """Note that the run was started just now, and by what."""
        return self.write_start(Start(ref, "running", time.time(), None, pauses))

    def note_stop(self, ref: str | None, state: str) -> Start:
        """Note that the run was stopped just now; `ref` is what may continue with it."""
        return self.write_start(replace(self.start(), ref=ref, state=state, ended=time.time()))

    def note_interruption(self, ref: str) -> None:
        """Note that the driver `ref` ended before the run did, unless another one continues.

        A full disk may have ended it: if there is no room for a new file, the old one is changed.
        """
        with suppress(MapredError, OSError, ValueError):
            start = self.start()
            if start.ref != ref:
                return
            ended = replace(start, ref=None, state="interrupted", ended=time.time())
            try:
                self.write_start(ended)
            except MapredError:
                here = self.store.local_path(layout.HANDLE)
                if here is not None:
                    _overwrite(here, encode(ended))

    def end(self) -> End | None:
        """Return what end.json says of the run's end, None without it.

        One that cannot be read, as after a power cut, counts as none, so that the run can be
        resumed.
        """
        return records.read_if_sound(self.store, layout.END, End)

    def put_end(self, word: End) -> End:
        """Write end.json unless there is one; return what stands."""
        data = encode(word)
        if not self.store.put_if_absent(layout.END, data):
            standing = self.end()
            if standing is not None:
                return standing
            self.store.write(layout.END, data)  # over one that cannot be read
        return word

    def delete_end(self) -> None:
        """Delete end.json, for a run that continues."""
        self.delete([layout.END])

    def note_write(self, uri: str, write_id: str) -> None:
        """Note where tables are written to, for cleanup."""
        write = records.Write(uri, write_id, time.time())
        self.store.write(layout.write_record(write_id), encode(write))

    def read_write_record(self, path: str) -> records.Write:
        return records.read(self.store, path, records.Write)

    def list_writes(self) -> list[records.Write]:
        """Return where tables of the run were written to, as far as the records can be read."""
        paths = [path for path, _ in self.store.list(layout.WRITES)]
        found = (records.read_if_sound(self.store, path, records.Write) for path in paths)
        return [write for write in found if write is not None]

    def read_removed_run(self) -> str | None:
        """Return the id of the run that is being removed, by removed.json, if that names one."""
        try:
            return records.read(self.store, layout.REMOVED, records.Removal).run
        except (RecordError, FileNotFoundError, StorageError):
            return None


def _overwrite(path: str, data: bytes) -> None:
    """Write over the bytes of a file, which takes no room on the disk; nothing if it is too short."""
    with open(path, "r+b", buffering=0) as file:
        room = os.fstat(file.fileno()).st_size
        if len(data) <= room:
            file.write(data.ljust(room))
