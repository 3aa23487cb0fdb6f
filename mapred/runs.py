"""The handle of a run: its state, its results, and how to go on with it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mapred import (
    agreement,
    backends,
    display,
    folder,
    functions,
    layout,
    records,
    results,
    tabulating,
    worker,
    writing,
)
from mapred import audit as audits
from mapred.backends.base import Backend, Handle, process_birth
from mapred.checking import DurationFromZero, FromZero, Location, checks, seconds
from mapred.errors import BackendError, FunctionError, PlanError, RunError
from mapred.model import Failure, Job, RunStatus
from mapred.options import Progress
from mapred.storage import Store, each, open_store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_OVER = ("succeeded", "failed", "cancelled")


class Run:
    """One execution of a job: a folder, and whatever still works on it.

    `job` is the specification, `uri` the folder. Made by `mapred.run`, `mapred.submit` and
    `mapred.open`.
    """

    def __init__(self, store: Store, job: Job, handle: Handle | None = None) -> None:
        self.store, self.job = store, job
        self._handle = handle

    @property
    def id(self) -> str:
        return self.job.run_id

    @property
    def uri(self) -> str:
        return self.store.uri

    @property
    def digest(self) -> str:
        """The SHA-256 of job.json, which lists all other digests."""
        return hashlib.sha256(self.store.read(layout.JOB)).hexdigest()

    def status(self) -> RunStatus:
        """State and progress now; from the driver where it lives here, else from the folder."""
        handle = self._attached()
        known = handle.status() if handle else None
        if known is not None:
            return known
        _, left = read_handle(self.store)
        return folder.status(self.store, self.job, left, alive=self._alive_elsewhere())

    @property
    def state(self) -> str:
        """`running`, `succeeded`, `failed`, `cancelled`, `suspended` or `interrupted`."""
        return self.status().state

    @checks(PlanError)
    def wait(self, progress: Progress = "none", timeout: DurationFromZero | None = None) -> Run:
        """Wait until nothing works on the run, or `timeout` seconds; shows progress meanwhile."""
        show = display.progress(progress)  # type: ignore[arg-type]
        limit = None if timeout is None else time.monotonic() + seconds(timeout)
        try:
            self._watch(show, 0.1 if progress != "none" else 0.5, limit)
        except BaseException:
            show.close()
            raise
        show.close(self.status())
        return self

    def result(self) -> Any:
        """The answer: the reduced value, a lazily read dataset of tables, or a list.

        In the list of a run over items there is one place for each, None where it returned
        None or was given up; a reduce and all other lists leave None out. Tables of all tasks
        make one dataset: a column that one lacks is null there, types are widened where
        nothing is lost, and None and given-up items have no rows.

        Waits for a live run. A run without an answer raises `RunError`.
        """
        self.wait()
        self.check()
        return results.result(self.store, self.job)

    @checks(PlanError)
    def outputs(self, stage: str | None = None, errors: str = "raise") -> Iterator[tuple[int, Any]]:
        """What each committed task returned, one by one, in plan order, as (number, value).

        The number is that of the item where the function runs once per item, else of the
        shard. Works while the run does, and after it failed; nothing is waited for, and one
        task's values are held at a time. `stage` is `"map"` if not given, or the stage that
        ends a keyed reduce. A value that was stored and cannot be loaded is a `FunctionError`
        that names it; with `errors="skip"` it is left out.
        """
        return results.one_by_one(self.store, self.job, stage, errors)

    def to_pandas(self, dtype_backend: str = "numpy_nullable") -> pd.DataFrame:
        """The result as one frame; a sweep's has its parameters and results as columns.

        Returned tables come one below the other. Where the function runs once per item, the
        columns of what it was called with stand before them: `point` (the number of the item)
        and the parameters of a sweep or `item`; of an array, `item` alone. Returned numbers
        and mappings give a row each: the parameters, or `item` (the number of the shard where
        the function takes shards), then a column for every key, or `result`. A returned name
        that is one of these gets `_result` at its end. A reduced mapping gives the columns
        `key` and `value`; a reduced pandas frame is given as it is.

        `dtype_backend` is as in pandas: "numpy_nullable" (the default, as it has a place for a
        null in every type), "pyarrow" or "numpy", where a null among whole numbers or booleans
        is an error. A type alone decides the dtype; no value changes. What is not a number, text
        or time stays a Python object, as do values of several types.
        """
        self.wait()
        self.check()
        return tabulating.to_pandas(self.store, self.job, dtype_backend)

    def to_arrow(self) -> pa.Table:
        """The result as one table, with the columns of `to_pandas`."""
        self.wait()
        self.check()
        return tabulating.to_arrow(self.store, self.job)

    def write_parquet(
        self,
        uri: str | os.PathLike[str],
        *,
        partition_by: str | Sequence[str] = (),
        mode: str | None = None,
        replace: Mapping[str, Any] | None = None,
        target_file_bytes: int | str = "128Mi",
        compression: str = "zstd",
        schema: pa.Schema | None = None,
    ) -> writing.Written:
        """Write the tables of the result as `mapred.write_parquet` says, from this process.

        One output after the other, never all at once. For what is large, write from the
        workers: `mapred.run(…, write=mapred.write_parquet(…))`.
        """
        target = writing.write_parquet(
            uri,
            partition_by=partition_by,
            mode=mode,
            replace=replace,
            target_file_bytes=target_file_bytes,
            compression=compression,
            schema=schema,
        )
        return self._write(target)

    def write_delta(
        self,
        uri: str | os.PathLike[str],
        *,
        partition_by: str | Sequence[str] = (),
        mode: str | None = None,
        replace: Mapping[str, Any] | None = None,
        target_file_bytes: int | str = "128Mi",
        compression: str = "zstd",
        schema: pa.Schema | None = None,
    ) -> writing.Written:
        """Write the tables of the result as `mapred.write_delta` says, from this process."""
        target = writing.write_delta(
            uri,
            partition_by=partition_by,
            mode=mode,
            replace=replace,
            target_file_bytes=target_file_bytes,
            compression=compression,
            schema=schema,
        )
        return self._write(target)

    def _write(self, target: writing.Target) -> writing.Written:
        self.wait()
        self.check()
        writing.check(target)
        write_id = f"{self.id}-{secrets.token_hex(4)}"
        record_write(self.store, target.uri, write_id)
        return writing.write_result(self.store, target, write_id)

    def check(self) -> None:
        """Raise what kept the run from its result; nothing if it succeeded."""
        __tracebackhide__ = True
        if self._handle is not None:
            try:
                self._handle.raise_error()
            except FunctionError:
                raise
            except Exception as error:
                raise RunError(f"{error}\n{self._how_to_resume()}", run=self) from error
        state = self.state
        if state == "succeeded":
            return
        failures = self.failures
        end = records.read_end(self.store) or {}
        parts = [f"run {self.id} {state}", end.get("message", "")]
        text = ": ".join(part for part in parts if part)
        if failures:
            text += "\n" + display.failures_text(failures)
        raise RunError(f"{text}\n{self._how_to_resume()}", run=self, failures=failures)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last failure of every task that has no commit, or that gave up some items."""
        return display.Failures(folder.failures(self.store, self.job))

    @property
    def counters(self) -> dict[str, float]:
        """The sums of what the tasks counted by `task.count`."""
        return dict(self.status().counters)

    @property
    def shards(self) -> pd.DataFrame:
        """A frame with a row for every map task: bytes, records, seconds, peak memory, state.

        `state` is `done`, `given up` (nothing of it is left), `failed` or `waiting`. The column
        `given_up` counts the items given up of a task, or 1 for a shard.
        """
        pd = results.import_pandas()
        return pd.DataFrame(list(folder.shards(self.store, self.job)))

    @property
    def files(self) -> pd.DataFrame:
        """A frame of the files that tasks wrote by `task.output`: task, name, path, size."""
        pd = results.import_pandas()
        rows = []
        for stage in self.job.stages:
            tasks = records.committed(self.store, stage.name)
            commits = records.read_commits(self.store, stage.name, tasks)
            for task, commit in zip(tasks, commits, strict=True):
                for file in commit.files if commit else ():
                    path = f"{self.uri}/{file.path}"
                    rows.append((stage.name, task, file.name, path, file.size))
        return pd.DataFrame(rows, columns=["stage", "task", "name", "path", "size"])

    @checks(PlanError)
    def logs(self, task: FromZero | None = None, stage: str = "map") -> str:
        """What a task's attempts printed (all tasks of the stage where None), oldest first."""
        self.job.stage(stage)
        paths = [path for path, _ in self.store.list(layout.logs(stage))]
        chosen = [path for path in paths if task is None or layout.index_of(path) == task]
        texts = []
        for path, text in zip(chosen, each(self.store, self.store.read, chosen), strict=True):
            head = f"--- {stage} task {layout.index_of(path)}, attempt {layout.attempt_of(path)}"
            texts.append(f"{head}\n{text.decode(errors='replace')}")
        return "\n".join(texts)

    def cancel(self) -> None:
        """Stop the run for good, wherever it runs; what is committed stays in its folder."""
        self._stop()
        self._handle = None
        records.finish(self.store, self.job, "cancelled", "cancelled by run.cancel()")

    def suspend(self) -> None:
        """Stop the run so that `resume` goes on with it; on a cluster, tasks at work may end."""
        handle = self._attached()
        if handle is not None and handle.suspend():
            write_handle(self.store, handle.ref, "suspended")
            return
        self._stop()
        if records.read_end(self.store) is None:
            write_handle(self.store, None, "suspended")
        self._handle = None

    @checks(PlanError)
    def resume(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        backend: str | Backend | None = None,
        progress: Progress = "auto",
    ) -> Run:
        """Do what is missing, with the stored function or a mended one, and wait for the end.

        Committed tasks are kept whatever function made them; each commit names its digest.
        A run that succeeded is left alone. Raises `RunError` like `mapred.run`.
        """
        chosen = None if backend is None else backends.resolve(backend)
        handle = self._attached()
        if handle is not None and handle.alive():
            if self._left() == "suspended":
                handle.proceed()
                write_handle(self.store, handle.ref, "running")
            return self.finish(progress)
        if handle is None and self._alive_elsewhere():
            # Another process drives it: follow that one.
            return self.finish(progress)
        end = records.read_end(self.store)
        if end is not None and end["state"] == "succeeded":
            return self
        if fn is not None:
            self._mend(fn)
        if end is not None:
            with suppress(FileNotFoundError):
                self.store.delete(layout.END)
        chosen = chosen or backends.resolve(self._backend())
        self._handle = chosen.submit(self.store, self.job, self.digest)
        write_handle(self.store, self._handle.ref, "running")
        return self.finish(progress)

    @checks(PlanError)
    def finish(self, progress: Progress) -> Run:
        """Wait and check; an interrupt stops a local run, resumable, and leaves a remote one."""
        __tracebackhide__ = True
        show = display.progress(progress)  # type: ignore[arg-type]
        try:
            self._watch(show, 0.1 if progress != "none" else 0.5, None)
        except KeyboardInterrupt:
            if self._handle is not None and self._handle.detaches:
                show.close()
                sys.stderr.write(f"\nthe run goes on; to follow it: mapred.open({self.uri!r})\n")
                raise
            # Stopped before the last status is shown, which says so.
            self._stop()
            show.close(self.status())
            sys.stderr.write(f"\nstopped; {self._how_to_resume()}\n")
            raise
        except BaseException:
            show.close()
            raise
        show.close(self.status())
        self.check()
        return self

    @checks(PlanError)
    def debug(self, shard: FromZero, stage: str = "map") -> list[Any]:
        """Replay one task in this process; an exception stops where it is raised.

        Nothing is committed. Gives the values that the task would have stored.
        """
        return worker.replay(self.store, self.job, stage, shard)

    @checks(PlanError)
    def audit(self, *, content: bool = True) -> audits.Audit:
        """Check every byte, item, record and output of the run against its plan.

        So is what the run wrote by `write=`. Every output and published file is read once;
        with `content=False` their sizes are looked at alone.
        """
        return audits.audit(self.store, self.job, content=content)

    def _mend(self, fn: Callable[..., Any]) -> None:
        """Store another function and the job that names it."""
        data = functions.dump(fn)
        digest = hashlib.sha256(data).hexdigest()
        path = layout.mended_function(digest)
        self.store.write(path, data)
        digests = {**self.job.digests, path: digest}
        self.job = dataclasses.replace(self.job, function=path, digests=digests)
        agreement.forget_uncommitted(self.store, self.job.stages[-1].name)
        self.store.write(layout.JOB, self.job.to_bytes())

    def _backend(self) -> str | Backend:
        name = str(self.job.backend.get("name"))
        if name not in backends.NAMES:
            raise BackendError(
                f"the run was made on {name!r}, which cannot be reopened from here; name one: "
                "run.resume(backend='local')"
            )
        return backends.restore(name, self.job.backend.get("arguments") or {})

    def _watch(self, show: display.Progress, pause: float, limit: float | None) -> None:
        """Show the run's status until it is over, or the clock is past `limit`."""
        while not self._over(pause):
            show(self.status())
            if limit is not None and time.monotonic() > limit:
                break

    def _attached(self) -> Handle | None:
        """The handle; of a run on a cluster, one made anew from what its folder names."""
        if self._handle is None and records.read_end(self.store) is None:
            ref, _ = read_handle(self.store)
            self._handle = None if ref is None else backends.reopen(self.store, self.job, ref)
        return self._handle

    def _left(self) -> str:
        return read_handle(self.store)[1]

    def _over(self, seconds: float) -> bool:
        handle = self._attached()
        if handle is not None:
            return handle.wait(seconds)
        if records.read_end(self.store) is not None or not self._alive_elsewhere():
            return True
        time.sleep(seconds)
        return False

    def _stop(self) -> None:
        handle = self._attached()
        if handle is not None:
            handle.cancel()
        elif self._alive_elsewhere():
            raise BackendError(
                f"run {self.id} is driven by another process of this machine; stop it there"
            )

    def _alive_elsewhere(self) -> bool:
        ref, _ = read_handle(self.store)
        return ref is not None and driver_alive(ref)

    def _how_to_resume(self) -> str:
        return f"to take it up again: mapred.open({self.uri!r}).resume()"

    def __repr__(self) -> str:
        return display.status_text(self.status(), time.time())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        status = self.status()
        return {
            "text/plain": display.status_text(status, time.time()),
            "text/html": display.status_html(status, time.time()),
        }


