"""The least rights that runs need, as Kubernetes objects: what `mapred argo rbac` prints."""

from __future__ import annotations

from typing import Any

from mapred.backends.argo.settings import ArgoSettings

# What an account may do, as (API group, resource, verbs).
Rules = tuple[tuple[str, str, tuple[str, ...]], ...]
_GROUP = "rbac.authorization.k8s.io"
EXECUTOR: Rules = (("argoproj.io", "workflowtaskresults", ("create", "patch")),)
SUBMITTER: Rules = (
    (
        "argoproj.io",
        "workflows",
        ("create", "get", "list", "watch", "patch", "update", "delete"),
    ),
    ("", "pods", ("get", "list", "watch", "delete")),
    ("", "pods/log", ("get",)),
    ("", "events", ("get", "list")),
)
SCHEDULER_ROLE = "mapred-scheduler"
SCHEDULER: Rules = (
    ("argoproj.io", "cronworkflows", ("create", "get", "list", "patch", "update", "delete")),
)
DEPLOYER_ROLE = "mapred-deployer"
DEPLOYER: Rules = (
    ("argoproj.io", "workflowtemplates", ("create", "get", "list", "update", "delete")),
)
STARTER_ROLE = "mapred-starter"
STARTER: Rules = (("argoproj.io", "workflowtemplates", ("get", "list")),)


def manifests(argo: ArgoSettings, submitter: str | None = None) -> list[dict[str, Any]]:
    """Return three accounts: of the function (no rights, no token), of Argo's executor, of a client.

    The client's is for one inside the cluster; a person gets its Role. Further roles, bound to
    nobody, are for people who schedule jobs, who deploy them, and who start what others deployed.
    The executor's token is a Secret, as it goes into one
    container of the pod alone, and not into the function's.
    """
    namespace = argo.namespace or "default"
    submitter = submitter or argo.submitter_service_account
    function, executor = argo.service_account, argo.executor_service_account
    token = {
        "name": f"{executor}.service-account-token",
        "namespace": namespace,
        "annotations": {"kubernetes.io/service-account.name": executor},
    }
    return [
        _account(namespace, function, automountServiceAccountToken=False),
        _account(namespace, executor, automountServiceAccountToken=False),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": token,
            "type": "kubernetes.io/service-account-token",
        },
        _role(namespace, executor, EXECUTOR),
        _binding(namespace, executor),
        _account(namespace, submitter),
        _role(namespace, submitter, SUBMITTER),
        _binding(namespace, submitter),
        _role(namespace, SCHEDULER_ROLE, SCHEDULER),
        _role(namespace, DEPLOYER_ROLE, DEPLOYER),
        _role(namespace, STARTER_ROLE, STARTER),
    ]


def _account(namespace: str, name: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **more}


def _role(namespace: str, name: str, rules: Rules) -> dict[str, Any]:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
            for group, resource, verbs in rules
        ],
    }


def _binding(namespace: str, name: str) -> dict[str, Any]:
    """Bind a role to the account of its name."""
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
