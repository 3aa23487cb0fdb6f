"""The results of a run: values, tables, failures, counters, files and logs, from its folder."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mapred import display, writing
from mapred.arrow.to_frames import import_pandas
from mapred.client.signature import takes_those_of
from mapred.errors import PlanError, RunError
from mapred.functions import pickling
from mapred.functions.modules.importing import is_known
from mapred.model.checking import checks
from mapred.model.rules import FromZero
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.process.lazy import Lazy
from mapred.runfolder import results
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mapred.client import audit as audits
    from mapred.runfolder import tabulating
    from mapred.worker import context, tasks
else:  # Many processes that open a run need none of these.
    audits = Lazy("mapred.client.audit")
    context = Lazy("mapred.worker.context")
    tabulating = Lazy("mapred.runfolder.tabulating")
    tasks = Lazy("mapred.worker.tasks")


class RunResults(abc.ABC):
    """What can be read of a run, while it is at work and afterwards; the base of `mapred.Run`."""

    def __init__(self, store: Store, job: Job, allow_pickle: bool) -> None:
        self.store, self.job, self._allow_pickle = store, job, allow_pickle

    @abc.abstractmethod
    def status(self) -> RunStatus:
        """State and progress now."""

    @abc.abstractmethod
    def _await_result(self) -> None:
        """Wait for the result; raise what keeps the run from it."""

    @property
    def id(self) -> str:
        return self.job.run_id

    @property
    def uri(self) -> str:
        return self.store.uri

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.store)

    @property
    def digest(self) -> str:
        """The SHA-256 of job.json, which lists all other digests."""
        return self._folder.job_digest()

    def result(self) -> Any:
        """Return the answer: the reduced value, a lazily read dataset of tables, or a list.

        The list of a run over items has one place for each, None where it returned None or was
        given up; a reduce and all other lists leave None out. Tables of all tasks make one
        dataset: a column that one of them lacks is null there, types are widened where nothing is
        lost, and None and given-up items have no rows.

        Waits for a live run. A run without an answer raises `RunError`.
        """
        self._await_result()
        with self._loading():
            return results.result(self._folder, self.job)

    @checks(PlanError)
    def outputs(self, stage: str | None = None, errors: str = "raise") -> Iterator[tuple[int, Any]]:
        """Yield (number, value) of what each committed task returned, in plan order.

        The number is that of the item where the function runs once per item, else of the shard.
        Works while the run is at work, and after it failed: waits for nothing, and holds one
        task's values at a time. `stage` is by default `"map"`, or the stage that ends a keyed
        reduce. A stored value that cannot be loaded raises a `FunctionError` that names it; with
        `errors="skip"` it is left out.
        """
        self._offer_modules()
        return self._iter_loading(results.iter_values(self._folder, self.job, stage, errors))

    def to_pandas(self, dtype_backend: str = "numpy_nullable") -> pd.DataFrame:
        """Return the result as one frame; a sweep's has its parameters and results as columns.

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
        self._await_result()
        with self._loading():
            return tabulating.to_pandas(self._folder, self.job, dtype_backend)

    def to_arrow(self) -> pa.Table:
        """Return the result as one table, with the columns of `to_pandas`."""
        self._await_result()
        with self._loading():
            return tabulating.to_arrow(self._folder, self.job)

    @takes_those_of(writing.write_parquet)
    def write_parquet(self, target: writing.Target) -> writing.Written:
        """Write the tables of the result as `mapred.write_parquet` says, from this process.

        Holds one output at a time. Write large results from the workers instead:
        `mapred.run(…, write=mapred.write_parquet(…))`.
        """
        return self._write(target)

    @takes_those_of(writing.write_delta)
    def write_delta(self, target: writing.Target) -> writing.Written:
        """Write the tables of the result as `mapred.write_delta` says, from this process."""
        return self._write(target)

    def _write(self, target: writing.Target) -> writing.Written:
        self._await_result()
        writing.check(target)
        write_id = f"{self.id}-{os.urandom(4).hex()}"
        self._folder.note_write(target.uri, write_id)
        with self._loading():
            return writing.write_result(self._folder, self.job, target, write_id)

    @property
    def failures(self) -> display.Failures:
        """The last failure of every task that has no commit, or that gave up some items."""
        return display.Failures(self._folder.failures(self.job))

    @property
    def counters(self) -> dict[str, float]:
        """The sums of the numbers that tasks passed to `task.count`."""
        return dict(self.status().counters)

    @property
    def shards(self) -> pd.DataFrame:
        """A frame with a row for every map task: bytes, records, seconds, peak memory, state.

        `state` is `done`, `given up` (nothing of it is left), `failed` or `waiting`. The column
        `given_up` counts the items given up of a task, or 1 for a shard.
        """
        pd = import_pandas()
        return pd.DataFrame(list(self._folder.shards(self.job)))

    @property
    def files(self) -> pd.DataFrame:
        """A frame of the files that tasks wrote by `task.output`: task, name, path, size."""
        pd = import_pandas()
        rows = []
        for stage in self.job.stages:
            done = self._folder.list_done_tasks(stage)
            commits = self._folder.commits(stage.name, done)
            for task, commit in zip(done, commits, strict=True):
                for file in commit.files if commit else ():
                    path = f"{self.uri}/{file.path}"
                    rows.append((stage.name, task, file.name, path, file.size))
        return pd.DataFrame(rows, columns=["stage", "task", "name", "path", "size"])

    @checks(PlanError)
    def logs(self, task: FromZero | None = None, stage: str = "map") -> str:
        """Return what the attempts at a task printed, oldest first; of all tasks where None."""
        self.job.stage(stage)
        return "\n".join(
            f"--- {stage} task {index}, attempt {attempt}\n{text}"
            for index, attempt, text in self._folder.logs(stage, task)
        )

    @checks(PlanError)
    def debug(self, shard: FromZero, stage: str = "map") -> list[Any]:
        """Replay one task in this process, where a debugger stops at an exception.

        Nothing is committed. Returns the values that the task would have stored.
        """
        self._refuse_code("debug")
        return tasks.replay(self.store, self.job, stage, shard)

    @checks(PlanError)
    def audit(self, *, content: bool = True, contact: bool = False) -> audits.Audit:
        """Check every byte, item, record and output of the run, and what `write=` wrote.

        Reads every output and published file once; with `content=False` compares only their
        sizes. Parquet files for which the run's record names a server, an option or a file system
        that this side does not are opened only with `contact=True`, where you trust who wrote it.
        """
        return audits.audit(self._folder, self.job, content=content, contact=contact)

    def _loading(self) -> AbstractContextManager[None]:
        """Have all values that are loaded meanwhile obey `allow_pickle`."""
        return pickling.plain_alone(not self._allow_pickle)

    def _iter_loading(self, values: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """Yield the values of an iterator, which loads each as it is asked for it."""
        while True:
            with self._loading():
                try:
                    pair = next(values)
                except StopIteration:
                    return
            yield pair

    def _refuse_code(self, what: str) -> None:
        if not self._allow_pickle:
            raise RunError(
                f"{what} runs the function that lies in {self.uri}, and the run was opened with "
                "allow_pickle=False; where you trust all who can write to its root: "
                "mapred.open(…, allow_pickle=True)"
            )

    def _offer_modules(self) -> None:
        path = self.job.modules
        if path is not None and self._allow_pickle and not is_known(self.job.digests[path]):
            context.offer_modules(context.Context(self.store, self.job))
