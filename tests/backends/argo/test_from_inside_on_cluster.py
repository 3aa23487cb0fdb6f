"""A program in a pod submits runs: by its account's token, with the submitter's rights alone."""

from __future__ import annotations

import json
import secrets
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from backends.argo.remote import until
from testbed.cluster.access import Cluster

from mapred.backends.argo.backend import Argo
from mapred.backends.argo.pods import LOCKED

pytestmark = pytest.mark.on_cluster
PROGRAM = """
    import mapred
    backend = mapred.Argo(**{settings!r})
    small = mapred.Resources(cpu=0.01)
    run = mapred.run(lambda i: i * i, mapred.array(7), per_task=2, reduce=sum, backend=backend,
                     root={root!r}, resources=small, progress="none")
    print(run.uri, run.result(), run.audit().ok)
"""


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    chosen = f"inside-{secrets.token_hex(4)}"
    yield chosen
    cluster.kubectl("delete", "pod", chosen, "--ignore-not-found", "--wait=false")


def pod(cluster: Cluster, name: str, code: str) -> dict[str, Any]:
    """A pod of the submitter's account; it finds the bucket by variables and a Secret."""
    storage = cluster.storage
    keys = {"AWS_ACCESS_KEY_ID": "accessKey", "AWS_SECRET_ACCESS_KEY": "secretKey"}
    plain = {"AWS_ENDPOINT_URL": storage.endpoint_in_pods, "AWS_REGION": storage.region}
    env: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in plain.items()]
    for variable, key in keys.items():
        reference = {"name": storage.secret_name, "key": key}
        env.append({"name": variable, "valueFrom": {"secretKeyRef": reference}})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": Argo().submitter_service_account,
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10_001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": cluster.images.mapred,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", textwrap.dedent(code)],
                    "env": env,
                    "securityContext": LOCKED,
                }
            ],
        },
    }


def test_a_pod_submits_a_run_and_has_its_result(
    cluster: Cluster, cluster_root: str, name: str
) -> None:
    # It names neither a cluster nor a namespace: they are those that it is in.
    settings = {
        "image": cluster.images.mapred,
        "endpoint": cluster.storage.endpoint_in_pods,
        "region": cluster.storage.region,
        "root_secret": cluster.storage.secret_name,
        "max_pods": 2,
    }
    code = PROGRAM.format(settings=settings, root=cluster_root)
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod(cluster, name, code)))

    def phase() -> str:
        return cluster.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}").stdout

    until(lambda: phase() in ("Succeeded", "Failed"), "the program ends")
    said = cluster.kubectl("logs", name).stdout
    assert phase() == "Succeeded", said
    uri, answer, whole = said.split()
    assert uri.startswith(cluster_root)
    assert (answer, whole) == ("91", "True")
