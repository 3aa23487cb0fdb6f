"""The template of a stage's pods: one container, its resources, volumes, retries and artifacts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mapred.backends.argo import locations
from mapred.backends.argo.placement import place
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.argo.yaml import to_yaml
from mapred.model import layout
from mapred.model.resources import THREADS, Resources, Volume, parse_bytes
from mapred.model.retries import longest_pauses
from mapred.model.spec import Job
from mapred.worker.blocks import FAILED, MISMATCH

WORK = "/mapred"
ARTIFACTS = f"{WORK}/artifacts"
PARAMETERS = ("stage", "block", "size")
# What starting a pod may take beside its tasks: images, packages, a node that is made first.
_START_SECONDS = 1800
_GONE_FOR_GOOD = (FAILED, MISMATCH)
# What Argo's own container says of a store that refuses its credentials, in the stores' words.
_REFUSED = (
    "Access ?Denied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "signature we calculated",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "Error 403",
)
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@dataclass(frozen=True)
class TemplateContext:
    """What all templates of a Workflow share: the job, the cluster, the run's place."""

    job: Job
    argo: ArgoSettings
    uri: str
    packages: str | None = None

    @property
    def root(self) -> str:
        """The folder that holds the runs, and the packages beside them."""
        return self.uri.rstrip("/").rpartition("/")[0]


def template(
    run: TemplateContext, name: str, asked: Resources, block: int, closes: bool
) -> dict[str, Any]:
    """Return the pods of a stage whose blocks have up to `block` tasks; the last one `closes` the
    run."""
    found = place(run.argo.provider, asked, image_cache=run.argo.image_cache)
    volumes = (*run.argo.volumes, *asked.volumes)
    locations.check_root(run.argo, run.uri, volumes)
    values: dict[str, Any] = {
        "name": name,
        "inputs": {"parameters": [{"name": each} for each in PARAMETERS], **_packages(run)},
        "outputs": _artifacts(run, closes),
        "container": _container(run, asked, volumes, found.scratch),
        "volumes": [
            {"name": "mapred", "emptyDir": {}},
            *(volume_source(number, volume) for number, volume in enumerate(volumes)),
        ],
        "metadata": {"labels": dict(found.labels), "annotations": dict(found.annotations)},
        "nodeSelector": dict(found.node_selector),
        "tolerations": [dict(toleration) for toleration in found.tolerations],
        "affinity": {"nodeAffinity": dict(found.affinity)} if found.affinity else {},
        "priorityClassName": asked.priority_class,
        "retryStrategy": {
            **retries(run.argo, fetches=bool(_packages(run))),
            "backoff": {"duration": "5s", "factor": "2", "cap": "2m"},
        },
        "activeDeadlineSeconds": _deadline(run.job, block),
        "podSpecPatch": _patch(
            merge_patches(_memory(asked, run.argo.retries), asked.pod_spec_patch)
        ),
    }
    kept: dict[str, Any] = drop_empty(values)
    return kept


def _container(
    run: TemplateContext, asked: Resources, volumes: tuple[Volume, ...], scratch: bool
) -> dict[str, Any]:
    worker = [
        "{{workflow.parameters.run}}",
        "{{workflow.parameters.digest}}",
        *(f"{{{{inputs.parameters.{name}}}}}" for name in PARAMETERS),
    ]
    python = run.argo.python
    if run.packages is None:
        command, arguments = [python, "-m", "mapred.worker.supervisor"], worker
    else:
        command = [python, "-c", bootstrap_text()]
        digest = "{{workflow.parameters.packages}}"
        arguments = [_archive(run), digest, run.job.python, f"{WORK}/packages", *worker]
    return {
        "image": run.argo.image or f"python:{run.job.python}-slim",
        "imagePullPolicy": run.argo.image_pull_policy,
        "command": command,
        "args": arguments,
        "env": [*_threads(asked), *environment(run.argo, run.uri, asked)],
        "resources": _resources(asked, scratch),
        "securityContext": LOCKED,
        "volumeMounts": [
            {"name": "mapred", "mountPath": WORK},
            *(volume_mount(number, volume) for number, volume in enumerate(volumes)),
        ],
    }


@lru_cache(maxsize=1)
def bootstrap_text() -> str:
    """Return what `python -c` is given in a pod whose packages come from the root."""
    return (Path(__file__).parent / "pod_scripts/bootstrap.py").read_text()


