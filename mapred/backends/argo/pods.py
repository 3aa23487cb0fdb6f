"""The template of a stage's pods: one container, its resources, volumes, retries and artifacts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapred.backends.argo import locations
from mapred.backends.argo.objects import drop_empty
from mapred.backends.argo.placement import Placement, place
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.argo.yaml import to_yaml
from mapred.model import layout
from mapred.model.resources import THREADS, Resources, Volume, parse_bytes
from mapred.model.retries import FAILED, MISMATCH, longest_pauses
from mapred.model.spec import Job

WORK = "/mapred"
ARTIFACTS = f"{WORK}/artifacts"
PARAMETERS = ("stage", "block", "size")
SUPERVISOR = "mapred.worker.supervisor"
_DIGEST = "{{workflow.parameters.packages}}"
# How long a pod may take to start: images, packages, a node that is made for it.
_START_SECONDS = 1800
_GONE_FOR_GOOD = (FAILED, MISMATCH)
# The words in which a store refuses the credentials of Argo's own container.
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


def template(
    run: TemplateContext, name: str, resources: Resources, block: int, closes: bool
) -> dict[str, Any]:
    """Return the template of a stage's pods, each with up to `block` tasks.

    A stage that `closes` the run gives its result as an artifact as well.
    """
    argo = run.argo
    placement = place(argo.provider, resources, image_cache=argo.image_cache)
    volumes = (*argo.volumes, *resources.volumes)
    locations.check_root(argo, run.uri, volumes)
    locations.check_runs(run.job.format, volumes)
    words = [
        "{{workflow.parameters.run}}",
        "{{workflow.parameters.digest}}",
        *(f"{{{{inputs.parameters.{name}}}}}" for name in PARAMETERS),
    ]
    root = run.uri.rstrip("/").rpartition("/")[0]
    patch = merge_patches(_memory(resources, argo.retries), resources.pod_spec_patch)
    command, inputs = program(argo, root, SUPERVISOR, words, run.packages, run.job.python)
    values = {
        "name": name,
        "inputs": {"parameters": [{"name": name} for name in PARAMETERS], **inputs},
        "outputs": _outputs(run, closes),
        "container": _container(run, command, resources, placement.scratch),
        "volumes": volume_sources(volumes),
        **placement_fields(placement),
        "affinity": {"nodeAffinity": placement.affinity} if placement.affinity else {},
        "priorityClassName": resources.priority_class,
        "retryStrategy": {
            **retries(argo, fetches=bool(inputs)),
            "backoff": {"duration": "5s", "factor": "2", "cap": "2m"},
        },
        "activeDeadlineSeconds": _deadline(run.job, block),
        "podSpecPatch": to_yaml(patch) if patch else None,
    }
    return drop_empty(values)


def _container(
    run: TemplateContext, command: Mapping[str, Any], resources: Resources, scratch: bool
) -> dict[str, Any]:
    return {
        "image": image(run.argo, run.job.python),
        "imagePullPolicy": run.argo.image_pull_policy,
        **command,
        "env": [*_threads(resources), *environment(run.argo, run.uri, resources)],
        "resources": _requests(resources, scratch),
        "securityContext": LOCKED,
        "volumeMounts": volume_mounts((*run.argo.volumes, *resources.volumes)),
    }


def image(argo: ArgoSettings, python: str) -> str:
    return argo.image or f"python:{python}-slim"


def placement_fields(placement: Placement) -> dict[str, Any]:
    """Return the fields of a template that say where its pods run; an affinity is not among them."""
    return {
        "metadata": {"labels": placement.labels, "annotations": placement.annotations},
        "nodeSelector": placement.node_selector,
        "tolerations": list(placement.tolerations),
    }


def program(
    argo: ArgoSettings,
    root: str,
    module: str,
    words: list[str],
    packages: str | None,
    python: str,
    *,
    digest: str = _DIGEST,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the command by which a pod runs a module of mapred, and the artifacts that it needs.

    With packages, a script unpacks their archive first; its `digest` is a parameter of the Workflow
    unless another text is given.
    """
    if packages is None:
        return {"command": [argo.python, "-m", module], "args": words}, {}
    key = layout.packages(digest)
    archive = f"{root}/{key}"
    inputs: dict[str, Any] = {}
    if locations.scheme_of(root):
        archive = f"{WORK}/packages.tar"
        inputs = {"artifacts": [_artifact(argo, root, key, "packages", archive)]}
    script = bootstrap_text().replace(f'"{SUPERVISOR}"', f'"{module}"')
    arguments = [archive, digest, python, f"{WORK}/packages", *words]
    return {"command": [argo.python, "-c", script], "args": arguments}, inputs


