"""Where pods run: the labels, annotations and selectors in which a platform reads `Resources`.

A provider is a pure function of `Resources` and whether images are cached. It raises a
`BackendError` for what its platform cannot do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mapred.errors import BackendError
from mapred.model.resources import Resources, parse_bytes, parse_toleration

_INSTANCE = "node.kubernetes.io/instance-type"


@dataclass(frozen=True)
class Placement:
    """The fields of a pod that place it; `affinity` is a node affinity as Kubernetes writes it.

    `scratch` is whether disk is requested as `ephemeral-storage` rather than by an annotation.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()
    affinity: Mapping[str, Any] = field(default_factory=dict)
    scratch: bool = True


def place(provider: str, resources: Resources, *, image_cache: bool = False) -> Placement:
    """Return the placement on a platform; what `resources` say of labels and the like comes last."""
    base = PROVIDERS[provider](resources, image_cache)
    return replace(
        base,
        labels={**base.labels, **resources.labels},
        annotations={**base.annotations, **resources.annotations},
        node_selector={**base.node_selector, **resources.node_selector},
        tolerations=(*base.tolerations, *map(parse_toleration, resources.tolerations)),
    )


def kubernetes(resources: Resources, image_cache: bool) -> Placement:
    """Any cluster: the labels that Kubernetes and NVIDIA's feature discovery put on nodes."""
    _refuse("kubernetes", resources, image_cache, spot=_NO_SPOT, spot_price=_NO_SPOT)
    return Placement(
        node_selector={"nvidia.com/gpu.product": resources.gpu_type} if resources.gpu_type else {},
        affinity=_affinity(instances=resources.instance_types),
    )


def eci(resources: Resources, image_cache: bool) -> Placement:
    """Alibaba Cloud's elastic container instances: annotations, read when a pod is made."""
    if resources.gpu_type or (resources.gpu and not resources.instance_types):
        raise BackendError(
            f"provider='eci': gpu={resources.gpu}, gpu_type={resources.gpu_type!r}: GPUs are chosen by "
            "instance type there; write instance_types=['ecs.gn7i-c16g1.4xlarge']"
        )
    if resources.spot and resources.cpu < 2 and not resources.instance_types:
        raise BackendError(
            f"provider='eci': spot=True with cpu={resources.cpu:g}: spot capacity by size begins at "
            "2 cores; ask for cpu=2, or name instance_types="
        )
    notes = {}
    if resources.instance_types:
        notes["k8s.aliyun.com/eci-use-specs"] = ",".join(resources.instance_types)
    if resources.spot:
        limited = resources.spot_price is not None
        strategy = "SpotWithPriceLimit" if limited else "SpotAsPriceGo"
        notes["k8s.aliyun.com/eci-spot-strategy"] = strategy
        if limited:
            notes["k8s.aliyun.com/eci-spot-price-limit"] = f"{resources.spot_price:g}"
        fallback = "false" if resources.spot_fallback is False else "true"
        notes["k8s.aliyun.com/eci-spot-fallback"] = fallback
    if resources.disk is not None:
        notes["k8s.aliyun.com/eci-extra-ephemeral-storage"] = _gibibytes(resources.disk)
    if image_cache:
        notes["k8s.aliyun.com/eci-auto-imc"] = "true"
    return Placement(labels={"alibabacloud.com/eci": "true"}, annotations=notes, scratch=False)


def acs(resources: Resources, image_cache: bool) -> Placement:
    """Alibaba Cloud's container compute service: a class and a quality of service."""
    no_fallback = "best-effort pods have no way back to on demand"
    no_limit = "it has no price limit"
    _refuse("acs", resources, image_cache, spot_price=no_limit, spot_fallback=no_fallback)
    if resources.gpu and not resources.gpu_type:
        raise BackendError(
            f"provider='acs': gpu={resources.gpu} needs gpu_type=, a series such as 'T4', 'A10', 'L20'"
        )
    if len(resources.instance_types) > 1:
        raise BackendError(
            f"provider='acs': instance_types={list(resources.instance_types)}: it takes one size, "
            "such as '2-4Gi', and no alternatives"
        )
    labels = {
        "alibabacloud.com/acs": "true",
        "alibabacloud.com/compute-class": "gpu" if resources.gpu else "general-purpose",
        "alibabacloud.com/compute-qos": "best-effort" if resources.spot else "default",
    }
    if resources.gpu_type:
        labels["alibabacloud.com/gpu-model-series"] = resources.gpu_type
    notes = {}
    if resources.instance_types:
        notes["alibabacloud.com/pod-required-spec"] = resources.instance_types[0]
    if resources.disk is not None:
        notes["alibabacloud.com/extra-ephemeral-storage"] = _gibibytes(resources.disk)
    return Placement(labels=labels, annotations=notes, scratch=False)


