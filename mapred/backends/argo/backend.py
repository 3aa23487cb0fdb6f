"""`mapred.Argo(...)`: where a cluster is, what its pods look like, how they reach the root."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mapred.backends.argo.placement import PROVIDERS
from mapred.backends.schedules import Schedule
from mapred.engine.base import Backend, Handle
from mapred.errors import BackendError
from mapred.model import layout
from mapred.model.checking import (
    Duration,
    DurationFromZero,
    FromOne,
    FromZero,
    Text,
    check_fields,
    seconds,
)
from mapred.model.resources import Resources, Volume
from mapred.model.spec import Job
from mapred.process import secrecy
from mapred.runfolder import starts
from mapred.storage import Store, open_store

if TYPE_CHECKING:
    from mapred.backends.argo.client import Client
    from mapred.backends.argo.doctor import Finding

MOST_PODS = 2000
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# What a run's folder may name: a Workflow of a namespace, as Kubernetes spells them.
_REF = re.compile(
    r"argo:(?P<namespace>[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)"
    r":(?P<workflow>[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)"
)


@dataclass(frozen=True)
class Argo:
    """A run as an Argo Workflow. No field holds a secret: they name Secrets and variables.

    Args:
        namespace: where the Workflow goes (default: the kubeconfig context's).
        image: of the pods, any with Python (default: `python:<minor>-slim` of this Python).
        packages: requirements such as `pandas>=2`, resolved here for the image's Python and
            `platform`, and unpacked in each pod from an archive beside the runs; mapred and
            what it needs come along. None: the image has all, or is the default one.
        root: where runs are kept unless `root=` says otherwise.
        endpoint: of the root's object store as the pods reach it, which may differ from
            this machine's; `region` likewise.
        root_secret: the Secret whose keys `root_secret_keys` hold the store's access key
            and secret key; without it pods use the credentials of their platform.
        provider: `kubernetes`, `eci`, `acs`, `gke`, `karpenter` or `aks`.
        parallelism: pods at one time; `max_pods`, of a stage in all: tasks beyond it share.
        retries: of a pod that infrastructure failed; the user's attempts are not counted.
        service_account: of the function, without rights or token;
            `executor_service_account`, of Argo's own container beside it. `mapred argo rbac`
            prints both, and `submitter_service_account`, of the pods that scheduled jobs start by.
        kubeconfig, context: how this machine reaches the cluster; or `server`, an Argo
            server's URL, with the token in the environment variable `token_env`.
        volumes: of every pod, such as the one that holds the root.
        python: the program in the image.
        priority: among waiting Workflows; pods have `Resources(priority_class=)`.
        ttl: how long a finished Workflow stays in the cluster, in seconds or as `"7d"`; its run's
            folder stays.
        image_cache: where the platform has one.
        run_as_user: the number of the user that pods run as; 0 is root.
        pending: how long (seconds, or `"30m"`) pods may wait for what no node offers, or to
            start, while none runs, before a run that is watched is given up. Pods that wait for their turn (a
            quota, a queue, busy nodes, Argo's parallelism) wait as long as it takes.
        pod_spec_patch: the last resort: a strategic merge patch of every pod's spec.
    """

    namespace: Text | None = None
    image: Text | None = None
    packages: tuple[str, ...] | None = None
    platform: Text = "x86_64-manylinux_2_28"
    root: Text | None = None
    endpoint: Text | None = None
    region: Text | None = None
    root_secret: Text | None = None
    root_secret_keys: tuple[str, str] = ("accessKey", "secretKey")
    provider: Text = "kubernetes"
    parallelism: FromOne = 256
    max_pods: FromOne = MOST_PODS
    retries: FromZero = 5
    service_account: Text = "mapred-task"
    executor_service_account: Text = "mapred-executor"
    submitter_service_account: Text = "mapred-submitter"
    kubeconfig: Text | None = None
    context: Text | None = None
    server: Text | None = None
    token_env: Text = "ARGO_TOKEN"
    volumes: tuple[Volume, ...] = ()
    python: Text = "python3"
    image_pull_policy: Text = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    image_cache: bool = False
    priority: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ttl: DurationFromZero = 7 * 86_400
    run_as_user: FromZero = 10_001
    pending: Duration = 1800
    pod_spec_patch: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.volumes, list | tuple):
            made = tuple(_volume(value) for value in self.volumes)
            object.__setattr__(self, "volumes", made)
        check_fields(self, BackendError)
        self._check_names()
        if self.max_pods > MOST_PODS:
            raise BackendError(
                f"max_pods={self.max_pods}: the limit is {MOST_PODS}; more tasks share pods, each "
                "with a commit of its own"
            )
        if self.server is not None and (self.kubeconfig or self.context):
            raise BackendError(
                "server= is one way to reach the cluster, kubeconfig= and context= another: "
                "leave one out"
            )

    def _check_names(self) -> None:
        if self.provider not in PROVIDERS:
            raise BackendError(
                f"provider={self.provider!r}: there are {', '.join(map(repr, PROVIDERS))}"
            )
        policies = ("Always", "IfNotPresent", "Never")
        if self.image_pull_policy not in policies:
            raise BackendError(
                f"image_pull_policy={self.image_pull_policy!r}: there are {', '.join(policies)}"
            )
        named = {
            what: getattr(self, what)
            for what in (
                "namespace",
                "root_secret",
                "service_account",
                "executor_service_account",
                "submitter_service_account",
            )
        }
        named.update({f"image_pull_secrets: {n}": n for n in self.image_pull_secrets})
        for what, name in named.items():
            if name is not None and not _NAME.fullmatch(name):
                raise BackendError(f"{what}={name!r} is not a name that Kubernetes takes")
        if len(self.root_secret_keys) != 2:
            raise BackendError("root_secret_keys= are two: of the access key, of the secret key")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.token_env):
            raise BackendError("token_env= is the name of an environment variable, not a token")
        for what, start in (("endpoint", r"https?://[^/@]+"), ("server", r"https?://[^@]+")):
            url = getattr(self, what)
            if url is not None and not re.fullmatch(start + "/?", url):
                raise BackendError(f"{what}= must be a URL such as https://host:port, no more")
        for what in ("root", "endpoint", "server"):
            url, remedy = getattr(self, what) or "", "name Secrets and variables instead"
            secrecy.refuse_urls((url,), f"{what}=", BackendError, remedy)
        mappings = ("labels", "annotations", "pod_spec_patch")
        for what, value in vars(self).items():
            name = secrecy.found_in(value) if what in mappings else None
            if name is not None or secrecy.anywhere_in(value):
                raise BackendError(
                    f"{what}= looks like a secret{f' at {name!r}' if name else ''}, and a Workflow "
                    "is shown in the open: leave it out, or write mapred.public('…') if all may "
                    "see it"
                )

    @property
    def name(self) -> str:
        return "argo"

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What differs from the defaults, as JSON holds it."""
        given = dataclasses.asdict(self)
        plain = dataclasses.asdict(type(self)())
        return {
            what: list(value) if isinstance(value, tuple) else value
            for what, value in given.items()
            if value != plain[what]
        }

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
        """The Workflow of a run as YAML; see `mapred.backends.argo.render`."""
        from mapred.backends.argo.render import render_text

        return render_text(job, self, uri=uri, digest=digest, packages=packages, name=name)

    def submit(self, store: Store, job: Job, digest: str) -> Handle:
        return self.start(store, job, digest, self.packages_for(store.uri, job.python))

    def start(self, store: Store, job: Job, digest: str, packages: str | None) -> Handle:
        """Create the Workflow of a run whose pods unpack an archive that is there already."""
        from mapred.backends.argo import client as clients
        from mapred.backends.argo import handle, render

        left = None
        if job.deadline is not None:
            left = max(1.0, starts.left(job, starts.read(store), time.time()))
        client = clients.connect(self)
        name = first = render.workflow_name(job)
        tries = 1
        while client.get(name) is not None:
            tries += 1
            name = f"{first[:58]}-{tries}"
        workflow = render.render(
            dataclasses.replace(job, deadline=left),
            self,
            uri=store.uri,
            digest=digest,
            packages=packages,
            name=name,
        )
        client.create(render.to_dict(workflow))
        return handle.Following(store, job, client, name, pending=seconds(self.pending))

    def packages_for(
        self,
        uri: str,
        python: str,
        more: tuple[str, ...] = (),
        extras: tuple[str, ...] = (),
    ) -> str | None:
        """The digest of the archive that pods unpack; None where their image has everything.

        `more` are requirements beside `packages`, `extras` those of mapred.
        """
        if self.image is not None and self.packages is None:
            return None
        from mapred.backends.argo import locations
        from mapred.backends.argo import packages as environment

        if locations.scheme_of(uri):
            locations.location(self, uri, "packages")  # refused before they are resolved
        root = open_store(uri.rstrip("/").rpartition("/")[0])
        return environment.store_packages(
            root,
            (*(self.packages or ()), *more),
            extras=extras,
            python=python,
            platform=self.platform,
            scheme=locations.scheme_of(uri),
        )

    def expected(self, used: Mapping[str, str]) -> dict[str, str]:
        """Of packages and their versions here, those that pods are to have as well.

        A requirement of `packages` that rules out the version here is meant, and no mistake.
        """
        if not self.packages:
            return dict(used)
        from mapred.backends.argo import packages as environment

        out = environment.ruled_out(self.packages, used)
        return {name: version for name, version in used.items() if name not in out}

    def within(self, packages: str | None) -> Backend:
        """This backend as a pod of the cluster uses it, with packages that were stored before."""
        from mapred.backends.argo import cron as crons

        return crons.Inside(self, packages)

    def schedule(self, wanted: Schedule, asked: Resources, packages: tuple[str, ...]) -> None:
        """Have a job started by the clock; a schedule of that name is replaced."""
        from mapred.backends.argo import client as clients
        from mapred.backends.argo import cron as crons

        client = clients.connect(self)
        known = {cron["metadata"]["name"] for cron in client.crons("")}
        own = {found.name for found in self._schedules(client)}
        if wanted.name in known - own:
            raise BackendError(
                f"there is a CronWorkflow {wanted.name!r} in {client.namespace!r} that mapred did "
                "not make: choose another name="
            )
        digest = self.packages_for(f"{wanted.root}/run", crons.python(), packages, ("argo",))
        client.put_cron(crons.validated(crons.manifest(self, wanted, asked, digest)))

    def schedules(self) -> list[Schedule]:
        """The jobs that start by the clock in the namespace, by name."""
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
        """What keeps runs from working, looked at one after the other: see `mapred doctor`."""
        from mapred.backends.argo import doctor

        return doctor.examine(self, root, pod=pod)

    def reopen(self, store: Store, job: Job, ref: str) -> Handle | None:
        """The handle of a run that was submitted before, by its `ref`; None where that is none."""
        from mapred.backends.argo import client as clients
        from mapred.backends.argo import handle

        found = _REF.fullmatch(ref)
        if found is None:
            return None
        client = clients.connect(dataclasses.replace(self, namespace=found["namespace"]))
        told = (job.backend.get("arguments") or {}).get("pending", self.pending)
        pending = seconds(dataclasses.replace(self, pending=told).pending)
        digest = hashlib.sha256(store.read(layout.JOB)).hexdigest()
        return handle.Following(
            store, job, client, found["workflow"], pending=pending, digest=digest
        )


def _volume(value: Any) -> Any:
    """A volume of what job.json and mapred.toml hold of one; all else as it is."""
    known = {each.name for each in dataclasses.fields(Volume)}
    return Volume(**value) if isinstance(value, Mapping) and known.issuperset(value) else value
