"""`mapred.Argo(...)`: what users call, over the modules that do it."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mapred.backends.argo import client as clients
from mapred.backends.argo import cron as crons
from mapred.backends.argo import deployments as deployed
from mapred.backends.argo import driving, render, submitters, templates
from mapred.backends.argo.driving import PipelineWorkflow
from mapred.backends.argo.handle import ArgoHandle
from mapred.backends.argo.objects import slug
from mapred.backends.argo.packages import packages_for, ruled_out
from mapred.backends.argo.schema import validate_manifest
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.argo.watch import is_at_work, is_of
from mapred.backends.argo.yaml import to_yaml
from mapred.backends.deployments import Record, Started
from mapred.backends.findings import Finding
from mapred.backends.schedules import Schedule
from mapred.engine.base import Backend, Handle, PipelineHandle
from mapred.errors import BackendError
from mapred.model.resources import Resources
from mapred.model.rules import seconds
from mapred.model.spec import Job
from mapred.runfolder import starts
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder
from mapred.storage import Store

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
        """The name of the backend: `argo`."""
        return "argo"

    def prepare(self) -> None:
        """Do nothing: a cluster needs no preparing."""
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
        """Return the Workflow that `submit` creates for a run, as YAML."""
        workflow = render.manifest(job, self, uri=uri, digest=digest, packages=packages, name=name)
        return to_yaml(validate_manifest(workflow))

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        """Create the Workflow of a run, and return its handle."""
        return _start(self, store, job, digest, packages_for(self, store.uri, job.python))

    def expected(self, used: Mapping[str, str]) -> dict[str, str]:
        """Return which of the packages here, with their versions, pods should have as well.

        A requirement of `packages` that excludes the version here is meant, not a mistake.
        """
        if not self.packages:
            return dict(used)
        excluded = ruled_out(self.packages, used)
        return {name: version for name, version in used.items() if name not in excluded}

    def in_cluster(self, packages: str | None) -> Backend:
        """Return this backend as a pod of the cluster uses it, with packages stored before."""
        return InClusterArgo(self, packages)

    def schedule(self, schedule: Schedule, resources: Resources, packages: tuple[str, ...]) -> None:
        """Start a job by the clock from now on; a schedule of the same name is replaced."""
        client = clients.connect(self)
        taken = {cron["metadata"]["name"] for cron in client.crons("")}
        made = {item.name for item in _schedules(client)}
        if schedule.name in taken - made:
            raise BackendError(
                f"there is a CronWorkflow {schedule.name!r} in {client.namespace!r} that mapred "
                "did not make: choose another name="
            )
        uri = f"{schedule.root}/run"
        digest = packages_for(self, uri, submitters.python(), packages, ("argo",))
        client.put_cron(validate_manifest(crons.manifest(self, schedule, resources, digest)))

    def schedules(self) -> list[Schedule]:
        """Return the jobs that start by the clock in the namespace, by name."""
        return _schedules(clients.connect(self))

    def unschedule(self, name: str) -> None:
        """Start a job no more; a run that is at work continues."""
        client = clients.connect(self)
        names = [schedule.name for schedule in _schedules(client)]
        if name not in names or not client.delete_cron(name):
            raise BackendError(
                f"no schedule {name!r} in {client.namespace!r}; there are: "
                f"{', '.join(names) or 'none'}"
            )
        crons.wait_until_gone(client, name)

    def deploy(
        self, record: Record, resources: Resources, packages: tuple[str, ...], *, replace: bool
    ) -> None:
        """Keep a job as a WorkflowTemplate, in place of an earlier version of it."""
        archive = packages_for(self, f"{record.root}/run", submitters.python(), packages, ("argo",))
        wanted = validate_manifest(deployed.manifest(self, record, resources, archive))
        deployed.put(templates.connect(self), wanted, replace=replace)

    def deployments(self) -> list[Record]:
        """Return the deployed jobs of the namespace, by name."""
        return deployed.records(templates.connect(self))

    def undeploy(self, name: str) -> None:
        """Keep a job no more; a run that is at work continues."""
        deployed.remove(templates.connect(self), name)

    def start_deployed(self, record: Record, values: Mapping[str, str]) -> Started:
        """Start a job that is kept, with a text for each of its parameters."""
        return deployed.start(templates.connect(self), self, record, values)

    def examine(self, root: str | None, *, pod: bool) -> Iterator[Finding]:
        """Yield what `mapred doctor` shows: the things that keep runs from working."""
        from mapred.backends.argo import doctor  # runs load none of what it needs

        return doctor.examine(self, root, pod=pod)

    def reopen(self, store: Store, job: Job, ref: str) -> Handle | None:
        """Return the handle of a run that was submitted before; None if `ref` is not one of ours."""
        match = _REF.fullmatch(ref)
        if match is None:
            return None
        stored = (job.backend.get("arguments") or {}).get("pending", self.pending)
        argo = dataclasses.replace(self, namespace=match["namespace"], pending=stored)
        digest, pending = RunFolder(store).job_digest(), seconds(argo.pending)
        client, workflow = clients.connect(argo), match["workflow"]
        return ArgoHandle(store, job, client, workflow, pending=pending, digest=digest)

    def start_pipeline(self, store: Store, digest: str) -> PipelineHandle:
        """Create the Workflow that drives a pipeline, note it in the folder, and return its handle."""
        python = PipelineFolder(store).record().python
        packages = packages_for(self, store.uri, python, extras=("argo",))
        return driving.start(self, store, digest, packages)

    def reopen_pipeline(self, store: Store, digest: str, ref: str) -> PipelineHandle | None:
        """Return the handle of a Workflow that drives a pipeline; None if `ref` is not one of ours."""
        match = _REF.fullmatch(ref)
        if match is None:
            return None
        argo = dataclasses.replace(self, namespace=match["namespace"])
        client = clients.connect(argo)
        return PipelineWorkflow(argo, store, client, match["workflow"], digest=digest)

    def in_pipeline(self, packages: str | None, pipeline: str) -> Backend:
        """Return this backend as the pod of a pipeline uses it for the pipeline's runs."""
        labels = {**self.labels, driving.LABEL: slug(pipeline, 63)}
        return InClusterArgo(dataclasses.replace(self, labels=labels), packages)

    def own_pipeline(self, store: Store, digest: str, name: str) -> PipelineHandle:
        """Return the handle of the Workflow that this pod is part of."""
        return PipelineWorkflow(self, store, clients.connect(self), name, digest=None)


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

    def start_pipeline(self, store: Store, digest: str) -> PipelineHandle:
        return driving.start(self.argo, store, digest, self.packages)

    def reopen_pipeline(self, store: Store, digest: str, ref: str) -> PipelineHandle | None:
        return self.argo.reopen_pipeline(store, digest, ref)