def _packages(run: TemplateContext) -> dict[str, Any]:
    """Return the packages' archive as an artifact that Argo fetches before the container starts."""
    if run.packages is None or not locations.scheme_of(run.uri):
        return {}
    key = layout.packages("{{workflow.parameters.packages}}")
    where = locations.location(run.argo, run.root, key)
    return {
        "artifacts": [{"name": "packages", "path": _archive(run), "archive": {"none": {}}, **where}]
    }


def _archive(run: TemplateContext) -> str:
    if locations.scheme_of(run.uri):
        return f"{WORK}/packages.tar"
    return f"{run.root}/{layout.packages('{{workflow.parameters.packages}}')}"


def _artifacts(run: TemplateContext, closes: bool) -> dict[str, Any]:
    """Return the copies for people who look at the Workflow; a pod that failed has none to give."""
    if not locations.copies(run.argo, run.uri):
        return {}
    names = {"commits": "argo/{{inputs.parameters.stage}}/{{inputs.parameters.block}}.json"}
    names |= {"result": "argo/result.json"} if closes else {}
    return {
        "artifacts": [
            {
                "name": name,
                "path": f"{ARTIFACTS}/{name}.json",
                "optional": True,
                "archive": {"none": {}},
                **locations.location(run.argo, run.uri, key),
            }
            for name, key in names.items()
        ]
    }


def environment(argo: ArgoSettings, uri: str, asked: Resources) -> list[dict[str, Any]]:
    """Return the variables of a pod that reaches `uri`, and what `asked` names."""
    found: list[dict[str, Any]] = [
        {"name": "HOME", "value": WORK},
        {"name": "LOGNAME", "value": "mapred"},
    ]
    if locations.copies(argo, uri):
        found.append({"name": "MAPRED_ARTIFACTS", "value": ARTIFACTS})
    found += locations.variables(argo, uri)
    known = {*asked.env, *asked.secrets}
    found = [variable for variable in found if variable["name"] not in known]
    found += [{"name": name, "value": value} for name, value in asked.env.items()]
    for name, reference in asked.secrets.items():
        secret, _, key = reference.partition("/")
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    return found


def _threads(asked: Resources) -> list[dict[str, str]]:
    """Left alone, numeric libraries start a thread for every core of the node."""
    cores = str(max(1, int(asked.cpu)))
    named = {*asked.env, *asked.secrets}
    return [{"name": name, "value": cores} for name in THREADS if name not in named]


def _resources(asked: Resources, scratch: bool) -> dict[str, Any]:
    """Memory and disk are promised and limited alike; of cores, more may be used if idle."""
    requests = {"cpu": cores(asked.cpu)}
    limits: dict[str, str] = {}
    if asked.memory is not None:
        requests["memory"] = limits["memory"] = quantity(asked.memory)
    if asked.disk is not None and scratch:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = quantity(asked.disk)
    if asked.gpu:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(asked.gpu)
    return {"requests": requests, "limits": limits}


def cores(number: float) -> str:
    """Cores as Kubernetes writes them: whole, or in thousandths."""
    thousandths = math.ceil(round(number * 1000, 6))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def quantity(size: str | int) -> str:
    """Bytes in the largest binary unit that holds them exactly."""
    number = parse_bytes(size)
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        scale = 2 ** {"Ti": 40, "Gi": 30, "Mi": 20, "Ki": 10}[unit]
        if number % scale == 0:
            return f"{number // scale}{unit}"
    return str(number)


def _memory(asked: Resources, retries: int) -> dict[str, Any]:
    """Return a patch by which a pod that ran out of memory gets twice as much, up to `max_memory`.

    Only the retry after exit code 137 grows, so that a lost node does not make pods larger.
    """
    if asked.max_memory is None or asked.memory is None:
        return {}
    first, most = (math.ceil(parse_bytes(x) / 2**20) for x in (asked.memory, asked.max_memory))
    sizes = [first]
    while sizes[-1] < most and len(sizes) <= retries:
        sizes.append(min(2 * sizes[-1], most))
    grown = f"asInt(lastRetry.exitCode) == 137 ? min(asInt(retries), {len(sizes) - 1}) : 0"
    memory = {"memory": f"{{{{={sizes}[{grown}]}}}}Mi"}
    limits = {"requests": memory, "limits": memory}
    return {"containers": [{"name": "main", "resources": limits}]}


