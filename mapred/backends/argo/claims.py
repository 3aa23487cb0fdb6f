"""Shared storage of Alibaba Cloud as Kubernetes objects: what `mapred argo claim` prints."""

from __future__ import annotations

from typing import Any

from mapred.errors import BackendError
from mapred.process import secrecy


def claim(
    name: str,
    uri: str,
    *,
    namespace: str | None = None,
    endpoint: str | None = None,
    secret: str | None = None,
) -> list[dict[str, Any]]:
    """Return a volume called `name`, for `oss://bucket/path` or `nas://server/path`, and its claim.

    Pods then mount it by `mapred.Volume("/data", claim=name)`. `endpoint` is OSS's own, as the
    nodes reach it; `secret` has the keys `akId` and `akSecret`.
    """
    remedy = "name the Secret that holds the keys by secret="
    secrecy.refuse_urls((uri,), "the URI of a claim", BackendError, remedy)
    secrecy.refuse_endpoint(endpoint or "", "endpoint=", BackendError)
    scheme, _, rest = uri.partition("://")
    head, _, path = rest.partition("/")
    if scheme not in ("oss", "nas") or not head:
        raise BackendError(f"{uri!r}: write oss://bucket/path or nas://server/path")
    if scheme == "oss" and endpoint is None:
        raise BackendError(
            f"{uri!r} needs the endpoint of its bucket, such as oss-cn-hangzhou-internal.aliyuncs.com"
        )
    space = namespace or "default"
    options: dict[str, Any] = {}
    csi: dict[str, Any] = {"driver": f"{scheme}plugin.csi.alibabacloud.com", "volumeHandle": name}
    if scheme == "oss":
        csi["volumeAttributes"] = {"bucket": head, "url": endpoint, "path": f"/{path}"}
        if secret is not None:
            csi["nodePublishSecretRef"] = {"name": secret, "namespace": space}
    else:
        csi["volumeAttributes"] = {"server": head, "path": f"/{path}"}
        options = {"mountOptions": ["nolock,tcp,noresvport", "vers=3"]}
    return _objects(name, space, {"persistentVolumeReclaimPolicy": "Retain", **options, "csi": csi})


def _objects(name: str, namespace: str, source: dict[str, Any]) -> list[dict[str, Any]]:
    shared = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    size = {"storage": "1Ti"}  # Kubernetes requires a number, and no one reads this one.
    labels = {"mapred-volume": name}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": labels},
        "spec": {**shared, "capacity": size, **source},
    }
    selector = {"matchLabels": labels}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**shared, "resources": {"requests": size}, "selector": selector},
    }
    return [volume, claim]