def bootstrap_text() -> str:
    """Return the script for `python -c` in a pod whose packages come from the root."""
    return (Path(__file__).parent / "pod_scripts/bootstrap.py").read_text()


def _outputs(run: TemplateContext, closes: bool) -> dict[str, Any]:
    """Return the copies for people who look at the Workflow; a pod that failed has none to give."""
    if not locations.copies(run.argo, run.uri):
        return {}
    keys = {"commits": "argo/{{inputs.parameters.stage}}/{{inputs.parameters.block}}.json"}
    if closes:
        keys["result"] = "argo/result.json"
    return {
        "artifacts": [
            _artifact(run.argo, run.uri, key, name, f"{ARTIFACTS}/{name}.json", optional=True)
            for name, key in keys.items()
        ]
    }


def _artifact(
    argo: ArgoSettings, uri: str, key: str, name: str, path: str, **more: Any
) -> dict[str, Any]:
    """Return a file of a pod at `path` that Argo keeps as it is, at `key` below `uri`."""
    location = locations.location(argo, uri, key)
    return {"name": name, "path": path, **more, "archive": {"none": {}}, **location}


def environment(argo: ArgoSettings, uri: str, resources: Resources) -> list[dict[str, Any]]:
    """Return the variables of a pod that reaches `uri`, and what `resources` names."""
    variables: list[dict[str, Any]] = [
        {"name": "HOME", "value": WORK},
        {"name": "LOGNAME", "value": "mapred"},
    ]
    if locations.copies(argo, uri):
        variables.append({"name": "MAPRED_ARTIFACTS", "value": ARTIFACTS})
    variables += locations.variables(argo, uri)
    named = {*resources.env, *resources.secrets}
    variables = [variable for variable in variables if variable["name"] not in named]
    variables += [{"name": name, "value": value} for name, value in resources.env.items()]
    for name, reference in resources.secrets.items():
        variables.append({"name": name, "valueFrom": secret_reference(reference)})
    return variables


def secret_reference(text: str) -> dict[str, Any]:
    """Return the source of a variable that is kept in a Secret, from a text such as `secret/key`."""
    name, _, key = text.partition("/")
    return {"secretKeyRef": {"name": name, "key": key}}


def _threads(resources: Resources) -> list[dict[str, str]]:
    """Return variables that bound the threads of numeric libraries.

    Without them such a library starts a thread for every core of the node.
    """
    cores = str(max(1, int(resources.cpu)))
    named = {*resources.env, *resources.secrets}
    return [{"name": name, "value": cores} for name in THREADS if name not in named]


def _requests(resources: Resources, scratch: bool) -> dict[str, Any]:
    """Return requests and limits, which are the same but for cores: idle ones are free to use."""
    requests = {"cpu": cores(resources.cpu)}
    limits: dict[str, str] = {}
    if resources.memory is not None:
        requests["memory"] = limits["memory"] = quantity(resources.memory)
    if resources.disk is not None and scratch:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = quantity(resources.disk)
    if resources.gpu:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(resources.gpu)
    return {"requests": requests, "limits": limits}


def cores(number: float) -> str:
    """Return cores as Kubernetes writes them: whole, or in thousandths."""
    thousandths = math.ceil(round(number * 1000, 6))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def quantity(size: str | int) -> str:
    """Return bytes in the largest binary unit that holds them exactly."""
    number = parse_bytes(size)
    for unit, scale in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if number % scale == 0:
            return f"{number // scale}{unit}"
    return str(number)


def _memory(resources: Resources, retries: int) -> dict[str, Any]:
    """Return a patch by which a pod that ran out of memory gets twice as much, up to `max_memory`.

    Only the retry after exit code 137 grows, so that a lost node does not make pods larger.
    """
    if resources.max_memory is None or resources.memory is None:
        return {}
    first, most = (
        math.ceil(parse_bytes(x) / 2**20) for x in (resources.memory, resources.max_memory)
    )
    sizes = [first]
    while sizes[-1] < most and len(sizes) <= retries:
        sizes.append(min(2 * sizes[-1], most))
    grown = f"asInt(lastRetry.exitCode) == 137 ? min(asInt(retries), {len(sizes) - 1}) : 0"
    memory = {"memory": f"{{{{={sizes}[{grown}]}}}}Mi"}
    limits = {"requests": memory, "limits": memory}
    return {"containers": [{"name": "main", "resources": limits}]}


