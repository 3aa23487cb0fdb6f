"""The job that the words of a command line name."""

from __future__ import annotations

import click

import mapred
from mapred.cli import references
from mapred.cli.datasets import Words, make_dataset
from mapred.errors import FunctionError


def job_of(words: Words) -> mapred.Job:
    """Return the job that words name, with the settings and the parameters that they give."""
    return references.with_parameters(_without_parameters(words), words.params)


def _without_parameters(words: Words) -> mapred.Job:
    target = words.target
    if references.is_job_file(target):
        return _job_with(references.load_job(target, words.job_name), words)
    value = references.load_named(target)
    if isinstance(value, mapred.Job):
        return _job_with(value, words)
    if words.job_name is not None:
        raise click.UsageError("--job goes with a file that defines jobs")
    if not callable(value):
        raise FunctionError(f"{target} is a {type(value).__name__}, which cannot be called")
    if not words.datasets:
        raise click.UsageError(f"name the DATASET to run {target} over")
    source = make_dataset(words.datasets, words.reading)
    return mapred.job(value, source, **references.load_functions(words.settings))


def _job_with(job: mapred.Job, words: Words) -> mapred.Job:
    """Return a job with the dataset and the settings that words give in place of its own."""
    settings = words.settings
    if {"reduce", "fan_in", "finalize"} & settings.keys():
        raise click.UsageError(
            f"the job of {words.target} has its own reduce; --reduce, --fan-in and --finalize go "
            f"with a function: {words.target}:function"
        )
    if words.datasets:
        settings = {**settings, "dataset": make_dataset(words.datasets, words.reading)}
    elif words.reading:
        raise click.UsageError("--format, --as and what says how to read go with a DATASET")
    return references.replace_options(job, settings)
