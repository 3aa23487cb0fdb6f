"""What can go wrong, as one tree.

MapredError
├ DatasetError          the input: nothing matches, cannot be read, does not fit its schema
│ ├ PlanError           limits that contradict each other, a dataset that cannot be planned
│ └ StaleDatasetError   a file changed or vanished after it was planned
├ FunctionError         the function: cannot be pickled, another Python in the worker, a wrong output
│ ├ ReduceError         a reducer that is not associative, or has nothing to reduce
│ └ CommandError        a command that ended with a status other than 0: `.status`
├ BackendError          where it runs: no such backend, a pool or an engine that fails
│ ├ StorageError        a root or dataset store that fails, is full, or only pretends
│ │ ├ AccessError       a store that refuses these credentials, or what they may not do
│ │ ├ FullError         a disk, a quota or a store without room
│ │ └ NotAFile          a folder, a link, a pipe or a device where a file belongs
│ └ MissingDependency   an optional package is absent (also an ImportError); names the install line
└ RunError              a run that ended without its result: `.run`, `.failures`
  └ RecordError         a record of a run that is lost, damaged, or made by a newer mapred

A message says what, which value, what limit, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mapred.errors.escaping import visible

__all__ = [
    "AccessError",
    "BackendError",
    "CommandError",
    "DatasetError",
    "FullError",
    "FunctionError",
    "Interrupted",
    "MapredError",
    "MissingDependency",
    "NotAFile",
    "PlanError",
    "RecordError",
    "ReduceError",
    "RunError",
    "StaleDatasetError",
    "StorageError",
]


class MapredError(Exception):
    """The root of every error that mapred raises on purpose.

    Its text is safe to show: names and messages from elsewhere may hold a terminal's commands.

    Examples:
        >>> try:
        ...     mapred.run(abs, "no-such-folder/*.txt")
        ... except mapred.MapredError as error:
        ...     print(type(error).__name__)
        DatasetError
    """

    def __str__(self) -> str:
        return visible(super().__str__())

    def _render_traceback_(self) -> list[str]:
        # IPython alone calls this; a process without a notebook does not load what it takes.
        from mapred.errors.rendering import render_traceback

        return render_traceback(self)


class DatasetError(MapredError):
    """The input is missing, unreadable, or does not fit its schema.

    Examples:
        >>> mapred.plan("no-such-folder/*.txt")
        Traceback (most recent call last):
        mapred.errors.DatasetError: ...
    """


class PlanError(DatasetError):
    """The limits contradict each other, or the dataset cannot be planned.

    Examples:
        >>> mapred.job(abs, [-1, -2], attempts=0)
        Traceback (most recent call last):
        mapred.errors.PlanError: attempts=0 must be ...
    """


class StaleDatasetError(DatasetError):
    """A file changed or vanished after it was planned.

    Examples:
        >>> plan = mapred.plan("corpus/*.txt")
        >>> with open("corpus/a.txt", "a") as file:
        ...     size = file.write("one more line")
        >>> try:
        ...     plan.run(lambda lines: len(list(lines)), attempts=1)
        ... except mapred.RunError as error:
        ...     print(error.failures[0].error)
        StaleDatasetError
    """


class FunctionError(MapredError):
    """The function cannot be shipped, loaded, called, or its output stored.

    Examples:
        >>> mapred.run(lambda: 1, [1, 2])
        Traceback (most recent call last):
        mapred.errors.FunctionError: ...
    """


class ReduceError(FunctionError):
    """The reduce is not associative though it is a tree, or has nothing to reduce.

    Examples:
        >>> mapred.job(abs, [-1, -2], reduce=sum, fan_in=1)
        Traceback (most recent call last):
        mapred.errors.ReduceError: fan_in=1 must be ...
    """


class CommandError(FunctionError):
    """A command ended with a `status` other than 0; a signal's number is negative.

    Attributes:
        status: The exit status.

    Examples:
        >>> fail = mapred.command(["bash", "-c", "exit 3"])
        >>> try:
        ...     mapred.run(fail, mapred.array(1), attempts=1)
        ... except mapred.RunError as error:
        ...     print(error.failures[0].error, error.failures[0].message)
        CommandError bash -c exit 3 ended with exit status 3
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.status)