@checks(RunError)
def open_run(uri: Location) -> Run:
    """Take up a run by its folder's URI; a `RunError` where there is none."""
    store = open_store(os.fspath(uri))
    try:
        job = Job.from_bytes(store.read(layout.JOB))
    except FileNotFoundError:
        raise RunError(f"{uri} holds no run: there is no {layout.JOB} in it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{uri}/{layout.JOB} cannot be read: {error}") from error
    return Run(store, job)


def write_handle(store: Store, ref: str | None, state: str) -> None:
    """Remember where the run was started last."""
    value = {"ref": ref, "state": state, "time": time.time()}
    store.write(layout.HANDLE, json.dumps(value).encode())


def record_write(store: Store, uri: str, write_id: str) -> None:
    """Remember where tables are written to, for whoever removes the run."""
    value = {"uri": uri, "id": write_id, "time": time.time()}
    store.write(layout.write_record(write_id), json.dumps(value).encode())


def read_handle(store: Store) -> tuple[str | None, str]:
    """The ref of the last handle, and what state it was left in."""
    try:
        value = json.loads(store.read(layout.HANDLE))
    except FileNotFoundError:
        return None, "interrupted"
    return value["ref"], value["state"]


def driver_alive(ref: str) -> bool:
    """Whether the process that drove a run lives: known on its own machine alone."""
    parts = ref.split(":")
    if len(parts) != 4 or parts[1] != os.uname().nodename:
        return False
    return int(parts[2]) != os.getpid() and process_birth(int(parts[2])) == parts[3]
