"""What Workflows and CronWorkflows have in common: their head, their parameters, their names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mapred.backends.argo.settings import ArgoSettings

MANAGED = {"app.kubernetes.io/managed-by": "mapred"}
# An empty mapping under these keys says something: no compression, a folder of the node.
_MEANT_EMPTY = ("none", "emptyDir")


def build_object(
    kind: str,
    argo: ArgoSettings,
    name: str,
    spec: Mapping[str, Any],
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return an object of Argo as plain values, without its empty fields."""
    return drop_empty(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": argo.namespace,
                "labels": labels,
                "annotations": annotations,
            },
            "spec": spec,
        }
    )


def build_arguments(values: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the arguments of a Workflow or a task; a parameter without a value is left out."""
    return {
        "parameters": [{"name": name, "value": value} for name, value in values.items() if value]
    }


def drop_empty(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping without what is empty or None, at any depth."""
    kept = {key: _drop_inside(value) for key, value in values.items()}
    return {k: v for k, v in kept.items() if k in _MEANT_EMPTY or v not in (None, {}, [])}


def _drop_inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return drop_empty(value)
    return [_drop_inside(item) for item in value] if isinstance(value, list) else value


def slug(text: str, most: int) -> str:
    """Return a name that Kubernetes takes, made from any text; `job` where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:most].strip("-") or "job"
