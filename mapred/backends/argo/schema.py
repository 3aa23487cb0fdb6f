"""Validation of Argo's objects against hera's models of them, before anything is created."""

from __future__ import annotations

from typing import Any

from mapred.errors import BackendError, MissingDependency


def validate_manifest(values: dict[str, Any]) -> dict[str, Any]:
    """Return a Workflow or CronWorkflow as it is, if hera's model of its kind takes it.

    The values themselves are printed and submitted: hera's models drop fields that they do not
    know, such as those of a later Argo. Raises `BackendError` for a value of a wrong type.
    """
    try:
        from hera.workflows import models
    except ImportError:
        raise MissingDependency("hera", "argo") from None
    kind = str(values.get("kind"))
    try:
        getattr(models, kind).model_validate(values)
    except ValueError as error:
        raise BackendError(f"the {kind} is not one that Argo takes: {error}") from error
    return values
