"""Jobs that lie below a root, from where pods start them: what is stored, and what a pod does.

`scheduling` and `deploying` store jobs; a pod of theirs loads one, binds its parameters, and starts
a run under a name that follows from what started the pod, so that another try continues that run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from mapred import backends
from mapred.client.plan import ShardPlan
from mapred.client.run_handle import Run, open_run
from mapred.client.submission import choose_root
from mapred.dataset import Dataset, as_dataset
from mapred.dataset.values import as_option_for, kind_of_suffix, suffix_of
from mapred.engine.base import Backend, RunsInCluster
from mapred.errors import (
    AccessError,
    BackendError,
    DatasetError,
    FullError,
    MapredError,
    RecordError,
    RunError,
    StorageError,
)
from mapred.functions import signatures, transport
from mapred.model.retries import FAILED, MISMATCH, TRY_AGAIN
from mapred.model.rules import Location
from mapred.model.spec import Format
from mapred.runfolder.folder import RunFolder
from mapred.storage import fsspec_options, is_local, open_store, probe

_LOCAL_ARGUMENTS = ("kubeconfig", "context", "server", "token_env")
_OVER = ("succeeded", "failed", "cancelled")


class Mismatch(MapredError):
    """What a pod was told does not fit what is stored, so that no other try can succeed."""


def arguments_of(cluster: Backend) -> dict[str, Any]:
    """Return a backend's arguments, without how this machine reaches it."""
    return {k: v for k, v in cluster.arguments.items() if k not in _LOCAL_ARGUMENTS}


def root_of(root: Location | None, cluster: Backend) -> str:
    """Return the root at which a job is stored; a local one by its whole path."""
    base = choose_root(root or None, cluster).rstrip("/")
    return os.path.abspath(base) if is_local(base) else base


def put(root: str, path: str, data: bytes) -> None:
    """Write a stored job below a root that keeps what runs rely on."""
    store = open_store(root)
    probe(store)
    store.write(path, data)


def load(root: str, path: str, digest: str, *, was: str, again: str) -> Any:
    """Return what was stored; `Mismatch` where something else lies there."""
    try:
        data = open_store(root).read(path)
    except FileNotFoundError:
        raise Mismatch(f"{root}/{path} is gone: {again} the job again") from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise Mismatch(f"{root}/{path} is not what was {was}; its SHA-256 differs")
    return transport.load(data, f"{root}/{path}")


def run_id(what: str, when: datetime) -> str:
    """Return the id of the run that something started at a time."""
    moment = when.astimezone(timezone.utc)
    unique = hashlib.sha256(what.encode()).hexdigest()[:8]
    return f"{moment:%Y%m%d-%H%M%S}-{unique}"


def start(
    stored: Any, root: str, run_id: str, packages: str | None, bind: Callable[[], Any]
) -> Run:
    """Return the run of this name: the one that was made before, else one of what `bind` gives.

    `stored` names the backend and its arguments, `packages` the archive that pods unpack. What
    `bind` returns has `submit`, as a job has.
    """
    backend = backends.restore(stored.backend, stored.arguments)
    if isinstance(backend, RunsInCluster):
        backend = backend.in_cluster(packages)
    run = find_run(f"{root}/{run_id}")
    if run is not None:
        return run if run.state in _OVER else run.resume(backend=backend, progress="none")
    # What a pod left that was ended before it wrote job.json: the dataset may have changed since.
    RunFolder(open_store(f"{root}/{run_id}")).discard()
    made: Run = bind().submit(backend=backend, root=root, run_id=run_id)
    return made


def admit_storage(job: Any) -> None:
    """Allow the storage options of a stored job's dataset, which were checked when it was stored."""
    source = job.dataset.dataset if isinstance(job.dataset, ShardPlan) else job.dataset
    if source.options.storage is not None:
        fsspec_options.admit(source.options.storage)


def find_run(uri: str) -> Run | None:
    """Return the run that was made before; None without a job.json, which is written last.

    That of a newer mapred raises `RecordError`, and its folder is left as it is.
    """
    try:
        return open_run(uri)
    except RunError as error:
        if isinstance(error, RecordError) and error.newer:
            raise
        return None


def exit_code(error: MapredError) -> int:
    """Return the exit code of a pod that an error ended."""
    if isinstance(error, Mismatch | AccessError | FullError):
        return MISMATCH
    return TRY_AGAIN if isinstance(error, StorageError | BackendError) else FAILED


def apply_annotation(job: Any) -> Any:
    """Return the job with what its function's annotation asks for as an option of its dataset.

    Annotations do not survive the pickling of a function, whose modules another process lacks.
    """
    planned = isinstance(job.dataset, ShardPlan)
    source = job.dataset.dataset if planned else as_dataset(job.dataset)
    asks = signatures.has_input_annotation(job.fn)
    if source.as_ is not None or not asks or source.format in ("items", "array"):
        return job
    name = source.format or _format_of(source)
    if name is None:
        raise DatasetError(
            f"{source}: the suffix does not tell the format, and {job.name} needs one for its "
            "annotation; name it: mapred.read_text(…), read_csv(…), …"
        )
    # Whether outputs of runs are tables is known later: only of these an annotation says anything.
    tables = tuple(replace(run, tables=True) for run in source.runs)
    kind = signatures.input_kind(job.fn, Format(name, "", runs=tables))
    if kind is None and name == "outputs":
        return job
    source = replace(source, as_=as_option_for(name, kind))
    return replace(job, dataset=replace(job.dataset, dataset=source) if planned else source)


def _format_of(source: Dataset) -> str | None:
    """Return the format that the suffixes of the URIs name, if all name the same."""
    endings = {suffix_of(uri.rpartition("/")[2]) for uri in source.uris}
    names = {kind_of_suffix(e)[0] if e and "*" not in e else None for e in endings}
    return names.pop() if len(names) == 1 else None
