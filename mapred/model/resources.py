"""What a task asks for, on any backend: `Resources`, the volumes and the secrets in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, TypeAlias

from mapred.errors import PlanError
from mapred.model.checking import check, check_fields
from mapred.model.frozen import dataclass
from mapred.model.rules import AboveZero, FromZero, Rule, Size, Text, Unfit, size
from mapred.process import secrecy

# By these OpenBLAS, MKL and others are told how many threads they may start.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LEAST_MEMORY = 10**6  # less cannot hold a process: its unit is missing
_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def parse_bytes(text: str | int, what: str = "size") -> int:
    """Bytes of a Kubernetes quantity such as `"4Gi"`, `"500M"` or a plain number."""
    return size(check(what, text, Size, PlanError))


def _memory(value: Any) -> Any:
    number = size(value)
    if number < _LEAST_MEMORY:
        meant = "" if isinstance(value, str) else f"; did you mean '{number}Gi'?"
        raise Unfit(f"a process does not fit into {number} bytes{meant}")
    return value if isinstance(value, str) else number


Memory: TypeAlias = Annotated[
    str | int, Rule("bytes as a whole number, or a text such as '4Gi'", _memory)
]


@dataclass(frozen=True)
class Volume:
    """A folder that pods see at `path`, from one source; local backends use what lies there.

    Args:
        path: The absolute path that tasks use.
        claim: A PersistentVolumeClaim by name (a disk, a NAS, an OSS bucket).
        nfs: An NFS export, as `"server:/export"`.
        memory: The size of a file system in memory, such as `"2Gi"`.
        disk: The size of a disk that each pod gets for itself, such as `"100Gi"`.
        storage_class: The class of that disk (default: the cluster's).
        sub_path: The folder of the source to show (default: all of it).
        read_only: Whether tasks may only read.

    Raises:
        PlanError: The path is not absolute, or there is not exactly one source.

    Examples:
        >>> data = mapred.Volume("/data", claim="team-nas", read_only=True)
        >>> scratch = mapred.Volume("/scratch", disk="100Gi")
        >>> mapred.Resources(memory="4Gi", volumes=(data, scratch)).volumes[0].path
        '/data'
    """

    path: Text
    claim: Text | None = None
    nfs: Text | None = None
    memory: Size | None = None
    disk: Size | None = None
    storage_class: Text | None = None
    sub_path: Text | None = None
    read_only: bool = False

    def __post_init__(self) -> None:
        check_fields(self, PlanError)
        if not re.fullmatch(r"(/[^/:]+)+", self.path):
            raise PlanError(f"Volume(path={self.path!r}): write an absolute path such as '/data'")
        sources = [name for name in ("claim", "nfs", "memory", "disk") if getattr(self, name)]
        if len(sources) != 1:
            raise PlanError(
                f"Volume({self.path!r}) needs one of claim=, nfs=, memory= or disk=; it has "
                f"{' and '.join(sources) or 'none'}"
            )
        if self.claim is not None and not re.fullmatch(_NAME, self.claim):
            raise PlanError(
                f"Volume({self.path!r}): claim={self.claim!r} cannot be the name of a claim"
            )
        if self.nfs is not None and not re.fullmatch(r"[^/:\s]+:/\S*", self.nfs):
            raise PlanError(f"Volume({self.path!r}): nfs={self.nfs!r}; write 'server:/export'")
        if self.storage_class is not None and self.disk is None:
            raise PlanError(f"Volume({self.path!r}): storage_class= goes with disk=")


@dataclass(frozen=True)
class Resources:
    """What one task asks for. The same value serves every backend.

    Locally `memory` is the resident size above which a worker process is killed; `cpu` and `gpu`
    decide how many run side by side, and each has devices of its own. Numeric libraries start as
    many threads as whole cores, unless `OMP_NUM_THREADS` or their own variable says otherwise. What
    places pods is left alone by local backends.

    Args:
        cpu: How many cores, above 0; `0.5` is half of one.
        memory: Bytes, or a Kubernetes quantity such as `"4Gi"` (default: no limit).
        max_memory: A pod that ran out of memory is tried again with more, up to this.
        gpu: How many GPUs.
        gpu_type: Their model, as the platform names it (`nvidia-l4`, `A10`).
        disk: Scratch space beside the image, in bytes or as a quantity.
        instance_types: Types of machines, in order of preference.
        spot: Whether to run on capacity that may be taken away. A reduce runs on demand unless
            `reduce_resources` says otherwise.
        spot_price: The most to pay for it per hour, in the provider's currency.
        spot_fallback: Whether to go on demand where there is none (None: where the platform can).
        node_selector: Labels that the nodes must have.
        tolerations: Taints of nodes to tolerate: `"key=value:NoSchedule"`, `"key:NoSchedule"`, or
            `"*"` for all.
        priority_class: Which pods may push out others.
        env: Variables that others can see, for worker processes too: what only looks like a secret is
            written `mapred.public("…")`.
        secrets: Variables by reference: `{"PGPASSWORD": "database/password"}` is the key `password`
            of the Secret `database`.
        volumes: What pods mount, as `mapred.Volume`.
        labels: Labels of the pods, added to those of the platform.
        annotations: Annotations of the pods, added to those of the platform.
        pod_spec_patch: The last resort: a strategic merge patch of the pod's spec.

    Raises:
        PlanError: A value does not fit, or looks like a secret.

    Examples:
        >>> large = mapred.Resources(cpu=2, memory="4Gi", env={"OMP_NUM_THREADS": "1"})
        >>> run = mapred.run(abs, [-1, -2], resources=large, backend=mapred.Local(workers=1))
        >>> run.result()
        [1, 2]
    """

    cpu: AboveZero = 1
    memory: Memory | None = None
    max_memory: Memory | None = None
    gpu: FromZero = 0
    gpu_type: Text | None = None
    disk: Size | None = None
    instance_types: tuple[str, ...] = ()
    spot: bool = False
    spot_price: AboveZero | None = None
    spot_fallback: bool | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[str, ...] = ()
    priority_class: Text | None = None
    env: Mapping[Any, Any] = field(default_factory=dict)
    secrets: Mapping[Any, Any] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    pod_spec_patch: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, PlanError)
        self._check_sizes()
        self._check_places()
        check_variables(self.env, self.secrets)
        mappings = ("labels", "annotations", "node_selector", "pod_spec_patch")
        for what, value in vars(self).items():
            name = secrecy.find_secret(value) if what in mappings else None
            if name is not None or (what != "env" and secrecy.contains_secret(value)):
                raise PlanError(
                    f"{what}= looks like a secret{f' at {name!r}' if name else ''}, and pods are "
                    "visible to others: leave it out, or write mapred.public('…') if all may see it"
                )

    def _check_sizes(self) -> None:
        if self.max_memory is not None:
            if self.memory is None:
                raise PlanError(f"max_memory={self.max_memory!r} needs memory=, where to begin")
            if parse_bytes(self.max_memory) < parse_bytes(self.memory):
                raise PlanError(
                    f"max_memory={self.max_memory!r} is less than memory={self.memory!r}"
                )
        if self.gpu_type is not None and not self.gpu:
            raise PlanError(f"gpu_type={self.gpu_type!r} needs gpu=, how many")

    def _check_places(self) -> None:
        if not self.spot and (self.spot_price is not None or self.spot_fallback is not None):
            raise PlanError("spot_price= and spot_fallback= go with spot=True")
        for text in self.tolerations:
            parse_toleration(text)
        paths = [volume.path for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise PlanError(f"two volumes have one path: {', '.join(sorted(paths))}")

    @property
    def memory_bytes(self) -> int | None:
        """The memory in bytes, None if unlimited."""
        return None if self.memory is None else parse_bytes(self.memory, "memory")

    def on_demand(self) -> Resources:
        """Return the same on capacity that nobody takes away."""
        return dataclasses.replace(self, spot=False, spot_price=None, spot_fallback=None)

    @classmethod
    def of_stored(cls, values: Mapping[str, Any]) -> Resources:
        """Return what a record holds; it was judged when it was written, and is not judged again."""
        return cls(**secrecy.as_public(values))


def parse_toleration(text: str) -> dict[str, str]:
    """Return the Kubernetes toleration that `key=value:Effect`, `key:Effect`, `key` or `*` means."""
    match = re.fullmatch(
        r"(?P<key>[\w./-]+)(=(?P<value>[\w.-]*))?"
        r"(:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute))?",
        str(text),
    )
    if text == "*":
        return {"operator": "Exists"}
    if match is None:
        raise PlanError(
            f"toleration {text!r}: write 'key=value:NoSchedule', 'key:NoSchedule', or '*' for all"
        )
    found = {"key": match["key"], "operator": "Exists" if match["value"] is None else "Equal"}
    found |= {} if match["value"] is None else {"value": match["value"]}
    return found | ({"effect": match["effect"]} if match["effect"] else {})


def check_variables(env: Mapping[Any, Any], secrets: Mapping[Any, Any]) -> None:
    """Names that a shell takes, secrets by reference alone; no error shows a value."""
    for name in (*env, *secrets):
        if not isinstance(name, str) or not re.fullmatch(_VARIABLE, name):
            raise PlanError(f"{name!r} cannot be the name of an environment variable")
    for name, value in env.items():
        if not isinstance(value, str) or "\0" in value:
            raise PlanError(f"env: the value of {name} must be a string without NUL bytes")
        if secrecy.is_suspect(name, value):
            raise PlanError(
                f"env would show the value of {name}, which looks like a secret, to all who see "
                f"the job; store it in a Secret and write secrets={{{name!r}: "
                "'name-of-the-secret/key'}, set it in the environment of the workers, or write "
                f"env={{{name!r}: mapred.public('…')}} if all may see it"
            )
    for name, reference in secrets.items():
        secret, _, key = reference.partition("/") if isinstance(reference, str) else ("", "", "")
        if not re.fullmatch(_NAME, secret) or not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
            raise PlanError(f"secrets: {name} must be a reference: 'name-of-the-secret/key'")
        if name in env:
            raise PlanError(f"{name} is in env and in secrets")
