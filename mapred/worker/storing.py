"""Storing what a task computed: its values, files and log, and the commit that makes them count."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from mapred.errors import FunctionError
from mapred.functions.task import written_files
from mapred.model import checksums, layout
from mapred.model.records import Output, StoredFile
from mapred.process import forks
from mapred.process.lazy import pa
from mapred.runfolder import agreement, outputs, plans
from mapred.worker.attempt import Attempt


def hand_over(attempt: Attempt, values: Any) -> tuple[Any, Callable[[], None] | None]:
    """Write a map task's tables if the job has `write`, and partition the rows of a keyed reduce.

    Returns what is stored in place of the values, and a function that removes what was written.
    """
    job, drop = attempt.run.job, None
    if not attempt.is_map or (job.write is None and job.shuffle is None):
        return values, None
    values = [forks.held_values(v) if isinstance(v, Iterator) else v for v in values]
    if job.write is not None:
        values, drop = _write(attempt, values)
    if job.shuffle is not None:
        from mapred.worker import keyed  # loaded for keyed reduces alone

        values = keyed.partition_map_output(job.shuffle, values, keyed.memory_limit(attempt.stage))
    return values, drop


def _write(attempt: Attempt, values: list[Any]) -> tuple[list[Any], Callable[[], None]]:
    """Write a map task's tables to the job's target.

    Returns what the last task needs to publish them, and a function that removes them.
    """
    from mapred import writing  # loaded for jobs that write alone

    job = attempt.run.job
    target = writing.Target.from_json(job.write or {})
    wrote = writing.write_values(target, job.run_id, attempt.index, attempt.name, values)
    return [wrote], functools.partial(writing.drop, target, wrote)


def store_values(attempt: Attempt, values: Any) -> Output:
    """Store a task's values; small ones become part of the commit."""
    if not isinstance(values, list):
        from mapred.worker import keyed  # loaded for keyed reduces alone

        path = layout.data(attempt.stage.name, attempt.stem, "arrow")
        limit = keyed.memory_limit(attempt.stage)
        return keyed.store_partitions(attempt.run.store, values, path, limit)
    is_result = attempt.is_map and attempt.stage.last
    check = functools.partial(_agree, attempt) if is_result else None
    pid = os.getpid()
    output, payload = outputs.encode(values, check)
    forks.leave_unless(pid)  # values may do what they like while they are pickled
    if payload is None:
        return output
    path = layout.data(attempt.stage.name, attempt.stem, outputs.suffix(output))
    etag = attempt.run.store.write(path, payload)
    return replace(output, path=path, etag=etag)


def _agree(attempt: Attempt, tables: list[pa.Table | None]) -> None:
    """Check that the tables of a task fit those of the others, since they make one result."""
    run, stage, index = attempt.run, attempt.stage.name, attempt.index
    if run.job.format.once_per_item:
        sources = [agreement.Source(index, item) for item in plans.items_of(attempt.ranges)]
    else:
        sources = [agreement.Source(index)]
    pairs = [pair for pair in zip(sources, tables, strict=True) if pair[1] is not None]
    run.agreed[stage] = agreement.agree_on_tables(run.store, stage, run.agreed.get(stage), pairs)


def store_files(attempt: Attempt) -> tuple[StoredFile, ...]:
    """Store the files that the function wrote to the paths of `task.output`."""
    if not attempt.task.wrote_files:
        return ()
    stored = []
    for source in written_files(attempt.task.folder):
        path = layout.output(attempt.stage.name, attempt.stem, source.name)
        try:
            with source.open("rb") as file:
                size, crc32 = checksums.of_file(file)
        except OSError as error:
            text = f"task.output({source.name!r}) is not a readable file: {error}"
            raise FunctionError(text) from error
        etag = attempt.run.store.put_file(source, path)
        stored.append(StoredFile(source.name, path, size, crc32, etag))
    return tuple(stored)
