"""Clients that create, read and stop Workflows: of the Kubernetes API, and of an Argo server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError, MissingDependency
from mapred.process import secrecy

T = TypeVar("T")


class Unreachable(BackendError):
    """The cluster does not answer, or reports trouble of its own: a later try may succeed."""


_SECONDS = 30  # that one request may take
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_GROUP = {"group": "argoproj.io", "version": "v1alpha1"}
_OF_WORKFLOW = "workflows.argoproj.io/workflow"
_COMPLETED = "workflows.argoproj.io/completed"
_NODE = "workflows.argoproj.io/node-id"


class Client(Protocol):
    """The Workflows of one namespace. Whatever goes wrong is a `BackendError`."""

    @property
    def namespace(self) -> str: ...

    @property
    def moves_deadlines(self) -> bool:
        """Whether `resume` can set a deadline."""

    def create(self, manifest: Mapping[str, Any]) -> None: ...

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the Workflow as JSON, None where there is none of that name."""

    def terminate(self, name: str) -> None:
        """Stop all of its pods at once; a Workflow that is suspended ends too."""

    def suspend(self, name: str) -> None:
        """Start no more of its pods; those that run continue."""

    def resume(self, name: str, deadline: int | None = None) -> None:
        """Undo `suspend`; `deadline` replaces the `activeDeadlineSeconds`."""

    def annotate(self, name: str, values: Mapping[str, str]) -> None:
        """Set annotations of the Workflow; an Argo server has no way to."""

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        """Return what the pod of a node (by its id) printed, or its last lines; "" if it is gone."""

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        """Return its pods that have failed without Argo having noticed."""

    def delete_pod(self, pod: str) -> None: ...

    def crons(self, selector: str) -> list[dict[str, Any]]:
        """Return the CronWorkflows with these labels, as JSON."""

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        """Create a CronWorkflow, or give the one of its name this spec."""

    def delete_cron(self, name: str) -> bool:
        """Delete a CronWorkflow, if there is one; a run that it has started continues."""


def connect(argo: ArgoSettings) -> Client:
    """Return the client that the settings name: an Argo server's, else the Kubernetes API's."""
    return ServerClient(argo) if argo.server else KubernetesClient(argo)


