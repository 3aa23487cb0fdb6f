"""Compare what a run wrote by `write=` with the dataset as it is now."""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from mapred import writing
from mapred.client.audit.commits import commit, commits
from mapred.client.audit.files import Stored, check_file
from mapred.client.audit.problems import Problem
from mapred.model.records import Output
from mapred.model.spec import Job
from mapred.process.lazy import pa
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store, etags, map_ahead, open_store
from mapred.writing import manifest
from mapred.writing.parquet_files import WrittenFile
from mapred.writing.published import load_handed_over


@dataclass(frozen=True)
class Published:
    """How many files of a run are part of its dataset, and how many a later version replaced."""

    files: int = 0
    replaced: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Live:
    """A dataset's latest version: its files by name, with where each lies and its size.

    `later` says whether it was changed since the run.
    """

    version: int
    files: Mapping[str, tuple[str, int]]
    later: bool


def check_published(
    folder: RunFolder, job: Job, lost: Collection[int], *, content: bool
) -> Published:
    """Check every file that the run has in its dataset now; `lost` are the tasks given up."""
    if job.write is None:
        return Published()
    publication, _ = commit(folder, job.stages[-1].name, 0)
    if publication is None:
        return Published()
    target = writing.Target.from_json(job.write)
    tasks = [task for task in range(job.stages[0].tasks) if task not in lost]
    done = commits(folder, job.stages[0].name, tasks)
    outputs = [commit.output for commit in done if commit is not None]
    store = folder.store
    load = functools.partial(_load, store)
    try:
        wrote = list(itertools.chain(*map_ahead(store, load, outputs)))
        (written,) = load(publication.output)
    except Exception as error:  # a damaged pickle raises what it likes
        text = f"what its tasks handed over cannot be read: {error}"
        return Published(problems=(Problem("changed", target.uri, text),))
    _, files, _ = writing.gather_files(wrote, target)
    if not files:
        return Published()
    try:
        live = _read_live(target, job.run_id, written.version)
    except Exception as error:  # so does a damaged log of a Delta table
        text = f"its versions cannot be read: {type(error).__name__}: {error}"
        return Published(problems=(Problem("unreadable", target.uri, text),))
    if live is None:
        text = f"no version of the dataset names the run, which wrote {len(files):,} files"
        return Published(problems=(Problem("missing", target.uri, text),))
    present = [file for file in files if file.final in live.files]
    problems = [
        *_check_listed(target, files, live),
        *_check_files(target, present, live, content=content),
    ]
    replaced = len(files) - len(present) if live.later else 0
    return Published(len(present), replaced, tuple(problems))


def _check_listed(
    target: writing.Target, files: Sequence[WrittenFile], live: _Live
) -> Iterator[Problem]:
    """Yield files that are missing from the dataset, or listed with another size."""
    for file in files:
        where = f"{target.uri}/{file.final}"
        if file.final in live.files:
            if live.files[file.final][1] != file.bytes:
                yield Problem("changed", where, f"version {live.version} gives it another size")
        elif not live.later:
            text = f"version {live.version} does not list it, and no later run replaced it"
            yield Problem("missing", where, text)


def _check_files(
    target: writing.Target, files: Sequence[WrittenFile], live: _Live, *, content: bool
) -> Iterator[Problem]:
    store = open_store(target.uri)
    written = [
        Stored(live.files[file.final][0], target.uri, "its file", file.bytes, file.sha256)
        for file in files
    ]
    listing: dict[str, tuple[int, str]] | None = None
    if not content:
        folders = sorted({file.path.rpartition("/")[0] for file in written})
        listing = {}
        for part in map_ahead(store, lambda folder: etags(store, folder), folders):
            listing |= part
    problems = map_ahead(store, lambda file: check_file(store, file, listing), written)
    return (problem for problem in problems if problem is not None)


def _read_live(target: writing.Target, run: str, version: int) -> _Live | None:
    """Return the dataset as it is now, if it knows of the run that wrote its `version`."""
    if target.kind == "delta":
        return _read_delta(target, run, version)
    now = manifest.latest(open_store(target.uri))
    if run not in now.runs:
        return None
    files = {entry.name: (entry.path, entry.bytes) for entry in now.entries if entry.run == run}
    return _Live(now.version, files, now.runs[-1] != run)


def _read_delta(target: writing.Target, run: str, version: int) -> _Live | None:
    from mapred.writing import delta  # needs deltalake, which is optional

    table = delta.open_table(target)
    if table is None or table.transaction_version(run) is None:
        return None
    adds = pa.table(table.get_add_actions(flatten=False)).to_pylist()
    names = [(unquote(add["path"]), add["size_bytes"]) for add in adds]
    now = int(table.version())
    return _Live(now, {name: (name, size) for name, size in names}, now > version)


def _load(store: Store, output: Output) -> list[Any]:
    """Load what a task handed to the last one: values of this package's own types."""
    if output.kind == "none":
        return []
    data = base64.b64decode(output.inline or "") if output.path is None else store.read(output.path)
    return load_handed_over(data, output.count)
