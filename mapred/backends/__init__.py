"""The registry of backends: the only place that imports one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, cast

from mapred.backends import reach
from mapred.backends.reach import to_record
from mapred.engine.base import (
    Backend,
    Checks,
    DrivesPipelines,
    Handle,
    Namespaced,
    PipelineHandle,
    Reopens,
    ReportsState,
)
from mapred.errors import BackendError
from mapred.model.checking import short_repr
from mapred.model.limits import Limits
from mapred.model.spec import Job
from mapred.model.status import RunStatus
from mapred.process import secrecy
from mapred.storage import Store

__all__ = [
    "NAMES",
    "Backend",
    "Handle",
    "check",
    "of_run",
    "remember",
    "reopen",
    "reopen_pipeline",
    "resolve",
    "restore",
    "share",
    "standing",
    "to_record",
]

_BACKENDS = {
    "argo": "mapred.backends.argo.backend:Argo",
    "dask": "mapred.backends.dask:Dask",
    "inline": "mapred.backends.inline:Inline",
    "local": "mapred.backends.local:Local",
}
NAMES = tuple(_BACKENDS)
# These never depend on a settings file that happens to be in the working folder.
_PLAIN = ("inline", "local")


def restore(name: str, arguments: Mapping[str, Any]) -> Backend:
    """Return a backend by its name and arguments, whose texts were checked for secrets before."""
    try:
        return cast(Backend, _class(name)(**secrecy.as_public(arguments)))
    except TypeError as error:
        raise BackendError(f"backend {name!r} cannot be restored: {error}") from None


def remember(uri: str, backend: Backend) -> None:
    """Reach a run from this process by the backend that it was started or opened with."""
    if reach.needs_connection(backend):
        # Made again: a client that was handed over may be closed by then.
        reach.remember(uri, restore(backend.name, backend.arguments))


def of_run(uri: str, stored: Mapping[str, Any], ref: str | None) -> Backend:
    """Return the backend that a run continues with, as its record describes it.

    How it is reached is this side's to say. `ref`, of the last start, names a namespace.
    """
    name = str(stored.get("name"))
    recalled = reach.recall_backend(uri, name)
    if recalled is not None:
        return recalled
    backend = restore(name, reach.filter_arguments(stored))
    namespace = _namespace(backend) or (ref or "").partition(":")[2].partition(":")[0]
    return reach.apply_connection(backend, _of_this_side(name, namespace), stored, uri)


def reopen(store: Store, job: Job, ref: str) -> Handle | None:
    """Return the handle of a run that continues without the process that started it, else None."""
    name, _, rest = ref.partition(":")
    if name not in _BACKENDS or name != job.backend.get("name"):
        return None
    if not issubclass(_class(name), Reopens):
        return None
    side: Any = reach.recall_backend(store.uri, name) or _of_this_side(name, rest.partition(":")[0])
    return cast("Handle | None", side.reopen(store, job, ref))


def reopen_pipeline(store: Store, digest: str, ref: str) -> PipelineHandle | None:
    """Return what drives a pipeline in a cluster, by its `ref`; None for a process.

    `digest` is the SHA-256 of pipeline.json.
    """
    name, _, rest = ref.partition(":")
    if name not in _BACKENDS or not issubclass(_class(name), DrivesPipelines):
        return None
    side: Any = reach.recall_backend(store.uri, name) or _of_this_side(name, rest.partition(":")[0])
    return cast("PipelineHandle | None", side.reopen_pipeline(store, digest, ref))


def share(uri: str, other: str) -> None:
    """Reach another run as the one at `uri` is reached from this process, if that was said."""
    reach.share(uri, other)


def _of_this_side(name: str, namespace: str | None) -> Backend:
    """Return the backend of a kind as mapred.toml has it.

    Of several tables, the one of that name counts, or else the only one whose namespace fits.
    """
    if name in _PLAIN:
        return restore(name, {})
    from mapred.backends import config

    file, tables = config.tables()
    chosen = {
        table: config.backend_from_table(table, value, file, _classes())
        for table, value in tables.items()
        if config.kind_of(table, value) == name
    }
    if name in chosen:
        return chosen[name]
    fitting = [b for b in chosen.values() if _namespace(b) in (None, namespace)]
    return fitting[0] if len(fitting) == 1 else restore(name, {})


def standing(store: Store, job: Job, ref: str) -> RunStatus | None:
    """Return the state that a run's cluster reports, by one look; None for runs of no cluster."""
    handle = reopen(store, job, ref)
    return handle.standing() if isinstance(handle, ReportsState) else None


def _namespace(backend: Backend) -> str | None:
    return backend.namespace if isinstance(backend, Namespaced) else None


def resolve(backend: str | Backend | Executor) -> Backend:
    """Return the backend for a value of `backend=`: a name, a backend, or any executor as a pool."""
    if isinstance(backend, Executor):
        from mapred.engine.thread import Pool

        return Pool(backend)
    if type(backend).__module__.split(".")[0] == "distributed":
        return restore("dask", {"address": backend})
    if not isinstance(backend, str):
        if isinstance(backend, type) or not isinstance(backend, Backend):
            raise BackendError(
                f"backend={short_repr(backend)} must be a name such as 'local', a backend such as "
                "mapred.Local(workers=4), or a concurrent.futures.Executor"
            )
        return backend
    if backend in _PLAIN:
        return restore(backend, {})
    from mapred.backends import config

    file, tables = config.tables()
    if backend in tables:
        return config.backend_from_table(backend, tables[backend], file, _classes())
    if backend in _BACKENDS:
        return restore(backend, {})
    names = ", ".join(map(repr, (*_BACKENDS, *tables)))
    where = f"{file} has no backend of that name" if file else "no mapred.toml is here or above"
    raise BackendError(
        f"no backend {backend!r}; known are {names}, or any concurrent.futures.Executor ({where})"
    )


def check(backend: Backend, limits: Limits) -> None:
    """Refuse limits that a backend cannot keep, before anything is written."""
    if isinstance(backend, Checks):
        backend.check(limits)


def _class(name: str) -> Any:
    module, cls = _BACKENDS[name].split(":")
    return getattr(importlib.import_module(module), cls)


def _classes() -> dict[str, Any]:
    return {name: _class(name) for name in _BACKENDS}
