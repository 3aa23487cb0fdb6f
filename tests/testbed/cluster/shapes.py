"""Workflows written by hand, against which the cluster itself is tested."""

from __future__ import annotations

import json
from typing import Any

from testbed.cluster.access import Cluster

CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
RESULT = "/out/result.json"
OUT = {"name": "out", "emptyDir": {}}


def workflow(name: str, templates: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    """A workflow that the standard `restricted` lets in; its entry is the first template."""
    patch = {
        "initContainers": [{"name": "init", "securityContext": CONFINED}],
        "containers": [{"name": "wait", "securityContext": CONFINED}],
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": f"{name}-"},
        "spec": {
            "entrypoint": templates[0]["name"],
            "serviceAccountName": "mapred-task",
            "automountServiceAccountToken": False,
            "executor": {"serviceAccountName": "mapred-executor"},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "podSpecPatch": json.dumps(patch),
            "templates": templates,
            **spec,
        },
    }


def container(name: str, image: str, *command: str, **template: Any) -> dict[str, Any]:
    """A template of one container, with the folder /out to write to."""
    return {
        "name": name,
        "container": {
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(command),
            "securityContext": CONFINED,
            "volumeMounts": [{"name": "out", "mountPath": "/out"}],
        },
        "volumes": [OUT],
        **template,
    }


def artifact(cluster: Cluster, key: str) -> dict[str, Any]:
    """The output artifact RESULT, as it is, in the bucket of the tests."""
    storage = cluster.storage
    host = storage.endpoint_in_pods.partition("://")[2]
    location = {
        "endpoint": host,
        "insecure": storage.endpoint_in_pods.startswith("http:"),
        "bucket": storage.bucket,
        "region": storage.region,
        "key": key,
        "accessKeySecret": {"name": storage.secret_name, "key": "accessKey"},
        "secretKeySecret": {"name": storage.secret_name, "key": "secretKey"},
    }
    return {"name": "result", "path": RESULT, "archive": {"none": {}}, "s3": location}


def loop(cluster: Cluster, count: int, root: str) -> dict[str, Any]:
    """`count` pods, each with the artifact `root`/NUMBER.json, and one after them all."""
    prefix = root.removeprefix(f"s3://{cluster.storage.bucket}/")
    write = f"echo '{{\"i\": {{{{inputs.parameters.i}}}}}}' > {RESULT}"
    one = container(
        "one", cluster.images.busybox, "sh", "-c", write,
        inputs={"parameters": [{"name": "i"}]},
        outputs={"artifacts": [artifact(cluster, prefix + "/{{inputs.parameters.i}}.json")]},
    )  # fmt: skip
    after = container("after", cluster.images.busybox, "true")
    each = {
        "name": "map",
        "template": "one",
        "arguments": {"parameters": [{"name": "i", "value": "{{item}}"}]},
        "withSequence": {"count": str(count)},
    }
    last = {"name": "after", "template": "after", "depends": "map"}
    return workflow("loop", [{"name": "main", "dag": {"tasks": [each, last]}}, one, after])