class KubernetesClient:
    """By kubeconfig and context, or by the account of the pod that this process runs in."""

    moves_deadlines = True

    def __init__(self, argo: ArgoSettings) -> None:
        try:
            from kubernetes import client, config
        except ImportError:
            raise MissingDependency("kubernetes", "argo") from None
        settings = client.Configuration()
        inside = bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and not (
            argo.kubeconfig or argo.context or os.environ.get("KUBECONFIG")
        )
        try:
            if inside:
                config.load_incluster_config(client_configuration=settings)
                default = (_ACCOUNT / "namespace").read_text().strip()
            else:
                file = argo.kubeconfig or os.environ.get("KUBECONFIG")
                config.load_kube_config(file, argo.context, client_configuration=settings)
                contexts, active = config.list_kube_config_contexts(file)
                chosen = next((c for c in contexts if c["name"] == argo.context), active)
                default = chosen["context"].get("namespace")
        except (config.ConfigException, OSError, TypeError) as error:
            raise BackendError(
                f"no cluster can be reached from here: {error}; name one by "
                "mapred.Argo(kubeconfig=..., context=...), or KUBECONFIG"
            ) from None
        settings.retries = 3
        self.namespace = argo.namespace or default or "default"
        self._where = secrecy.redact_urls(settings.host)
        self._error = client.ApiException
        self.api = client.ApiClient(settings)
        self._objects, self._core = client.CustomObjectsApi(self.api), client.CoreV1Api(self.api)
        place = {**_GROUP, "namespace": self.namespace, "_request_timeout": _SECONDS}
        self._workflows = {**place, "plural": "workflows"}
        self._crons = {**place, "plural": "cronworkflows"}

    def create(self, manifest: Mapping[str, Any]) -> None:
        with self._translate_errors("create workflows"):
            self._objects.create_namespaced_custom_object(**self._workflows, body=manifest)

    def get(self, name: str) -> dict[str, Any] | None:
        with self._translate_errors("get workflows"):
            try:
                return dict(
                    self._objects.get_namespaced_custom_object(**self._workflows, name=name)
                )
            except self._error as error:
                # A namespace or a CRD that is missing is a 404 as well, and names no Workflow.
                if error.status == 404 and f'"{name}"' in str(error.body):
                    return None
                raise

    def terminate(self, name: str) -> None:
        self._patch(name, {"shutdown": "Terminate", "suspend": None})

    def suspend(self, name: str) -> None:
        self._patch(name, {"suspend": True})

    def resume(self, name: str, deadline: int | None = None) -> None:
        moved = {} if deadline is None else {"activeDeadlineSeconds": deadline}
        self._patch(name, {"suspend": None, **moved})

    def annotate(self, name: str, values: Mapping[str, str]) -> None:
        with self._translate_errors("patch workflows"):
            self._objects.patch_namespaced_custom_object(
                **self._workflows, name=name, body={"metadata": {"annotations": dict(values)}}
            )

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        pods = [pod for pod in self._pods(name) if pod.metadata.annotations.get(_NODE) == node]
        if not pods:
            return ""
        options = {"container": "main", "tail_lines": lines, "_request_timeout": _SECONDS}
        try:
            return str(
                self._core.read_namespaced_pod_log(pods[0].metadata.name, self.namespace, **options)
            )
        except self._error:
            return ""

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        return frozenset(
            pod.metadata.name
            for pod in self._pods(name)
            if pod.status.phase == "Failed"
            and (pod.metadata.labels or {}).get(_COMPLETED) != "true"
        )

    def delete_pod(self, pod: str) -> None:
        with self._translate_errors("delete pods"):
            self._core.delete_namespaced_pod(
                pod, self.namespace, grace_period_seconds=0, _request_timeout=_SECONDS
            )

    def crons(self, selector: str) -> list[dict[str, Any]]:
        with self._translate_errors("list cronworkflows"):
            answer = self._objects.list_namespaced_custom_object(
                **self._crons, label_selector=selector
            )
        return list(answer["items"])

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        with self._translate_errors("create cronworkflows"):
            try:
                self._objects.create_namespaced_custom_object(**self._crons, body=manifest)
            except self._error as error:
                if error.status != 409:
                    raise
                before = self._objects.get_namespaced_custom_object(**self._crons, name=name)
                body = replacing(manifest, before["metadata"]["resourceVersion"])
                self._objects.replace_namespaced_custom_object(**self._crons, name=name, body=body)

    def delete_cron(self, name: str) -> bool:
        with self._translate_errors("delete cronworkflows"):
            try:
                self._objects.delete_namespaced_custom_object(
                    **self._crons, name=name, propagation_policy="Orphan"
                )
            except self._error as error:
                if error.status == 404:
                    return False
                raise
        return True

    def _pods(self, name: str) -> list[Any]:
        with self._translate_errors("list pods"):
            answer = self._core.list_namespaced_pod(
                self.namespace, label_selector=f"{_OF_WORKFLOW}={name}", _request_timeout=_SECONDS
            )
        return list(answer.items)

    def _patch(self, name: str, spec: dict[str, Any]) -> None:
        with self._translate_errors("patch workflows"):
            self._objects.patch_namespaced_custom_object(
                **self._workflows, name=name, body={"spec": spec}
            )

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        import urllib3

        try:
            yield
        except self._error as error:
            raise _make_refusal_error(
                what, self._where, self.namespace, error.status, _parse_message(error.body)
            ) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            text = secrecy.redact_urls(str(error))
            raise Unreachable(f"the cluster at {self._where} cannot be reached: {text}") from None


@dataclass(frozen=True)
class RawRequest:
    """A request of hera that sends these values: its own models drop fields they do not know."""

    values: Mapping[str, Any]

    def json(self, **_: Any) -> str:
        return json.dumps(self.values)