def retries(argo: ArgoSettings, *, fetches: bool) -> dict[str, Any]:
    """Return the retry strategy of a pod, which excludes the exit codes that the worker calls final.

    Listing what is retried would not do, as a pod can be lost in more ways than have a name: a
    container whose shim dies ends with 255, a pod that is gone has no exit code. A pod that
    `fetches` an artifact may be refused before its worker starts, which only a message tells.
    """
    denied = ", ".join(map(str, _GONE_FOR_GOOD))
    expression = f"asInt(lastRetry.exitCode) not in [{denied}]"
    if fetches:
        refused = f"failed to load: .*({'|'.join(_REFUSED)})"
        expression += f" && !(lastRetry.message matches '{refused}')"
    return {"limit": str(argo.retries), "retryPolicy": "Always", "expression": expression}


def _deadline(job: Job, block: int) -> int | None:
    """Return the seconds after which a pod is given up, as one whose node is lost never ends."""
    if job.timeout is None:
        return None
    # Items that failed are tried again one by one.
    alone = math.ceil(job.items / max(1, job.shards)) if job.format.once_per_item else 1
    calls = block * max(1, alone)
    seconds = calls * (job.timeout * job.attempts + longest_pauses(job.attempts))
    # The field holds 32 bits.
    return min(math.ceil(seconds) + _START_SECONDS, 2**31 - 1)


def volume_mounts(volumes: Sequence[Volume]) -> list[dict[str, Any]]:
    """Return where a container sees the folder that mapred works in, and its volumes."""
    mounts: list[dict[str, Any]] = [{"name": "mapred", "mountPath": WORK}]
    for number, volume in enumerate(volumes):
        mount = {"name": f"volume-{number}", "mountPath": volume.path}
        if volume.sub_path:
            mount["subPath"] = volume.sub_path
        mounts.append({**mount, "readOnly": True} if volume.read_only else mount)
    return mounts


def volume_sources(volumes: Sequence[Volume]) -> list[dict[str, Any]]:
    """Return the volumes that `volume_mounts` names."""
    sources = [{"name": f"volume-{n}", **_source(volume)} for n, volume in enumerate(volumes)]
    return [{"name": "mapred", "emptyDir": {}}, *sources]


def _source(volume: Volume) -> dict[str, Any]:
    if volume.claim is not None:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.nfs is not None:
        server, _, path = volume.nfs.partition(":")
        return {"nfs": {"server": server, "path": path}}
    if volume.memory is not None:
        limit = quantity(volume.memory)
        return {"emptyDir": {"medium": "Memory", "sizeLimit": limit}}
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": quantity(volume.disk or 0)}},
    }
    if volume.storage_class is not None:
        claim["storageClassName"] = volume.storage_class
    return {"ephemeral": {"volumeClaimTemplate": {"spec": claim}}}


def whole_pod_patch(argo: ArgoSettings) -> str:
    """Return the patch of every pod: Argo's own containers are small, and locked like the worker's."""
    small = {
        "securityContext": {**LOCKED, "readOnlyRootFilesystem": True},
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"memory": "512Mi"},
        },
    }
    patch = {
        "initContainers": [{"name": "init", **small}],
        "containers": [{"name": "wait", **small}],
    }
    return to_yaml(merge_patches(patch, argo.pod_spec_patch))


def merge_patches(patch: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two strategic merge patches into one: items of lists are matched by their `name`."""
    merged = dict(patch)
    for key, value in over.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_patches(before, value)
        elif isinstance(before, list) and isinstance(value, list | tuple):
            merged[key] = _merge_lists(before, list(value))
        else:
            merged[key] = value
    return merged


def _merge_lists(before: list[Any], over: list[Any]) -> list[Any]:
    named = {item["name"]: item for item in before if isinstance(item, Mapping) and "name" in item}
    if len(named) < len(before):
        return [*before, *over]
    for item in over:
        if not isinstance(item, Mapping) or "name" not in item:
            return [*before, *over]
        named[item["name"]] = merge_patches(named.get(item["name"], {}), item)
    return list(named.values())
