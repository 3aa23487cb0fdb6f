"""The registry of backends: the only place that imports one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, cast

from mapred.backends import reach
from mapred.backends.reach import to_record
from mapred.engine.base import Backend, Checks, Handle, Namespaced, Reopens, ReportsState
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
    "resolve",
    "restore",
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
# These never depend on a file of the folder that one happens to be in.
_PLAIN = ("inline", "local")


def restore(name: str, arguments: Mapping[str, Any]) -> Backend:
    """Return a backend by its name and arguments, which were judged when they were given."""
    try:
        return cast(Backend, _class(name)(**secrecy.as_public(arguments)))
    except TypeError as error:
        raise BackendError(f"backend {name!r} cannot be made again: {error}") from None


def remember(uri: str, backend: Backend) -> None:
    """Have this process reach a run by the backend that it was given for it."""
    if reach.needs_connection(backend):
        # Made again: a client that was handed over may be closed by then.
        reach.remember(uri, restore(backend.name, backend.arguments))


def of_run(uri: str, job: Job, ref: str | None) -> Backend:
    """Return the backend that goes on with a run: as job.json describes it, reached as this side
    says.

    `ref` is that of its last start, which names a namespace.
    """
    name = str(job.backend.get("name"))
    known = reach.recall_backend(uri, name)
    if known is not None:
        return known
    made = restore(name, reach.filter_arguments(job.backend))
    namespace = _namespace(made) or (ref or "").partition(":")[2].partition(":")[0]
    side = _of_this_side(name, namespace)
    return reach.apply_connection(made, side, job.backend, uri)


def reopen(store: Store, job: Job, ref: str) -> Handle | None:
    """Return the handle of a run that goes on without the process that started it, else None."""
    name, _, rest = ref.partition(":")
    if name not in _BACKENDS or name != job.backend.get("name"):
        return None
    if not issubclass(_class(name), Reopens):
        return None
    side: Any = reach.recall_backend(store.uri, name) or _of_this_side(name, rest.partition(":")[0])
    return cast("Handle | None", side.reopen(store, job, ref))


def _of_this_side(name: str, namespace: str | None) -> Backend:
    """Return the backend of a name as mapred.toml has it: the table so called, or the one that
    fits."""
    if name in _PLAIN:
        return restore(name, {})
    from mapred.backends import config

    file, tables = config.tables()
    kinds = {table: config.kind_of(table, tables[table]) for table in tables}
    chosen = [table for table, kind in kinds.items() if kind == name]
    classes = {n: _class(n) for n in _BACKENDS}
    made = {
        table: config.backend_from_table(table, tables[table], file, classes) for table in chosen
    }
    if name in made:
        return made[name]
    fitting = [b for b in made.values() if _namespace(b) in (None, namespace)]
    return fitting[0] if len(fitting) == 1 else restore(name, {})


def standing(store: Store, job: Job, ref: str) -> RunStatus | None:
    """Return what the cluster says of a run that goes on there, by one look; None of any other run."""
    handle = reopen(store, job, ref)
    return handle.standing() if isinstance(handle, ReportsState) else None


def _namespace(backend: Backend) -> str | None:
    return backend.namespace if isinstance(backend, Namespaced) else None


def resolve(backend: str | Backend | Executor) -> Backend:
    """Return the backend that `backend=` means: a name, an object, or any executor as a pool."""
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
        return config.backend_from_table(
            backend, tables[backend], file, {n: _class(n) for n in _BACKENDS}
        )
    if backend in _BACKENDS:
        return restore(backend, {})
    known = ", ".join(map(repr, (*_BACKENDS, *tables)))
    where = f"{file} names none of that name" if file else "no mapred.toml is here or above"
    raise BackendError(
        f"no backend {backend!r}; known are {known}, or any concurrent.futures.Executor ({where})"
    )


def check(backend: Backend, limits: Limits) -> None:
    """Refuse what a backend knows that it cannot keep, before anything is written."""
    if isinstance(backend, Checks):
        backend.check(limits)


def _class(name: str) -> Any:
    module, cls = _BACKENDS[name].split(":")
    return getattr(importlib.import_module(module), cls)
