"""A schedule as a CronWorkflow, whose one pod plans, submits a run, and stays until it ends.

The pod's account may create Workflows, and its token is mounted there alone; the run itself is a
Workflow like any other. As the pod lasts as long as its run, no firing overlaps the one before.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapred.backends.argo import locations, pods, render
from mapred.backends.argo.admission import admit
from mapred.backends.argo.client import Client
from mapred.backends.argo.placement import place
from mapred.backends.argo.pods import LOCKED, WORK, drop_empty, slug
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.schedules import Schedule
from mapred.errors import BackendError, RecordError
from mapred.model import layout
from mapred.model.resources import Resources

MODULE = "mapred.client.scheduling.firing"
MARK = "app.kubernetes.io/managed-by=mapred"
LONGEST_NAME = 40
_NOTE = "mapred-schedule"
_DELETION = 60
_POLL = 0.2
_PLANNER = Resources(cpu=0.1, memory="512Mi")
_NOTIFIER = Resources(cpu=0.1, memory="128Mi")


def wait_until_gone(client: Client, name: str) -> None:
    """After a deletion: Kubernetes frees its firings first, and till then the name is taken."""
    limit = time.monotonic() + _DELETION
    while any(cron["metadata"]["name"] == name for cron in client.crons(MARK)):
        if time.monotonic() > limit:
            raise BackendError(
                f"schedule {name!r}: its CronWorkflow was deleted, and Kubernetes still holds it "
                f"{_DELETION} s later: see whether a finalizer of yours is on it"
            )
        time.sleep(_POLL)


def manifest(
    argo: ArgoSettings, schedule: Schedule, asked: Resources, packages: str | None
) -> dict[str, Any]:
    """Return the CronWorkflow as plain values; `asked` is what a map task has of variables and
    secrets."""
    if len(schedule.name) > LONGEST_NAME or slug(schedule.name, 99) != schedule.name:
        raise BackendError(
            f"name={schedule.name!r}: the name of a schedule has up to {LONGEST_NAME} letters, "
            "digits and '-', in lower case"
        )
    locations.check_root(argo, f"{schedule.root}/run", argo.volumes)
    told = schedule.on_failure
    known = {"params": schedule.parameters, "on_failure": told}
    admit(argo, (asked,), **{**vars(schedule), **known}, packages=packages)
    parameters = {
        "root": schedule.root,
        "schedule": schedule.name,
        "digest": schedule.digest,
        "packages": packages or "-",
        "params": json.dumps(dict(schedule.parameters)),
    }
    marks = {"app.kubernetes.io/managed-by": "mapred", "mapred-schedule": schedule.name}
    values = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "CronWorkflow",
        "metadata": {
            "name": schedule.name,
            "namespace": argo.namespace,
            "labels": {**marks, **argo.labels},
            "annotations": {_NOTE: schedule.to_json(), **argo.annotations},
        },
        "spec": {
            "schedules": list(schedule.cron),
            "timezone": schedule.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "workflowMetadata": {"labels": marks},
            "workflowSpec": {
                "entrypoint": "fire",
                "onExit": "exit" if told else None,
                "arguments": {
                    "parameters": [{"name": k, "value": v} for k, v in parameters.items()]
                },
                "templates": [
                    _fire(argo, schedule, asked, packages),
                    *(_exit(argo, schedule, asked) if told else ()),
                ],
                **render.build_common_spec(argo, marks),
                **render.build_cleanup_spec(argo),
            },
        },
    }
    found: dict[str, Any] = drop_empty(values)
    return found


def schedule_of(cron: Mapping[str, Any]) -> Schedule | None:
    """Return the schedule that a CronWorkflow was made of; None where mapred did not make it."""
    text = (cron["metadata"].get("annotations") or {}).get(_NOTE)
    if text is None:
        return None
    status, spec = cron.get("status") or {}, cron["spec"]
    return dataclasses.replace(
        _parse_annotation(str(cron["metadata"].get("name")), str(text)),
        suspended=bool(spec.get("suspend")),
        last=status.get("lastScheduledTime"),
        active=len(status.get("active") or ()),
    )


def _parse_annotation(name: str, text: str) -> Schedule:
    """Return the schedule that an annotation holds; one that says so where it cannot be read."""
    try:
        return Schedule.from_json(text, f"the annotation {_NOTE} of {name}")
    except RecordError as error:
        return Schedule(name, f"unreadable: {error}", (), "", "", "")


def _fire(
    argo: ArgoSettings, schedule: Schedule, asked: Resources, packages: str | None
) -> dict[str, Any]:
    given = [
        *(f"{{{{workflow.parameters.{name}}}}}" for name in ("root", "schedule", "digest")),
        "{{workflow.scheduledTime}}",
        "{{workflow.parameters.packages}}",
        "{{workflow.parameters.params}}",
    ]
    command, artifacts = program(argo, schedule.root, MODULE, given, packages)
    return {
        **pod(argo, "fire", _PLANNER),
        "inputs": artifacts,
        "serviceAccountName": argo.submitter_service_account,
        "automountServiceAccountToken": True,
        "container": {
            **container(argo, _PLANNER),
            **command,
            "env": pods.environment(argo, schedule.root, asked),
        },
        "retryStrategy": {
            **pods.retries(argo, fetches=bool(artifacts)),
            "backoff": {"duration": "10s", "factor": "2", "cap": "2m"},
        },
    }


def program(
    argo: ArgoSettings, root: str, module: str, given: list[str], packages: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Command and arguments by which a pod runs a module of mapred, and what it has as inputs.

    With packages, their digest is the Workflow's parameter `packages`.
    """
    if packages is None:
        return {"command": [argo.python, "-m", module], "args": given}, {}
    text = pods.bootstrap_text().replace('"mapred.worker.supervisor"', f'"{module}"')
    archive, source = _archive(argo, root)
    known = [archive, "{{workflow.parameters.packages}}", python(), f"{WORK}/packages"]
    command = {"command": [argo.python, "-c", text], "args": [*known, *given]}
    return command, {"artifacts": [source]} if source else {}


