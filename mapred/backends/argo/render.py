"""A job as an Argo Workflow: pure, of constant size, whatever the number of shards.

    run (DAG)   map: a loop over blocks of tasks -> reduce-1 -> … -> the last stage closes the run

Each stage is a node, a loop where it has several blocks; stages that ask for the same share a
template. An edge lets a failed stage through: who reads its outputs decides, not the engine.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mapred.backends.argo import pods
from mapred.backends.argo.admission import admit
from mapred.backends.argo.pods import TemplateContext, drop_empty, slug
from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError
from mapred.model.resources import Resources
from mapred.model.rules import seconds
from mapred.model.spec import Job, Stage

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


def split_tasks(tasks: int, most: int) -> tuple[int, int]:
    """How many pods a stage has, at most `most`, and how many tasks the largest of them."""
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
    asked = tuple(stage.resources for stage in job.stages)
    admit(argo, asked, root=uri, python=job.python, name=name, digest=digest, packages=packages)
    run = TemplateContext(job, argo, uri, packages)
    nodes = _nodes(job, argo)
    templates, of_node = _templates(run, nodes)
    dag = {"name": "run", "dag": {"tasks": [_task(node, of_node[node.name]) for node in nodes]}}
    parameters = {"run": uri, "digest": digest, "packages": packages}
    marks = {"app.kubernetes.io/managed-by": "mapred", "mapred-run": slug(job.run_id, 63)}
    values = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name or workflow_name(job),
            "namespace": argo.namespace,
            "labels": {**marks, **argo.labels},
            "annotations": {"mapred-uri": uri, **argo.annotations},
        },
        "spec": {
            "entrypoint": "run",
            "arguments": {
                "parameters": [
                    {"name": key, "value": value} for key, value in parameters.items() if value
                ]
            },
            "templates": [dag, *templates],
            **_settings(job, argo, marks),
        },
    }
    found: dict[str, Any] = drop_empty(values)
    size = len(json.dumps(found))
    if size > LIMIT:
        raise BackendError(
            f"the Workflow of {job.name} has {size:,} bytes, and Argo takes {LIMIT:,}: shorten "
            "env=, labels=, annotations= or pod_spec_patch="
        )
    return found


def build_common_spec(argo: ArgoSettings, marks: Mapping[str, str]) -> dict[str, Any]:
    """Return what every Workflow has: accounts, what its pods may do, their labels."""
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
    """When its pods go, and the Workflow itself."""
    return {
        "podGC": {"strategy": "OnPodCompletion", "deleteDelayDuration": "60s"},
        "ttlStrategy": {"secondsAfterCompletion": math.ceil(seconds(argo.ttl))},
    }


def _settings(job: Job, argo: ArgoSettings, marks: Mapping[str, str]) -> dict[str, Any]:
    """Return what holds for the whole Workflow."""
    return {
        **build_common_spec(argo, marks),
        "parallelism": argo.parallelism,
        "priority": argo.priority,
        "activeDeadlineSeconds": None if job.deadline is None else math.ceil(job.deadline),
        **build_cleanup_spec(argo),
    }


def _nodes(job: Job, argo: ArgoSettings) -> list[_Node]:
    """Every stage, and one to close the run where the last stage has several tasks."""
    nodes = [_node(stage, argo, stage is job.stages[-1]) for stage in job.stages]
    last = job.stages[-1]
    if nodes[-1].closes:
        return nodes
    asked = dataclasses.replace(last.resources.on_demand(), gpu=0, gpu_type=None, instance_types=())
    return [*nodes, _Node(RESULT, RESULT, last.name, asked, closes=True)]


def _node(stage: Stage, argo: ArgoSettings, last: bool) -> _Node:
    count, size = split_tasks(stage.tasks, argo.max_pods)
    closes = last and stage.tasks == 1
    return _Node(stage.name, stage.kind, stage.inputs, stage.resources, count, size, closes)


def _templates(
    run: TemplateContext, nodes: Sequence[_Node]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """One template for the nodes of a kind that ask for the same, and which node has which."""
    groups: dict[str, list[_Node]] = {}
    for node in nodes:
        alike = next(
            (
                name
                for name, (first, *_) in groups.items()
                if (first.kind, first.resources) == (node.kind, node.resources)
            ),
            None,
        )
        if alike is None:
            alike = node.name if node.kind in groups else node.kind
            groups[alike] = []
        groups[alike].append(node)
    templates = [
        pods.template(
            run,
            name,
            group[0].resources,
            max(node.size for node in group),
            any(node.closes for node in group),
        )
        for name, group in groups.items()
    ]
    return templates, {node.name: name for name, group in groups.items() for node in group}


def _task(node: _Node, template: str) -> dict[str, Any]:
    loop = node.blocks > 1
    given = {"stage": node.name, "block": "{{item}}" if loop else "0", "size": str(node.size)}
    after = node.after
    return {
        "name": node.name,
        "template": template,
        "arguments": {
            "parameters": [{"name": name, "value": value} for name, value in given.items()]
        },
        "withSequence": {"count": str(node.blocks)} if loop else None,
        "depends": f"{after}.Succeeded || {after}.Failed || {after}.Errored" if after else None,
    }
