"""A job as an Argo Workflow: pure, of constant size, whatever the number of shards.

    run (DAG)   map: a loop over blocks of tasks -> reduce-1 -> … -> the last stage closes the run

Each stage is a node, a loop where it has several blocks; stages that ask for the same share a
template. An edge lets a failed stage through: who reads its outputs decides, not the engine.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.backends.argo import pods
from mapred.backends.argo.admission import admit
from mapred.backends.argo.objects import MANAGED, build_arguments, build_object, slug
from mapred.backends.argo.pods import TemplateContext
from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError
from mapred.model.resources import Resources
from mapred.model.rules import seconds
from mapred.model.spec import Job

# The etcd of a cluster takes no object beyond 1.5 MiB, Argo none beyond 1 MiB.
LIMIT = 2**20
RESULT = "result"


@dataclass(frozen=True)
class _Node:
    """A node of the DAG: `blocks` pods, each with up to `size` tasks of one stage."""

    name: str
    kind: str
    after: str | None
    resources: Resources
    blocks: int = 1
    size: int = 1
    closes: bool = False


def workflow_name(job: Job) -> str:
    """Return the job's name and the run's id, in up to 63 letters."""
    return f"{slug(job.name, 62 - len(job.run_id))}-{slug(job.run_id, 40)}"


def free_name(
    get: Callable[[str], Mapping[str, Any] | None],
    first: str,
    is_wanted: Callable[[Mapping[str, Any]], bool] = lambda workflow: False,
) -> tuple[str, bool]:
    """Return a name that no Workflow has, this one or it with a number, and False.

    Or that of one `is_wanted`, and True.
    """
    name, tries = first, 1
    while (found := get(name)) is not None:
        if is_wanted(found):
            return name, True
        tries += 1
        name = f"{first[:58]}-{tries}"
    return name, False


def split_tasks(tasks: int, most: int) -> tuple[int, int]:
    """Return how many pods a stage has, at most `most`, and the tasks of the largest of them."""
    size = max(1, math.ceil(tasks / most))
    return max(1, math.ceil(tasks / size)), size


def manifest(
    job: Job,
    argo: ArgoSettings,
    *,
    uri: str,
    digest: str,
    packages: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return the Workflow of a run as plain values, which are printed and submitted as they are.

    `uri` is the run's folder, `digest` the SHA-256 of its job.json, `packages` that of the
    archive `layout.packages` below the root (None: the image has all that the job needs).
    """
    resources = tuple(stage.resources for stage in job.stages)
    admit(argo, resources, root=uri, python=job.python, name=name, digest=digest, packages=packages)
    nodes = _nodes(job, argo)
    templates, of_node = _templates(TemplateContext(job, argo, uri, packages), nodes)
    dag = {"name": "run", "dag": {"tasks": [_task(node, of_node[node.name]) for node in nodes]}}
    marks = {**MANAGED, "mapred-run": slug(job.run_id, 63)}
    spec = {
        "entrypoint": "run",
        "arguments": build_arguments({"run": uri, "digest": digest, "packages": packages}),
        "templates": [dag, *templates],
        **build_common_spec(argo, marks),
        "parallelism": argo.parallelism,
        "priority": argo.priority,
        "activeDeadlineSeconds": None if job.deadline is None else math.ceil(job.deadline),
        **build_cleanup_spec(argo),
    }
    workflow = build_object(
        "Workflow",
        argo,
        name or workflow_name(job),
        spec,
        labels={**marks, **argo.labels},
        annotations={"mapred-uri": uri, **argo.annotations},
    )
    size = len(json.dumps(workflow))
    if size > LIMIT:
        raise BackendError(
            f"the Workflow of {job.name} has {size:,} bytes, and Argo takes {LIMIT:,}: shorten "
            "env=, labels=, annotations= or pod_spec_patch="
        )
    return workflow


def build_common_spec(argo: ArgoSettings, marks: Mapping[str, str]) -> dict[str, Any]:
    """Return the accounts, rights and labels of the pods of any Workflow."""
    user = {"runAsUser": argo.run_as_user, "seccompProfile": {"type": "RuntimeDefault"}}
    if argo.run_as_user:
        group = {"runAsGroup": argo.run_as_user, "fsGroup": argo.run_as_user}
        user |= {"runAsNonRoot": True, **group, "fsGroupChangePolicy": "OnRootMismatch"}
    return {
        "serviceAccountName": argo.service_account,
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": argo.executor_service_account},
        "securityContext": user,
        "podSpecPatch": pods.whole_pod_patch(argo),
        "podMetadata": {"labels": dict(marks)},
        "imagePullSecrets": [{"name": secret} for secret in argo.image_pull_secrets],
    }


def build_cleanup_spec(argo: ArgoSettings) -> dict[str, Any]:
    """Return when finished pods are deleted, and the Workflow itself."""
    return {
        "podGC": {"strategy": "OnPodCompletion", "deleteDelayDuration": "60s"},
        "ttlStrategy": {"secondsAfterCompletion": math.ceil(seconds(argo.ttl))},
    }


def _nodes(job: Job, argo: ArgoSettings) -> list[_Node]:
    """Return a node for every stage, and one to close the run if the last stage has several tasks."""
    last = job.stages[-1]
    nodes = []
    for stage in job.stages:
        count, size = split_tasks(stage.tasks, argo.max_pods)
        closes = stage is last and stage.tasks == 1
        nodes.append(
            _Node(stage.name, stage.kind, stage.inputs, stage.resources, count, size, closes)
        )
    if not nodes[-1].closes:
        # It only puts the result together, so a GPU or a certain machine would be wasted on it.
        resources = dataclasses.replace(
            last.resources.on_demand(), gpu=0, gpu_type=None, instance_types=()
        )
        nodes.append(_Node(RESULT, RESULT, last.name, resources, closes=True))
    return nodes


def _templates(
    run: TemplateContext, nodes: Sequence[_Node]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return one template for the nodes of a kind with equal resources, and each node's template."""
    groups: list[list[_Node]] = []
    for node in nodes:
        alike = (node.kind, node.resources)
        group = next((g for g in groups if (g[0].kind, g[0].resources) == alike), None)
        if group is None:
            groups.append(group := [])
        group.append(node)
    templates: list[dict[str, Any]] = []
    of_node: dict[str, str] = {}
    kinds: set[str] = set()
    for group in groups:
        first = group[0]
        name = first.name if first.kind in kinds else first.kind
        kinds.add(first.kind)
        size, closes = max(node.size for node in group), any(node.closes for node in group)
        templates.append(pods.template(run, name, first.resources, size, closes))
        of_node |= {node.name: name for node in group}
    return templates, of_node


def _task(node: _Node, template: str) -> dict[str, Any]:
    loop, after = node.blocks > 1, node.after
    block = "{{item}}" if loop else "0"
    return {
        "name": node.name,
        "template": template,
        "arguments": build_arguments({"stage": node.name, "block": block, "size": str(node.size)}),
        "withSequence": {"count": str(node.blocks)} if loop else None,
        "depends": f"{after}.Succeeded || {after}.Failed || {after}.Errored" if after else None,
    }
