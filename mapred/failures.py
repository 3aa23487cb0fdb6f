"""Why a task failed: an exception as a record that a person, far away, can work with."""

from __future__ import annotations

import hashlib
import os
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress

from mapred import layout, records
from mapred.errors import DatasetError, StorageError
from mapred.model import Failure, Stage
from mapred.storage import Store
from mapred.task import Task

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_TRACEBACK_LIMIT, _MESSAGE_LIMIT, _LOG_LIMIT = 20_000, 4000, 4000


class ItemsFailed(Exception):
    """Some items of a task failed where some may; carries their indices and the first error."""

    def __init__(self, items: list[int], first: BaseException) -> None:
        super().__init__(f"{len(items)} items failed")
        self.items, self.first = items, first


def failed_items(error: BaseException, task: Task) -> tuple[tuple[int, ...], BaseException]:
    """The indices of the items that failed, and the exception to show for them."""
    if isinstance(error, ItemsFailed):
        return tuple(error.items), error.first
    return (() if task.item is None else (task.item,)), error


def describe(
    error: BaseException, task: Task, attempt: str, where: str, items: tuple[int, ...]
) -> Failure:
    """The record of an attempt that ended in `error` at `where`.

    Equal failures have equal signatures: the exception's type and the places it came
    through. The traceback leaves out this package's own frames where there are others.
    """
    summary = traceback.TracebackException.from_exception(error, limit=-50)
    own = [frame for frame in summary.stack if not frame.filename.startswith(_PACKAGE)]
    if own:
        summary.stack[:] = own
    kind, message = type(error).__name__, str(error)
    if isinstance(error, SystemExit):
        message = f"the function called sys.exit({error.code!r}) instead of returning"
    places = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in own[-10:]]
    signature = "\n".join([kind, *(places or [message])])
    return Failure(
        stage=task.stage,
        task=task.shard,
        attempt=attempt,
        kind="dataset" if isinstance(error, DatasetError) else "function",
        error=kind,
        message=message[:_MESSAGE_LIMIT],
        traceback=_shortened("".join(summary.format())),
        signature=hashlib.sha256(signature.encode(errors="replace")).hexdigest()[:16],
        where=where,
        items=items,
        attempts=task.attempt,
    )


def record(
    store: Store,
    failure: Failure,
    seconds: float = 0.0,
    read_log: Callable[[], str] | None = None,
) -> Failure:
    """Write a failed attempt's record and log; a store that refuses is not a second error."""
    text = read_log() if read_log else failure.log
    known = {"log": text[-_LOG_LIMIT:], "seconds": seconds, "time": time.time()}
    failure = Failure(**{**vars(failure), **known})
    with suppress(StorageError):
        path = layout.error(failure.stage, failure.task, failure.attempt)
        store.write(path, failure.to_bytes())
        if text:
            path = layout.log(failure.stage, failure.task, failure.attempt)
            store.write(path, text.encode(errors="replace"))
    return failure


def died(
    store: Store,
    stage: Stage,
    index: int,
    attempt: int,
    kind: str,
    message: str,
    log: str,
    counts: bool = True,
) -> Failure:
    """Record an attempt that ended with its process; one that `counts` is the user's to answer."""
    return record(
        store,
        Failure(
            stage=stage.name,
            task=index,
            attempt=f"{attempt}-{uuid.uuid4().hex[:8]}",
            kind=kind,
            error="WorkerLost",
            message=message,
            signature=f"{kind}: {message}",
            where=records.where_of(store, stage, index),
            log=log,
            attempts=attempt if counts else attempt - 1,
        ),
    )


def _shortened(text: str) -> str:
    if len(text) <= _TRACEBACK_LIMIT:
        return text
    half = _TRACEBACK_LIMIT // 2
    return text[:half] + "\n…\n" + text[-half:]
