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
from mapred.process.describing import describe_like

if TYPE_CHECKING:
    from typing_extensions import Unpack


@takes(RunOptions, Options, Destination)
def run(
    fn: Function, dataset: Any, *, progress: Progress = "auto", **options: Unpack[RunOptions]
) -> Run:
    """Run a function over every shard of a dataset, reduce the outputs, and return the run.

    Shows progress and waits for the end; `submit` returns at once instead.

    Args:
        fn: What to run: a function, called once per shard, or once per item (files, items, arrays,
            sweeps, values of runs); a class, made once per worker process (and thread), called in the
            same way, and closed at the end by `__exit__` if it is a context manager, else by
            `close()`; or a `mapred.command`, which runs a program.
        dataset: What to run it over: a URI or glob, a list of them, a `read_…` dataset, a frame or
            a plan; a run, whose outputs it has; or items: a `range`, a list of what is not text, an
            array or a series of one dimension.
        reduce: A function of an iterable of outputs, in plan order, run once and streaming; or a
            ready one of `mapred.reducers`. Without it the outputs are the result. A reduce never
            gets None; the list of a run over items has None where an item returned it.
        fan_in: Makes the reduce a tree of groups of so many outputs, from 2 up; the reduce must be
            associative. Default: one task reduces everything.
        finalize: A function that is applied once to the reduced value.
        by: The key's column or columns, for a reduce by key: `fn` returns tables or frames, and
            `reduce` is a function of a `pa.Table` that has all rows of its keys, unless there is
            an `aggregate`. The result is a dataset.
        aggregate: What becomes of the columns by key: a mapping of columns to `"sum"`, `"median"`,
            `("stddev", {"ddof": 0})`, … (one or a list), or of new names to
            `("price", "quantile", {"q": 0.95})`.
        sort_by: A column, or a list of columns and pairs such as `("price", "descending")`, that
            puts all rows of the result in order.
        partitions: How many parts the result of `by` or `sort_by` has, from 1 to 65,536 (default:
            by size).
        write: `write_parquet(uri, …)` or `write_delta(uri, …)`: map tasks write the tables that
            `fn` returns, and the result says what was written. Not with `reduce`.
        target_bytes: The size of a shard, in bytes or as a text such as `"64Mi"` (default: a 32nd
            of all, between 1 MiB and 32 MiB). Files that are read whole count as larger than they
            are, since opening one takes time.
        max_tasks: The most shards to make (default: no limit).
        per_task: How many items one task takes; for items, arrays, sweeps and values of runs alone
            (default: chosen by their number).
        attempts: How often a task may be tried, from 1, each time in a fresh process: again at
            once, then after 0.5 s and up to 30 s. Of several items in one task, only those that
            failed run again.
        retry_on: Exception types, or exit statuses of a command: these alone are tried again
            (default: all).
        no_retry_on: Exception types or exit statuses that are not tried again. A time limit counts
            as `TimeoutError`, a memory limit as `MemoryError`.
        timeout: What one attempt may take: seconds, a `timedelta`, or a text such as `"90s"`,
            `"1h30m"` or `"2d"` (default: no limit).
        deadline: What the whole run may take, written like `timeout`: from its submission, without
            pauses (default: no limit).
        max_failed: How many shards (items, where `fn` runs once per item) may be given up: a count,
            or a fraction below 1 such as `0.01` or `"1%"`.
        max_tasks_per_worker: How many tasks a worker process may run before a new one takes its
            place, for libraries that leak memory (default: any number).
        resources: What a map task needs, as `mapred.Resources`.
        reduce_resources: What a reduce task needs (default: as `resources`).
        seed: The seed of the generators `task.rng`, from 0 (default: the sweep's, else 0).
        name: The run's name, which is shown and recorded (default: the function's).
        backend: Where tasks run: `"local"` (processes of this machine), `"inline"` (this process),
            `"dask"`, `"argo"`, a name of mapred.toml, a backend object such as
            `mapred.Local(workers=4)`, or any `concurrent.futures.Executor`.
        root: The folder or bucket prefix below which the run's folder is made (default:
            `$MAPRED_ROOT`, else `~/.mapred/runs`).
        mode: The rights of the run's folder, such as `0o750`, and of a root that is made for it
            (default: this user's alone, or the group's too in a root that is setgid or
            group-writable).
        progress: How progress is shown: `"auto"`, `"bar"`, `"plain"`, `"jupyter"` or `"none"`.

    Returns:
        The run. It succeeded, so `run.result()` has the answer.

    Raises:
        RunError: The run ended without its result; the error's `run` can be resumed.
        DatasetError: The dataset cannot be read or planned, or an option does not fit. An option is
            named with its value and what fits, before anything is written.
        FunctionError: The function or the reduce cannot be run as they are.
        BackendError: The backend does not exist, or does not answer.

    Examples:
        >>> def count_words(lines):
        ...     return sum(len(line.split()) for line in lines)
        >>> run = mapred.run(count_words, "corpus/*.txt", reduce=sum)
        >>> run.result()
        13

        Four processes, up to 1 % of the items given up, each attempt for a minute at most:

        >>> run = mapred.run(
        ...     abs, range(-3, 3), backend=mapred.Local(workers=4), max_failed="1%", timeout="1m"
        ... )
        >>> run.result()
        [3, 2, 1, 0, 1, 2]
    """
    __tracebackhide__ = True
    job, start = prepare_job(fn, dataset, options)
    return job.run(progress=progress, **start)