def _start(
    settings: ArgoSettings, store: Store, job: Job, digest: str, packages: str | None
) -> Handle:
    """Create the Workflow of a run whose packages, if it needs some, are stored already."""
    left = None
    if job.deadline is not None:
        left = max(1.0, starts.seconds_left(job, RunFolder(store).start(), time.time()))
    client = clients.connect(settings)
    # A process that was lost after it had created the Workflow did not note it in the folder. One
    # that is noted belongs to a start before this one, and may be about to end.
    noted = RunFolder(store).start().ref is not None
    name, there = render.free_name(
        client.get,
        render.workflow_name(job),
        lambda found: not noted and is_at_work(found) and is_of(found, store.uri, digest),
    )
    if there:
        return ArgoHandle(store, job, client, name, pending=seconds(settings.pending))
    workflow = render.manifest(
        dataclasses.replace(job, deadline=left),
        settings,
        uri=store.uri,
        digest=digest,
        packages=packages,
        name=name,
    )
    client.create(validate_manifest(workflow))
    return ArgoHandle(store, job, client, name, pending=seconds(settings.pending))


def _schedules(client: clients.Client) -> list[Schedule]:
    schedules = filter(None, map(crons.schedule_of, client.crons(crons.MARK)))
    return sorted(schedules, key=lambda schedule: schedule.name)
