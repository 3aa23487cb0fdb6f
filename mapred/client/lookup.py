"""Find a run by its id, the start of one, `"last"` or a folder; the folders of a root."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any

from mapred import backends
from mapred.client.naming import default_root
from mapred.client.run_handle import Run, open_run
from mapred.display.format import pluralize
from mapred.engine.base import Backend
from mapred.errors import RecordError, RunError, StorageError
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.rules import Location
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import is_local, list_folders, modes, open_store

_ID = re.compile(r"\d{8}-\d{6}")
_RECORDS = (layout.JOB, layout.PIPELINE)  # one of which makes a folder that of a run


@checks(RunError)
def open(
    run: Location,
    root: Location | None = None,
    *,
    backend: str | Backend | None = None,
    allow_pickle: bool = True,
) -> Run:
    """Return a run, to look at or to resume.

    Anyone who can write to a run's root can run code where its results are loaded, since many are
    pickles.

    Args:
        run: Its id, the unique start of one, `"last"`, or its folder as a path or a URI.
        root: Where ids are looked for (default: `$MAPRED_ROOT`, else `~/.mapred/runs`).
        backend: How to reach the cluster that works on it: `mapred.Argo(…)`, or a name of
            mapred.toml (default: by mapred.toml and the environment, since the run's folder does
            not say).
        allow_pickle: With False, tables and plain values are still given, anything else that is
            pickled is a `FunctionError`, and the run can neither be resumed nor debugged.

    Returns:
        The run. Of a pipeline's folder it is a `PipelineRun`, which a type checker has to be told.

    Raises:
        RunError: There is no such run, or several ids have this start.

    Examples:
        >>> first = mapred.run(abs, [-1, -2], name="signs")
        >>> run = mapred.open("last")
        >>> run.id == first.id, run.result()
        (True, [1, 2])
    """
    cluster = None if backend is None else backends.resolve(backend)
    uri = find(run, root)
    try:
        opened = open_run(uri, allow_pickle)
    except RunError as error:
        pipeline = None if isinstance(error, RecordError) else _open_pipeline(uri, allow_pickle)
        if pipeline is None:
            raise
        opened = pipeline
    if cluster is not None:
        backends.remember(opened.uri, cluster)
    return opened


def _open_pipeline(uri: str, allow_pickle: bool) -> Any:
    """Return the pipeline's run of a folder; None where there is none."""
    from mapred.client.pipelines.handle import open_pipeline  # most folders are runs

    if not PipelineFolder(open_store(uri)).has_record():
        return None
    return open_pipeline(uri, allow_pickle)


def find(run: Location, root: Location | None = None) -> str:
    """Return the folder of a run by its path or URI, its id, the unique start of its id, or `last`."""
    reference = os.fspath(run)
    if not isinstance(run, str) or "/" in reference:
        return reference
    if not reference:
        raise RunError("'' does not name a run: give an id, the start of one, 'last', or a folder")
    base = base_of(root)
    if reference == "last" and (newest := last(base)[0]):
        return f"{base}/{newest}"
    names = [name for _, name in sorted(folders(base))]
    if reference not in names and any(
        os.path.isfile(os.path.join(reference, record)) for record in _RECORDS
    ):
        return reference
    matching = [name for name in names if name.startswith(reference)]
    if reference in names:
        matching = [reference]
    elif not is_local(base):
        matching = [name for name in matching if _holds_run(base, name)]
    if len(matching) == 1:
        return f"{base}/{matching[0]}"
    if matching:
        shown = ", ".join(matching[:5]) + (", …" if len(matching) > 5 else "")
        raise RunError(f"{len(matching)} runs begin with {reference!r}: {shown}")
    if reference == "last" and names:
        raise RunError(
            f"{pluralize(len(names), 'run')} in {base}, and none that this user may read"
        )
    raise RunError(
        f"no run {reference!r} in {base}; mapred.runs(), or `mapred ls` in a shell, lists them"
    )


