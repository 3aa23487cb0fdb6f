"""Why a task failed: an exception as a record that a person, far away, can work with."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from mapred.errors import DatasetError, RecordError, StorageError
from mapred.functions.task import Task
from mapred.model import retries
from mapred.model.checking import safe_text
from mapred.model.failure import Failure
from mapred.model.spec import Job, Stage
from mapred.runfolder import plans, points
from mapred.runfolder.folder import RunFolder

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_TESTING = os.path.join(_PACKAGE, "testing", "")  # its functions are as a user writes them
# What the user's function calls back to read the run's input.
_READERS = tuple(_PACKAGE + name for name in ("formats", "worker", "outputs", "keyed", "shuffle"))
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = {"site-packages", "dist-packages"}
# Packages through which this one calls itself, as for a file that Arrow reads.
_BETWEEN = frozenset(("pyarrow", "fsspec", "numpy", "pandas", "polars", "cloudpickle", "deltalake"))
# What an exception is by itself, whatever its class says.
_NAME: Any = type.__dict__["__name__"].__get__
_TRACEBACK: Any = BaseException.__dict__["__traceback__"].__get__
_TRACEBACK_LIMIT, _MESSAGE_LIMIT, _LOG_LIMIT = 20_000, 4000, 4000


class ItemsFailed(Exception):
    """Some items of a task failed: by item whether that is final, that of `first` before others."""

    def __init__(self, items: Mapping[int, bool], item: int, first: BaseException) -> None:
        super().__init__(f"{len(items)} items failed")
        self.items, self.first = {item: items[item], **items}, first


def failed_items(
    error: BaseException, task: Task, job: Job
) -> tuple[Mapping[int, bool], bool, BaseException]:
    """Return the items that failed, each with whether that is final, whether all is, and the error."""
    if isinstance(error, ItemsFailed):
        return error.items, all(error.items.values()), error.first
    final = is_final(job, error)
    return ({} if task.item is None else {task.item: final}), final, error


def is_final(job: Job, error: BaseException) -> bool:
    """Whether no other attempt is made after what a task raised."""
    files = _traceback_files(error)
    reached = any(not _is_ours(file) and not _is_library(file) for file in files)
    return retries.is_final(job, error, reached=reached, nested=is_of_user(error))


def _traceback_files(error: BaseException) -> list[str]:
    return [f.f_code.co_filename for f, _ in traceback.walk_tb(error.__traceback__)]


def is_of_store(error: BaseException) -> bool:
    """Whether it is trouble with the store or the records of the run, or of the dataset."""
    return isinstance(error, StorageError | RecordError) and not is_of_user(error)


def is_of_user(error: BaseException) -> bool:
    """Whether the user's code raised an error, or what that called by itself.

    A function may use stores and runs of its own by this package: what they raise is its failure.
    The dataset and earlier outputs are read while the function runs, so its frames alone tell
    nothing; what counts is where it called back into this package.
    """
    files = [file for file in _traceback_files(error) if not _is_dependency_file(file)]
    for number, (caller, called) in enumerate(itertools.pairwise(files), start=1):
        if _is_ours(caller) and not _is_ours(called) and not _is_library(called):
            back = next((file for file in files[number:] if _is_ours(file)), "")
            return not back.startswith(_READERS)
    return False


def to_plain_error(error: BaseException) -> BaseException:
    """Return an error that can be looked at: another one in place of what lies about itself, or
    fails."""
    kind = type(error)
    try:
        known = error.__class__ is kind and isinstance(kind.__name__, str)
        known = known and isinstance(error.__traceback__, TracebackType)
        for name in ("__cause__", "__context__", "code", "exceptions"):
            getattr(error, name, None)
    except BaseException:
        known = False
    if known:
        return error
    made: BaseException = type(str(_NAME(kind)), (Exception,), {})(safe_text(str, error))
    return made.with_traceback(_TRACEBACK(error))


def _is_ours(file: str) -> bool:
    return file.startswith(_PACKAGE) and not file.startswith(_TESTING)


@functools.lru_cache(maxsize=256)
def _is_dependency_file(file: str) -> bool:
    """Whether it is a file of a package that this one is built on."""
    parts = file.split(os.sep)
    places = [place for place, part in enumerate(parts[:-1]) if part in _INSTALLED]
    return bool(places) and parts[places[-1] + 1] in _BETWEEN


@functools.lru_cache(maxsize=256)
def _is_library(file: str) -> bool:
    """Whether it is a file of Python's own library."""
    inside = file.startswith(_LIBRARY) and _INSTALLED.isdisjoint(file.split(os.sep))
    return inside or file.startswith("<frozen ")


