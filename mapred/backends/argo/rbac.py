"""The least rights that runs need, as Kubernetes objects: what `mapred argo rbac` prints."""

from __future__ import annotations

from typing import Any

from mapred.backends.argo.settings import ArgoSettings

_GROUP = "rbac.authorization.k8s.io"
# What each account may do, as (api group, resources, verbs).
EXECUTOR = (("argoproj.io", ("workflowtaskresults",), ("create", "patch")),)
SUBMITTER = (
    (
        "argoproj.io",
        ("workflows",),
        ("create", "get", "list", "watch", "patch", "update", "delete"),
    ),
    ("", ("pods",), ("get", "list", "watch", "delete")),
    ("", ("pods/log",), ("get",)),
    ("", ("events",), ("get", "list")),
)

SCHEDULER_ROLE = "mapred-scheduler"
SCHEDULER = (
    (
        "argoproj.io",
        ("cronworkflows",),
        ("create", "get", "list", "patch", "update", "delete"),
    ),
)


def manifests(argo: ArgoSettings, submitter: str | None = None) -> list[dict[str, Any]]:
    """Three accounts: of the function (no rights, no token), of Argo's executor, of the client.

    One role more, for people who schedule jobs, is bound to nobody.

    The executor's token is a Secret, as its account's token goes into one container of the
    pod alone. The submitter is for a client inside the cluster; a person gets its Role.
    """
    namespace = argo.namespace or "default"
    submitter = submitter or argo.submitter_service_account
    function, executor = argo.service_account, argo.executor_service_account
    return [
        _account(namespace, function, automountServiceAccountToken=False),
        _account(namespace, executor, automountServiceAccountToken=False),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"{executor}.service-account-token",
                "namespace": namespace,
                "annotations": {"kubernetes.io/service-account.name": executor},
            },
            "type": "kubernetes.io/service-account-token",
        },
        *_role(namespace, executor, EXECUTOR),
        _account(namespace, submitter),
        *_role(namespace, submitter, SUBMITTER),
        _role(namespace, SCHEDULER_ROLE, SCHEDULER)[0],
    ]


def _account(namespace: str, name: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **more}


def _role(
    namespace: str, name: str, rules: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": namespace}
    allowed = [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
        for group, resources, verbs in rules
    ]
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return [
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": allowed,
        },
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": name},
            "subjects": [account],
        },
    ]
