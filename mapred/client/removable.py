"""What `rm` and `gc` may remove of a run: files that mapred names, in the run's own places.

A run's folder is data that others may have written, so nothing is believed of it: what has a
name that mapred does not give stays, links are not followed, and of a dataset only the
staging folder of this very run goes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from mapred import writing
from mapred.errors import NotAFile, RecordError, RunError
from mapred.model import layout
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import Store, is_there, open_store

Listing = list[tuple[str, int]]

MADE = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")  # an id that mapred made


@dataclass(frozen=True)
class Staged:
    """What a run left hidden in a dataset: at `uri`, under `write_id`."""

    uri: str
    write_id: str
    files: Listing


@dataclass(frozen=True)
class Remains:
    """What there is of a run: the `files` that may go, and the `foreign` ones that stay."""

    files: Listing
    foreign: tuple[str, ...]

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(path for path, _ in self.files)


def of(folder: RunFolder, listed: Listing | None = None) -> Remains:
    """Return what lies in a run's folder, as `listed`, and temporary files, which are in no
    listing."""
    refuse_link(folder.store)
    listed = folder.files(listed)
    files = [(path, size) for path, size in listed if layout.is_named(path)]
    foreign = tuple(path for path, _ in listed if not layout.is_named(path))
    return Remains([*files, *_temporary(folder.store)], foreign)


def refuse_link(store: Store) -> None:
    """Refuse a run's folder that is a link: what it leads to was not named."""
    folder = (store.local_path("") or "").rstrip("/")
    if folder and os.path.islink(folder):
        raise RunError(
            f"{folder} is a link to {os.readlink(folder)}, and links are not followed: name the "
            "folder itself, or remove the link by hand"
        )


def check(folder: RunFolder, remains: Remains) -> None:
    """Refuse a folder that is not a run's, though a file of it has the name of a run's."""
    name = folder.uri.rstrip("/").rpartition("/")[2]
    if is_pipeline(remains):
        _check_pipeline(folder, remains)
        return
    if layout.JOB not in remains.paths:
        if layout.REMOVED in remains.paths and (
            MADE.fullmatch(name) or folder.read_removed_run() == name
        ):
            return
        raise RunError(f"{folder.uri} holds no run: there is no {layout.JOB} in it")
    try:
        job = folder.job()
        # A listing may lag behind what was put.
        has_code = job.function in remains.paths or is_there(folder.store, job.function)
        whole = bool(job.digests) and has_code
    except RecordError as error:
        if error.newer:
            raise
        raise RunError(f"{folder.uri}/{layout.JOB} is not that of a run: {error}") from error
    if not whole:
        raise RunError(
            f"{folder.uri} is not the folder of a run: {layout.JOB} is there, but not the function "
            "that it names; look at it, and remove it by hand"
        )


def is_pipeline(remains: Remains) -> bool:
    """Whether a folder is that of a pipeline."""
    return layout.PIPELINE in remains.paths and layout.JOB not in remains.paths


def _check_pipeline(folder: RunFolder, remains: Remains) -> None:
    try:
        digests = PipelineFolder(folder.store).record().digests
    except RecordError as error:
        if error.newer:
            raise
        raise RunError(
            f"{folder.uri}/{layout.PIPELINE} is not that of a pipeline: {error}"
        ) from error
    if not {layout.FUNCTION, layout.PARAMETERS}.issubset({*digests} & remains.paths):
        raise RunError(
            f"{folder.uri} is not the folder of a pipeline: {layout.PIPELINE} is there, but not the "
            "function that it names; look at it, and remove it by hand"
        )


def list_steps(folder: RunFolder) -> list[RunFolder]:
    """Return the folders of the runs of a pipeline, those of pipelines inside of it before these.

    Only a run that says so itself is one of the pipeline's, whatever the pipeline claims.
    """
    return _list_steps(folder, {folder.uri})


def _list_steps(folder: RunFolder, seen: set[str]) -> list[RunFolder]:
    own, found = folder.uri.rpartition("/")[2], list[RunFolder]()
    for claim in PipelineFolder(folder.store).claims():
        store = open_store(claim.uri)
        if claim.uri not in seen and PipelineFolder(store).parent() == own:
            seen.add(claim.uri)
            inside = RunFolder(store)
            found += [*(_list_steps(inside, seen) if not inside.has_job() else ()), inside]
    return found


def staged_writes(folder: RunFolder, remains: Remains) -> Iterator[Staged]:
    """Yield what the run left hidden in datasets; a record that names something else is refused."""
    run_id = re.escape(folder.uri.rstrip("/").rpartition("/")[2])
    for path in sorted(path for path in remains.paths if path.startswith(layout.WRITES)):
        try:
            record = folder.read_write_record(path)
            fits = re.fullmatch(f"{run_id}(-[0-9a-f]{{8}})?", record.id)
        except FileNotFoundError:
            continue
        except (RecordError, NotAFile) as error:
            if isinstance(error, RecordError) and error.newer:
                raise
            fits = None
        if not fits:
            raise RunError(
                f"{folder.uri}/{path} names no dataset that this run wrote to: someone changed it; "
                "delete that file, and remove the run again"
            )
        files = writing.staged_files(record.uri, record.id)
        yield Staged(record.uri, record.id, files)


def is_temporary(path: str) -> bool:
    """Whether it is what a process that was killed had begun to write."""
    return path.rpartition("/")[2].startswith(".tmp-")


def _temporary(store: Store) -> Listing:
    root = store.local_path("")
    if root is None:
        return []
    files = []
    for folder, _, names in os.walk(root):
        for name in names:
            if is_temporary(name):
                with suppress(OSError):
                    path = os.path.join(folder, name)
                    files.append((os.path.relpath(path, root), os.lstat(path).st_size))
    return files
