"""What a reduce task computes: a merge of outputs, the manifest of a shuffle, or a partition."""

from __future__ import annotations

import itertools
from typing import Any

from mapred.formats import Reading
from mapred.functions import regrouping
from mapred.process import forks
from mapred.worker import inputs
from mapred.worker.attempt import Attempt


def reduce_outputs(attempt: Attempt) -> list[Any]:
    """Reduce consecutive outputs of the stage before, streaming, in order."""
    run, stage = attempt.run, attempt.stage
    reducer = run.reducer
    attempt.task.begin(None, f"{stage.name} {attempt.index}")
    first_level = stage.inputs == "map"
    checked = stage.check and regrouping.is_checked(attempt.index)
    if checked and not first_level:
        # Where two outputs make a group, only those of several groups tell means apart.
        below = run.job.stage(stage.inputs or "")
        few = [i for task in attempt.inputs for i in below.input_range(task)]
        raw = inputs.values_of(run, run.job.stage("map"), few, Reading())
        regrouping.check_associative(reducer, list(itertools.islice(raw, regrouping.WINDOW)))
    values = inputs.values_for(attempt)
    if checked:
        values = regrouping.check_while_reducing(reducer, values)
    result = (reducer.step if first_level else reducer.merge)(values)
    return [reducer.finish(result) if stage.last and reducer.finish else result]


def shuffle(attempt: Attempt) -> Any:
    """Return the manifest of the map tasks, or the answer of one partition, as tables to store."""
    from mapred.worker import keyed  # loaded for keyed reduces alone

    run, stage = attempt.run, attempt.stage
    assert run.job.shuffle is not None
    attempt.task.begin(None, f"{stage.name} {attempt.index}")
    if stage.kind == "manifest":
        given_up = run.given_up()
        tasks = [i for i in range(stage.input_tasks) if given_up.get(i, ()) is not None]
        return keyed.shuffle_manifest(run.folder, run.job.shuffle, tasks, attempt.reading)
    takes_rows = not (run.job.shuffle.aggregates or run.job.shuffle.descending)
    function = forks.in_this_process(run.reducer.step) if takes_rows else None
    return keyed.reduce_partition(attempt, run.job.shuffle, function)
