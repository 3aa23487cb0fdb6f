"""Checks of a Workflow that need no cluster: pure functions of its values.

Argo's own linter checks references and unknown fields. These checks find what it accepts and a
cluster then fails on: limits, retry settings, patches, names that YAML reads as something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mapred.backends.argo.yaml import from_yaml
from mapred.errors import BackendError, PlanError
from mapred.model.resources import parse_bytes

_KINDS = ("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow")
_BYTES, _TEMPLATES, _TASKS, _PARAMETERS, _ITEMS = 2**20, 200, 200, 500, 10_000
_VALUE_BYTES = 128 * 2**10
_TASK_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}")
_PARAMETER_NAME = re.compile(r"[-a-zA-Z0-9_]{1,128}")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_DURATION = re.compile(r"([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+|[0-9]+|\{\{.*\}\}")
_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false"}
_REMOVED = {
    "schedule": "schedules: [...]",
    "mutex": "mutexes: [...]",
    "semaphore": "semaphores: [...]",
    "podPriority": "podPriorityClassName",
}
_LAST_RETRY = ("exitCode", "status", "duration", "message")
_TEXT_AS_NUMBER = re.compile(
    r"(?<!asInt\()lastRetry\.exitCode\s*([<>=!]=?|not in|in)\s*[\[]?\s*[0-9]"
)
_POLICIES = ("Always", "OnFailure", "OnError", "OnTransientError")
_EXPRESSION = re.compile(r"\{\{=(.*?)\}\}", re.S)


def problems(document: Any) -> list[str]:
    """Return the problems of one object of a manifest, each with its place in it."""
    if not isinstance(document, Mapping) or document.get("kind") not in _KINDS:
        kind = document.get("kind") if isinstance(document, Mapping) else type(document).__name__
        return [f"kind: {kind!r} is not one of {', '.join(_KINDS)}"]
    return list(_problems(document))


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    size = len(json.dumps(document, default=str))
    if size > _BYTES:
        yield f"it has {size:,} bytes; the limit is {_BYTES:,}"
    yield from _metadata(document)
    yield from _keys(document, "")
    spec = document.get("spec") or {}
    if document["kind"] == "CronWorkflow":
        if not spec.get("schedules"):
            yield "spec.schedules: none is given"
        spec = spec.get("workflowSpec") or {}
    templates = spec.get("templates") or []
    if len(templates) > _TEMPLATES:
        yield f"spec.templates: {len(templates)}; the limit is {_TEMPLATES}"
    if not templates and not spec.get("workflowTemplateRef"):
        yield "spec.templates: there is none"
    if (spec.get("parallelism") or 1) < 1:
        yield f"spec.parallelism: {spec['parallelism']} must be at least 1"
    yield from _arguments(spec.get("arguments"), "spec.arguments")
    yield from _patch(spec.get("podSpecPatch"), "spec.podSpecPatch")
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for template in templates:
        yield from _template(template, volumes)


def _metadata(document: Mapping[str, Any]) -> Iterator[str]:
    metadata = document.get("metadata") or {}
    name = metadata.get("name") or metadata.get("generateName")
    most = 52 if document["kind"] == "CronWorkflow" else 63
    if not isinstance(name, str):
        yield f"metadata.name: {name!r} is not a text"
    elif len(name) > most:
        yield f"metadata.name: {name!r} has {len(name)} letters; the limit is {most}"
    elif not _OBJECT_NAME.fullmatch(name.removesuffix("-")):
        yield f"metadata.name: {name!r} is not a name that Kubernetes takes"
    yield from _labels(metadata, "metadata")


def _labels(metadata: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, value in (metadata.get("labels") or {}).items():
        if not isinstance(value, str) or not _LABEL.fullmatch(value):
            yield f"{where}.labels.{key}: {value!r} is not a value of a label"
    for key, value in (metadata.get("annotations") or {}).items():
        if not isinstance(value, str):
            yield f"{where}.annotations.{key}: {value!r} is not a text"


def _keys(value: Any, where: str) -> Iterator[str]:
    """Yield keys that YAML read as something else, removed fields of Argo 3, wrong divisions."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{where}: the key {key!r} is not a text; put it in quotes"
                continue
            place = f"{where}.{key}".lstrip(".")
            parent = "synchronization" if key in ("mutex", "semaphore") else "spec"
            if key in _REMOVED and where.rpartition(".")[2] == parent:
                yield f"{place}: Argo 4 has no such field; write {_REMOVED[key]}"
            yield from _keys(item, place)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _keys(item, f"{where}[{number}]")
    elif isinstance(value, str):
        for match in _EXPRESSION.finditer(value):
            if re.search(r"[^/]/[^/]", match[1]) and "int(" not in match[1]:
                yield f"{where}: / divides to a fraction in {match[0]!r}; write int(a/b)"


def _arguments(arguments: Any, where: str) -> Iterator[str]:
    parameters = (arguments or {}).get("parameters") or []
    if len(parameters) > _PARAMETERS:
        yield f"{where}.parameters: {len(parameters)}; the limit is {_PARAMETERS}"
    for parameter in parameters:
        name, value = parameter.get("name"), parameter.get("value")
        if not isinstance(name, str) or name.lower() in _BOOLEANS:
            yield f"{where}: the parameter {name!r} is a boolean to YAML; choose another name"
        elif not _PARAMETER_NAME.fullmatch(name):
            yield f"{where}: {name!r} is not a name of a parameter"
        if isinstance(value, str) and len(value.encode()) > _VALUE_BYTES:
            yield f"{where}: the value of {name!r} is longer than {_VALUE_BYTES:,} bytes"


