"""A job that is kept in a cluster and started there by its name, as its backend keeps it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from mapred.engine.base import Backend
from mapred.functions.declared import Parameter
from mapred.model.coding import decode
from mapred.model.resources import Resources


@dataclass(frozen=True)
class Record:
    """What a cluster keeps of a deployed job, beside the means to start it."""

    name: str
    job: str
    root: str
    digest: str
    owner: str = ""
    deployed: str = ""
    description: str = ""
    parameters: tuple[Parameter, ...] = ()

    def to_json(self) -> str:
        """Return the record as JSON."""
        return json.dumps({each.name: _plain(getattr(self, each.name)) for each in _FIELDS})

    @classmethod
    def from_json(cls, text: str, where: str = "a deployment") -> Record:
        """Return the record in a text that was read at `where`; `RecordError` if there is none."""
        return decode(Record, text.encode(errors="surrogatepass"), where)


_FIELDS = dataclasses.fields(Record)


def _plain(value: Any) -> Any:
    return [dataclasses.asdict(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Outcome:
    """That nothing works on a start any more: whether it succeeded, and what the cluster says."""

    succeeded: bool
    message: str


class Started(Protocol):
    """A start of a deployed job; its run is named by `uid` and `created`."""

    @property
    def uid(self) -> str: ...

    @property
    def created(self) -> datetime: ...

    @property
    def patience(self) -> float:
        """How long, in seconds, it may take until it has made its run."""

    def outcome(self) -> Outcome | None:
        """Return how it ended; None while it is at work."""


@runtime_checkable
class DeployingBackend(Backend, Protocol):
    """A backend that keeps jobs, and starts them by their names."""

    def deploy(
        self, record: Record, resources: Resources, packages: tuple[str, ...], *, replace: bool
    ) -> None:
        """Keep a job under its name, in place of an earlier version of it.

        `resources` are those of a map task, `packages` what the job needs beside its own. Without
        `replace` what someone else put under that name, or for another root, is a `BackendError`.
        """

    def deployments(self) -> list[Record]: ...

    def undeploy(self, name: str) -> None:
        """Keep a job no more; a run that is at work continues."""

    def start_deployed(self, record: Record, values: Mapping[str, str]) -> Started:
        """Start a job that is kept, with a text for each of its parameters."""
