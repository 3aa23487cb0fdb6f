"""The results of a run: values, tables, failures, counters, files and logs, from its folder."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from mapred import display, writing
from mapred.arrow.to_frames import import_pandas
from mapred.client.signature import takes_those_of
from mapred.errors import BackendError, PlanError, RecordError, RunError, StorageError
from mapred.functions import pickling
from mapred.functions.modules.importing import is_known
from mapred.model.checking import checks
from mapred.model.rules import FromZero
from mapred.model.spec import Job, RunReference
from mapred.model.status import RunStatus
from mapred.process.lazy import Lazy
from mapred.runfolder import results
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from mapred.client import audit as audits
    from mapred.client import completing
    from mapred.dataset import Dataset
    from mapred.runfolder import completed, extent, tabulating
    from mapred.worker import context, tasks
else:  # Many processes that open a run need none of these.
    audits = Lazy("mapred.client.audit")
    context = Lazy("mapred.worker.context")
    completed = Lazy("mapred.runfolder.completed")
    completing = Lazy("mapred.client.completing")
    extent = Lazy("mapred.runfolder.extent")
    tabulating = Lazy("mapred.runfolder.tabulating")
    tasks = Lazy("mapred.worker.tasks")

T = TypeVar("T")


class RunResults(abc.ABC):
    """What can be read of a run, while it is at work and afterwards; the base of `mapred.Run`."""

    def __init__(self, store: Store, job: Job, allow_pickle: bool) -> None:
        self.store, self.job, self._allow_pickle = store, job, allow_pickle

    @abc.abstractmethod
    def status(self) -> RunStatus:
        """State and progress now."""

    @abc.abstractmethod
    def wait(self) -> Any:
        """Wait until nothing works on the run."""

    @abc.abstractmethod
    def check(self) -> None:
        """Raise what kept the run from its result."""

    @abc.abstractmethod
    def _wait_or_leave(self, seconds: float) -> bool:
        """Wait so many seconds for the end of the run; whether nothing works on it any more."""

    def _await_result(self, partial: str = "") -> None:
        """Wait for the result, or raise what keeps the run from it.

        The error names the call that gives what is done, if that is given as `partial`.
        """
        self.wait()
        try:
            self.check()
        except RunError as error:
            if partial and not isinstance(error, RecordError):
                text = str(error).removesuffix(error.hint)
                line = f"what is done: {partial}"
                error.args = (f"{text.rstrip()}\n{line}\n{error.hint}".rstrip(),)
            raise
        self._offer_modules()

    @property
    def id(self) -> str:
        """The name of the run's folder below its root, such as `20261103-031500-count-3f9a`."""
        return self.job.run_id

    @property
    def uri(self) -> str:
        """The run's folder, as a path or a URI."""
        return self.store.uri

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.store)

    @property
    def digest(self) -> str:
        """The SHA-256 of job.json, which lists all other digests."""
        return self._folder.job_digest()

    def __mapred_dataset__(self) -> Dataset:
        """Return the dataset of what the run returned or wrote, for `mapred.run(fn, run)`."""
        from mapred.dataset import runs  # few runs are the dataset of another one

        self._refuse_code("passing it as a dataset", "loads the pickles that lie")
        return runs.of_runs([RunReference(self.uri, self.id)])

    def result(self) -> Any:
        """Return the answer: the reduced value, a lazily read dataset of tables, or a list.

        The list of a run over items has one place for each, None where it returned None or was given
        up; a reduce and all other lists leave None out. Tables of all tasks make one dataset: a column
        that one of them lacks is null there, types are widened where nothing is lost, and None and
        given-up items have no rows. Waits for a run that is at work.

        Returns:
            The value of the reduce; without one, a `pyarrow.dataset.Dataset` where tasks returned
            tables, else a list in plan order.

        Raises:
            RunError: The run ended without an answer.

        Examples:
            >>> mapred.run(abs, [-1, -2, -3]).result()
            [1, 2, 3]
            >>> run = mapred.run(lambda table: table.slice(0, 1), "sales.csv")
            >>> run.result().to_table().to_pylist()
            [{'city': 'Oslo', 'price': 3}]
        """
        self._await_result()
        with self._loading():
            return results.result(self._folder, self.job)

    @checks(PlanError)
    def outputs(
        self, stage: str | None = None, errors: str = "raise", *, partial: bool = False
    ) -> completing.Outputs[tuple[int, Any]]:
        """Return an iterator of what each task returned, in plan order.

        Waits for a run that is at work. Of one that failed or was stopped, all tasks of the stage
        have to be done. With `partial=True` it waits for nothing and gives what is there. The
        iterator holds one task's values at a time, and its `done`, `total`, `what` and `partial`
        say how many items or shards it has.

        Args:
            stage: Whose outputs: by default `"map"`, or the stage that ends a reduce by key.
            errors: `"raise"` a `FunctionError` for a stored value that cannot be loaded, or `"skip"`
                it.
            partial: Give what is done, whether the run works, failed or was stopped.

        Returns:
            An iterator of pairs (number, value). The number is that of the item where the function
            runs once per item, else of the shard.

        Raises:
            RunError: Some tasks have no output, and `partial` is false.
            FunctionError: A stored value cannot be loaded; the error names it.

        Examples:
            >>> run = mapred.run(abs, [-1, -2, -3], reduce=sum)
            >>> list(run.outputs())
            [(0, 1), (1, 2), (2, 3)]
        """
        reader = completed.Reader(self._folder, self.job, stage)
        if not partial:
            self.wait()
        found, missing = completing.outputs(reader, errors)
        if missing and not partial:
            self._await_result("run.outputs(partial=True)")
        self._offer_modules()
        found.load_by(self._iter_loading)
        return found

    def as_completed(self, *, partial: bool = False) -> completing.Outputs[completed.Completed]:
        """Return an iterator of each item or shard as soon as it is done.

        Each comes once, whatever was tried again or resumed; in the order of completion while the
        run works, and in plan order of what was done before. An item that failed for good comes at
        the end, with `error` in place of a value. Of a reduced run these are the outputs of the
        map, and of a keyed reduce its partitions.

        The loop ends when the run does. If the run did not succeed, it then raises the error that
        `result()` raises; with `partial=True` it just ends. The run may work in this process after
        `mapred.submit`, in another one, or on a cluster.

        Args:
            partial: End without an error, whatever ended the run.

        Returns:
            An iterator of `mapred.Completed`, which counts them: `done` of `total`.

        Raises:
            RunError: The run did not succeed, and `partial` is false.

        Examples:
            >>> def area(width):
            ...     return 10 * width
            >>> run = mapred.submit(area, mapred.sweep(width=[1, 2, 3]))
            >>> sorted((out.item["width"], out.value) for out in run.as_completed())
            [(1, 10), (2, 20), (3, 30)]
        """
        reader = completed.Reader(self._folder, self.job)
        self._offer_modules()
        values = completing.iter_completed(reader, self._wait_or_leave, self.check, partial=partial)
        found = completing.Outputs(values, reader.what, 0, reader.total)
        found.load_by(self._iter_loading)
        return found

    @checks(PlanError)
    def to_pandas(
        self,
        dtype_backend: str = "numpy_nullable",
        *,
        details: bool | None = None,
        partial: bool = False,
    ) -> pd.DataFrame:
        """Return the result as one frame; a sweep's has its parameters and results as columns.

        Returned tables come one below the other. Where the function runs once per item, the
        columns of what it was called with stand before them: `point` (the number of the item)
        and the parameters of a sweep or `item`; of an array, `item` alone.

        Any other value gives a row: the parameters, or `item` (the number of the shard where the
        function takes shards), then its cells. A mapping, dataclass, named tuple, pydantic model
        or pandas series has a column for each key or field, flattened with dots where they are
        nested (`{"test": {"loss": 1}}` is `test.loss`); anything else is the column `result`.

        Rows of a sweep, and of items where `max_failed=` is given, end with the columns `error`
        (why there is no result), `seconds` (items that share a task share its time equally)
        and `attempt`. These take a look at each commit.

        No value is lost where names are equal: the one further to the left keeps it, a result
        gets `_result` at its end, and `error`, `seconds` and `attempt` get `_task`. A reduced
        mapping gives the columns `key` and `value`; a reduced pandas frame is given as it is.

        Args:
            dtype_backend: How types become pandas': `"numpy_nullable"`, which has a place for a null in
                every type, `"pyarrow"`, or `"numpy"`, where a null among whole numbers or booleans is
                an error. A type alone decides the dtype; no value changes. What is not a number, text
                or time stays a Python object, as do values of several types.
            details: Whether the rows end with `error`, `seconds` and `attempt`. Rows of shards
                that return tables, and reduced ones, have none.
            partial: Wait for nothing, and give the rows of what is done or failed, in plan order; of
                a run with a reduce those of the map. `frame.attrs["mapred"]` says how many of how
                many these are, and so does the name of the columns, above the index.

        Returns:
            The frame.

        Raises:
            RunError: The run did not succeed, and `partial` is false.
            FunctionError: The result is not a table.
            MissingDependency: pandas is not installed.

        Examples:
            >>> def area(width, height):
            ...     return {"area": width * height}
            >>> run = mapred.run(area, mapred.sweep(width=[1, 2], height=[10]))
            >>> run.to_pandas(details=False)
               width  height  area
            0      1      10    10
            1      2      10    20
            >>> run.to_pandas().columns.tolist()
            ['width', 'height', 'area', 'error', 'seconds', 'attempt']
        """
        found = self._extent("run.to_pandas(partial=True)", details, partial)
        with self._loading():
            return tabulating.to_pandas(found(), dtype_backend)

    @checks(PlanError)
    def to_arrow(self, *, details: bool | None = None, partial: bool = False) -> pa.Table:
        """Return the result as one `pa.Table`, with the columns of `to_pandas`.

        Args:
            details: As in `to_pandas`.
            partial: As in `to_pandas`; the metadata of the schema says how many of how many items the
                table has, as JSON: `table.schema.metadata[b"mapred"]`.

        Returns:
            The table.

        Raises:
            RunError: The run did not succeed, and `partial` is false.

        Examples:
            >>> run = mapred.run(abs, [-1, -2])
            >>> run.to_arrow().to_pylist()
            [{'item': -1, 'result': 1}, {'item': -2, 'result': 2}]
        """
        found = self._extent("run.to_arrow(partial=True)", details, partial)
        with self._loading():
            return tabulating.to_arrow(found())

    def _extent(
        self, call: str, details: bool | None, partial: bool
    ) -> Callable[[], extent.Extent]:
        """Return how to read the rows of the run, once that can be done."""
        if partial:
            try:
                over: bool | None = self._wait_or_leave(0)
            except StorageError:
                raise
            except BackendError:  # a cluster that cannot be reached
                over = None
            self._offer_modules()
            return lambda: extent.so_far(self._folder, self.job, details, over=over)
        self._await_result(call)
        return lambda: extent.whole(self._folder, self.job, details)

    @takes_those_of(writing.write_parquet)
    def write_parquet(self, target: writing.Target) -> writing.Written:
        """Write the tables of the result as a folder of Parquet files, from this process.

        Holds one output at a time. Write large results from the workers instead:
        `mapred.run(…, write=mapred.write_parquet(…))`.

        Returns:
            What was written.

        Raises:
            RunError: The run ended without an answer.
            DatasetError: The folder or the tables do not fit.

        Examples:
            >>> run = mapred.run(lambda table: table, "sales.csv")
            >>> run.write_parquet("by-city", partition_by="city").partitions
            ('city=Oslo', 'city=Rome')
        """
        return self._write(target)

    @takes_those_of(writing.write_delta)
    def write_delta(self, target: writing.Target) -> writing.Written:
        """Write the tables of the result to a Delta table, from this process.

        Returns:
            What was written.

        Raises:
            RunError: The run ended without an answer.
            DatasetError: The table there or the tables of the run do not fit.
            MissingDependency: The package deltalake is not installed.

        Examples:
            >>> run = mapred.run(lambda table: table, "sales.csv")
            >>> run.write_delta("sales").rows
            3
        """
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
        """The last failure of every task that has no commit, or that gave up some items.

        Returns:
            A tuple of `mapred.Failure`, which shows itself grouped, with tracebacks, and has
            `to_pandas`.

        Examples:
            >>> run = mapred.run(lambda n: 12 / n, [1, 0, 4], max_failed=1, attempts=1)
            >>> [(failure.items, failure.error) for failure in run.failures]
            [((1,), 'ZeroDivisionError')]
        """
        return display.Failures(self._folder.failures(self.job))

    @property
    def counters(self) -> dict[str, float]:
        """The sums of the numbers that tasks passed to `task.count`, by name.

        Examples:
            >>> def parse(lines, task: mapred.Task):
            ...     for line in lines:
            ...         task.count("lines")
            >>> mapred.run(parse, "corpus/*.txt").counters
            {'lines': 3}
        """
        return dict(self.status().counters)

    @property
    def shards(self) -> pd.DataFrame:
        """A frame with a row for every map task: bytes, records, seconds, peak memory in bytes, state.

        `state` is `done`, `given up` (nothing of it is left), `failed` or `waiting`. The column
        `given_up` counts the items given up of a task, or 1 for a shard.

        Examples:
            >>> run = mapred.run(lambda lines: len(list(lines)), "corpus/*.txt")
            >>> run.shards[["bytes", "records", "state"]]
               bytes  records state
            0     55        3  done
        """
        pd = import_pandas()
        return pd.DataFrame(list(self._folder.shards(self.job)))

    @property
    def files(self) -> pd.DataFrame:
        """A frame of the files that tasks wrote by `task.output`: stage, task, name, path, size in bytes.

        Examples:
            >>> def export(n, task: mapred.Task):
            ...     task.output("square.txt").write_text(str(n * n))
            >>> mapred.run(export, [2, 3]).files[["task", "name", "size"]]
               task               name  size
            0     0  000000-square.txt     1
            1     1  000001-square.txt     1
        """
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
        """Return what the attempts at tasks printed and logged, oldest first.

        Args:
            task: The number of a task (default: all tasks).
            stage: Whose tasks: `"map"`, `"reduce-1"`, …

        Returns:
            The text, with a line before each attempt's part.

        Examples:
            >>> run = mapred.run(print, mapred.items(["hello"]))
            >>> print(run.logs(task=0))
            --- map task 0, attempt 1-...
            hello
        """
        self.job.stage(stage)
        return "\n".join(
            f"--- {stage} task {index}, attempt {attempt}\n{text}"
            for index, attempt, text in self._folder.logs(stage, task)
        )

    @checks(PlanError)
    def debug(self, shard: FromZero, stage: str = "map") -> list[Any]:
        """Replay one task in this process, where a debugger stops at an exception. Nothing is committed.

        Args:
            shard: The number of the task.
            stage: Whose task: `"map"`, `"reduce-1"`, …

        Returns:
            The values that the task would have stored.

        Raises:
            RunError: The run was opened with `allow_pickle=False`.

        Examples:
            >>> run = mapred.run(abs, [-1, -2, -3], per_task=3)
            >>> run.debug(0)
            [1, 2, 3]
        """
        self._refuse_code("debug")
        return tasks.replay(self.store, self.job, stage, shard)

    @checks(PlanError)
    def audit(self, *, content: bool = True, contact: bool = False) -> audits.Audit:
        """Check every byte, item, record and output of the run, and what `write=` wrote.

        Args:
            content: Whether to read every output and published file once; else only their sizes are
                compared.
            contact: Whether to open Parquet files for which the run's record names a server, an option
                or a file system that this side does not. Do so where you trust who wrote the record.

        Returns:
            What was compared, and the problems.

        Raises:
            StorageError: The run's folder cannot be read.

        Examples:
            >>> audit = mapred.run(abs, [-1, -2, -3]).audit()
            >>> audit.ok, audit.items, audit.planned_items
            (True, 3, 3)
        """
        return audits.audit(self._folder, self.job, content=content, contact=contact)

    def _loading(self) -> AbstractContextManager[None]:
        """Have all values that are loaded meanwhile obey `allow_pickle`."""
        return pickling.plain_alone(not self._allow_pickle)

    def _iter_loading(self, values: Iterator[T]) -> Iterator[T]:
        """Yield the values of an iterator, which loads each as it is asked for it."""
        while True:
            with self._loading():
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value

    def _refuse_code(self, what: str, does: str = "runs the function that lies") -> None:
        if not self._allow_pickle:
            raise RunError(
                f"{what} {does} in {self.uri}, and the run was opened with "
                "allow_pickle=False; if you trust everyone who can write to its root: "
                "mapred.open(…, allow_pickle=True)"
            )

    def _offer_modules(self) -> None:
        path = self.job.modules
        if path is not None and self._allow_pickle and not is_known(self.job.digests[path]):
            context.offer_modules(context.Context(self.store, self.job))