def _archive(argo: ArgoSettings, root: str) -> tuple[str, dict[str, Any]]:
    """Where the pod finds its packages, and the artifact by which they come."""
    key = layout.packages("{{workflow.parameters.packages}}")
    if not locations.scheme_of(root):
        return f"{root}/{key}", {}
    path = f"{WORK}/packages.tar"
    where = locations.location(argo, root, key)
    return path, {"name": "packages", "path": path, "archive": {"none": {}}, **where}


def _exit(argo: ArgoSettings, schedule: Schedule, asked: Resources) -> list[dict[str, Any]]:
    """Return the exit handler: a step that runs unless all went well, and its pod."""
    told = schedule.on_failure
    about = {
        "SCHEDULE": schedule.name,
        "ROOT": schedule.root,
        "SCHEDULED": "{{workflow.scheduledTime}}",
        "WORKFLOW": "{{workflow.name}}",
        "NAMESPACE": "{{workflow.namespace}}",
        "STATUS": "{{workflow.status}}",
        "FAILURES": "{{workflow.failures}}",
    }
    env: list[dict[str, Any]] = [{"name": f"MAPRED_{k}", "value": v} for k, v in about.items()]
    if isinstance(told, tuple):
        command = list(told)
        env += pods.environment(argo, schedule.root, asked)
    else:
        command = [argo.python, "-c", (Path(__file__).parent / "pod_scripts/notice.py").read_text()]
        env.append({"name": "MAPRED_WEBHOOK", **_webhook(str(told))})
    step = {
        "name": "notify",
        "template": "notify",
        "when": "{{workflow.status}} != Succeeded",
    }
    return [
        {"name": "exit", "steps": [[step]]},
        {
            **pod(argo, "notify", _NOTIFIER),
            "container": {**container(argo, _NOTIFIER), "command": command, "env": env},
            "retryStrategy": {
                "limit": "3",
                "retryPolicy": "Always",
                "backoff": {"duration": "10s"},
            },
        },
    ]


def _webhook(told: str) -> dict[str, Any]:
    """Return the address itself, or where a Secret holds it."""
    if "://" in told:
        return {"value": told}
    secret, _, key = told.partition("/")
    return {"valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def pod(argo: ArgoSettings, name: str, small: Resources) -> dict[str, Any]:
    """Return the template of a pod, without its container."""
    found = place(argo.provider, small)
    return {
        "name": name,
        "volumes": [
            {"name": "mapred", "emptyDir": {}},
            *(pods.volume_source(number, volume) for number, volume in enumerate(argo.volumes)),
        ],
        "metadata": {"labels": dict(found.labels), "annotations": dict(found.annotations)},
        "nodeSelector": dict(found.node_selector),
        "tolerations": [dict(toleration) for toleration in found.tolerations],
    }


def container(argo: ArgoSettings, small: Resources) -> dict[str, Any]:
    """Return a container, without what runs in it."""
    memory = {"memory": pods.quantity(small.memory or 0)}
    return {
        "image": argo.image or f"python:{python()}-slim",
        "imagePullPolicy": argo.image_pull_policy,
        "resources": {"requests": {"cpu": pods.cores(small.cpu), **memory}},
        "securityContext": LOCKED,
        "volumeMounts": [
            {"name": "mapred", "mountPath": WORK},
            *(pods.volume_mount(number, volume) for number, volume in enumerate(argo.volumes)),
        ],
    }


def python() -> str:
    """Return the minor version that the stored job was pickled with."""
    return ".".join(map(str, sys.version_info[:2]))