class ServerClient:
    """By an Argo server's URL and a token from the environment; hera speaks to it."""

    moves_deadlines = False

    def __init__(self, argo: ArgoSettings) -> None:
        try:
            from hera.exceptions import HeraException, NotFound
            from hera.workflows import WorkflowsService, models
        except ImportError:
            raise MissingDependency("hera", "argo") from None
        token = os.environ.get(argo.token_env)
        if not token:
            raise BackendError(
                f"server={argo.server!r} needs a token in the environment variable {argo.token_env}"
            )
        self.namespace = argo.namespace or "default"
        self._where = str(argo.server)
        self._models, self._error, self._not_found = models, HeraException, NotFound
        self._service = WorkflowsService(
            host=str(argo.server).rstrip("/"), token=token, namespace=self.namespace
        )

    def create(self, manifest: Mapping[str, Any]) -> None:
        request = RawRequest({"workflow": manifest})
        self._call("create workflows", lambda: self._service.create_workflow(request))

    def get(self, name: str) -> dict[str, Any] | None:
        workflow = self._find("get workflows", lambda: self._service.get_workflow(name))
        return None if workflow is None else as_json(workflow)

    def terminate(self, name: str) -> None:
        request = self._models.WorkflowTerminateRequest(name=name, namespace=self.namespace)
        workflow = self._call(
            "stop workflows", lambda: self._service.terminate_workflow(name, request)
        )
        # While it is suspended the controller looks at nothing of it, not even at this.
        if workflow.spec.suspend:
            self.resume(name)

    def suspend(self, name: str) -> None:
        request = self._models.WorkflowSuspendRequest(name=name, namespace=self.namespace)
        self._call("suspend workflows", lambda: self._service.suspend_workflow(name, request))

    def resume(self, name: str, deadline: int | None = None) -> None:
        request = self._models.WorkflowResumeRequest(name=name, namespace=self.namespace)
        self._call("resume workflows", lambda: self._service.resume_workflow(name, request))

    def annotate(self, name: str, values: Mapping[str, str]) -> None:
        return

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        return ""  # The server names pods otherwise; what the worker stored is in the folder.

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        return frozenset()  # It knows no pods.

    def delete_pod(self, pod: str) -> None:
        return

    def crons(self, selector: str) -> list[dict[str, Any]]:
        answer = self._call(
            "list cron workflows",
            lambda: self._service.list_cron_workflows(label_selector=selector),
        )
        return list(map(as_json, answer.items or []))

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        service, name = self._service, manifest["metadata"]["name"]
        before = self._find("get cron workflows", lambda: service.get_cron_workflow(name))
        if before is None:
            create = RawRequest({"cronWorkflow": manifest})
            self._call("create cron workflows", lambda: service.create_cron_workflow(create))
            return
        version = before.metadata.resource_version
        update = RawRequest({"cronWorkflow": replacing(manifest, version)})
        self._call("update cron workflows", lambda: service.update_cron_workflow(name, update))

    def delete_cron(self, name: str) -> bool:
        answer = self._find(
            "delete cron workflows",
            lambda: self._service.delete_cron_workflow(name, propagation_policy="Orphan"),
        )
        return answer is not None

    def _find(self, what: str, request: Callable[[], T]) -> T | None:
        """Return the answer to a request; None where there is nothing of that name."""
        try:
            return request()
        except self._not_found:
            return None
        except (self._error, OSError) as error:
            raise self._make_call_error(what, error) from None

    def _call(self, what: str, request: Callable[[], T]) -> T:
        try:
            return request()
        except (self._error, OSError) as error:
            raise self._make_call_error(what, error) from None

    def _make_call_error(self, what: str, error: Exception) -> BackendError:
        status = getattr(error, "status_code", None)
        if status is None:
            return Unreachable(f"the Argo server at {self._where} cannot {what}: {error}")
        return _make_refusal_error(what, self._where, self.namespace, status, str(error))


def as_json(model: Any) -> dict[str, Any]:
    return dict(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)))


def replacing(manifest: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return a manifest that replaces the `version` of an object that is there."""
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}


def _parse_message(body: Any) -> str:
    """Return the message of a Kubernetes Status, or the text as it is."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(body)


def _make_refusal_error(
    what: str, where: str, namespace: str, status: int, text: str
) -> BackendError:
    remedy = {
        401: "; log in again, or name another context=",
        403: f"; `mapred argo rbac -n {namespace}` prints the rights that runs need",
        404: f"; is Argo Workflows installed, and is there a namespace {namespace!r}?",
        409: "; it was submitted already",
    }.get(status, "")
    kind = Unreachable if status == 429 or status >= 500 else BackendError
    return kind(f"{where} refused to {what} in {namespace!r} ({status}): {text}{remedy}")