@describe_like(run)
@takes(RunOptions, Options, Destination)
def submit(fn: Function, dataset: Any, **options: Unpack[RunOptions]) -> Run:
    """Start a run and return it at once, while it is at work.

    Takes what `mapred.run` takes, except for `progress`. On the backends of this machine the run
    ends with this process, and can be resumed; on a cluster it continues.

    Returns:
        The run at work: `run.status()` says how far it is, `run.result()` waits for the answer.

    Raises:
        DatasetError: The dataset cannot be read or planned, or an option does not fit.
        FunctionError: The function or the reduce cannot be run as they are.
        BackendError: The backend does not exist, or does not answer.

    Examples:
        >>> run = mapred.submit(abs, range(-3, 3), reduce=max)
        >>> run.result()
        3
    """
    __tracebackhide__ = True
    job, start = prepare_job(fn, dataset, options)
    return job.submit(**start)


@describe_like(run)
@takes(JobOptions, Options)
def job(fn: Function, dataset: Any, **options: Unpack[JobOptions]) -> Job:
    """Return a job: what `mapred.run` would do, checked and not started.

    Use it to look at the plan, to fill in parameters by `bind`, to run one job several times, or to
    schedule it.

    Returns:
        The job, with `run`, `submit`, `plan`, `bind` and `render`.

    Raises:
        DatasetError: An option does not fit; it is named with its value and what fits.
        FunctionError: The function or the reduce cannot be run as they are.

    Examples:
        >>> job = mapred.job(len, mapred.read_text("corpus/{name}.txt", as_="bytes"), reduce=sum)
        >>> job.bind(name="a").run().result()
        42
        >>> job.bind(name="b").run().result()
        13
    """
    return prepare_job(fn, dataset, options)[0]


@describe_like(run)
@takes(PlanOptions, Options)
def plan(source: Any, **options: Unpack[PlanOptions]) -> Plan:
    """Return the shards of a dataset without running anything.

    Lists the files, and opens at most a few for samples of names and types.

    Args:
        source: A URI or glob, a list of them, a dataset or a frame, as `mapred.run` takes them.

    Returns:
        The plan. Its text and HTML show files, bytes, shards and skew; its `run` runs exactly these
        shards.

    Raises:
        DatasetError: The dataset cannot be listed or read.
        PlanError: The limits contradict each other.

    Examples:
        >>> plan = mapred.plan("corpus/*.txt", target_bytes="20")
        >>> plan.shards
        3
        >>> plan.run(lambda lines: len(list(lines)), reduce=sum).result()
        3
    """
    shards = plan_dataset(as_dataset(source), **validate_options(options))
    return Plan(shards.dataset, shards.format, shards.ranges)


# Plans are made here, and take what `run` takes.
describe_like(run)(Plan.run)
describe_like(run)(Plan.submit)