def last(root: str) -> tuple[str | None, list[str]]:
    """Return the newest run of a root that this user may read, and the newer, closed ones.

    Of a pipeline with its runs it is the pipeline.
    """
    closed: list[str] = []
    for _, name in sorted(folders(root), reverse=True):
        if not is_local(root):
            if _holds_run(root, name) and pipeline_of(f"{root}/{name}") is None:
                return name, closed
        elif not any(os.access(f"{root}/{name}/{record}", os.R_OK) for record in _RECORDS):
            closed.append(name)
        elif pipeline_of(f"{root}/{name}") is None:
            return name, closed
    return None, closed


def pipeline_of(uri: str) -> str | None:
    """Return the folder of the pipeline that a run, or a pipeline, is a step of, if it is there."""
    root = uri.rpartition("/")[0]
    parent = PipelineFolder(open_store(uri)).parent()
    if not parent or not PipelineFolder(open_store(f"{root}/{parent}")).has_record():
        return None
    return f"{root}/{parent}"


def top_pipeline_of(uri: str) -> str | None:
    """Return the pipeline that a run belongs to, itself or by the pipelines between them."""
    found, seen = None, {uri}
    while (above := pipeline_of(found or uri)) is not None and above not in seen:
        seen.add(above)
        found = above
    return found


def base_of(root: Location | None) -> str:
    text = os.fspath(root) if root is not None else default_root()
    return (open_store(text).uri if is_local(text) else text).rstrip("/")


def folders(root: str) -> Iterator[tuple[tuple[str, int], str]]:
    """Yield (a key that sorts by age, name) of every folder of the root that holds a run or a pipeline.

    Of a bucket all folders, as a look into each takes a request. An id begins with the second of its submission; within one second, and for names given by
    `run_id=`, the time of the file decides. A folder that this user may not read may be a run.
    """
    if not is_local(root):
        for name in list_folders(open_store(root)):
            if layout.is_run_id(name):
                yield (name[:15], 0), name
        return
    for entry in entries(open_store(root).uri):
        try:
            status = _lstat_record(entry.path)
            # A run whose job.json is a folder, a pipe or a link is listed as unreadable.
            is_run = stat.S_ISREG(status.st_mode) or bool(_ID.match(entry.name))
        except PermissionError:
            status = entry.stat(follow_symlinks=False)
            # `lost+found` is on every disk.
            is_run = not entry.name.startswith(".") and "+" not in entry.name
        except OSError:
            continue
        if is_run:
            yield (_second(entry.name, status.st_mtime), status.st_mtime_ns), entry.name


def _lstat_record(folder: str) -> os.stat_result:
    """Return what there is of the record that makes a folder that of a run, or of a pipeline."""
    try:
        return os.lstat(os.path.join(folder, layout.JOB))
    except FileNotFoundError:
        return os.lstat(os.path.join(folder, layout.PIPELINE))


def newest_folders(root: str, stamp: str = "") -> tuple[list[str], list[str]]:
    """Return the folders of a root that may be runs not older than `stamp`, newest first.

    Second come those of a bucket whose names do not tell their age.
    """
    found = sorted(folders(root), reverse=True)
    dated = [
        name
        for (second, _), name in found
        if second >= stamp and (is_local(root) or _ID.match(name))
    ]
    return dated, [name for _, name in found if not is_local(root) and not _ID.match(name)]


def _holds_run(root: str, name: str) -> bool:
    store = open_store(f"{root}/{name}")
    return RunFolder(store).has_job() or PipelineFolder(store).has_record()


def entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield the entries of a local folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as listing:
            yield from listing
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        why = modes.why_closed(folder, write=False)
        raise StorageError(f"cannot list {folder}: {error.strerror}: {why}") from error


def _second(name: str, changed: float) -> str:
    """Return when a run was made, in UTC: by its id, or by the time of its job.json."""
    if _ID.match(name):
        return name[:15]
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(changed))