def describe(
    error: BaseException,
    task: Task,
    attempt: str,
    where: str,
    items: Mapping[int, bool],
    final: bool,
    values: Mapping[int, str],
) -> Failure:
    """Return the record of an attempt that ended in `error` at `where`; `values` are those of
    `items`.

    Equal failures have equal signatures: the exception's type and the places it came
    through. The traceback leaves out this package's own frames where there are others.
    """
    stack, text = _format_traceback(error)
    own = [frame for frame in stack if not frame.filename.startswith(_PACKAGE)]
    kind, message = type(error).__name__, safe_text(str, error)
    if isinstance(error, SystemExit):
        code = safe_text(repr, error.code)
        message = f"the function called sys.exit({code}) instead of returning"
    places = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in own[-10:]]
    signature = "\n".join([kind, *(places or [message])])
    return Failure(
        stage=task.stage,
        task=task.shard,
        attempt=attempt,
        kind="dataset" if isinstance(error, DatasetError) else "function",
        error=kind,
        message=message[:_MESSAGE_LIMIT],
        traceback=_truncate_middle(text),
        signature=hashlib.sha256(signature.encode(errors="replace")).hexdigest()[:16],
        where=where,
        items=tuple(sorted(items)),
        attempts=task.attempt,
        final=final,
        lost=tuple(item for item in sorted(items) if items[item]),
        values=values,
        worker=f"{os.uname().nodename}:{os.getpid()}",
    )


def _format_traceback(error: BaseException) -> tuple[traceback.StackSummary, str]:
    """Return the frames that an exception came through, and its traceback as text.

    An exception of the user's may refuse to be formatted.
    """
    try:
        summary = traceback.TracebackException.from_exception(error, limit=-50)
        own = [frame for frame in summary.stack if not frame.filename.startswith(_PACKAGE)]
        if own:
            summary.stack[:] = own
        return summary.stack, "".join(summary.format())
    except BaseException:
        stack = traceback.extract_tb(error.__traceback__, limit=-50)
        own = [frame for frame in stack if not frame.filename.startswith(_PACKAGE)]
        head = "Traceback (most recent call last):\n"
        return stack, "".join(
            [head, *traceback.format_list(own or stack), type(error).__name__, "\n"]
        )


def record(
    folder: RunFolder,
    failure: Failure,
    seconds: float = 0.0,
    read_log: Callable[[], str] | None = None,
) -> Failure:
    """Write a failed attempt's record and log; a store that refuses is not a second error."""
    text = read_log() if read_log else failure.log
    known = {"log": text[-_LOG_LIMIT:], "seconds": seconds, "time": time.time()}
    failure = Failure(**{**vars(failure), **known})
    with suppress(StorageError):
        folder.put_failure(failure)
        folder.put_log(failure.stage, failure.task, failure.attempt, text)
    return failure


def record_process_death(
    folder: RunFolder,
    job: Job,
    stage: Stage,
    index: int,
    attempt: int,
    kind: str,
    message: str,
    log: str,
    counts: bool = True,
    item: int | None = None,
    final: bool = False,
    placed: bool = True,
) -> Failure:
    """Record an attempt that ended with its process; one that `counts` is the user's to answer.

    `item` is the one of several at which it ended. Where the pool is not `placed`, so that it
    cannot tell, a lone item of the task is told in words.
    """
    items = () if item is None else (item,)
    told = items if placed else points.lone_item(folder.store, job, stage, index)
    values = points.stored_values(folder.store, job, index, told)
    return record(
        folder,
        Failure(
            stage=stage.name,
            task=index,
            attempt=f"{attempt}-{uuid.uuid4().hex[:8]}",
            kind=kind,
            error="WorkerLost",
            message=message,
            signature=f"{kind}: {message}",
            where=points.item_text(told[0], values)
            if told
            else plans.describe_task_input(folder.store, stage, index),
            items=items,
            log=log,
            attempts=attempt if counts else attempt - 1,
            final=final,
            lost=items if final else (),
            values=values,
        ),
    )


def _truncate_middle(text: str) -> str:
    if len(text) <= _TRACEBACK_LIMIT:
        return text
    half = _TRACEBACK_LIMIT // 2
    return text[:half] + "\n…\n" + text[-half:]
