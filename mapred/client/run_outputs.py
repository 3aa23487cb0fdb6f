"""What runs returned or wrote, as the dataset of another run: known once they have succeeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mapred.client.run_handle import Run, open_run
from mapred.dataset import Dataset
from mapred.errors import DatasetError, RunError
from mapred.model.spec import Format, RunReference
from mapred.process.lazy import pa
from mapred.runfolder import references
from mapred.runfolder.folder import RunFolder
from mapred.writing.published import published

if TYPE_CHECKING:
    import pyarrow


class Found(NamedTuple):
    """Files that runs wrote, as a dataset; or a row for each task whose outputs are the items."""

    dataset: Dataset
    rows: pyarrow.Table | None = None


def find(source: Dataset) -> Found:
    """Wait for the runs of a dataset, and return what they returned or wrote.

    The `RunError` of a run that did not succeed is raised.
    """
    runs = [_await_run(reference) for reference in source.runs]
    wrote = [run for run in runs if run.job.write is not None]
    others = [run for run in runs if run.job.write is None]
    if wrote and others:
        raise DatasetError(
            f"{wrote[0].uri} wrote files by write=, and {others[0].uri} returned values: a function "
            "gets shards of the one and single outputs of the other; run it over each by itself"
        )
    return _find_files(source, runs) if wrote else _find_values(source, runs)


def _await_run(reference: RunReference) -> Run:
    run = open_run(reference.uri)
    if run.id != reference.run_id:
        raise RunError(f"{reference.uri} is run {run.id} now, and was {reference.run_id}")
    run.wait().check()
    run.job = RunFolder(run.store).job()  # as it is now that nothing changes it any more
    return run


def _find_files(source: Dataset, runs: Sequence[Run]) -> Found:
    found = [published(RunFolder(run.store), run.job) for run in runs]
    paths = tuple(path for each in found for path in each.paths)
    if not paths:
        raise DatasetError(f"{source}: nothing was written, so there is nothing to run")
    types = {name: type_ for each in found for name, type_ in each.types.items()}
    references = tuple(RunReference(run.uri, run.id) for run in runs)
    made = Dataset(
        "parquet",
        uris=paths,
        literal=True,
        hive=bool(types),
        as_=source.as_,
        schema=types,
        options=Format("parquet", "", runs=references),
        title=f"{source}: {len(paths):,} file{'s' * (len(paths) > 1)}",
        runs=references,
    )
    return Found(made)


def _find_values(source: Dataset, runs: Sequence[Run]) -> Found:
    listed = [references.list_outputs(RunFolder(run.store), run.job) for run in runs]
    rows = pa.concat_tables([each.rows for each in listed])
    count = sum(rows["count"].to_pylist())
    if not count:
        raise DatasetError(f"{source}: nothing was returned, so there is nothing to run")
    tables = all(each.tables for each in listed if each.rows.num_rows)
    if not tables and source.as_ not in (None, "item"):
        raise DatasetError(
            f"as_={source.as_!r} is for tables, and {source} has other values: leave it out"
        )
    made = replace(
        source,
        count=count,
        title=f"{source}: {count:,} item{'s' * (count > 1)}",
        runs=tuple(_reference(run, tables) for run in runs),
    )
    return Found(made, rows)


def _reference(run: Run, tables: bool) -> RunReference:
    path = run.job.modules
    code = {} if path is None else {path: run.job.digests[path]}
    return RunReference(run.uri, run.id, code, tables)
