"""Datasets of what earlier runs returned or wrote, by reference: their folders, nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mapred.dataset.values import Dataset, GivesDataset, function_input
from mapred.errors import DatasetError
from mapred.model.checking import short_repr
from mapred.model.spec import RunReference

_HOW = "it takes runs, as mapred.run, submit and open return them"


def outputs(*runs: Any, as_: str | None = None) -> Dataset:
    """Make a dataset of what runs returned, or wrote by `write=`: the outputs of the first come first.

    A run may be passed to `mapred.run` without it. Nothing is copied: each worker loads what it
    needs from the folders of the runs, and compares checksums. Planning waits for the runs.

    Of a run with `write=` the function gets the files that this run wrote, in shards, as of
    `read_parquet`. Of any other it is called once for each output, in plan order: the reduced value;
    the parts of a reduce by key or a sort, as tables, without empty ones; else what
    `Run.outputs` gives, so that there is a None where the function returned None. Shards and items
    that were given up are left out.

    Args:
        *runs: The runs, at work or succeeded. Either all have `write=`, or none has.
        as_: What the function gets of tables: `"table"`, `"batches"`, `"pandas"` or `"polars"`. An
            annotation of its first parameter says the same (default: a table of what was written,
            and each output as it was returned).

    Returns:
        The dataset.

    Raises:
        DatasetError: An argument is not a run.
        RunError: A run was opened with `allow_pickle=False`.

    Examples:
        >>> small, large = mapred.run(abs, [-1, -2]), mapred.run(abs, [-30])
        >>> mapred.run(lambda n: n + 1, mapred.outputs(small, large)).result()
        [2, 3, 31]
        >>> mapred.run(lambda n: n + 1, small).result()
        [2, 3]
    """
    if not runs:
        raise DatasetError(f"outputs() got no runs: {_HOW}")
    if as_ is not None:
        function_input("outputs", as_)
    return replace(of_runs(_references(runs)), as_=as_)


def of_runs(references: Sequence[RunReference]) -> Dataset:
    """Return the dataset of the outputs of some runs."""
    runs = tuple(dict.fromkeys((each.uri, each.run_id) for each in references))
    if len(runs) < len(references):
        raise DatasetError("outputs() got the same run twice: pass each once")
    return Dataset("outputs", runs=tuple(references), title=title(references))


def title(runs: Sequence[RunReference]) -> str:
    """Return how the outputs of runs are shown."""
    return f"outputs of {runs[0].run_id if len(runs) == 1 else f'{len(runs)} runs'}"


def _references(runs: Sequence[Any]) -> list[RunReference]:
    found: list[RunReference] = []
    for run in runs:
        given = run.__mapred_dataset__() if isinstance(run, GivesDataset) else run
        if not isinstance(given, Dataset) or given.format != "outputs":
            what = short_repr(run)
            many = isinstance(run, list | tuple)
            hint = "; pass them one by one, outputs(*runs)" if many else ""
            raise DatasetError(f"outputs() got {what}: {_HOW}{hint}")
        found += given.runs
    return found
