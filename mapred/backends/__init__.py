"""The registry of backends: the only place that imports one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, cast

from mapred.backends.base import Backend, Handle
from mapred.errors import BackendError

__all__ = ["NAMES", "Backend", "Handle", "resolve", "restore"]

_BACKENDS = {
    "inline": "mapred.backends.inline:Inline",
    "local": "mapred.backends.local:Local",
}
NAMES = tuple(_BACKENDS)


def restore(name: str, arguments: Mapping[str, Any]) -> Backend:
    """The backend that a run's job.json describes."""
    module, cls = _BACKENDS[name].split(":")
    return cast(Backend, getattr(importlib.import_module(module), cls)(**arguments))


def resolve(backend: str | Backend | Executor) -> Backend:
    """The backend that `backend=` means: a name, an object, or any executor as a pool."""
    if isinstance(backend, Executor):
        from mapred.backends.pool import Pool

        return Pool(backend)
    if not isinstance(backend, str):
        if not hasattr(backend, "submit"):
            raise BackendError(f"backend={backend!r} is no backend and no executor")
        return backend
    if backend not in _BACKENDS:
        known = ", ".join(map(repr, _BACKENDS))
        raise BackendError(
            f"no backend {backend!r}; known are {known}, or any concurrent.futures.Executor"
        )
    return restore(backend, {})
