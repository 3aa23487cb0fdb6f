"""Commits as an audit reads them, and what a stage took from the one before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from mapred.client.audit.problems import Problem
from mapred.errors import MapredError, RecordError
from mapred.model.records import Commit
from mapred.model.spec import Job, Stage
from mapred.runfolder.folder import RunFolder
from mapred.storage import map_ahead


def commit(folder: RunFolder, stage: str, index: int) -> tuple[Commit | None, Problem | None]:
    """Return the commit of a task; one that cannot be read is a problem instead."""
    try:
        return folder.stored_commit(stage, index), None
    except FileNotFoundError:
        return None, None
    except MapredError as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        return None, Problem("changed", f"{stage} task {index}", str(error))


def commits(folder: RunFolder, stage: str, indices: Iterable[int]) -> Iterator[Commit | None]:
    """Yield the commits of tasks, in order; None where none can be read."""
    return map_ahead(folder.store, lambda index: commit(folder, stage, index)[0], indices)


def check_inputs_taken(
    folder: RunFolder, job: Job, stage: Stage, lost: Collection[int]
) -> Iterator[Problem]:
    """Yield a problem where a stage did not take all outputs before it, but for `lost` tasks."""
    if stage.kind == "reduce":
        for index, done in enumerate(commits(folder, stage.name, range(stage.tasks))):
            inputs = set(stage.input_range(index))
            number = len(inputs - set(lost) if stage.inputs == "map" else inputs)
            if done is not None and done.ranges != number:
                text = f"took {done.ranges} of {number} outputs of {stage.inputs}"
                yield Problem("cut off", f"{stage.name} task {index}", text)
    elif stage.kind == "shuffle" and job.shuffle is not None:
        maps = _of_all(folder, job.stages[0], lost)
        partitions = _of_all(folder, stage, ())
        sent = sum(done.output.rows for done in maps)
        # Of sorted rows, a part may be read for two partitions, and each row is given once.
        is_sort = bool(job.shuffle.descending)
        read = sum(done.output.rows if is_sort else done.records for done in partitions)
        if maps and partitions and sent != read:
            text = f"its tasks read {read} of the {sent} rows that the maps sent"
            yield Problem("cut off", stage.name, text)


def _of_all(folder: RunFolder, stage: Stage, lost: Collection[int]) -> Sequence[Commit]:
    """Return the commits of all tasks of a stage; none where one is missing, a problem by itself."""
    indices = [index for index in range(stage.tasks) if index not in lost]
    there = [done for done in commits(folder, stage.name, indices) if done is not None]
    return there if len(there) == len(indices) else ()
