"""`mapred doctor`: looks for problems that keep runs from working on a cluster, with remedies."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from mapred._version import __version__
from mapred.backends.argo import client as clients
from mapred.backends.argo import locations, pods, rbac, render, submitters
from mapred.backends.argo.admission import admit
from mapred.backends.argo.objects import MANAGED, build_arguments, build_object
from mapred.backends.argo.packages import packages_for
from mapred.backends.argo.settings import ArgoSettings
from mapred.backends.findings import BAD, OK, UNSEEN, Finding
from mapred.errors import BackendError, MapredError
from mapred.functions import versions
from mapred.model.resources import Resources
from mapred.storage import open_store, probe

MOST_SKEW = 60.0
_RESOURCES = ("workflows", "cronworkflows", "workflowtaskresults")
_SECONDS = 30
_POD_SECONDS = 420.0
_SMALL = Resources(cpu=0.1, memory="256Mi")


def examine(argo: ArgoSettings, root: str | None, *, pod: bool) -> Iterator[Finding]:
    """Yield findings as they come; stop at one that makes the others pointless."""
    base = (root or argo.root or "").rstrip("/")
    yield from _check_root(argo, base)
    try:
        client = clients.connect(argo)
        client.get("mapred-doctor")
    except MapredError as error:
        yield Finding(BAD, f"cluster: {error}")
        return
    yield Finding(OK, f"cluster: namespace {client.namespace!r} answers")
    argo = dataclasses.replace(argo, namespace=client.namespace)
    if isinstance(client, clients.KubernetesClient):
        yield from _Cluster(argo, client).findings()
    else:
        yield Finding(UNSEEN, "rights, accounts and clock: an Argo server does not show them")
    if pod and base:
        yield from _check_pod(argo, client, base)


def _check_root(argo: ArgoSettings, base: str) -> Iterator[Finding]:
    if not base:
        yield Finding(BAD, "root: not set", "mapred.Argo(root='s3://team/runs'), or --root")
        return
    try:
        locations.check_root(argo, f"{base}/run", argo.volumes)
        listed = probe(open_store(base))
    except MapredError as error:
        yield Finding(BAD, f"root, from here: {error}", "endpoint and credentials of this machine")
    else:
        yield Finding(OK, f"root, from here: {base} refuses a second put of one name; {listed}")


class _Cluster:
    """A namespace as the Kubernetes API shows it."""

    def __init__(self, argo: ArgoSettings, client: clients.KubernetesClient) -> None:
        from kubernetes import client as kubernetes

        self._argo, self._kubernetes, self._api = argo, kubernetes, client.api
        self._namespace = client.namespace
        self._core = kubernetes.CoreV1Api(client.api)

    def findings(self) -> Iterator[Finding]:
        for look in (self._clock, self._argo_itself, self._controller, self._rights, self._names):
            try:
                yield from look()
            except (self._kubernetes.ApiException, OSError) as error:
                yield Finding(UNSEEN, f"{look.__name__[1:]}: {self._reason(error)}")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, self._kubernetes.ApiException):
            return f"the cluster says {error.status}"
        return f"{type(error).__name__}: {error}"

    def _clock(self) -> Iterator[Finding]:
        version, _, headers = self._kubernetes.VersionApi(self._api).get_code_with_http_info(
            _request_timeout=_SECONDS
        )
        yield Finding(OK, f"Kubernetes {version.git_version}")
        if headers and headers.get("Date"):
            yield _check_skew(
                "cluster", abs(parsedate_to_datetime(headers["Date"]).timestamp() - time.time())
            )

    def _argo_itself(self) -> Iterator[Finding]:
        install = "install Argo Workflows 4: its CRDs are missing"
        try:
            answer = self._kubernetes.CustomObjectsApi(self._api).get_api_resources(
                "argoproj.io", "v1alpha1", _request_timeout=_SECONDS
            )
        except self._kubernetes.ApiException as error:
            if error.status != 404:
                raise
            yield Finding(BAD, "Argo Workflows: not installed", install)
            return
        missing = set(_RESOURCES) - {kind.name for kind in answer.resources}
        if missing:
            yield Finding(BAD, f"Argo Workflows: no {', '.join(sorted(missing))}", install)
        else:
            yield Finding(OK, "Argo Workflows: its CRDs are installed")

    def _controller(self) -> Iterator[Finding]:
        try:
            answer = self._kubernetes.AppsV1Api(self._api).list_deployment_for_all_namespaces(
                field_selector="metadata.name=workflow-controller", _request_timeout=_SECONDS
            )
        except self._kubernetes.ApiException as error:
            if error.status != 403:
                raise
            yield Finding(UNSEEN, "controller: this account may not list deployments")
            return
        for deployment in answer.items:
            image = deployment.spec.template.spec.containers[0].image
            where = f"controller: {image} in {deployment.metadata.namespace!r}"
            if not deployment.status.ready_replicas:
                yield Finding(BAD, f"{where} does not run", "look at its pods and their events")
                continue
            version = re.search(r":v?(\d+)\.", image)
            old = version is not None and int(version[1]) < 4
            yield Finding(BAD if old else OK, where, "mapred is for Argo 4" if old else "")
        if not answer.items:
            yield Finding(UNSEEN, "controller: no deployment workflow-controller")

    def _rights(self) -> Iterator[Finding]:
        if missing := self._find_missing_rights(rbac.SUBMITTER):
            remedy = f"mapred argo rbac -n {self._namespace}, and bind the role to this account"
            yield Finding(BAD, f"rights: this account may not {missing}", remedy)
        else:
            yield Finding(OK, "rights: this account may submit and follow runs")
        yield self._further_right("schedule jobs", rbac.SCHEDULER, rbac.SCHEDULER_ROLE)
        yield self._further_right("deploy jobs", rbac.DEPLOYER, rbac.DEPLOYER_ROLE)

    def _further_right(self, what: str, rules: rbac.Rules, role: str) -> Finding:
        missing = self._find_missing_rights(rules)
        if not missing:
            return Finding(OK, f"rights: this account may {what}")
        text = f"rights: to {what} this account may not {missing}"
        return Finding(UNSEEN, text, f"only to {what}: bind the role {role}")

    def _find_missing_rights(self, rules: rbac.Rules) -> str:
        api = self._kubernetes.AuthorizationV1Api(self._api)
        missing = []
        for group, resource, verbs in rules:
            denied = [verb for verb in verbs if not self._is_allowed(api, group, resource, verb)]
            if denied:
                missing.append(f"{', '.join(denied)} {resource}")
        return "; ".join(missing)

    def _is_allowed(self, api: Any, group: str, resource: str, verb: str) -> bool:
        kind, _, part = resource.partition("/")
        attributes = {"namespace": self._namespace, "group": group, "resource": kind, "verb": verb}
        if part:
            attributes["subresource"] = part
        review = {"spec": {"resourceAttributes": attributes}}
        answer = api.create_self_subject_access_review(review, _request_timeout=_SECONDS)
        return bool(answer.status.allowed)

    def _names(self) -> Iterator[Finding]:
        argo = self._argo
        executor = argo.executor_service_account
        create = f"mapred argo rbac -n {self._namespace} | kubectl apply -f -"
        for account in (argo.service_account, executor, argo.submitter_service_account):
            yield self._check_exists("account", account, create)
        yield self._check_exists("secret", f"{executor}.service-account-token", create)
        for secret in argo.image_pull_secrets:
            yield self._check_exists("secret", secret, "kubectl create secret")
        if argo.root_secret is not None:
            keys = " ".join(f"--from-literal={key}=..." for key in argo.root_secret_keys)
            remedy = f"kubectl create secret generic {argo.root_secret} {keys}"
            yield self._check_exists("secret", argo.root_secret, remedy, argo.root_secret_keys)

    def _check_exists(
        self, kind: str, name: str, remedy: str, keys: tuple[str, ...] = ()
    ) -> Finding:
        core = self._core
        readers = {
            "account": core.read_namespaced_service_account,
            "secret": core.read_namespaced_secret,
        }
        try:
            answer = readers[kind](name, self._namespace, _request_timeout=_SECONDS)
        except self._kubernetes.ApiException as error:
            if error.status == 404:
                return Finding(BAD, f"{kind} {name!r}: not there", remedy)
            return Finding(UNSEEN, f"{kind} {name!r}: {self._reason(error)}")
        missing = [key for key in keys if key not in (answer.data or {})]
        if missing:
            return Finding(BAD, f"{kind} {name!r}: it has no key {', '.join(missing)}", remedy)
        return Finding(OK, f"{kind} {name!r}")


def _check_skew(whose: str, skew: float) -> Finding:
    if skew > MOST_SKEW:
        remedy = "signatures of S3 and OSS hold for minutes only: set the clocks by NTP"
        return Finding(BAD, f"clock: that of the {whose} differs by {skew:.0f} s", remedy)
    return Finding(OK, f"clock: that of the {whose} differs by less than {MOST_SKEW:.0f} s")


def _check_pod(argo: ArgoSettings, client: clients.Client, base: str) -> Iterator[Finding]:
    """Start a pod like that of a task, and look at what it prints."""
    name, before = f"mapred-doctor-{secrets.token_hex(4)}", time.time()
    try:
        packages = packages_for(argo, f"{base}/run", submitters.python())
        client.create(_workflow(argo, name, base, packages))
        phase, printed = _await_outcome(client, name)
    except BackendError as error:
        yield Finding(BAD, f"pod: {error}")
        return
    lines = [line for line in printed.splitlines() if line.startswith('{"python"')]
    if not lines:
        tail = printed.strip()[-500:] or "nothing was printed"
        remedy = f"kubectl -n {client.namespace} describe workflow {name}"
        yield Finding(BAD, f"pod: {phase}: {tail}", remedy)
        return
    report = json.loads(lines[-1])
    yield Finding(OK, "pod: started, and its log can be read")
    yield from _check_programs(report)
    if report["root"]:
        remedy = "endpoint= as the pods reach it; root_secret= and its keys"
        yield Finding(BAD, f"root, from the pod: {report['root']}", remedy)
    else:
        listed = report.get("listed", "an earlier mapred does not check listings")
        yield Finding(OK, f"root, from the pod: it refuses a second put of one name; {listed}")
    # The pod read its clock between `before` and now.
    yield _check_skew("pod", max(before - report["time"], report["time"] - time.time()))


def _check_programs(pod: dict[str, Any]) -> Iterator[Finding]:
    """Compare Python and mapred of a pod with those here."""
    remedy = "another image=, or this version here"
    python = submitters.python()
    if pod["python"] == python:
        yield Finding(OK, f"pod: python {python}, as here")
    else:
        yield Finding(BAD, f"pod: python {pod['python']}, and {python} here", remedy)
    if not versions.same_release(__version__, pod["mapred"]):
        yield Finding(BAD, f"pod: mapred {pod['mapred']}, and {__version__} here", remedy)
    elif pod.get("code") == versions.code_digest():
        yield Finding(OK, f"pod: mapred {__version__}, as here")
    else:
        text = f"pod: mapred {pod['mapred']}, of the same release as {__version__} here"
        yield Finding(OK, f"{text}, with other code")


def _workflow(argo: ArgoSettings, name: str, base: str, packages: str | None) -> dict[str, Any]:
    admit(argo, root=base)
    module = "mapred.backends.argo.pod_scripts.checkup"
    command, inputs = pods.program(argo, base, module, [base], packages, submitters.python())
    environment = pods.environment(argo, base, Resources())
    template = {
        **submitters.pod(argo, "look", _SMALL),
        "inputs": inputs,
        "activeDeadlineSeconds": int(_POD_SECONDS),
        "container": {**submitters.container(argo, _SMALL), **command, "env": environment},
    }
    spec = {
        "entrypoint": "look",
        "arguments": build_arguments({"packages": packages}),
        "templates": [template],
        **render.build_common_spec(argo, MANAGED),
        "ttlStrategy": {"secondsAfterCompletion": 300},
    }
    return build_object("Workflow", argo, name, spec, labels=MANAGED)


def _await_outcome(client: clients.Client, name: str) -> tuple[str, str]:
    """Return the phase in which the Workflow ended, and what its pod printed or Argo reported."""
    limit = time.monotonic() + _POD_SECONDS
    while time.monotonic() < limit:
        status = (client.get(name) or {}).get("status") or {}
        if status.get("phase") in ("Succeeded", "Failed", "Error"):
            nodes = list((status.get("nodes") or {}).values())
            printed = "".join(client.log(name, node["id"]) for node in nodes)
            return status["phase"], printed or str(status.get("message") or "")
        time.sleep(1)
    client.terminate(name)
    status = (client.get(name) or {}).get("status") or {}
    messages = [node.get("message", "") for node in (status.get("nodes") or {}).values()]
    return f"not finished after {_POD_SECONDS:.0f} s", "; ".join(filter(None, messages))
