"""What a user calls: `run`, `submit`, `plan`, `job`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mapred.client.job import Function, prepare_job
from mapred.client.job import Job as Job
from mapred.client.job import Plan as Plan
from mapred.client.options import (
    Destination,
    JobOptions,
    Options,
    PlanOptions,
    Progress,
    RunOptions,
    validate_options,
)
from mapred.client.plan import plan_dataset
from mapred.client.run_handle import Run
from mapred.client.signature import takes
from mapred.dataset import as_dataset

if TYPE_CHECKING:
    from typing_extensions import Unpack


@takes(RunOptions, Options, Destination)
def run(
    fn: Function, dataset: Any, *, progress: Progress = "auto", **options: Unpack[RunOptions]
) -> Run:
    """Run `fn` over every shard of `dataset`, reduce the outputs, and return the run.

    Args:
        fn: called once per shard, or once per item (files, items, arrays, sweeps); a class
            is made once per worker process (and thread), and closed at the end: by `__exit__`
            if it is a context manager, else by `close()`; a `mapred.command` runs a program.
        dataset: a URI or glob, a list of them, a `read_…` dataset, a frame, a plan; or items: a
            `range`, a list of what is not text, an array or a series of one dimension.
        reduce: a function of an iterable of outputs, in plan order, run once and streaming;
            or a ready one of `mapred.reducers`. Without it the outputs are the result. A reduce
            never gets None; the list of a run over items has None where an item returned it.
        fan_in: makes the reduce a tree of groups of so many outputs; it must be associative.
        finalize: applied once to the reduced value.
        by: the key's column or columns: the function returns tables or frames, and `reduce` is a
            function of a `pa.Table` that has all rows of its keys, or `aggregate` maps columns
            to `"sum"`, `"median"`, `("stddev", {"ddof": 0})`, … (one or a list), or new names to
            `("price", "quantile", {"q": 0.95})`; the result is a dataset.
        sort_by: columns, or pairs such as `("price", "descending")`, that put all rows of the
            result in order; `partitions`, how many parts either has (default: by size).
        write: `write_parquet(uri, …)` or `write_delta(uri, …)`: map tasks write the tables that
            `fn` returns, and the result says what was written; without `reduce` only.
        backend: `"local"`, `"inline"`, a backend object or any `concurrent.futures.Executor`.
        root: where the run's folder is made (default `$MAPRED_ROOT`, else `~/.mapred/runs`).
        mode: rights of that folder, such as `0o750`, and of a root that is made for it (default:
            this user's alone, or the group's too in a root that is setgid or group-writable).
        progress: `"auto"`, `"bar"`, `"plain"`, `"jupyter"` or `"none"`.
        attempts: how often a task may be tried, each time in a fresh process: again at once, then
            after 0.5 s and up to 30 s. Of several items in one task, only those that failed run again.
        retry_on: exception types, or exit statuses of a command: these alone are tried again;
            `no_retry_on`, those that are not. A time limit counts as `TimeoutError`, a memory
            limit as `MemoryError`.
        timeout: what one attempt may take: seconds, a `timedelta`, or a text such as `"90s"`,
            `"1h30m"`, `"2d"`; `deadline`, the same for the whole run, from its submission and
            without pauses.
        max_failed: how many shards (items, where `fn` runs once per item) may be given up: a
            count, or a fraction below 1 such as `0.01` or `"1%"`.
        max_tasks_per_worker: how many tasks a worker process may run before a new one takes its
            place (default: any number), for libraries that leak.
        target_bytes, max_tasks, per_task: see `plan`.
        resources: of a map task; `reduce_resources`, of a reduce task.
        seed: of the generators `task.rng` (default: the sweep's, else 0).
        name: shown and recorded; the function's by default.

    Raises:
        RunError: the run ended without its result; its `.run` can be resumed.
        DatasetError, FunctionError, BackendError: what was passed cannot be run. An option that
            does not fit is named with its value and what fits, before anything is written.
    """
    __tracebackhide__ = True
    job, start = prepare_job(fn, dataset, options)
    return job.run(progress=progress, **start)


@takes(RunOptions, Options, Destination)
def submit(fn: Function, dataset: Any, **options: Unpack[RunOptions]) -> Run:
    """Like `run`, but returns the live `Run` at once."""
    __tracebackhide__ = True
    job, start = prepare_job(fn, dataset, options)
    return job.submit(**start)


@takes(JobOptions, Options)
def job(fn: Function, dataset: Any, **options: Unpack[JobOptions]) -> Job:
    """Return a job, checked and not started; the arguments are those of `run`."""
    return prepare_job(fn, dataset, options)[0]


@takes(PlanOptions, Options)
def plan(source: Any, **options: Unpack[PlanOptions]) -> Plan:
    """Return what would run over `source`: a URI or glob, a list of them, a dataset or a frame.

    Lists the files, and opens at most a few for samples of names and types. `target_bytes` is the
    size of a shard (default: a 32nd of all, between 1 MiB and 32 MiB; files that are read whole
    count as larger than they are, since opening one takes time), `max_tasks` the most shards,
    `per_task` the items in one (items, arrays and sweeps alone).
    """
    shards = plan_dataset(as_dataset(source), **validate_options(options))
    return Plan(shards.dataset, shards.format, shards.ranges)
