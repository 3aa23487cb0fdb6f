"""Jobs that live in a cluster under a name: `Job.deploy`, `deployments`, `deployed`, `undeploy`.

A deployment is a job without its shards, and its parameters: what starts it gives them values, and
a small pod then lists the dataset and submits a run. `starting` is what that pod does. Anything
that is `Startable` can be deployed; a job is.
"""

from __future__ import annotations

import getpass
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol, overload

from mapred import backends, display
from mapred.backends.deployments import DeployingBackend, Record, Started
from mapred.client import stored
from mapred.client.run_handle import Run, open_run
from mapred.engine.base import Backend
from mapred.errors import BackendError, PlanError
from mapred.functions import declared, transport
from mapred.functions.declared import Declared, Parameter
from mapred.functions.parameters import Value
from mapred.model import layout
from mapred.model.checking import checks
from mapred.model.resources import Resources
from mapred.model.rules import Location, Text
from mapred.process import interrupts, secrecy
from mapred.process.describing import plain_annotations
from mapred.runfolder.folder import RunFolder
from mapred.storage import open_store

__all__ = ["Deployment", "Deployments", "deployed", "deployments", "undeploy"]

_SHORTEST, _LONGEST = 0.5, 5.0  # seconds between two looks at a start


class Startable(Protocol):
    """What can be deployed: it is bound to values, and then submitted under a run's name."""

    @property
    def fn(self) -> Callable[..., Any]:
        """The function whose annotations say how its parameters are given."""

    @property
    def name(self) -> str | None: ...

    @property
    def resources(self) -> Resources: ...

    @property
    def parameters(self) -> frozenset[str]: ...

    @property
    def bound(self) -> Mapping[str, Value]:
        """The values that it is bound to already, which a start leaves alone."""

    def bind(self, **values: Value) -> Any:
        """Return it with values for its parameters; what comes back has `submit`."""


@dataclass(frozen=True)
class Template:
    """What a deployment stores: what is started, the backend's name and arguments, the parameters."""

    job: Startable
    backend: str
    arguments: Mapping[str, Any]
    declared: Declared


@plain_annotations
@dataclass(frozen=True)
class Deployment(Record):
    """A job that lives in a cluster under a name. Made by `Job.deploy`, found by `mapred.deployed`.

    Attributes:
        name: The deployment's name.
        job: The job's name.
        root: Where the job is stored and its runs are made.
        digest: The version: the SHA-256 of the stored job.
        owner: The user who deployed it.
        deployed: When, in UTC.
        description: What it is for.
        parameters: What a start may give: each has `name`, `kind`, `choices`, `default` (None
            where a value must be given) and `description`.
        backend: The backend that keeps it.

    Examples:
        >>> def longer_than(lines, limit: int = 20):
        ...     return sum(len(line) > limit for line in lines)
        >>> job = mapred.job(longer_than, mapred.read_text("corpus/*.txt", as_="lines"), reduce=sum)
        >>> deployment = job.deploy("long-lines")
        >>> [str(parameter) for parameter in deployment.parameters]
        ["limit: int = '20'"]
    """

    backend: DeployingBackend = field(kw_only=True, repr=False, compare=False)

    def start(self, **values: Any) -> Run:
        """Start this version of the job, and return its run once it is submitted.

        A pod in the cluster lists the dataset and submits the run; that may take a minute.

        Args:
            **values: Values of the parameters, or texts as `mapred start` takes them.

        Returns:
            The run at work.

        Raises:
            PlanError: A value does not fit its parameter, or is missing.
            BackendError: The cluster does not start it, or the pod ends without a run; the error
                has what the pod said.

        Examples:
            >>> def longer_than(lines, limit: int = 20):
            ...     return sum(len(line) > limit for line in lines)
            >>> job = mapred.job(longer_than, mapred.read_text("corpus/*.txt", as_="lines"), reduce=sum)
            >>> job.deploy("long-lines").start(limit=12).result()
            2
        """
        __tracebackhide__ = True
        if not self.digest:
            raise BackendError(f"deployment {self.name!r} is {self.job}; deploy the job again")
        known = {each.name: each for each in self.parameters}
        texts = {
            name: declared.write_value(known.get(name, Parameter(name)), value)
            for name, value in values.items()
        }
        started = self.backend.start_deployed(self, declared.complete(self.parameters, texts))
        uri = f"{self.root}/{run_id(started.uid, started.created)}"
        with interrupts.interrupted_with(
            lambda: (
                f"stopped waiting; the run begins without it: import mapred; mapred.open({uri!r})"
            )
        ):
            run = _await_run(uri, started)
        backends.remember(run.uri, self.backend)
        return run


@plain_annotations
@dataclass(frozen=True, repr=False)
class Deployments(Sequence[Deployment]):
    """The deployed jobs of a cluster's namespace, by name: a sequence that shows itself as a table.

    Attributes:
        entries: A tuple of the deployments.

    Examples:
        >>> deployment = mapred.job(abs, [-1, -2]).deploy("signs")
        >>> found = mapred.deployments()
        >>> len(found), found[0].name
        (1, 'signs')
    """

    entries: tuple[Deployment, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, place: int) -> Deployment: ...
    @overload
    def __getitem__(self, place: slice) -> Deployments: ...
    def __getitem__(self, place: int | slice) -> Deployment | Deployments:
        part = self.entries[place]
        return Deployments(part) if isinstance(part, tuple) else part

    def __repr__(self) -> str:
        if not self.entries:
            return "no deployments"
        return display.table_text(rows(self), None)

    def _repr_html_(self) -> str:
        return display.table_html(rows(self), [] if self else [repr(self)])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def rows(found: Iterable[Deployment]) -> list[dict[str, str]]:
    """Return deployments as rows of a table."""
    return [
        {
            "name": each.name,
            "job": each.job,
            "parameters": " ".join(map(_usage, each.parameters)),
            "version": each.digest[:12],
            "owner": each.owner,
            "deployed": each.deployed,
            "root": each.root,
        }
        for each in found
    ]


