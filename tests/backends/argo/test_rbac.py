"""The rights that `mapred argo rbac` gives, to the letter, and the claims of shared storage."""

from __future__ import annotations

from typing import Any

import pytest

from mapred.backends.argo.backend import Argo
from mapred.backends.argo.claims import claim
from mapred.backends.argo.rbac import manifests
from mapred.errors import BackendError


def of_kind(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def test_the_function_has_no_rights_and_the_executor_two_verbs() -> None:
    objects = manifests(Argo(namespace="team"))
    roles = of_kind(objects, "Role")
    people = ["mapred-scheduler", "mapred-deployer", "mapred-starter"]
    assert list(roles) == ["mapred-executor", "mapred-submitter", *people]
    verbs = {name: [(r["resources"], r["verbs"]) for r in roles[name]["rules"]] for name in people}
    assert verbs == {
        "mapred-scheduler": [
            (["cronworkflows"], ["create", "get", "list", "patch", "update", "delete"])
        ],
        "mapred-deployer": [(["workflowtemplates"], ["create", "get", "list", "update", "delete"])],
        "mapred-starter": [(["workflowtemplates"], ["get", "list"])],
    }
    assert roles["mapred-executor"]["rules"] == [
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflowtaskresults"],
            "verbs": ["create", "patch"],
        }
    ]
    bound = {
        name: [subject["name"] for subject in binding["subjects"]]
        for name, binding in of_kind(objects, "RoleBinding").items()
    }
    assert bound == {
        "mapred-executor": ["mapred-executor"],
        "mapred-submitter": ["mapred-submitter"],
    }
    accounts = of_kind(objects, "ServiceAccount")
    assert accounts["mapred-task"]["automountServiceAccountToken"] is False
    assert accounts["mapred-executor"]["automountServiceAccountToken"] is False
    assert {each["metadata"]["namespace"] for each in objects} == {"team"}


def test_no_right_reaches_beyond_the_namespace_or_to_secrets() -> None:
    objects = manifests(Argo())
    assert not [each for each in objects if each["kind"].startswith("Cluster")]
    for role in of_kind(objects, "Role").values():
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


def test_the_executors_token_is_where_argo_looks_for_it() -> None:
    secrets = of_kind(manifests(Argo(executor_service_account="exec")), "Secret")
    token = secrets["exec.service-account-token"]
    assert token["type"] == "kubernetes.io/service-account-token"
    assert token["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "exec"}
    assert "data" not in token


def test_a_claim_of_a_bucket() -> None:
    volume, wanted = claim(
        "corpus",
        "oss://team/data/2026",
        namespace="team",
        endpoint="oss-cn-hangzhou-internal.aliyuncs.com",
        secret="oss",
    )
    assert volume["spec"]["csi"] == {
        "driver": "ossplugin.csi.alibabacloud.com",
        "volumeHandle": "corpus",
        "volumeAttributes": {
            "bucket": "team",
            "url": "oss-cn-hangzhou-internal.aliyuncs.com",
            "path": "/data/2026",
        },
        "nodePublishSecretRef": {"name": "oss", "namespace": "team"},
    }
    assert wanted["metadata"] == {"name": "corpus", "namespace": "team"}
    assert wanted["spec"]["selector"]["matchLabels"] == volume["metadata"]["labels"]


def test_a_claim_of_a_nas() -> None:
    volume, _ = claim("nas", "nas://1a2b.cn-hangzhou.nas.aliyuncs.com/share")
    assert volume["spec"]["csi"]["driver"] == "nasplugin.csi.alibabacloud.com"
    assert volume["spec"]["csi"]["volumeAttributes"] == {
        "server": "1a2b.cn-hangzhou.nas.aliyuncs.com",
        "path": "/share",
    }
    assert volume["spec"]["mountOptions"] == ["nolock,tcp,noresvport", "vers=3"]


@pytest.mark.parametrize("uri", ["s3://b", "oss://", "nas", "oss://bucket"])
def test_a_claim_of_anything_else(uri: str) -> None:
    with pytest.raises(BackendError, match="oss"):
        claim("x", uri)