def _template(template: Mapping[str, Any], volumes: set[Any]) -> Iterator[str]:
    name = template.get("name")
    where = f"templates.{name}"
    if not isinstance(name, str) or not _TASK_NAME.fullmatch(name):
        yield f"{where}: {name!r} is not a name of a template"
    tasks = (template.get("dag") or {}).get("tasks") or []
    tasks = [*tasks, *(step for group in template.get("steps") or [] for step in group)]
    if len(tasks) > _TASKS:
        yield f"{where}: {len(tasks)} tasks; the limit is {_TASKS}"
    for task in tasks:
        yield from _task(task, where)
    yield from _arguments(template.get("inputs"), f"{where}.inputs")
    yield from _labels(template.get("metadata") or {}, f"{where}.metadata")
    yield from _retry(template.get("retryStrategy"), f"{where}.retryStrategy")
    yield from _patch(template.get("podSpecPatch"), f"{where}.podSpecPatch")
    own = volumes | {volume.get("name") for volume in template.get("volumes") or []}
    for kind in ("container", "script"):
        if template.get(kind):
            yield from _container(template[kind], own, f"{where}.{kind}")
    for key, value in (template.get("nodeSelector") or {}).items():
        if not isinstance(value, str):
            yield f"{where}.nodeSelector.{key}: {value!r} is not a text; put it in quotes"


def _task(task: Mapping[str, Any], where: str) -> Iterator[str]:
    name = task.get("name")
    if not isinstance(name, str) or not _TASK_NAME.fullmatch(name):
        yield f"{where}: {name!r} is not a name of a task"
    elif task.get("depends") and name[0].isdigit():
        yield f"{where}: the task {name!r} has depends, and its name begins with a digit"
    yield from _arguments(task.get("arguments"), f"{where}.{name}")
    count = (task.get("withSequence") or {}).get("count")
    items = len(task.get("withItems") or ())
    if count is not None and re.fullmatch(r"[0-9]+", str(count)):
        items = int(count)
    if items > _ITEMS:
        yield (
            f"{where}.{name}: a loop of {items:,}: of siblings that many Argo skips some, as its "
            f"node ids have 32 bits; stay below {_ITEMS:,}"
        )


def _retry(retry: Any, where: str) -> Iterator[str]:
    if not retry:
        return
    limit, backoff = retry.get("limit"), retry.get("backoff") or {}
    if limit is not None and not re.fullmatch(r"[0-9]+|\{\{.*\}\}", str(limit)):
        yield f"{where}.limit: {limit!r} is not a whole number"
    if retry.get("retryPolicy", "Always") not in _POLICIES:
        yield f"{where}.retryPolicy: {retry['retryPolicy']!r} is not one of {', '.join(_POLICIES)}"
    if backoff and limit is None:
        yield f"{where}: a backoff without a limit is not waited for"
    if backoff and "duration" not in backoff:
        yield f"{where}.backoff: it needs a duration"
    for what in ("duration", "cap", "maxDuration"):
        if what in backoff and not _DURATION.fullmatch(str(backoff[what])):
            yield f"{where}.backoff.{what}: {backoff[what]!r} is not a duration, such as 10s"
    expression = str(retry.get("expression") or "")
    unknown = {*re.findall(r"\blastRetry\.(\w+)", expression)}.difference(_LAST_RETRY)
    if unknown:
        names = ", ".join(f"lastRetry.{name}" for name in sorted(unknown))
        yield f"{where}.expression: there is no {names}"
    if expression.count("(") != expression.count(")") or expression.count("'") % 2:
        yield f"{where}.expression: brackets or quotes are not closed in {expression!r}"
    if _TEXT_AS_NUMBER.search(expression):
        yield f"{where}.expression: lastRetry.exitCode is text; write asInt(lastRetry.exitCode)"


def _patch(patch: Any, where: str) -> Iterator[str]:
    if not patch:
        return
    plain = re.sub(r"\{\{.*?\}\}", "1", str(patch), flags=re.S)
    try:
        documents = from_yaml(plain, where)
    except BackendError as error:
        yield str(error).partition("\n")[0]
        return
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        yield f"{where}: it is not a mapping"


def _container(container: Mapping[str, Any], volumes: set[Any], where: str) -> Iterator[str]:
    if not container.get("command"):
        yield f"{where}.command: none is given, so Argo would ask the image's registry"
    if not container.get("image"):
        yield f"{where}.image: none is given"
    for mount in container.get("volumeMounts") or []:
        if mount.get("name") not in volumes:
            yield f"{where}.volumeMounts: there is no volume {mount.get('name')!r}"
    for variable in container.get("env") or []:
        value = variable.get("value")
        if value is not None and not isinstance(value, str):
            yield f"{where}.env.{variable.get('name')}: {value!r} is not a text; put it in quotes"
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        for what, size in (resources.get(kind) or {}).items():
            if what in ("memory", "ephemeral-storage") and not _is_size(size):
                yield f"{where}.resources.{kind}.{what}: {size!r} is not a size, such as 4Gi"


def _is_size(size: Any) -> bool:
    if isinstance(size, str) and ("{{" in size or re.fullmatch(r"[0-9]+(e[0-9]+|[EP]i?)", size)):
        return True
    try:
        return parse_bytes(size) > 0
    except PlanError:
        return False
