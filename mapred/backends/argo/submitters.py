"""Small pods, and those of them that submit Workflows, by the account that may."""

from __future__ import annotations

import sys
from typing import Any

from mapred.backends.argo import pods
from mapred.backends.argo.placement import place
from mapred.backends.argo.pods import LOCKED
from mapred.backends.argo.settings import ArgoSettings
from mapred.model.resources import Resources

_ASKED = Resources(cpu=0.1, memory="512Mi")


def template(
    argo: ArgoSettings,
    name: str,
    root: str,
    module: str,
    words: list[str],
    packages: str | None,
    resources: Resources,
) -> dict[str, Any]:
    """Return the template of a pod that runs a module of mapred with these words, and submits.

    It gets the variables and secrets of `resources`, and no more of them.
    """
    command, inputs = pods.program(argo, root, module, words, packages, python())
    return {
        **pod(argo, name, _ASKED),
        "inputs": inputs,
        "serviceAccountName": argo.submitter_service_account,
        "automountServiceAccountToken": True,
        "container": {
            **container(argo, _ASKED),
            **command,
            "env": pods.environment(argo, root, resources),
        },
        "retryStrategy": pods.retries(argo, fetches=bool(inputs)),
    }


def pod(argo: ArgoSettings, name: str, resources: Resources) -> dict[str, Any]:
    """Return the template of a small pod, without its container."""
    return {
        "name": name,
        "volumes": pods.volume_sources(argo.volumes),
        **pods.placement_fields(place(argo.provider, resources)),
    }


def container(argo: ArgoSettings, resources: Resources) -> dict[str, Any]:
    """Return the container of a small pod, without what runs in it."""
    memory = {"memory": pods.quantity(resources.memory or 0)}
    return {
        "image": pods.image(argo, python()),
        "imagePullPolicy": argo.image_pull_policy,
        "resources": {"requests": {"cpu": pods.cores(resources.cpu), **memory}},
        "securityContext": LOCKED,
        "volumeMounts": pods.volume_mounts(argo.volumes),
    }


def python() -> str:
    """Return the minor version that what is stored here is pickled with."""
    return ".".join(map(str, sys.version_info[:2]))
