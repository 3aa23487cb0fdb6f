"""Running tasks: `run_block`, the same in every process.

A task whose commit exists does nothing.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mapred.errors import ReduceError
from mapred.functions import instances
from mapred.model import losses, packs, seeds
from mapred.model.events import Folder, Run
from mapred.model.policy import State, decide
from mapred.model.records import Block, Commit, Outcome
from mapred.model.spec import Job, Stage
from mapred.process import forks, interrupts, surroundings
from mapred.runfolder import failures, plans, points
from mapred.storage import Store
from mapred.worker import attempt as attempts
from mapred.worker import map as maps
from mapred.worker import reduce, storing, turns
from mapred.worker.attempt import Attempt
from mapred.worker.context import Context, context, offer_modules

_LISTED = 500


def run_block(
    block: Block, read_log: Callable[[], str] | None = None, note: packs.Note | None = None
) -> list[Outcome]:
    """Run the tasks of a block, one after the other, each with its own commit.

    `read_log` returns what the process printed since its last call; `note` gets each item before
    its call. A failure of the function is an outcome; a failing store raises `StorageError`.
    """
    run = context(block.uri, block.digest)
    stage = run.job.stage(block.stage)
    run.check_python(stage)
    commits = {} if block.fresh else read_commits(run, stage, block.tasks)
    with (
        interrupts.note_interrupts(),
        instances.mark_working(run.store.uri),
        seeds.keep_global_generators(),
    ):
        return [
            Outcome(index, commits[index])
            if index in commits
            else _run(
                attempts.begin(run, stage, index, block.attempt, read_log, block.follow),
                block.fresh,
                block.pack,
                note,
            )
            for index in block.tasks
        ]


def read_commits(run: Context, stage: Stage, tasks: Sequence[int]) -> dict[int, Commit]:
    """Return the commits of the tasks that have one."""
    if stage.tasks < _LISTED * (len(tasks) - 1):  # one listing is faster
        listed = set(run.folder.list_committed(stage.name))
        tasks = [index for index in tasks if index in listed]
    commits = run.folder.commits(stage.name, tasks)
    return {commit.task: commit for commit in commits if commit is not None}


def run_task(
    run: Context,
    stage: Stage,
    index: int,
    number: int = 1,
    read_log: Callable[[], str] | None = None,
    pack: packs.Pack | None = None,
    note: packs.Note | None = None,
) -> Outcome:
    """Make one attempt at a task, unless it is committed already."""
    committed = run.folder.commit(stage.name, index)
    if committed is not None:
        return Outcome(index, committed)
    return _run(attempts.begin(run, stage, index, number, read_log), False, pack, note)


def _run(
    attempt: Attempt, fresh: bool, pack: packs.Pack | None, note: packs.Note | None
) -> Outcome:
    pid, started, clock = os.getpid(), time.time(), time.perf_counter()
    drop: Callable[[], None] | None = None
    turn: turns.Turn | None = None
    _reset_peak_memory()
    if note is not None:
        note(attempt.index, packs.NO_ITEM)
    before = surroundings.capture()
    try:
        before = _load_code(attempt)
        forks.leave_unless(pid)
        if attempt.calls_items:
            turn = turns.Turn(attempt, pack, again=not fresh)
        values = _compute_values(attempt, turn, note)
        forks.leave_unless(pid)
        surroundings.restore(before)
        values, drop = storing.hand_over(attempt, values)
        commit = _store_outputs(attempt, values, turn, started, clock)
        # If the put raises, the commit may be there all the same, and has to keep what it names.
        undo, drop = drop, None
        commit = attempt.run.folder.put_commit(commit)
        if commit.attempt != attempt.name and undo is not None:
            undo()
        if turn is not None:
            turn.forget()
        return Outcome(attempt.index, commit)
    except BaseException as error:
        forks.leave_unless(pid)
        plain = failures.to_plain_error(error)
        if drop is not None:
            drop()
        if interrupts.is_real(plain) or failures.is_of_store(plain):
            raise
        return _record_failure(attempt, plain, turn, time.perf_counter() - clock)
    finally:
        surroundings.restore(before)
        if attempt.task.wrote_files:
            shutil.rmtree(attempt.task.folder, ignore_errors=True)


def _load_code(attempt: Attempt) -> surroundings.Surroundings | None:
    """Load the user's code, and return the surroundings that each task finds.

    They contain what loading the code has set, as it is loaded once for all tasks.
    """
    run = attempt.run
    if attempt.is_map:
        # This may create an instance that draws random numbers: each worker gets the same one.
        seeds.seed_globals(seeds.entropy(run.job.seed, "function"))
        _ = run.function
    elif attempt.stage.kind != "manifest" and run.job.reduce is not None:
        _ = run.reducer
    return surroundings.capture()


def _compute_values(attempt: Attempt, turn: turns.Turn | None, note: packs.Note | None) -> Any:
    """Return what the task computes: values, or the tables of a keyed stage."""
    if turn is not None:
        return maps.map_items(attempt, turn, note)
    if attempt.is_map:
        return maps.map_shard(attempt)
    if not attempt.follow:
        _ensure_inputs(attempt)
    if attempt.stage.kind == "reduce":
        return reduce.reduce_outputs(attempt)
    return reduce.shuffle(attempt)


def _ensure_inputs(attempt: Attempt) -> None:
    """Check the commit of every input of a reduce task before it reads one.

    An input that is neither committed nor given up was skipped, whatever an engine says: it is
    run here, and if that fails, the error names it.
    """
    run = attempt.run
    source = run.job.stage(attempt.stage.inputs or "")
    given_up = run.given_up() if source.kind == "map" else {}
    committed = set(run.folder.list_committed(source.name))
    state = State(losses.Rules(), attempt.inputs, attempt.inputs)
    for action in decide(state, Folder(committed, given_up)):
        for index in action.tasks if isinstance(action, Run) else ():
            failure = run_task(run, source, index).failure
            if failure is not None:
                raise ReduceError(
                    f"{source.name} task {index} was never committed, and running it here failed: "
                    f"{failure.error}: {failure.message}"
                )


def _store_outputs(
    attempt: Attempt, values: Any, turn: turns.Turn | None, started: float, clock: float
) -> Commit:
    """Store what was computed, and return the commit that names it."""
    job, reading = attempt.run.job, attempt.reading
    output = storing.store_values(attempt, values)
    if turn is not None:
        turn.bring_files()
    files = storing.store_files(attempt)
    log = attempt.read_log() if attempt.read_log else ""
    attempt.run.folder.put_log(attempt.stage.name, attempt.stem, log)
    return Commit(
        stage=attempt.stage.name,
        task=attempt.index,
        attempt=attempt.name,
        function=job.digests[job.function_of(attempt.stage)],
        output=output,
        files=files,
        records=reading.records,
        skipped=reading.skipped,
        bytes=reading.bytes,
        ranges=reading.ranges,
        spans=tuple(reading.spans),
        units=reading.units,
        started=started,
        seconds=time.perf_counter() - clock,
        peak_memory=_peak_memory(),
        counters=attempt.task.counters,
        heavy=reading.heavy,
        worker=f"{os.uname().nodename}:{os.getpid()}",
    )


def _record_failure(
    attempt: Attempt, error: BaseException, turn: turns.Turn | None, seconds: float
) -> Outcome:
    """Write the record of an attempt that failed, and return its outcome."""
    run, index, task = attempt.run, attempt.index, attempt.task
    if turn is not None:
        error = turn.keep(error)
    more = turn is not None and turn.more
    if isinstance(error, turns.Unfinished):
        return Outcome(index, more=more)
    whole = turn is not None and not more and not isinstance(error, failures.ItemsFailed)
    lines = error.lines if isinstance(error, failures.ItemsFailed) else {}
    items, final, error = failures.failed_items(error, task, run.job)
    if whole and not final:
        items = {}  # none of them failed: their values could not be stored
    values = points.values_of(run.job, attempt.ranges, run.open, items) if items else {}
    where = _describe_place(attempt, items, values)
    failure = failures.describe(error, task, attempt.name, where, items, final, values, lines)
    failure = failures.record(run.folder, failure, seconds, attempt.read_log)
    return Outcome(index, failure=failure, more=more)


def _describe_place(attempt: Attempt, items: Iterable[int], values: Mapping[int, str]) -> str:
    """Name where the task was: an item, a line, a file's bytes or row group, its inputs."""
    run, reading = attempt.run, attempt.reading
    for item in items:
        return points.item_text(item, values)
    where = ""
    if attempt.is_map:
        where = points.line_text(run.job.format, reading, run.open) or reading.where()
    return where or plans.describe_task_input(run.store, attempt.stage, attempt.index)


def replay(store: Store, job: Job, stage: str, index: int) -> list[Any]:
    """Compute the values of one task in this process; nothing is stored, nothing caught."""
    # With one attempt, the first failure is raised.
    run = Context(store, replace(job, attempts=1))
    offer_modules(run)
    attempt = attempts.begin_replay(run, job.stage(stage), index)
    before = surroundings.capture()
    try:
        with seeds.keep_global_generators():
            _load_code(attempt)
            turn = turns.Turn(attempt, None, again=False) if attempt.calls_items else None
            values = _compute_values(attempt, turn, None)
            return values if isinstance(values, list) else list(values.tables)
    except failures.ItemsFailed as error:
        raise error.first from None
    finally:
        surroundings.restore(before)
        instances.close(store.uri)


def _reset_peak_memory() -> None:
    # Linux resets a process's high-water mark when 5 is written here; elsewhere it only grows.
    with suppress(OSError), open("/proc/self/clear_refs", "wb", buffering=0) as file:
        file.write(b"5")


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
