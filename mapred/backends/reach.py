"""How a cluster is reached: what this side says of it, and never a run's folder.

Anyone who can write to a folder could otherwise have this machine run the program that a
kubeconfig names, or send a token to a server of theirs. The folder says which Workflow of
which namespace works on the run, and what its pods look like; where the cluster is comes from
`backend=`, from mapred.toml, or from the environment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mapred.engine.base import Backend
from mapred.errors import BackendError

# What leads from here to a cluster, or from its pods to a store.
_OF_THIS_SIDE = {
    "argo": ("kubeconfig", "context", "server", "token_env", "endpoint", "region"),
    "dask": ("address",),
}
# What this process was told to use for a run, by the run's folder.
_told: dict[str, Backend] = {}


def to_record(backend: Backend) -> dict[str, Any]:
    """Return what job.json says of a backend; of what leads to it, only that it was said here."""
    own = _OF_THIS_SIDE.get(backend.name, ())
    arguments = dict(backend.arguments)
    said = [name for name in own if arguments.get(name) is not None]
    kept = {name: value for name, value in arguments.items() if name not in own}
    return {"name": backend.name, "arguments": kept, **({"said": said} if said else {})}


def needs_connection(backend: Backend) -> bool:
    """Whether something has to lead from here to a backend."""
    return backend.name in _OF_THIS_SIDE


def remember(uri: str, backend: Backend) -> None:
    """Have this process reach a run by the backend that it was given for it."""
    _told[uri] = backend


def recall_backend(uri: str, name: str) -> Backend | None:
    """Return the backend that this process was given for a run, if it is of that name."""
    known = _told.get(uri)
    return known if known is not None and known.name == name else None


def apply_connection(made: Backend, side: Backend, record: Mapping[str, Any], uri: str) -> Backend:
    """Return the backend of a record, reached as this side says; an error where it does not say it."""
    own = _OF_THIS_SIDE.get(made.name, ())
    if not own:
        return made
    plain = type(made)()
    earlier = [name for name in own if (record.get("arguments") or {}).get(name) is not None]
    for name in (*(record.get("said") or ()), *earlier):
        if name in own and getattr(side, name) == getattr(plain, name):
            kind = type(made).__name__
            raise BackendError(
                f"{uri} was started with {name}=, which its folder does not tell: how a cluster is "
                f"reached is said here; name it in mapred.toml, or resume with it:\n"
                f"import mapred; run = mapred.open({uri!r}).resume(backend=mapred.{kind}({name}=…))"
            )
    kept: Any = made
    reached: Backend = dataclasses.replace(kept, **{name: getattr(side, name) for name in own})
    return reached


def filter_arguments(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a record may give to its backend."""
    own = _OF_THIS_SIDE.get(str(record.get("name")), ())
    arguments = record.get("arguments") or {}
    return {name: value for name, value in arguments.items() if name not in own}