class BackendError(MapredError):
    """The place where tasks run does not exist, or fails.

    Examples:
        >>> mapred.run(abs, [-1, -2], backend="slurm")
        Traceback (most recent call last):
        mapred.errors.BackendError: no backend 'slurm'; known are ...
    """


class StorageError(BackendError):
    """A store refuses, is full, is read-only, or only pretends to put if absent.

    Examples:
        >>> mapred.run(abs, [-1, -2], root="sales.csv/runs")
        Traceback (most recent call last):
        mapred.errors.StorageError: ...
    """


class AccessError(StorageError):
    """A store refuses the credentials, or what they may not do: to ask again does not help.

    Examples:
        >>> issubclass(mapred.AccessError, mapred.StorageError)
        True
    """


class FullError(StorageError):
    """A disk, a quota or a store has no room left: to ask again does not help before some is freed.

    Examples:
        >>> issubclass(mapred.errors.FullError, mapred.StorageError)
        True
    """


class NotAFile(StorageError):
    """What has the name of a file in a root is a folder, a link, a pipe or a device.

    Examples:
        >>> issubclass(mapred.errors.NotAFile, mapred.StorageError)
        True
    """


class MissingDependency(BackendError, ImportError):
    """An optional package is absent; the message names the line that installs it.

    It is an `ImportError` too, so code that copes with a missing import copes with it.

    Attributes:
        package: The package.
        extra: The extra of mapred that brings it.

    Examples:
        >>> str(mapred.MissingDependency("pandas", "pandas"))
        "pandas is not installed; install it with: pip install 'mapred[pandas]'"
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed; install it with: pip install 'mapred[{extra}]'"
        )
        self.package = package
        self.extra = extra

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.package, self.extra)


class RunError(MapredError):
    """A run ended without its result.

    Attributes:
        run: The run, or None where none could be made.
        failures: A tuple of `mapred.Failure`, one for every failed task.
        hint: The end of the message, which says how to resume.

    Examples:
        >>> try:
        ...     mapred.run(lambda n: 12 / n, [1, 2, 0], attempts=1)
        ... except mapred.RunError as error:
        ...     run = error.run
        >>> run.state, run.failures[0].error
        ('failed', 'ZeroDivisionError')
    """

    def __init__(
        self, message: str, *, run: Any = None, failures: Sequence[Any] = (), hint: str = ""
    ) -> None:
        super().__init__(message)
        self.run = run
        self.failures = failures if isinstance(failures, tuple) else tuple(failures)
        self.hint = hint


class RecordError(RunError):
    """A record of a run's folder that cannot be read: lost, damaged, foreign, or of the future.

    Attributes:
        newer: Whether a newer mapred made it.
        blank: Whether the file is there and holds nothing.

    Examples:
        >>> run = mapred.run(abs, [-1, -2])
        >>> run.store.write("job.json", b"{")
        ''
        >>> try:
        ...     mapred.open(run.uri)
        ... except mapred.errors.RecordError as error:
        ...     print(error.newer)
        False
    """

    def __init__(self, message: str, *, newer: bool = False, blank: bool = False) -> None:
        super().__init__(message)
        self.newer, self.blank = newer, blank


class Interrupted(KeyboardInterrupt):
    """A run was stopped from the keyboard; a notebook shows the message alone.

    It is a `KeyboardInterrupt`, so `except Exception` does not catch it.

    Examples:
        >>> issubclass(mapred.errors.Interrupted, KeyboardInterrupt)
        True
    """

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def __dir__() -> list[str]:
    return __all__
