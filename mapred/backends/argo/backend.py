"""`mapred.Argo(...)`: what users call, over the modules that do it."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.schedules import Schedule
from mapred.engine.base import Backend, Handle
from mapred.errors import BackendError
from mapred.model.resources import Resources
from mapred.model.rules import seconds
from mapred.model.spec import Job
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.storage import Store

if TYPE_CHECKING:
    from mapred.backends.argo.client import Client
    from mapred.backends.findings import Finding

# What a run's folder may name: a Workflow of a namespace, as Kubernetes spells them.
_REF = re.compile(
    r"argo:(?P<namespace>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)"
    r":(?P<workflow>[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)"
)


@dataclass(frozen=True)
class Argo(ArgoSettings):
    __doc__ = ArgoSettings.__doc__

    @property
    def name(self) -> str:
        return "argo"

    def prepare(self) -> None:
        return

    def render(
        self,
        job: Job,
        *,
        uri: str,
        digest: str,
        packages: str | None = None,
        name: str | None = None,
    ) -> str:
        """Return the Workflow of a run as YAML: what `submit` creates; see
        `mapred.backends.argo.render`."""
        from mapred.backends.argo.render import manifest
        from mapred.backends.argo.schema import validate_manifest
        from mapred.backends.argo.yaml import to_yaml

        values = manifest(job, self, uri=uri, digest=digest, packages=packages, name=name)
        return to_yaml(validate_manifest(values))

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        from mapred.backends.argo.packages import packages_for

        return _start(self, store, job, digest, packages_for(self, store.uri, job.python))

    def expected(self, used: Mapping[str, str]) -> dict[str, str]:
        """Of packages and their versions here, those that pods are to have as well.

        A requirement of `packages` that rules out the version here is meant, and no mistake.
        """
        if not self.packages:
            return dict(used)
        from mapred.backends.argo.packages import ruled_out

        out = ruled_out(self.packages, used)
        return {name: version for name, version in used.items() if name not in out}

    def in_cluster(self, packages: str | None) -> Backend:
        """Return this backend as a pod of the cluster uses it, with packages that were stored
        before."""
        return InClusterArgo(self, packages)

    def schedule(self, wanted: Schedule, asked: Resources, packages: tuple[str, ...]) -> None:
        """Have a job started by the clock; a schedule of that name is replaced."""
        from mapred.backends.argo import client as clients
        from mapred.backends.argo import cron as crons
        from mapred.backends.argo import schema
        from mapred.backends.argo.packages import packages_for

        client = clients.connect(self)
        known = {cron["metadata"]["name"] for cron in client.crons("")}
        own = {found.name for found in self._schedules(client)}
        if wanted.name in known - own:
            raise BackendError(
                f"there is a CronWorkflow {wanted.name!r} in {client.namespace!r} that mapred did "
                "not make: choose another name="
            )
        digest = packages_for(self, f"{wanted.root}/run", crons.python(), packages, ("argo",))
        client.put_cron(schema.validate_manifest(crons.manifest(self, wanted, asked, digest)))

    def schedules(self) -> list[Schedule]:
        """Return the jobs that start by the clock in the namespace, by name."""
        from mapred.backends.argo import client as clients

        return self._schedules(clients.connect(self))

    def _schedules(self, client: Client) -> list[Schedule]:
        from mapred.backends.argo import cron as crons

        found = map(crons.schedule_of, client.crons(crons.MARK))
        return sorted((each for each in found if each is not None), key=lambda each: each.name)

    def unschedule(self, name: str) -> None:
        """Have it start no more; a run that is at work goes on."""
        from mapred.backends.argo import client as clients
        from mapred.backends.argo import cron as crons

        client = clients.connect(self)
        known = [each.name for each in self._schedules(client)]
        if name not in known or not client.delete_cron(name):
            raise BackendError(
                f"no schedule {name!r} in {client.namespace!r}; there are: "
                f"{', '.join(known) or 'none'}"
            )
        crons.wait_until_gone(client, name)

    def examine(self, root: str | None, *, pod: bool) -> Iterator[Finding]:
        """Return what keeps runs from working, looked at one after the other: see `mapred doctor`."""
        from mapred.backends.argo import doctor

        return doctor.examine(self, root, pod=pod)

    def reopen(self, store: Store, job: Job, ref: str) -> Handle | None:
        """Return the handle of a run that was submitted before, by its `ref`; None where that is
        none."""
        from mapred.backends.argo import client as clients
        from mapred.backends.argo import handle

        found = _REF.fullmatch(ref)
        if found is None:
            return None
        client = clients.connect(dataclasses.replace(self, namespace=found["namespace"]))
        told = (job.backend.get("arguments") or {}).get("pending", self.pending)
        pending = seconds(dataclasses.replace(self, pending=told).pending)
        digest = RunFolder(store).job_digest()
        return handle.ArgoHandle(
            store, job, client, found["workflow"], pending=pending, digest=digest
        )


@dataclass(frozen=True)
class InClusterArgo:
    """Argo as a pod of the cluster uses it: by its own account, with packages made before."""

    argo: Argo
    packages: str | None = None

    @property
    def name(self) -> str:
        return "argo"

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self.argo.arguments

    def prepare(self) -> None:
        return

    def expected(self, used: Mapping[str, str]) -> dict[str, str]:
        return self.argo.expected(used)

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        return _start(self.argo, store, job, digest, self.packages)


def _start(
    settings: ArgoSettings, store: Store, job: Job, digest: str, packages: str | None
) -> Handle:
    """Create the Workflow of a run whose pods unpack an archive that is there already."""
    from mapred.backends.argo import client as clients
    from mapred.backends.argo import handle, render, schema

    left = None
    if job.deadline is not None:
        left = max(1.0, starts.seconds_left(job, RunFolder(store).start(), time.time()))
    client = clients.connect(settings)
    name = first = render.workflow_name(job)
    tries = 1
    while client.get(name) is not None:
        tries += 1
        name = f"{first[:58]}-{tries}"
    workflow = render.manifest(
        dataclasses.replace(job, deadline=left),
        settings,
        uri=store.uri,
        digest=digest,
        packages=packages,
        name=name,
    )
    client.create(schema.validate_manifest(workflow))
    return handle.ArgoHandle(store, job, client, name, pending=seconds(settings.pending))
