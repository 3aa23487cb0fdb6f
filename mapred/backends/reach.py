"""How a cluster is reached, which this side decides and never a run's folder.

Otherwise anyone who can write to a folder could make this machine run the program that a
kubeconfig names, or send a token to a server of their own. The folder says which Workflow of
which namespace works on the run, and what its pods look like; where the cluster is comes from
`backend=`, from mapred.toml, or from the environment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mapred.engine.base import Backend
from mapred.errors import BackendError

# The arguments that lead from here to a cluster, or from its pods to a store.
_OF_THIS_SIDE = {
    "argo": ("kubeconfig", "context", "server", "token_env", "endpoint", "region"),
    "dask": ("address",),
}
# The backends that this process was given for runs, by their folders.
_backends: dict[str, Backend] = {}


def to_record(backend: Backend) -> dict[str, Any]:
    """Return a backend for job.json, without the values of the arguments that lead to it."""
    own = _OF_THIS_SIDE.get(backend.name, ())
    names = [name for name in own if backend.arguments.get(name) is not None]
    kept = {name: value for name, value in backend.arguments.items() if name not in own}
    return {"name": backend.name, "arguments": kept, **({"said": names} if names else {})}


def needs_connection(backend: Backend) -> bool:
    """Whether a backend is reached by arguments that no folder holds."""
    return backend.name in _OF_THIS_SIDE


def remember(uri: str, backend: Backend) -> None:
    """Reach a run from this process by this backend."""
    _backends[uri] = backend


def share(uri: str, other: str) -> None:
    """Reach another run as the one at `uri` is reached, unless it was said how."""
    if uri in _backends:
        _backends.setdefault(other, _backends[uri])


def recall_backend(uri: str, name: str) -> Backend | None:
    """Return the backend that this process was given for a run, if it is of that name."""
    backend = _backends.get(uri)
    return backend if backend is not None and backend.name == name else None


def apply_connection(
    backend: Backend, side: Backend, record: Mapping[str, Any], uri: str
) -> Backend:
    """Return the backend of a record, reached as that of this `side` is.

    Raises `BackendError` where the run was started with an argument that this side does not name.
    """
    own = _OF_THIS_SIDE.get(backend.name, ())
    if not own:
        return backend
    default = type(backend)()
    earlier = [name for name in own if (record.get("arguments") or {}).get(name) is not None]
    for name in (*(record.get("said") or ()), *earlier):
        if name in own and getattr(side, name) == getattr(default, name):
            kind = type(backend).__name__
            raise BackendError(
                f"{uri} was started with {name}=, which its folder does not store: you choose here "
                f"how to reach a cluster; name it in mapred.toml, or resume with it:\n"
                f"import mapred; run = mapred.open({uri!r}).resume(backend=mapred.{kind}({name}=…))"
            )
    kept: Any = backend
    reached: Backend = dataclasses.replace(kept, **{name: getattr(side, name) for name in own})
    return reached


def filter_arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a record may give to its backend."""
    own = _OF_THIS_SIDE.get(str(record.get("name")), ())
    arguments = record.get("arguments") or {}
    return {name: value for name, value in arguments.items() if name not in own}
