"""A schedule as a CronWorkflow, whose one pod plans, submits a run, and stays until it ends.

The pod's account may create Workflows, and its token is mounted there alone; the run itself is a
Workflow like any other. As the pod lasts as long as its run, no firing overlaps the one before.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mapred.backends.argo import driving, locations, pods, render, submitters
from mapred.backends.argo.admission import admit
from mapred.backends.argo.client import Client
from mapred.backends.argo.objects import MANAGED, build_arguments, build_object, slug
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.schedules import Schedule
from mapred.errors import BackendError, RecordError
from mapred.model.resources import Resources

MODULE = "mapred.client.scheduling.firing"
PIPELINES = "mapred.client.pipelines.firing"
MARK = "app.kubernetes.io/managed-by=mapred"
LONGEST_NAME = 40
_NOTE = "mapred-schedule"
_DELETION = 60
_POLL = 0.2
_NOTIFIER = Resources(cpu=0.1, memory="128Mi")


def wait_until_gone(client: Client, name: str) -> None:
    """Wait until a deleted CronWorkflow is gone: until then its name is taken.

    Kubernetes first takes the owner off each of its Workflows, so that runs at work continue.
    """
    limit = time.monotonic() + _DELETION
    while any(cron["metadata"]["name"] == name for cron in client.crons(MARK)):
        if time.monotonic() > limit:
            raise BackendError(
                f"schedule {name!r}: its CronWorkflow was deleted, and Kubernetes still holds it "
                f"{_DELETION} s later: see whether a finalizer of yours is on it"
            )
        time.sleep(_POLL)


def manifest(
    argo: ArgoSettings, schedule: Schedule, resources: Resources, packages: str | None
) -> dict[str, Any]:
    """Return the CronWorkflow as plain values.

    Its pods get the variables and secrets of `resources`, which are those of a map task.
    """
    if len(schedule.name) > LONGEST_NAME or slug(schedule.name, 99) != schedule.name:
        raise BackendError(
            f"name={schedule.name!r}: the name of a schedule has up to {LONGEST_NAME} letters, "
            "digits and '-', in lower case"
        )
    locations.check_root(argo, f"{schedule.root}/run", argo.volumes)
    texts = {**vars(schedule), "params": schedule.parameters, "packages": packages}
    admit(argo, (resources,), **texts)
    marks = {**MANAGED, "mapred-schedule": schedule.name}
    spec = {
        "schedules": list(schedule.cron),
        "timezone": schedule.timezone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "workflowMetadata": {
            "labels": marks,
            "annotations": driving.AT_FIRST if schedule.pipeline else {},
        },
        "workflowSpec": _workflow_spec(argo, schedule, resources, packages, marks),
    }
    return build_object(
        "CronWorkflow",
        argo,
        schedule.name,
        spec,
        labels={**marks, **argo.labels},
        annotations={_NOTE: schedule.to_json(), **argo.annotations},
    )


def _workflow_spec(
    argo: ArgoSettings,
    schedule: Schedule,
    resources: Resources,
    packages: str | None,
    marks: Mapping[str, str],
) -> dict[str, Any]:
    parameters = {
        "root": schedule.root,
        "schedule": schedule.name,
        "digest": schedule.digest,
        "packages": packages or "-",
        "params": json.dumps(dict(schedule.parameters)),
    }
    exits = _exit(argo, schedule, resources) if schedule.on_failure else []
    return {
        "entrypoint": "fire",
        "onExit": "exit" if exits else None,
        "arguments": build_arguments(parameters),
        "templates": [_fire(argo, schedule, resources, packages), *exits],
        **render.build_common_spec(argo, marks),
        **render.build_cleanup_spec(argo),
    }


def schedule_of(cron: Mapping[str, Any]) -> Schedule | None:
    """Return the schedule that a CronWorkflow was made from; None where mapred did not make it."""
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
    argo: ArgoSettings, schedule: Schedule, resources: Resources, packages: str | None
) -> dict[str, Any]:
    words = [
        *(f"{{{{workflow.parameters.{name}}}}}" for name in ("root", "schedule", "digest")),
        "{{workflow.scheduledTime}}",
        "{{workflow.parameters.packages}}",
        "{{workflow.parameters.params}}",
    ]
    if schedule.pipeline:
        return driving.template(argo, "fire", schedule.root, PIPELINES, words, packages)
    made = submitters.template(argo, "fire", schedule.root, MODULE, words, packages, resources)
    retries = {**made["retryStrategy"], "backoff": {"duration": "10s", "factor": "2", "cap": "2m"}}
    return {**made, "retryStrategy": retries}


def _exit(argo: ArgoSettings, schedule: Schedule, resources: Resources) -> list[dict[str, Any]]:
    """Return the exit handler: a step that runs unless all went well, and its pod."""
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
    target = schedule.on_failure
    if isinstance(target, tuple):
        command = list(target)
        env += pods.environment(argo, schedule.root, resources)
    else:
        command = [argo.python, "-c", (Path(__file__).parent / "pod_scripts/notice.py").read_text()]
        url = str(target)
        source = {"value": url} if "://" in url else {"valueFrom": pods.secret_reference(url)}
        env.append({"name": "MAPRED_WEBHOOK", **source})
    step = {
        "name": "notify",
        "template": "notify",
        "when": "{{workflow.status}} != Succeeded",
    }
    return [
        {"name": "exit", "steps": [[step]]},
        {
            **submitters.pod(argo, "notify", _NOTIFIER),
            "container": {**submitters.container(argo, _NOTIFIER), "command": command, "env": env},
            "retryStrategy": {
                "limit": "3",
                "retryPolicy": "Always",
                "backoff": {"duration": "10s"},
            },
        },
    ]
