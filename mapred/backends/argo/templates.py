"""Clients that keep WorkflowTemplates as well, and start Workflows of them.

A template is written only over the version that was read: of two clients that write at one moment,
one gets `Conflict`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from mapred.backends.argo.client import (
    Client,
    KubernetesClient,
    RawRequest,
    ServerClient,
    as_json,
    replacing,
)
from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError

T = TypeVar("T")
_TAKEN = (404, 409)  # another version, or none any more


class Conflict(BackendError):
    """Something of that name is there already, or was changed since it was read."""


class TemplateClient(Client, Protocol):
    """The Workflows and WorkflowTemplates of one namespace."""

    def template(self, name: str) -> dict[str, Any] | None:
        """Return the WorkflowTemplate as JSON, None where there is none of that name."""

    def templates(self, selector: str) -> list[dict[str, Any]]:
        """Return the WorkflowTemplates with these labels, as JSON."""

    def put_template(self, manifest: Mapping[str, Any], version: str | None) -> None:
        """Replace the `version` of a WorkflowTemplate, or create one; `Conflict` if it is another."""

    def delete_template(self, name: str) -> bool:
        """Delete a WorkflowTemplate, if there is one; its Workflows continue."""

    def start(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create a Workflow and return it; one of its name is taken to be this one."""


def connect(argo: ArgoSettings) -> TemplateClient:
    """Return the client that the settings name: an Argo server's, else the Kubernetes API's."""
    return ServerTemplates(argo) if argo.server else KubernetesTemplates(argo)


class KubernetesTemplates(KubernetesClient):
    """By the Kubernetes API."""

    def __init__(self, argo: ArgoSettings) -> None:
        super().__init__(argo)
        self._templates = {**self._workflows, "plural": "workflowtemplates"}

    def template(self, name: str) -> dict[str, Any] | None:
        place = self._templates
        with self._translate_errors("get workflowtemplates"):
            try:
                return dict(self._objects.get_namespaced_custom_object(**place, name=name))
            except self._error as error:
                # A namespace or a CRD that is missing is a 404 as well, and names no template.
                if error.status == 404 and f'"{name}"' in str(error.body):
                    return None
                raise

    def templates(self, selector: str) -> list[dict[str, Any]]:
        with self._translate_errors("list workflowtemplates"):
            answer = self._objects.list_namespaced_custom_object(
                **self._templates, label_selector=selector
            )
        return list(answer["items"])

    def put_template(self, manifest: Mapping[str, Any], version: str | None) -> None:
        place, name = self._templates, manifest["metadata"]["name"]
        verb = "create" if version is None else "update"
        with self._translate_errors(f"{verb} workflowtemplates"):
            try:
                if version is None:
                    self._objects.create_namespaced_custom_object(**place, body=manifest)
                    return
                body = replacing(manifest, version)
                self._objects.replace_namespaced_custom_object(**place, name=name, body=body)
            except self._error as error:
                missing = version is not None and f'"{name}"' in str(error.body)
                if error.status == 409 or (error.status == 404 and missing):
                    raise Conflict(name) from None
                raise

    def delete_template(self, name: str) -> bool:
        with self._translate_errors("delete workflowtemplates"):
            try:
                self._objects.delete_namespaced_custom_object(**self._templates, name=name)
            except self._error as error:
                if error.status == 404:
                    return False
                raise
        return True

    def start(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        name = manifest["metadata"]["name"]
        with self._translate_errors("create workflows"):
            try:
                return dict(
                    self._objects.create_namespaced_custom_object(**self._workflows, body=manifest)
                )
            except self._error as error:
                if error.status != 409:
                    raise
        return _found(self, name)


class ServerTemplates(ServerClient):
    """By an Argo server."""

    def template(self, name: str) -> dict[str, Any] | None:
        found = self._find(
            "get workflow templates", lambda: self._service.get_workflow_template(name)
        )
        return None if found is None else as_json(found)

    def templates(self, selector: str) -> list[dict[str, Any]]:
        answer = self._call(
            "list workflow templates",
            lambda: self._service.list_workflow_templates(label_selector=selector),
        )
        return list(map(as_json, answer.items or []))

    def put_template(self, manifest: Mapping[str, Any], version: str | None) -> None:
        service, name = self._service, manifest["metadata"]["name"]
        if version is None:
            made = RawRequest({"template": manifest})
            create = "create workflow templates"
            self._unless_taken(create, name, lambda: service.create_workflow_template(made))
            return
        changed = RawRequest({"template": replacing(manifest, version)})
        update = "update workflow templates"
        self._unless_taken(update, name, lambda: service.update_workflow_template(name, changed))

    def delete_template(self, name: str) -> bool:
        answer = self._find(
            "delete workflow templates", lambda: self._service.delete_workflow_template(name)
        )
        return answer is not None

    def start(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        name = manifest["metadata"]["name"]
        request = RawRequest({"workflow": manifest})
        try:
            return as_json(
                self._unless_taken(
                    "create workflows", name, lambda: self._service.create_workflow(request)
                )
            )
        except Conflict:
            return _found(self, name)

    def _unless_taken(self, what: str, name: str, request: Callable[[], T]) -> T:
        def call() -> T:
            try:
                return request()
            except self._error as error:
                if getattr(error, "status_code", None) in _TAKEN:
                    raise Conflict(name) from None
                raise

        return self._call(what, call)


def _found(client: Client, name: str) -> dict[str, Any]:
    """Return a Workflow that was created by a request whose answer was lost."""
    workflow = client.get(name)
    if workflow is None:
        raise BackendError(f"workflow {name} was deleted in {client.namespace!r} at once")
    return workflow
