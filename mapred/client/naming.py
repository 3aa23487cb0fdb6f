"""Runs under a name that the user chose: one name, one job.

Submissions that race for a name put the same files into one folder, each only where it is absent,
and `job.json` last: the one that puts it wins. The same job under the same name is the same run,
and continues; another job is refused, and leaves the folder as it was.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from mapred.client.run_handle import Run
from mapred.errors import RunError, StorageError
from mapred.model import layout
from mapred.model.spec import Job
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

# What a job says of when and where it was submitted, and not of what it does.
_MOMENT = {"created", "submitted", "deadline_since", "backend", "python", "mapred", "packages"}
_FILES = {"function", "reduce", "modules", "digests", "code"}
_DATASET = {"format", "shards", "items", "files", "bytes", "dataset"}


def default_root() -> str:
    """Where runs are made unless `root=` says otherwise."""
    return os.environ.get("MAPRED_ROOT") or os.path.expanduser("~/.mapred/runs")


def word(uri: str) -> str:
    """Return how a command line names a run: its id where that is found, else its folder."""
    home = os.path.abspath(os.path.expanduser(default_root()))
    run_id = uri.rpartition("/")[2]
    return run_id if uri == os.path.join(home, run_id) else shlex.quote(uri)


def require_same_job(run: Run, job: Job) -> None:
    """Raise a `RunError` unless the run that has the name is one of this job."""
    parts = differences(run.job, job)
    if not parts:
        return
    *most, last = parts
    words = f"{', '.join(most)} and {last}" if most else last
    raise RunError(
        f"run_id={job.run_id!r} is the name of {run.uri}, a run of {run.job.name} that was "
        f"submitted at {run.job.created}, with another {words}; choose another "
        "run_id=, or continue that run, or remove it:\n"
        f"import mapred; mapred.open({run.uri!r}).resume()\n"
        f"import mapred; mapred.rm({run.uri!r})",
        run=run,
    )


def differences(one: Job, other: Job) -> list[str]:
    """Return the parts in which two jobs differ, in words, but for when and where they start."""
    before, now = _parts(one), _parts(other)
    return [name for name in before if before[name] != now[name]]


def _parts(job: Job) -> dict[str, Any]:
    inputs = {
        path: digest
        for path, digest in job.digests.items()
        if path.startswith((layout.INPUT, layout.PLAN))
    }
    fields = vars(job)
    return {
        "function": job.digests.get(job.function),
        "reduce": job.digests.get(job.reduce or ""),
        "modules": job.digests.get(job.modules or ""),
        "dataset": [inputs, *(fields[name] for name in sorted(_DATASET))],
        **{
            f"{name}=": value
            for name, value in fields.items()
            if name not in _MOMENT | _FILES | _DATASET
        },
    }


def claim(store: Store, files: Iterable[tuple[str, Any]], job: Job) -> bool:
    """Put files and job.json under a name without a run; False where another submission won.

    A failure deletes what was put here; what another submission put stays.
    """
    put: list[str] = []
    try:
        for path, data in files:
            if store.put_if_absent(path, data):
                put.append(path)
            elif not _holds(store, path, data):
                raise StorageError(
                    f"{store.uri}/{path} is of another submission under this run_id, which is "
                    "being made at this moment or was cut off; choose another run_id=, or "
                    "delete the folder"
                )
        return RunFolder(store).put_job(job)
    except BaseException:
        for path in put:
            with suppress(FileNotFoundError, StorageError):
                store.delete(path)
        raise


def _holds(store: Store, path: str, data: Any) -> bool:
    with suppress(FileNotFoundError):
        return _digest(store.read(path)) == _digest(data)
    return False


def refuse_remains(store: Store, paths: Iterable[str]) -> None:
    """Raise where a folder without job.json holds more than a submission of `paths` would put."""
    allowed = set(paths)
    for path, _ in store.list(""):
        if path not in allowed and not path.startswith(layout.WRITES):
            raise RunError(
                f"{store.uri} holds {path} and no {layout.JOB}: leftovers of a removed run would "
                "be taken for this one's; choose another run_id=, or delete the "
                "folder"
            )


def digests_of(files: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {path: _digest(data) for path, data in files}


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()
