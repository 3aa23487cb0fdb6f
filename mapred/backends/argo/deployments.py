"""A deployed job as a WorkflowTemplate, whose one pod plans, submits a run, and stays until it ends.

Anything may start it: mapred, `argo submit --from`, Argo's page, a trigger. The pod names its run
by the Workflow's uid and time, so one that is started again continues its run. A Workflow keeps the
template as it was when it began, and its argument `mapred-version` says which job it is to start.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mapred.backends.argo import locations, pods, reasons, render, statuses, submitters
from mapred.backends.argo.admission import admit
from mapred.backends.argo.objects import MANAGED, build_object
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.argo.templates import Conflict, TemplateClient
from mapred.backends.deployments import Outcome, Record
from mapred.errors import BackendError, RecordError
from mapred.functions.declared import Parameter
from mapred.model.resources import Resources
from mapred.model.rules import seconds

MODULE = "mapred.client.deploying.starting"
# No name of Python has a hyphen, so this is never one of a job's own parameters.
VERSION = "mapred-version"
_NOTE = "mapred-deployment"
_MARK = ",".join(f"{key}={value}" for key, value in MANAGED.items()) + f",{_NOTE}"
_DESCRIPTION = "workflows.argoproj.io/description"
_PLANNER = Resources(cpu=0.1, memory="512Mi")


def manifest(
    argo: ArgoSettings, record: Record, resources: Resources, packages: str | None
) -> dict[str, Any]:
    """Return the WorkflowTemplate as plain values.

    Its pod gets the variables and secrets of `resources`, which are those of a map task.
    """
    _check_names(record.parameters)
    locations.check_root(argo, f"{record.root}/run", argo.volumes)
    admit(argo, (resources,), **vars(record), packages=packages)
    marks = {**MANAGED, _NOTE: record.name}
    spec = {
        "entrypoint": "start",
        "arguments": {
            "parameters": [*map(_parameter, record.parameters), _version(record.digest)],
        },
        "workflowMetadata": {"labels": {**marks, **argo.labels}, "annotations": argo.annotations},
        "templates": [_start(argo, record, resources, packages)],
        **render.build_common_spec(argo, marks),
        **render.build_cleanup_spec(argo),
    }
    described = {_DESCRIPTION: record.description} if record.description else {}
    return build_object(
        "WorkflowTemplate",
        argo,
        record.name,
        spec,
        labels={**marks, **argo.labels},
        annotations={_NOTE: record.to_json(), **described, **argo.annotations},
    )


def record_of(template: Mapping[str, Any]) -> Record | None:
    """Return what a WorkflowTemplate was made from; None where mapred did not make it."""
    metadata = template["metadata"]
    text = (metadata.get("annotations") or {}).get(_NOTE)
    if text is None or _NOTE not in (metadata.get("labels") or {}):
        return None
    name = str(metadata.get("name"))
    try:
        return Record.from_json(str(text), f"the annotation {_NOTE} of {name}")
    except RecordError as error:
        return Record(name, f"unreadable: {error}", "", "")


def records(client: TemplateClient) -> list[Record]:
    """Return the deployed jobs of the namespace, by name."""
    found = filter(None, map(record_of, client.templates(_MARK)))
    return sorted(found, key=lambda record: record.name)


def put(client: TemplateClient, wanted: Mapping[str, Any], *, replace: bool) -> None:
    """Create the template, or replace the one of its name, unless it is someone else's."""
    name = wanted["metadata"]["name"]
    before = client.template(name)
    if before is not None and not replace:
        _refuse_others(client, before, wanted)
    version = None if before is None else before["metadata"]["resourceVersion"]
    try:
        client.put_template(wanted, version)
    except Conflict:
        raise BackendError(
            f"deployment {name!r} in {client.namespace!r} was changed by another client at this "
            "moment: see mapred.deployments(), and deploy again"
        ) from None


def remove(client: TemplateClient, name: str) -> None:
    """Delete the template of a deployed job; `BackendError` where there is none."""
    names = [record.name for record in records(client)]
    if name not in names or not client.delete_template(name):
        raise BackendError(
            f"no deployment {name!r} in {client.namespace!r}; there are: "
            f"{', '.join(names) or 'none'}"
        )


