"""Why a task failed: an exception as a record that is enough to find the cause elsewhere."""

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
from dataclasses import replace
from types import MappingProxyType, TracebackType
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
_READERS = tuple(_PACKAGE + name for name in ("formats", "worker", "shuffle"))
_LIBRARY = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = {"site-packages", "dist-packages"}
# Packages that call this one back, as Arrow does for a file that it reads.
_BETWEEN = frozenset(("pyarrow", "fsspec", "numpy", "pandas", "polars", "cloudpickle", "deltalake"))
# How to read these of an exception whose class lies about them.
_NAME: Any = type.__dict__["__name__"].__get__
_TRACEBACK: Any = BaseException.__dict__["__traceback__"].__get__
_TRACEBACK_LIMIT, _MESSAGE_LIMIT, _LOG_LIMIT = 20_000, 4000, 4000
_LINE_LIMIT = 300
MOST_LINES = 200  # items of an attempt whose errors are kept beside the first one's


class ItemsFailed(Exception):
    """Some items of a task failed: whether that is final, by item, that of `first` before others.

    `lines` has the errors of the first few.
    """

    def __init__(
        self,
        items: Mapping[int, bool],
        item: int,
        first: BaseException,
        lines: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(f"{len(items)} items failed")
        self.lines = lines if len(items) > 1 else {}
        self.items, self.first = {item: items[item], **items}, first


def failed_items(
    error: BaseException, task: Task, job: Job
) -> tuple[Mapping[int, bool], bool, BaseException]:
    """Return the failed items and whether each is final, whether all is final, and the error."""
    if isinstance(error, ItemsFailed):
        return error.items, all(error.items.values()), error.first
    final = is_final(job, error)
    return ({} if task.item is None else {task.item: final}), final, error


def error_line(kind: str, message: str) -> str:
    r"""Return an error on one line: `ValueError: diverged`. Half of a surrogate pair reads `\ud800`."""
    text = ": ".join(part for part in (kind, " ".join(message.split())) if part)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= _LINE_LIMIT else f"{text[: _LINE_LIMIT - 1]}…"


def is_final(job: Job, error: BaseException) -> bool:
    """Whether an error of a task ends its attempts."""
    files = _traceback_files(error)
    reached = any(not _is_ours(file) and not _is_library(file) for file in files)
    return retries.is_final(job, error, reached=reached, nested=is_of_user(error))


def _traceback_files(error: BaseException) -> list[str]:
    return [f.f_code.co_filename for f, _ in traceback.walk_tb(error.__traceback__)]


def is_of_store(error: BaseException) -> bool:
    """Whether an error is about the store, the records of the run, or the dataset."""
    return isinstance(error, StorageError | RecordError) and not is_of_user(error)


def is_of_user(error: BaseException) -> bool:
    """Whether the user's code raised an error, itself or by what it called.

    A function may use stores and runs of its own by this package: what they raise is its failure.
    Since the dataset and earlier outputs are read while the function runs, its frames alone tell
    nothing; what counts is where it called back into this package.
    """
    files = [file for file in _traceback_files(error) if not _is_dependency_file(file)]
    for number, (caller, called) in enumerate(itertools.pairwise(files), start=1):
        if _is_ours(caller) and not _is_ours(called) and not _is_library(called):
            back = next((file for file in files[number:] if _is_ours(file)), "")
            return not back.startswith(_READERS)
    return False


def to_plain_error(error: BaseException) -> BaseException:
    """Replace an error that misleads about its class or fails when it is read."""
    kind = type(error)
    try:
        sound = error.__class__ is kind and isinstance(kind.__name__, str)
        sound = sound and isinstance(error.__traceback__, TracebackType)
        for name in ("__cause__", "__context__", "code", "exceptions"):
            getattr(error, name, None)
    except BaseException:
        sound = False
    if sound:
        return error
    made: BaseException = type(str(_NAME(kind)), (Exception,), {})(safe_text(str, error))
    return made.with_traceback(_TRACEBACK(error))


def _is_ours(file: str) -> bool:
    return file.startswith(_PACKAGE) and not file.startswith(_TESTING)


@functools.lru_cache(maxsize=256)
def _is_dependency_file(file: str) -> bool:
    parts = file.split(os.sep)
    places = [place for place, part in enumerate(parts[:-1]) if part in _INSTALLED]
    return bool(places) and parts[places[-1] + 1] in _BETWEEN


@functools.lru_cache(maxsize=256)
def _is_library(file: str) -> bool:
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
    lines: Mapping[int, str] = MappingProxyType({}),
) -> Failure:
    """Describe an attempt that ended in `error` at `where`; `values` and `lines` are of `items`.

    Equal failures have equal signatures, of the exception's type and the places it came through.
    """
    stack, text = _format_traceback(error)
    kind, message = type(error).__name__, safe_text(str, error)
    if isinstance(error, SystemExit):
        code = safe_text(repr, error.code)
        message = f"the function called sys.exit({code}) instead of returning"
    last = _foreign_frames(stack)[-10:]
    places = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in last]
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
        errors=dict(lines),
    )


def _foreign_frames(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    return [frame for frame in stack if not frame.filename.startswith(_PACKAGE)]


def _format_traceback(error: BaseException) -> tuple[traceback.StackSummary, str]:
    """Return the frames that an exception came through, and its traceback as text.

    Without this package's own frames, where there are others.
    """
    try:
        summary = traceback.TracebackException.from_exception(error, limit=-50)
        summary.stack[:] = _foreign_frames(summary.stack) or summary.stack
        return summary.stack, "".join(summary.format())
    except BaseException:  # an exception of the user's may refuse to be formatted
        stack = traceback.extract_tb(error.__traceback__, limit=-50)
        lines = traceback.format_list(_foreign_frames(stack) or list(stack))
        head = "Traceback (most recent call last):\n"
        return stack, "".join([head, *lines, type(error).__name__, "\n"])


def record(
    folder: RunFolder,
    failure: Failure,
    seconds: float = 0.0,
    read_log: Callable[[], str] | None = None,
) -> Failure:
    """Write a failed attempt's record and log."""
    text = read_log() if read_log else failure.log
    failure = replace(failure, log=text[-_LOG_LIMIT:], seconds=seconds, time=time.time())
    with suppress(StorageError):  # the failure itself is what matters
        folder.put_failure(failure, text)
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
    """Record an attempt whose process died; one that `counts` is one of the job's attempts.

    `item` is where it was. A pool that is not `placed` cannot tell: then the record names the
    item of a task that has a single one.
    """
    items = () if item is None else (item,)
    named = items if placed else points.lone_item(folder.store, job, stage, index)
    values = points.stored_values(folder.store, job, index, named)
    if named:
        where = points.item_text(named[0], values)
    else:
        where = plans.describe_task_input(folder.store, stage, index)
    failure = Failure(
        stage=stage.name,
        task=index,
        attempt=f"{attempt}-{uuid.uuid4().hex[:8]}",
        kind=kind,
        error="WorkerLost",
        message=message,
        signature=f"{kind}: {message}",
        where=where,
        items=items,
        log=log,
        attempts=attempt if counts else attempt - 1,
        final=final,
        lost=items if final else (),
        values=values,
    )
    return record(folder, failure)


def _truncate_middle(text: str) -> str:
    if len(text) <= _TRACEBACK_LIMIT:
        return text
    half = _TRACEBACK_LIMIT // 2
    return text[:half] + "\n…\n" + text[-half:]
