"""How Workflows are created, looked at and stopped: by the Kubernetes API, or an Argo server's."""

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
    """The cluster gives no answer, or says that it is in trouble: later it may give one."""


_SECONDS = 30  # that one request may take
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PLACE = {"group": "argoproj.io", "version": "v1alpha1", "plural": "workflows"}
_CRON = {**_PLACE, "plural": "cronworkflows"}
_OF_WORKFLOW = "workflows.argoproj.io/workflow"
_COMPLETED = "workflows.argoproj.io/completed"


class Client(Protocol):
    """The Workflows of one namespace. Whatever goes wrong is a `BackendError`."""

    @property
    def namespace(self) -> str: ...

    @property
    def moves_deadlines(self) -> bool:
        """Whether `proceed` can set a deadline."""
        ...

    def create(self, manifest: Mapping[str, Any]) -> None: ...

    def get(self, name: str) -> dict[str, Any] | None:
        """Return the Workflow as JSON, None where there is none of that name."""
        ...

    def terminate(self, name: str) -> None:
        """Stop every pod of it, at once; one that is suspended ends too."""
        ...

    def suspend(self, name: str) -> None:
        """Start no more of its pods; those that run go on."""
        ...

    def resume(self, name: str, deadline: int | None = None) -> None:
        """Take back `suspend`; `deadline` are the `activeDeadlineSeconds` from then on."""
        ...

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        """Return what the pod of a node (by its id) printed, or its last lines; "" where it is
        gone."""
        ...

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        """Return the pods of it that have failed and that Argo has not taken notice of."""
        ...

    def delete_pod(self, pod: str) -> None: ...

    def crons(self, selector: str) -> list[dict[str, Any]]:
        """Return the CronWorkflows with these labels, as JSON."""
        ...

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        """Create a CronWorkflow, or give the one of its name this spec."""
        ...

    def delete_cron(self, name: str) -> bool:
        """Whether there was one to delete; a firing that is at work goes on."""
        ...


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
        default = None
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
        self.api = api = client.ApiClient(settings)
        self._workflows, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)

    def create(self, manifest: Mapping[str, Any]) -> None:
        with self._translate_errors("create workflows"):
            self._workflows.create_namespaced_custom_object(
                **_PLACE, namespace=self.namespace, body=manifest, _request_timeout=_SECONDS
            )

    def get(self, name: str) -> dict[str, Any] | None:
        with self._translate_errors("get workflows"):
            try:
                found: dict[str, Any] = self._workflows.get_namespaced_custom_object(
                    **_PLACE, namespace=self.namespace, name=name, _request_timeout=_SECONDS
                )
            except self._error as error:
                if error.status == 404 and f'"{name}"' in str(error.body):
                    return None
                raise
        return found

    def terminate(self, name: str) -> None:
        self._patch(name, {"shutdown": "Terminate", "suspend": None})

    def suspend(self, name: str) -> None:
        self._patch(name, {"suspend": True})

    def resume(self, name: str, deadline: int | None = None) -> None:
        moved = {} if deadline is None else {"activeDeadlineSeconds": deadline}
        self._patch(name, {"suspend": None, **moved})

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        for pod in self._pods(name):
            if pod.metadata.annotations.get("workflows.argoproj.io/node-id") == node:
                try:
                    return str(
                        self._core.read_namespaced_pod_log(
                            pod.metadata.name,
                            self.namespace,
                            container="main",
                            tail_lines=lines,
                            _request_timeout=_SECONDS,
                        )
                    )
                except self._error:
                    return ""
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
            found = self._workflows.list_namespaced_custom_object(
                **_CRON,
                namespace=self.namespace,
                label_selector=selector,
                _request_timeout=_SECONDS,
            )
        return list(found["items"])

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        place = {**_CRON, "namespace": self.namespace, "_request_timeout": _SECONDS}
        name = manifest["metadata"]["name"]
        with self._translate_errors("create cronworkflows"):
            try:
                self._workflows.create_namespaced_custom_object(**place, body=manifest)
            except self._error as error:
                if error.status != 409:
                    raise
                known = self._workflows.get_namespaced_custom_object(**place, name=name)
                version = known["metadata"]["resourceVersion"]
                metadata = {**manifest["metadata"], "resourceVersion": version}
                self._workflows.replace_namespaced_custom_object(
                    **place, name=name, body={**manifest, "metadata": metadata}
                )

    def delete_cron(self, name: str) -> bool:
        with self._translate_errors("delete cronworkflows"):
            try:
                self._workflows.delete_namespaced_custom_object(
                    **_CRON,
                    namespace=self.namespace,
                    name=name,
                    propagation_policy="Orphan",
                    _request_timeout=_SECONDS,
                )
            except self._error as error:
                if error.status == 404:
                    return False
                raise
        return True

    def _pods(self, name: str) -> list[Any]:
        with self._translate_errors("list pods"):
            found = self._core.list_namespaced_pod(
                self.namespace, label_selector=f"{_OF_WORKFLOW}={name}", _request_timeout=_SECONDS
            )
        return list(found.items)

    def _patch(self, name: str, spec: dict[str, Any]) -> None:
        with self._translate_errors("patch workflows"):
            self._workflows.patch_namespaced_custom_object(
                **_PLACE,
                namespace=self.namespace,
                name=name,
                body={"spec": spec},
                _request_timeout=_SECONDS,
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
            said = secrecy.redact_urls(str(error))
            raise Unreachable(f"the cluster at {self._where} cannot be reached: {said}") from None


@dataclass(frozen=True)
class _RawRequest:
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
        request = _RawRequest({"workflow": manifest})
        self._call("create workflows", lambda: self._service.create_workflow(request))

    def get(self, name: str) -> dict[str, Any] | None:
        try:
            found = self._service.get_workflow(name)
        except self._not_found:
            return None
        except (self._error, OSError) as error:
            raise self._make_call_error("get workflows", error) from None
        return dict(json.loads(found.model_dump_json(by_alias=True, exclude_none=True)))

    def terminate(self, name: str) -> None:
        request = self._models.WorkflowTerminateRequest(name=name, namespace=self.namespace)
        told = self._call("stop workflows", lambda: self._service.terminate_workflow(name, request))
        # While it is suspended the controller looks at nothing of it, not even at this.
        if told.spec.suspend:
            self.resume(name)

    def suspend(self, name: str) -> None:
        request = self._models.WorkflowSuspendRequest(name=name, namespace=self.namespace)
        self._call("suspend workflows", lambda: self._service.suspend_workflow(name, request))

    def resume(self, name: str, deadline: int | None = None) -> None:
        request = self._models.WorkflowResumeRequest(name=name, namespace=self.namespace)
        self._call("resume workflows", lambda: self._service.resume_workflow(name, request))

    def log(self, name: str, node: str, lines: int | None = None) -> str:
        return ""  # The server names pods otherwise; what the worker stored is in the folder.

    def list_unnoticed_pods(self, name: str) -> frozenset[str]:
        return frozenset()  # It knows no pods.

    def delete_pod(self, pod: str) -> None:
        return

    def crons(self, selector: str) -> list[dict[str, Any]]:
        found = self._call(
            "list cron workflows",
            lambda: self._service.list_cron_workflows(label_selector=selector),
        )
        return [
            json.loads(each.model_dump_json(by_alias=True, exclude_none=True))
            for each in found.items or []
        ]

    def put_cron(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        try:
            known = self._service.get_cron_workflow(name)
        except self._not_found:
            create = _RawRequest({"cronWorkflow": manifest})
            self._call("create cron workflows", lambda: self._service.create_cron_workflow(create))
            return
        except (self._error, OSError) as error:
            raise self._make_call_error("get cron workflows", error) from None
        version = {"resourceVersion": known.metadata.resource_version}
        metadata = {**manifest["metadata"], **version}
        update = _RawRequest({"cronWorkflow": {**manifest, "metadata": metadata}})
        self._call(
            "update cron workflows", lambda: self._service.update_cron_workflow(name, update)
        )

    def delete_cron(self, name: str) -> bool:
        try:
            self._service.delete_cron_workflow(name, propagation_policy="Orphan")
        except self._not_found:
            return False
        except (self._error, OSError) as error:
            raise self._make_call_error("delete cron workflows", error) from None
        return True

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


def _parse_message(body: Any) -> str:
    """Return the message of a Kubernetes Status, or the text as it is."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(body)


def _make_refusal_error(
    what: str, where: str, namespace: str, status: int, said: str
) -> BackendError:
    remedy = {
        401: "; log in again, or name another context=",
        403: f"; `mapred argo rbac -n {namespace}` prints the rights that runs need",
        404: f"; is Argo Workflows installed, and is there a namespace {namespace!r}?",
        409: "; it was submitted already",
    }.get(status, "")
    kind = Unreachable if status == 429 or status >= 500 else BackendError
    return kind(f"{where} refused to {what} in {namespace!r} ({status}): {said}{remedy}")
