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
    """

    def __str__(self) -> str:
        return visible(super().__str__())


class DatasetError(MapredError):
    """The input is missing, unreadable, or does not fit its schema."""


class PlanError(DatasetError):
    """The limits contradict each other, or the dataset cannot be planned."""


class StaleDatasetError(DatasetError):
    """A file changed or vanished after it was planned."""


class FunctionError(MapredError):
    """The function cannot be shipped, loaded, called, or its output stored."""


class ReduceError(FunctionError):
    """The reducer is not associative, or has nothing to reduce."""


class CommandError(FunctionError):
    """A command ended with a `status` other than 0; a signal's number is negative."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.status)


class BackendError(MapredError):
    """The place where tasks run does not exist, or fails."""


class StorageError(BackendError):
    """A store refuses, is full, is read-only, or only pretends to put if absent."""


class AccessError(StorageError):
    """A store refuses the credentials, or what they may not do: to ask again does not help."""


class FullError(StorageError):
    """A disk, a quota or a store has no room left: to ask again does not help before some is freed."""


class NotAFile(StorageError):
    """What has the name of a file in a root is a folder, a link, a pipe or a device."""


class MissingDependency(BackendError, ImportError):
    """An optional package is absent; the message names the line that installs it."""

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

    `run` is the handle (or None where none could be made); `failures` is a tuple of
    `mapred.Failure`, one for every failed task; `hint` is the end of the message, which
    says how to resume.
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

    `newer` says that a newer mapred made it, `blank` that the file is there and holds nothing.
    """

    def __init__(self, message: str, *, newer: bool = False, blank: bool = False) -> None:
        super().__init__(message)
        self.newer, self.blank = newer, blank


class Interrupted(KeyboardInterrupt):
    """A run was stopped from the keyboard; a notebook shows the message alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
