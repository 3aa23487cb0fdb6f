"""Runs under a name that the user gave: one name, one job.

A file that another submission put under the name stands, and `job.json`, which comes last,
decides. The same job under the same name is the same run, and goes on; another one is refused,
and leaves the folder as it was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from mapred.client.run_handle import Run, open_run
from mapred.errors import RunError, StorageError
from mapred.model import layout
from mapred.model.spec import Job
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

# What a job says of the moment and the place of its submission, and not of what it does.
_MOMENT = {"created", "submitted", "deadline_since", "backend", "python", "mapred", "packages"}
_FILES = {"function", "reduce", "modules", "digests", "code"}
_DATASET = {"format", "shards", "items", "files", "bytes", "dataset"}


def default_root() -> str:
    """Where runs are made unless `root=` says otherwise."""
    return os.environ.get("MAPRED_ROOT") or os.path.expanduser("~/.mapred/runs")


def find(store: Store) -> Run | None:
    """Return the run of a folder; None without a job.json."""
    return open_run(store.uri) if RunFolder(store).has_job() else None


def require_same_job(known: Run, job: Job) -> Run:
    """Return the run that has the name, if it is one of this job; else a `RunError` that names it."""
    different = differences(known.job, job)
    if not different:
        return known
    raise RunError(
        f"run_id={job.run_id!r} is the name of {known.uri}, a run of {known.job.name} that was "
        f"submitted at {known.job.created}, with another {_join_words(different)}; give run_id= "
        "another name, or continue that run, or remove it:\n"
        f"import mapred; mapred.open({known.uri!r}).resume()\n"
        f"import mapred; mapred.rm({known.uri!r})",
        run=known,
    )


def differences(known: Job, job: Job) -> list[str]:
    """Return the parts in which two jobs differ, in words; when and where they start does not
    count."""
    one, other = _parts(known), _parts(job)
    return [name for name in one if one[name] != other[name]]


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


def _join_words(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


@contextmanager
def claim(store: Store) -> Iterator[Claim]:
    """Claim the folder of a name without a run, to put files into; a failure removes them."""
    claim = Claim(store)
    try:
        yield claim
    except BaseException:
        claim.withdraw()
        raise


class Claim:
    """The files that this submission puts under a name; what another one put there stands."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._put: list[str] = []

    def put(self, path: str, data: Any) -> None:
        """Put a file if absent; one of the same content may be there already."""
        if self._store.put_if_absent(path, data):
            self._put.append(path)
            return
        with suppress(FileNotFoundError):
            if _digest(self._store.read(path)) == _digest(data):
                return
        raise StorageError(
            f"{self._store.uri}/{path} is of another submission under this run_id, which is being "
            "made at this moment or was cut off; give run_id= another name, or delete the folder"
        )

    def decide(self, job: Job) -> bool:
        """Put job.json; False where another submission was faster."""
        if not RunFolder(self._store).put_job(job):
            return False
        self._put.clear()
        return True

    def withdraw(self) -> None:
        """Delete what was put, unless it has become a run."""
        for path in self._put:
            with suppress(FileNotFoundError, StorageError):
                self._store.delete(path)


def refuse_remains(store: Store, paths: Iterable[str]) -> None:
    """Raise where a folder without job.json holds more than a submission of `paths` would put."""
    allowed = set(paths)
    for path, _ in store.list(""):
        if path not in allowed and not path.startswith(layout.WRITES):
            raise RunError(
                f"{store.uri} holds {path} and no {layout.JOB}: what remains of a run that was "
                "removed would be taken for this one's; give run_id= another name, or delete the "
                "folder"
            )


def digests_of(files: Iterable[tuple[str, Any]]) -> dict[str, str]:
    """Return the SHA-256 of each file's content by its path."""
    return {path: _digest(data) for path, data in files}


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()