@dataclass(frozen=True)
class ArgoStart:
    """A Workflow that was made of a deployed job."""

    client: TemplateClient
    workflow: str
    uid: str
    created: datetime
    patience: float

    def outcome(self) -> Outcome | None:
        """Return how the Workflow ended; None while it is at work."""
        workflow = self.client.get(self.workflow)
        where = f"workflow {self.workflow}"
        if workflow is None:
            return Outcome(False, f"{where} is gone from {self.client.namespace!r}")
        phase = statuses.phase(workflow)
        if phase not in statuses.OVER:
            return None
        if phase == "Succeeded":
            return Outcome(True, f"{where} succeeded")
        reason = reasons.reason(self.client, self.workflow, workflow)
        return Outcome(False, f"{where} {phase.lower()}: {reason}")


def start(
    client: TemplateClient, argo: ArgoSettings, record: Record, values: Mapping[str, str]
) -> ArgoStart:
    """Create a Workflow of a deployed job, of the version that the record names."""
    admit(argo, values=values)
    arguments = {**values, VERSION: record.digest}
    name = f"{record.name}-{secrets.token_hex(4)}"
    spec = {
        "workflowTemplateRef": {"name": record.name},
        "arguments": {"parameters": [{"name": k, "value": v} for k, v in arguments.items()]},
    }
    labels = {**MANAGED, _NOTE: record.name, **argo.labels}
    made = client.start(build_object("Workflow", argo, name, spec, labels=labels))["metadata"]
    created = datetime.fromisoformat(str(made["creationTimestamp"]).replace("Z", "+00:00"))
    return ArgoStart(client, name, str(made["uid"]), created, seconds(argo.pending))


def _check_names(parameters: tuple[Parameter, ...]) -> None:
    for each in parameters:
        if not each.name.isascii() or len(each.name) > 128:
            raise BackendError(
                f"parameter {each.name}: Argo takes names of up to 128 letters (a-z, A-Z), digits "
                "and '_'"
            )


def _refuse_others(
    client: TemplateClient, before: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    name, old, new = wanted["metadata"]["name"], record_of(before), record_of(wanted)
    where = f"{name!r} in {client.namespace!r}"
    remedy = "choose another name=, or say replace=True (--replace) to put this one in its place"
    if old is None or new is None:
        raise BackendError(
            f"there is a WorkflowTemplate {where} that mapred did not make: {remedy}"
        )
    for what in ("owner", "root"):
        theirs, ours = getattr(old, what), getattr(new, what)
        if theirs != ours:
            raise BackendError(
                f"deployment {where} (job {old.job}, deployed {old.deployed}) has {what} "
                f"{theirs!r}, and this one has {ours!r}: {remedy}"
            )


def _parameter(each: Parameter) -> dict[str, Any]:
    """Return an argument of the template, from which Argo's page makes a field of its form."""
    choices = each.choices or (("true", "false") if each.kind == "bool" else ())
    if choices and each.default == "":
        choices = ("", *choices)
    return {
        "name": each.name,
        "value": each.default,
        "enum": list(choices),
        "description": each.description or (None if choices else f"{each.kind}"),
    }


def _version(digest: str) -> dict[str, Any]:
    text = "Which version of the job is started: leave it as it is."
    return {"name": VERSION, "value": digest, "description": text}


def _start(
    argo: ArgoSettings, record: Record, resources: Resources, packages: str | None
) -> dict[str, Any]:
    words = [
        *(record.root, record.name, record.digest, f"{{{{workflow.parameters.{VERSION}}}}}"),
        *("{{workflow.uid}}", "{{workflow.creationTimestamp}}", packages or "-"),
        *(f"{each.name}={{{{workflow.parameters.{each.name}}}}}" for each in record.parameters),
    ]
    command, inputs = pods.program(
        argo, record.root, MODULE, words, packages, submitters.python(), digest=packages or "-"
    )
    return {
        **submitters.pod(argo, "start", _PLANNER),
        "inputs": inputs,
        "serviceAccountName": argo.submitter_service_account,
        "automountServiceAccountToken": True,
        "container": {
            **submitters.container(argo, _PLANNER),
            **command,
            "env": pods.environment(argo, record.root, resources),
        },
        "retryStrategy": {
            **pods.retries(argo, fetches=bool(inputs)),
            "backoff": {"duration": "10s", "factor": "2", "cap": "2m"},
        },
    }
