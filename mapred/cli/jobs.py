"""The job that the words of a command line name."""

from __future__ import annotations

from collections.abc import Sequence

import click

import mapred
from mapred.cli import references
from mapred.cli.datasets import Input, dataset_of
from mapred.cli.options import Reduce
from mapred.errors import FunctionError


def job_of(
    target: str, datasets: Sequence[str], job_name: str | None, input: Input, reduce: Reduce
) -> mapred.Job:
    """The job of a file, or a function over a dataset; its settings are still its own."""
    found = None if references.is_job_file(target) else references.load_named(target)
    if found is None or isinstance(found, mapred.Job):
        if any(value is not None for value in vars(reduce).values()):
            raise click.UsageError(
                f"the job of {target} has its own reduce; --reduce, --fan-in and --finalize go "
                f"with a function: {target}:function"
            )
        job = references.load_job(target, job_name) if found is None else found
        if datasets:
            words = dataset_of(datasets, input)
            return references.altered(job, {"dataset": words})
        if input.format or input.given():
            raise click.UsageError("--format, --as and what says how to read go with a DATASET")
        return job
    if job_name is not None:
        raise click.UsageError("--job goes with a file that defines jobs")
    if not callable(found):
        raise FunctionError(f"{target} is a {type(found).__name__}, which cannot be called")
    if not datasets:
        raise click.UsageError(f"name the DATASET to run {target} over")
    return mapred.job(
        found,
        dataset_of(datasets, input),
        reduce=None if reduce.reduce is None else references.load_reducer(reduce.reduce),
        fan_in=reduce.fan_in,
        finalize=None if reduce.finalize is None else references.load_function(reduce.finalize),
    )
