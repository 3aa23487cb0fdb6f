"""What `mapred doctor` finds on a real cluster: nothing, or what was left out."""

from __future__ import annotations

import pytest
from testbed.cluster.access import Cluster

import mapred
from mapred.backends.findings import Finding

pytestmark = pytest.mark.on_cluster


def findings(cluster: Cluster, root: str, *, pod: bool = False, **more: object) -> list[Finding]:
    values: dict[str, object] = {
        "namespace": cluster.namespace,
        "image": cluster.images.mapred,
        "kubeconfig": str(cluster.kubeconfig),
        "endpoint": cluster.storage.endpoint_in_pods,
        "region": cluster.storage.region,
        "root_secret": cluster.storage.secret_name,
        **more,
    }
    return list(mapred.Argo(**values).examine(root, pod=pod))  # type: ignore[arg-type]


def bad(found: list[Finding]) -> list[str]:
    return [each.what for each in found if each.state == "bad"]


def test_a_cluster_that_is_ready(cluster: Cluster, cluster_root: str) -> None:
    found = findings(cluster, cluster_root, pod=True)
    assert bad(found) == [], "\n".join(map(str, found))
    said = [each.what for each in found]
    assert any(
        each.startswith("root, from the pod: it refuses a second put of one name") for each in said
    )
    assert "clock: that of the pod differs by less than 60 s" in said
    assert cluster.storage.secret not in "\n".join(map(str, found))


def test_what_is_missing_is_named(cluster: Cluster, cluster_root: str) -> None:
    found = findings(
        cluster,
        cluster_root,
        service_account="nobody-here",
        root_secret_keys=("accessKey", "other"),
    )
    assert bad(found) == [
        "account 'nobody-here': not there",
        f"secret {cluster.storage.secret_name!r}: it has no key other",
    ]
    assert all(each.remedy for each in found if each.state == "bad")
