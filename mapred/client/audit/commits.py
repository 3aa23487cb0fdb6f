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
    """Return what lies there as the commit of a task; one that cannot be read is a problem, and
    none."""
    try:
        return folder.stored_commit(stage, index), None
    except FileNotFoundError:
        return None, None
    except MapredError as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        return None, Problem("changed", f"{stage} task {index}", str(error))


def commits(folder: RunFolder, stage: str, indices: Iterable[int]) -> Iterator[Commit | None]:
    """Return the commits of many tasks, in the order asked for; None where none can be read."""
    return map_ahead(folder.store, lambda index: commit(folder, stage, index)[0], indices)


def check_inputs_taken(
    folder: RunFolder, job: Job, stage: Stage, lost: Collection[int]
) -> Iterator[Problem]:
    """Whether a stage took all outputs of the one before it, but for the map tasks `lost`."""
    if stage.kind == "reduce":
        for index, found in enumerate(commits(folder, stage.name, range(stage.tasks))):
            wanted = set(stage.input_range(index))
            number = len(wanted - set(lost) if stage.inputs == "map" else wanted)
            if found is not None and found.ranges != number:
                text = f"took {found.ranges} of {number} outputs of {stage.inputs}"
                yield Problem("cut off", f"{stage.name} task {index}", text)
    elif stage.kind == "shuffle" and job.shuffle is not None:
        maps = _of_all(folder, job.stages[0], lost)
        partitions = _of_all(folder, stage, ())
        sent = sum(found.output.rows for found in maps)
        # Of sorted rows, a part may be read for two partitions, and each row is given once.
        is_sort = bool(job.shuffle.descending)
        read = sum(found.output.rows if is_sort else found.records for found in partitions)
        if maps and partitions and sent != read:
            text = f"its tasks read {read} of the {sent} rows that the maps sent"
            yield Problem("cut off", stage.name, text)


def _of_all(folder: RunFolder, stage: Stage, lost: Collection[int]) -> Sequence[Commit]:
    """Return the commits of all tasks of a stage; none where one is missing, which is told already."""
    indices = [index for index in range(stage.tasks) if index not in lost]
    found = [each for each in commits(folder, stage.name, indices) if each is not None]
    return found if len(found) == len(indices) else ()