def _usage(parameter: Parameter) -> str:
    return parameter.name if parameter.default is None else f"[{parameter.name}]"


def deploy(
    job: Startable,
    texts: Iterable[str],
    *,
    name: str | None,
    params: Mapping[str, Any] | None,
    description: str,
    replace: bool,
    backend: str | Backend,
    root: Location | None,
) -> Deployment:
    """Store a job, and have the cluster keep it under a name. `texts` have places for parameters."""
    cluster = _deploying(backend)
    if secrecy.looks_secret(description):
        raise PlanError("description= looks like a secret, and deployments are visible to others")
    chosen = _name(name or re.sub(r"[^a-z0-9]+", "-", str(job.name).lower())[:40].strip("-"))
    free = job.parameters - job.bound.keys()
    made = declared.declare(job.fn, free, texts, params or {})
    if all(each.default is not None for each in made.parameters):
        job.bind(**made.read({}, datetime.now(timezone.utc)))  # refuses what no start could bind
    base = stored.root_of(root, cluster)
    data = transport.dump(Template(job, cluster.name, stored.arguments_of(cluster), made))
    digest = hashlib.sha256(data).hexdigest()
    record = Record(
        name=chosen,
        job=str(job.name),
        root=base,
        digest=digest,
        owner=_owner(),
        deployed=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        description=description,
        parameters=made.parameters,
    )
    stored.put(base, layout.deployment(record.name, digest), data)
    cluster.deploy(record, job.resources, (), replace=replace)
    return _of_record(record, cluster)


def deployments(*, backend: str | Backend = "argo") -> Deployments:
    """Return the deployed jobs of a cluster's namespace, by name.

    Args:
        backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.

    Returns:
        A sequence of `mapred.Deployment`, which a prompt and a notebook show as a table.

    Raises:
        BackendError: The cluster does not answer, or the backend keeps no jobs.

    Examples:
        >>> deployment = mapred.job(abs, [-1, -2]).deploy("signs")
        >>> [deployment.name for deployment in mapred.deployments()]
        ['signs']
    """
    cluster = _deploying(backend)
    return Deployments(tuple(_of_record(record, cluster) for record in cluster.deployments()))


@checks(BackendError)
def deployed(name: Text, *, backend: str | Backend = "argo") -> Deployment:
    """Return a job that was deployed under a name, to look at or to start.

    Args:
        name: The deployment's name.
        backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.

    Returns:
        The deployment, in its present version.

    Raises:
        BackendError: There is no deployment of that name; the error lists those that there are.

    Examples:
        >>> deployment = mapred.job(abs, [-1, -2], reduce=sum).deploy("signs")
        >>> mapred.deployed("signs").start().result()
        3
    """
    found = {each.name: each for each in deployments(backend=backend)}
    if name not in found:
        raise BackendError(f"no deployment {name!r}; there are: {', '.join(found) or 'none'}")
    return found[name]


@checks(BackendError)
def undeploy(name: Text, *, backend: str | Backend = "argo") -> None:
    """Remove a deployment, so that nothing starts it any more. A run that it has started continues.

    What was stored of it stays below the root, since such a run may need it.

    Args:
        name: The deployment's name.
        backend: `"argo"`, a name of mapred.toml, or `mapred.Argo(…)`.

    Raises:
        BackendError: There is no deployment of that name; the error lists those that there are.

    Examples:
        >>> deployment = mapred.job(abs, [-1, -2]).deploy("signs")
        >>> mapred.undeploy("signs")
        >>> mapred.deployments()
        no deployments
    """
    _deploying(backend).undeploy(name)


def run_id(uid: str, created: datetime) -> str:
    """Return the id of the run of a start, by what the cluster says of it."""
    return stored.run_id(uid, created)


def _await_run(uri: str, started: Started) -> Run:
    """Return the run that a start makes; `BackendError` if it ends, or waits too long, without one."""
    folder, limit, pause = (
        RunFolder(open_store(uri)),
        time.monotonic() + started.patience,
        _SHORTEST,
    )
    while True:
        outcome = started.outcome()
        if folder.has_job() and (outcome or folder.start().ref is not None):
            return open_run(uri)
        if outcome is not None:
            seen = f", and {uri} cannot be seen from here" if outcome.succeeded else ""
            raise BackendError(f"{outcome.message}{seen}")
        if time.monotonic() > limit:
            raise BackendError(
                f"nothing has begun for {started.patience:.0f} s, and it still waits; once it "
                f"begins: import mapred; mapred.open({uri!r})"
            )
        time.sleep(pause)
        pause = min(_LONGEST, 1.5 * pause)


def _of_record(record: Record, cluster: DeployingBackend) -> Deployment:
    return Deployment(**vars(record), backend=cluster)


def _name(text: str) -> str:
    """Return the name of a deployment, which begins the names of its Workflows."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", text):
        raise PlanError(
            f"name={text!r}: the name of a deployment has up to 40 letters (a-z), digits and '-', "
            "and begins and ends with a letter or digit"
        )
    return text


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user without a name, as in some containers
        return "unknown"


def _deploying(backend: str | Backend) -> DeployingBackend:
    cluster = backends.resolve(backend)
    if not isinstance(cluster, DeployingBackend):
        raise BackendError(f"backend {cluster.name!r} keeps no jobs; 'argo' does")
    return cluster