def gke(resources: Resources, image_cache: bool) -> Placement:
    """Google Kubernetes Engine, Autopilot or standard."""
    _refuse("gke", resources, image_cache, spot_price="its spot price is fixed, without a limit")
    if resources.gpu and not resources.gpu_type:
        raise BackendError(
            f"provider='gke': gpu={resources.gpu} needs gpu_type=, such as 'nvidia-l4'"
        )
    selector = {}
    if resources.gpu_type:
        selector["cloud.google.com/gke-accelerator"] = resources.gpu_type
        selector["cloud.google.com/gke-accelerator-count"] = str(resources.gpu)
    spot = ("cloud.google.com/gke-spot", "true")
    if resources.spot and resources.spot_fallback is False:
        selector[spot[0]] = spot[1]
    preferred = spot if resources.spot and resources.spot_fallback is not False else None
    return Placement(
        node_selector=selector,
        affinity=_affinity(instances=resources.instance_types, preferred=preferred),
    )


def karpenter(resources: Resources, image_cache: bool) -> Placement:
    """Nodes that Karpenter makes on AWS: it takes spot where both are allowed."""
    _refuse("karpenter", resources, image_cache, spot_price="a price limit belongs in its NodePool")
    key = "karpenter.sh/capacity-type"
    selector, either, preferred = {}, None, None
    if not resources.spot:
        selector[key] = "on-demand"
    elif resources.spot_fallback is False:
        selector[key] = "spot"
    else:
        either, preferred = (key, ("spot", "on-demand")), (key, "spot")
    if resources.gpu_type:
        selector["karpenter.k8s.aws/instance-gpu-name"] = resources.gpu_type
    return Placement(
        node_selector=selector,
        tolerations=_GPU_TAINT if resources.gpu else (),
        affinity=_affinity(instances=resources.instance_types, either=either, preferred=preferred),
    )


def aks(resources: Resources, image_cache: bool) -> Placement:
    """Azure Kubernetes Service: spot node pools are tainted and labelled alike."""
    _refuse("aks", resources, image_cache, spot_price="a price limit belongs to its node pool")
    if resources.gpu_type:
        raise BackendError(
            f"provider='aks': gpu_type={resources.gpu_type!r}: GPUs are chosen by machine there; write "
            "instance_types=['Standard_NC24ads_A100_v4']"
        )
    key = "kubernetes.azure.com/scalesetpriority"
    taints = (*_GPU_TAINT, parse_toleration("sku=gpu:NoSchedule")) if resources.gpu else ()
    if not resources.spot:
        return Placement(tolerations=taints, affinity=_affinity(instances=resources.instance_types))
    firm = resources.spot_fallback is False
    return Placement(
        tolerations=(*taints, parse_toleration(f"{key}=spot:NoSchedule")),
        affinity=_affinity(
            instances=resources.instance_types,
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
    "plain Kubernetes has no spot capacity; name the platform by provider=, or its nodes "
    "by node_selector= and tolerations="
)


def _refuse(provider: str, resources: Resources, image_cache: bool, **reasons: str) -> None:
    """Refuse what a platform cannot do; `reasons` say why, by the field of `Resources`."""
    for what, reason in reasons.items():
        value = getattr(resources, what)
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
    """Return an affinity for nodes of these instance types, earlier ones preferred.

    `either` is a label with the values that nodes may have, `preferred` one to prefer most.
    """
    required = [(_INSTANCE, instances)] if instances else []
    required += [either] if either else []
    wishes = [preferred] if preferred else []
    wishes += [(_INSTANCE, name) for name in instances[:-1]]
    affinity: dict[str, Any] = {}
    if required:
        terms = [{"matchExpressions": [_in(key, values) for key, values in required]}]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if wishes:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {
                "weight": max(1, 100 - 10 * number),
                "preference": {"matchExpressions": [_in(key, (value,))]},
            }
            for number, (key, value) in enumerate(wishes)
        ]
    return affinity


def _in(key: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _gibibytes(size: str | int) -> str:
    """Return whole GiB, rounded up, as these platforms sell them."""
    return f"{-(-parse_bytes(size, 'disk') // 2**30)}Gi"
