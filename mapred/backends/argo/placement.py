"""Where pods run: the exact keys by which each platform is told what `Resources` ask for.

A provider is a pure function of `Resources` and whether images are to be cached; what its
platform cannot do is a `BackendError` that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mapred.errors import BackendError
from mapred.model.resources import Resources, parse_bytes, parse_toleration

_INSTANCE = "node.kubernetes.io/instance-type"


@dataclass(frozen=True)
class Placement:
    """What a pod says of its place; `affinity` is a node affinity as Kubernetes writes it.

    `scratch` is whether disk is asked for by `ephemeral-storage` rather than an annotation.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    scratch: bool = True


def place(provider: str, asked: Resources, *, image_cache: bool = False) -> Placement:
    """Return the placement on a platform, with what the resources say themselves laid over it."""
    known = PROVIDERS[provider](asked, image_cache)
    own = tuple(parse_toleration(text) for text in asked.tolerations)
    return Placement(
        labels={**known.labels, **asked.labels},
        annotations={**known.annotations, **asked.annotations},
        node_selector={**known.node_selector, **asked.node_selector},
        tolerations=(*known.tolerations, *own),
        affinity=known.affinity,
        scratch=known.scratch,
    )


def kubernetes(asked: Resources, image_cache: bool) -> Placement:
    """Any cluster: the labels that Kubernetes and NVIDIA's feature discovery put on nodes."""
    _cannot("kubernetes", asked, image_cache, spot=_NO_SPOT, spot_price=_NO_SPOT)
    return Placement(
        node_selector={"nvidia.com/gpu.product": asked.gpu_type} if asked.gpu_type else {},
        affinity=_affinity(instances=asked.instance_types),
    )


def eci(asked: Resources, image_cache: bool) -> Placement:
    """Alibaba Cloud's elastic container instances: annotations, read when a pod is made."""
    if asked.gpu_type or (asked.gpu and not asked.instance_types):
        raise BackendError(
            f"provider='eci': gpu={asked.gpu}, gpu_type={asked.gpu_type!r}: GPUs are chosen by "
            "instance type there; write instance_types=['ecs.gn7i-c16g1.4xlarge']"
        )
    if asked.spot and asked.cpu < 2 and not asked.instance_types:
        raise BackendError(
            f"provider='eci': spot=True with cpu={asked.cpu:g}: spot capacity by size begins at "
            "2 cores; ask for cpu=2, or name instance_types="
        )
    notes = {}
    if asked.instance_types:
        notes["k8s.aliyun.com/eci-use-specs"] = ",".join(asked.instance_types)
    if asked.spot:
        limited = asked.spot_price is not None
        strategy = "SpotWithPriceLimit" if limited else "SpotAsPriceGo"
        notes["k8s.aliyun.com/eci-spot-strategy"] = strategy
        if limited:
            notes["k8s.aliyun.com/eci-spot-price-limit"] = f"{asked.spot_price:g}"
        fallback = "false" if asked.spot_fallback is False else "true"
        notes["k8s.aliyun.com/eci-spot-fallback"] = fallback
    if asked.disk is not None:
        notes["k8s.aliyun.com/eci-extra-ephemeral-storage"] = _gibibytes(asked.disk)
    if image_cache:
        notes["k8s.aliyun.com/eci-auto-imc"] = "true"
    return Placement(labels={"alibabacloud.com/eci": "true"}, annotations=notes, scratch=False)


def acs(asked: Resources, image_cache: bool) -> Placement:
    """Alibaba Cloud's container compute service: a class and a quality of service."""
    _cannot(
        "acs",
        asked,
        image_cache,
        spot_price="it has no price limit",
        spot_fallback="best-effort pods have no way back to on demand",
    )
    if asked.gpu and not asked.gpu_type:
        raise BackendError(
            f"provider='acs': gpu={asked.gpu} needs gpu_type=, a series such as 'T4', 'A10', 'L20'"
        )
    if len(asked.instance_types) > 1:
        raise BackendError(
            f"provider='acs': instance_types={list(asked.instance_types)}: it takes one size, "
            "such as '2-4Gi', and no alternatives"
        )
    labels = {
        "alibabacloud.com/acs": "true",
        "alibabacloud.com/compute-class": "gpu" if asked.gpu else "general-purpose",
        "alibabacloud.com/compute-qos": "best-effort" if asked.spot else "default",
    }
    if asked.gpu_type:
        labels["alibabacloud.com/gpu-model-series"] = asked.gpu_type
    notes = {}
    if asked.instance_types:
        notes["alibabacloud.com/pod-required-spec"] = asked.instance_types[0]
    if asked.disk is not None:
        notes["alibabacloud.com/extra-ephemeral-storage"] = _gibibytes(asked.disk)
    return Placement(labels=labels, annotations=notes, scratch=False)