def retries(argo: ArgoSettings, *, fetches: bool) -> dict[str, Any]:
    """Everything is tried again but what the worker calls final.

    A deny-list, as a pod can be lost in more ways than have a name: a container whose shim
    dies ends with 255, a pod that is gone has no exit code. A pod that `fetches` an artifact
    may be refused before its worker starts, of which Argo tells by a message alone.
    """
    denied = ", ".join(map(str, _GONE_FOR_GOOD))
    expression = f"asInt(lastRetry.exitCode) not in [{denied}]"
    if fetches:
        refused = f"failed to load: .*({'|'.join(_REFUSED)})"
        expression += f" && !(lastRetry.message matches '{refused}')"
    return {"limit": str(argo.retries), "retryPolicy": "Always", "expression": expression}


def _deadline(job: Job, block: int) -> int | None:
    """Seconds after which a pod is given up, so that one whose node is lost ends too."""
    if job.timeout is None:
        return None
    # Items that failed are tried again one by one.
    alone = math.ceil(job.items / max(1, job.shards)) if job.format.once_per_item else 1
    calls = block * max(1, alone)
    seconds = calls * (job.timeout * job.attempts + longest_pauses(job.attempts))
    # The field holds 32 bits.
    return min(math.ceil(seconds) + _START_SECONDS, 2**31 - 1)


def volume_mount(number: int, volume: Volume) -> dict[str, Any]:
    mount = {"name": f"volume-{number}", "mountPath": volume.path}
    mount |= {"subPath": volume.sub_path} if volume.sub_path else {}
    return {**mount, **({"readOnly": True} if volume.read_only else {})}


def volume_source(number: int, volume: Volume) -> dict[str, Any]:
    name = f"volume-{number}"
    if volume.claim is not None:
        return {"name": name, "persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.nfs is not None:
        server, _, path = volume.nfs.partition(":")
        return {"name": name, "nfs": {"server": server, "path": path}}
    if volume.memory is not None:
        limit = quantity(volume.memory)
        return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": limit}}
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": quantity(volume.disk or 0)}},
    }
    if volume.storage_class is not None:
        claim["storageClassName"] = volume.storage_class
    return {"name": name, "ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def whole_pod_patch(argo: ArgoSettings) -> str:
    """Return what every pod needs beyond its template: small, locked containers of Argo's own."""
    small = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
    beside = {
        "securityContext": {**LOCKED, "readOnlyRootFilesystem": True},
        "resources": small,
    }
    own = {
        "initContainers": [{"name": "init", **beside}],
        "containers": [{"name": "wait", **beside}],
    }
    return _patch(merge_patches(own, argo.pod_spec_patch)) or ""


def merge_patches(patch: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two strategic merge patches as one: items of lists are matched by their `name`."""
    found = dict(patch)
    for key, value in over.items():
        before = found.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            found[key] = merge_patches(before, value)
        elif isinstance(before, list) and isinstance(value, list | tuple):
            found[key] = _merge_lists(before, list(value))
        else:
            found[key] = value
    return found


def _merge_lists(before: list[Any], over: list[Any]) -> list[Any]:
    named = {item["name"]: item for item in before if isinstance(item, Mapping) and "name" in item}
    if len(named) < len(before):
        return [*before, *over]
    for item in over:
        if not isinstance(item, Mapping) or "name" not in item:
            return [*before, *over]
        named[item["name"]] = merge_patches(named.get(item["name"], {}), item)
    return list(named.values())


def _patch(patch: Mapping[str, Any]) -> str | None:
    return to_yaml(patch) if patch else None


def drop_empty(value: Any) -> Any:
    """Without what is empty or None; an empty mapping that means something stays by name."""
    if not isinstance(value, Mapping):
        return [drop_empty(item) for item in value] if isinstance(value, list) else value
    kept = {key: drop_empty(item) for key, item in value.items()}
    meant = ("none", "emptyDir")
    return {k: v for k, v in kept.items() if k in meant or v not in (None, {}, [])}


def slug(text: str, most: int) -> str:
    """Return a name that Kubernetes takes, made from any text; `job` where nothing is left."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower())[:most].strip("-")
    return found or "job"
