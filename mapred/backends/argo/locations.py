"""A run's root as pods and Argo see it: locations of artifacts, and variables that lead to it.

Endpoints are those that pods reach; secrets are named, never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mapred.backends.argo.settings import ArgoSettings
from mapred.errors import BackendError
from mapred.model.resources import Volume
from mapred.model.spec import Format
from mapred.storage.oss_access import region_of

_OSS_EXAMPLE = "https://oss-cn-hangzhou-internal.aliyuncs.com"
_MOUNT = "the volume that holds it, mapred.Argo(volumes=[mapred.Volume('/nas', claim='nas')])"
OBJECT_STORES = ("s3", "oss", "gs", "az")


def scheme_of(uri: str) -> str:
    """Return `s3`, `oss`, `gs`, `az`, or the empty string for a path."""
    scheme, separator, _ = uri.partition("://")
    return scheme if separator and scheme != "file" else ""


def location(argo: ArgoSettings, uri: str, key: str) -> dict[str, Any]:
    """Return the location of the artifact `key` below `uri`, as Argo writes it inline."""
    scheme = scheme_of(uri)
    bucket, _, prefix = uri.partition("://")[2].partition("/")
    path = f"{prefix.rstrip('/')}/{key}" if prefix.strip("/") else key
    if scheme in ("s3", "oss"):
        address = _s3(argo) if scheme == "s3" else _s3_of_oss(argo)
        return {"s3": {**address, "bucket": bucket, "key": path, **_keys(argo)}}
    secret = _secret(argo, argo.root_secret_keys[1])
    if scheme == "gs":
        access: dict[str, Any] = {"serviceAccountKeySecret": secret} if secret else {}
        return {"gcs": {"bucket": bucket, "key": path, **access}}
    access = {"accountKeySecret": secret} if secret else {"useSDKCreds": True}
    place = {"endpoint": _endpoint(argo, "az"), "container": bucket, "blob": path}
    return {"azure": {**place, **access}}


def _s3(argo: ArgoSettings) -> dict[str, Any]:
    region = {"region": argo.region} if argo.region else {}
    if argo.endpoint is None:
        return {"endpoint": "s3.amazonaws.com", **region}
    insecure = {"insecure": True} if argo.endpoint.startswith("http://") else {}
    return {"endpoint": urlsplit(argo.endpoint).netloc, **region, **insecure}


def _s3_of_oss(argo: ArgoSettings) -> dict[str, Any]:
    """Return the S3-compatible address of OSS, as Argo's own client of OSS only signs by version 1.

    The address is always one of HTTPS: without it Argo's client of S3 sends bodies in chunks, which
    OSS refuses. For names of `aliyuncs.com` the client puts the bucket into the host's name, which
    OSS requires.
    """
    endpoint = urlsplit(_endpoint(argo, "oss"))
    host = endpoint.hostname or ""
    region = (argo.region or region_of(endpoint.geturl()) or "").removeprefix("oss-")
    if not host.endswith(".aliyuncs.com") or not region:
        raise BackendError(
            f"endpoint={argo.endpoint!r} is not one of OSS's own, such as {_OSS_EXAMPLE!r}, and Argo "
            "fetches packages from the S3-compatible address that belongs to one; name it, or "
            "image= with all packages"
        )
    if argo.root_secret is None:
        raise BackendError(
            "a root on oss:// needs root_secret= where pods fetch packages: Argo fetches them, and "
            "knows no role of Alibaba's; name the Secret, or image= with all packages"
        )
    port = f":{endpoint.port}" if endpoint.port else ""
    name = host if host.startswith("s3.") else f"s3.{host}"
    return {"endpoint": f"{name}{port}", "region": region}


def copies(argo: ArgoSettings, uri: str) -> bool:
    """Whether Argo can keep copies of commits as artifacts of the Workflow."""
    try:
        return bool(scheme_of(uri)) and bool(location(argo, uri, "copy"))
    except BackendError:
        return False


def _endpoint(argo: ArgoSettings, scheme: str) -> str:
    if argo.endpoint is None:
        example = {"oss": _OSS_EXAMPLE, "az": "https://ACCOUNT.blob.core.windows.net"}[scheme]
        raise BackendError(
            f"a root on {scheme}:// needs endpoint=, as the pods reach it, such as {example!r}"
        )
    return argo.endpoint.rstrip("/")


def _secret(argo: ArgoSettings, key: str) -> dict[str, str]:
    return {"name": argo.root_secret, "key": key} if argo.root_secret else {}


def _keys(argo: ArgoSettings) -> dict[str, Any]:
    if argo.root_secret is None:
        return {"useSDKCreds": True}
    access, secret = argo.root_secret_keys
    return {"accessKeySecret": _secret(argo, access), "secretKeySecret": _secret(argo, secret)}


# The variables of the endpoint, the access key and the secret key.
_VARIABLES: Mapping[str, tuple[str, str, str]] = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "oss": ("OSS_ENDPOINT", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"),
    "gs": ("GOOGLE_BASE_URL", "", "GOOGLE_SERVICE_ACCOUNT_KEY"),
    "az": ("AZURE_ENDPOINT", "", "AZURE_STORAGE_ACCOUNT_KEY"),
}

_REGIONS = {"s3": "AWS_REGION", "oss": "OSS_REGION"}


def variables(argo: ArgoSettings, uri: str) -> list[dict[str, Any]]:
    """Return the variables by which a worker reaches its root: settings, and references to secrets."""
    scheme = scheme_of(uri)
    if not scheme:
        return []
    endpoint, access, secret = _VARIABLES[scheme]
    values: list[dict[str, Any]] = []
    if argo.endpoint is not None:
        values.append({"name": endpoint, "value": argo.endpoint.rstrip("/")})
    if argo.region is not None and scheme in _REGIONS:
        values.append({"name": _REGIONS[scheme], "value": argo.region})
    if argo.root_secret is not None:
        for name, key in zip((access, secret), argo.root_secret_keys, strict=True):
            if name:
                reference = {"secretKeyRef": _secret(argo, key)}
                values.append({"name": name, "valueFrom": reference})
    return values


def check_root(argo: ArgoSettings, uri: str, volumes: tuple[Volume, ...]) -> None:
    """Refuse a root that pods cannot see: a path that lies on none of their volumes."""
    scheme = scheme_of(uri)
    if scheme:
        if scheme not in OBJECT_STORES:
            raise BackendError(f"root {uri!r}: pods know no store for {scheme}://")
        if scheme in ("oss", "az"):
            _endpoint(argo, scheme)
        return
    if not _is_mounted(uri, volumes):
        raise BackendError(
            f"root {uri!r} is a path on this machine, and no volume of the pods holds it: name an "
            f"object store, root='s3://bucket/runs', or {_MOUNT}"
        )


def check_runs(format: Format, volumes: tuple[Volume, ...]) -> None:
    """Refuse outputs of runs that pods cannot see."""
    for run in format.runs if format.name == "outputs" else ():
        if not scheme_of(run.uri) and not _is_mounted(run.uri, volumes):
            raise BackendError(
                f"{run.uri}, a run whose outputs this one reads, is a path on this machine, and no "
                f"volume of the pods holds it: run it with root='s3://bucket/runs', or name {_MOUNT}"
            )


def _is_mounted(uri: str, volumes: tuple[Volume, ...]) -> bool:
    path = uri.removeprefix("file://")
    shared = [volume for volume in volumes if volume.claim or volume.nfs]
    return any(f"{path}/".startswith(f"{volume.path}/") for volume in shared)