def gke(asked: Resources, image_cache: bool) -> Placement:
    """Google Kubernetes Engine, Autopilot or standard."""
    _cannot("gke", asked, image_cache, spot_price="its spot price is fixed, without a limit")
    if asked.gpu and not asked.gpu_type:
        raise BackendError(f"provider='gke': gpu={asked.gpu} needs gpu_type=, such as 'nvidia-l4'")
    selector = {}
    if asked.gpu_type:
        selector["cloud.google.com/gke-accelerator"] = asked.gpu_type
        selector["cloud.google.com/gke-accelerator-count"] = str(asked.gpu)
    spot = ("cloud.google.com/gke-spot", "true")
    if asked.spot and asked.spot_fallback is False:
        selector[spot[0]] = spot[1]
    preferred = spot if asked.spot and asked.spot_fallback is not False else None
    return Placement(
        node_selector=selector,
        affinity=_affinity(instances=asked.instance_types, preferred=preferred),
    )


def karpenter(asked: Resources, image_cache: bool) -> Placement:
    """Nodes that Karpenter makes on AWS: it takes spot where both are allowed."""
    _cannot("karpenter", asked, image_cache, spot_price="a price limit belongs into its NodePool")
    key = "karpenter.sh/capacity-type"
    selector, either, preferred = {}, None, None
    if not asked.spot:
        selector[key] = "on-demand"
    elif asked.spot_fallback is False:
        selector[key] = "spot"
    else:
        either, preferred = (key, ("spot", "on-demand")), (key, "spot")
    if asked.gpu_type:
        selector["karpenter.k8s.aws/instance-gpu-name"] = asked.gpu_type
    return Placement(
        node_selector=selector,
        tolerations=_GPU_TAINT if asked.gpu else (),
        affinity=_affinity(instances=asked.instance_types, either=either, preferred=preferred),
    )


def aks(asked: Resources, image_cache: bool) -> Placement:
    """Azure Kubernetes Service: spot node pools are tainted and labelled alike."""
    _cannot("aks", asked, image_cache, spot_price="a price limit belongs to its node pool")
    if asked.gpu_type:
        raise BackendError(
            f"provider='aks': gpu_type={asked.gpu_type!r}: GPUs are chosen by machine there; write "
            "instance_types=['Standard_NC24ads_A100_v4']"
        )
    key = "kubernetes.azure.com/scalesetpriority"
    taints = (*_GPU_TAINT, parse_toleration("sku=gpu:NoSchedule")) if asked.gpu else ()
    if not asked.spot:
        return Placement(tolerations=taints, affinity=_affinity(instances=asked.instance_types))
    firm = asked.spot_fallback is False
    return Placement(
        tolerations=(*taints, parse_toleration(f"{key}=spot:NoSchedule")),
        affinity=_affinity(
            instances=asked.instance_types,
            either=(key, ("spot",)) if firm else None,
            preferred=None if firm else (key, "spot"),
        ),
    )


PROVIDERS: Mapping[str, Callable[[Resources, bool], Placement]] = {
    "kubernetes": kubernetes,
    "eci": eci,
    "acs": acs,
    "gke": gke,
    "karpenter": karpenter,
    "aks": aks,
}
_GPU_TAINT = (parse_toleration("nvidia.com/gpu:NoSchedule"),)
_NO_SPOT = (
    "plain Kubernetes does not know spot capacity; name the platform by provider=, or its nodes "
    "by node_selector= and tolerations="
)


def _cannot(provider: str, asked: Resources, image_cache: bool, **reasons: str) -> None:
    """Refuse what is asked for in vain; `reasons` say why, by the field of `Resources`."""
    for what, reason in reasons.items():
        value = getattr(asked, what)
        if value:
            raise BackendError(f"provider={provider!r} cannot do {what}={value!r}: {reason}")
    if image_cache:
        raise BackendError(
            f"provider={provider!r} cannot do image_cache=True: only eci caches images for pods"
        )


def _affinity(
    instances: tuple[str, ...] = (),
    either: tuple[str, tuple[str, ...]] | None = None,
    preferred: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """Return a node affinity: one of these machines, the first ones rather; a label, or rather so."""
    required = [(_INSTANCE, instances)] if instances else []
    required += [either] if either else []
    rather = [preferred] if preferred else []
    rather += [(_INSTANCE, name) for name in instances[:-1]]
    affinity: dict[str, Any] = {}
    if required:
        terms = [{"matchExpressions": [_in(key, values) for key, values in required]}]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if rather:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {
                "weight": max(1, 100 - 10 * number),
                "preference": {"matchExpressions": [_in(key, (value,))]},
            }
            for number, (key, value) in enumerate(rather)
        ]
    return affinity


def _in(key: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _gibibytes(size: str | int) -> str:
    """Whole GiB, rounded up: what these platforms sell."""
    return f"{-(-parse_bytes(size, 'disk') // 2**30)}Gi"
