"""The settings of a cluster: where it is, what its pods look like, how they reach the root."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mapred.backends.argo.placement import PROVIDERS
from mapred.errors import BackendError
from mapred.model.checking import check_fields
from mapred.model.resources import Volume
from mapred.model.rules import Duration, DurationFromZero, FromOne, FromZero, Text
from mapred.process import secrecy

MOST_PODS = 2000
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
# The fields that hold names of objects in the cluster.
_OBJECTS = (
    "namespace",
    "root_secret",
    "service_account",
    "executor_service_account",
    "submitter_service_account",
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True)
class ArgoSettings:
    """Pods of a Kubernetes cluster, by Argo Workflows: a run becomes one Workflow.

    No argument holds a secret: they name Secrets and environment variables.

    Args:
        namespace: Where the Workflow goes (default: the kubeconfig context's).
        image: The image of the pods, any with Python (default: `python:<minor>-slim` of this
            Python).
        packages: Requirements such as `pandas>=2`, resolved here for the image's Python and
            `platform`, and unpacked in each pod from an archive beside the runs; mapred and what it
            needs come along. None: the image has all, or is the default one.
        platform: The platform of the pods, as package wheels name it.
        root: Where runs are kept, unless `root=` of the run says otherwise.
        endpoint: The URL of the root's object store as the pods reach it, which may differ from this
            machine's.
        region: The region of that store.
        root_secret: The Secret with the store's access key and secret key; without it pods use the
            credentials of their platform.
        root_secret_keys: The keys of that Secret: of the access key, of the secret key.
        provider: `"kubernetes"`, `"eci"`, `"acs"`, `"gke"`, `"karpenter"` or `"aks"`.
        parallelism: The most pods at one time.
        max_pods: The most pods of a stage in all, up to 2,000: tasks beyond it share pods.
        retries: How often to start a pod again that infrastructure failed; the attempts of the user's
            function are counted apart.
        service_account: The account of the function, without rights or token; `mapred argo rbac`
            prints this one and the next two.
        executor_service_account: The account of Argo's own container beside it.
        submitter_service_account: The account of the pods that start runs: those of schedules, and those
            that call the functions of pipelines.
        kubeconfig: The file by which this machine reaches the cluster (default: `$KUBECONFIG`).
        context: The context of that file (default: its current one).
        server: The URL of an Argo server, instead of a kubeconfig.
        token_env: The environment variable with the token for `server`.
        volumes: Volumes of every pod, such as the one that holds the root.
        python: The program in the image that runs Python.
        image_pull_policy: `"Always"`, `"IfNotPresent"` or `"Never"`.
        image_pull_secrets: Secrets for the registry of the image.
        image_cache: Whether to use the platform's cache of images, where it has one.
        priority: The Workflow's priority among waiting ones; pods have
            `Resources(priority_class=…)`.
        labels: Labels of the Workflow and its pods.
        annotations: Annotations of the Workflow and its pods.
        ttl: How long a finished Workflow stays in the cluster, in seconds or as `"7d"`; its run's
            folder stays.
        run_as_user: The number of the user that pods run as; 0 is root.
        pending: How long, in seconds or as `"30m"`, pods may wait for what no node offers, or to
            start, while none runs, before a run that is watched is given up. Pods that wait for
            their turn (a quota, a queue, busy nodes, Argo's parallelism) wait as long as it takes.
        pod_spec_patch: The last resort: a strategic merge patch of every pod's spec.

    Raises:
        BackendError: An argument does not fit, or looks like a secret.

    Examples:
        >>> cluster = mapred.Argo(namespace="jobs", image="team/jobs:1.4", packages=(), parallelism=64)
        >>> job = mapred.job(abs, [-1, -2], resources=mapred.Resources(memory="2Gi"))
        >>> "image: team/jobs:1.4" in job.render(backend=cluster, root="s3://team/runs")
        True
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
            object.__setattr__(self, "volumes", tuple(map(_volume, self.volumes)))
        check_fields(self, BackendError)
        self._check_names()
        self._check_urls()
        self._refuse_secrets()
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
        if self.image_pull_policy not in _PULL_POLICIES:
            raise BackendError(
                f"image_pull_policy={self.image_pull_policy!r}: there are {', '.join(_PULL_POLICIES)}"
            )
        names = {what: getattr(self, what) for what in _OBJECTS}
        names.update({f"image_pull_secrets: {n}": n for n in self.image_pull_secrets})
        for what, name in names.items():
            if name is not None and not _NAME.fullmatch(name):
                raise BackendError(f"{what}={name!r} is not a name that Kubernetes takes")
        if len(self.root_secret_keys) != 2:
            raise BackendError("root_secret_keys= are two: of the access key, of the secret key")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.token_env):
            raise BackendError("token_env= is the name of an environment variable, not a token")

    def _check_urls(self) -> None:
        for what, start in (("endpoint", r"https?://[^/@]+"), ("server", r"https?://[^@]+")):
            url = getattr(self, what)
            if url is not None and not re.fullmatch(start + "/?", url):
                raise BackendError(f"{what}= must be a URL such as https://host:port, no more")
        for what in ("root", "endpoint", "server"):
            url, remedy = getattr(self, what) or "", "name Secrets and variables instead"
            secrecy.refuse_urls((url,), f"{what}=", BackendError, remedy)

    def _refuse_secrets(self) -> None:
        for what, value in vars(self).items():
            name = secrecy.find_secret(value) if isinstance(value, Mapping) else None
            if name is not None or secrecy.contains_secret(value):
                raise BackendError(
                    f"{what}= looks like a secret{f' at {name!r}' if name else ''}, and a Workflow "
                    "is visible to others: leave it out, or write mapred.public('…') if all may "
                    "see it"
                )

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Return the fields that differ from their defaults, as JSON holds them."""
        defaults = dataclasses.asdict(type(self)())
        return {
            what: list(value) if isinstance(value, tuple) else value
            for what, value in dataclasses.asdict(self).items()
            if value != defaults[what]
        }


def _volume(value: Any) -> Any:
    """Return the volume that a mapping of job.json or mapred.toml describes; all else as it is."""
    names = {field.name for field in dataclasses.fields(Volume)}
    return Volume(**value) if isinstance(value, Mapping) and names.issuperset(value) else value
