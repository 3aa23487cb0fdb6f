"""The exact keys of each platform, and one clear error for what it cannot do."""

from __future__ import annotations

from typing import Any

import pytest

from mapred.backends.argo.placement import PROVIDERS, Placement, place
from mapred.errors import BackendError
from mapred.model.resources import Resources

INSTANCE = "node.kubernetes.io/instance-type"
GPU_TAINT = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


def is_in(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def required(*expressions: dict[str, Any]) -> dict[str, Any]:
    terms = [{"matchExpressions": list(expressions)}]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}


def preferred(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100 - 10 * number, "preference": {"matchExpressions": [expression]}}
            for number, expression in enumerate(expressions)
        ]
    }


ECI = {"alibabacloud.com/eci": "true"}
ACS = {
    "alibabacloud.com/acs": "true",
    "alibabacloud.com/compute-class": "general-purpose",
    "alibabacloud.com/compute-qos": "default",
}
KARPENTER = "karpenter.sh/capacity-type"
AKS = "kubernetes.azure.com/scalesetpriority"
AKS_TAINT = {"key": AKS, "operator": "Equal", "value": "spot", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("provider", "asked", "placed"),
    [
        ("kubernetes", {}, Placement()),
        (
            "kubernetes",
            {"gpu": 1, "gpu_type": "NVIDIA-A10"},
            Placement(node_selector={"nvidia.com/gpu.product": "NVIDIA-A10"}),
        ),
        (
            "kubernetes",
            {"instance_types": ["a", "b", "c"]},
            Placement(
                affinity=required(is_in(INSTANCE, "a", "b", "c"))
                | preferred(is_in(INSTANCE, "a"), is_in(INSTANCE, "b"))
            ),
        ),
        ("eci", {}, Placement(labels=ECI, scratch=False)),
        (
            "eci",
            {"cpu": 2, "spot": True},
            Placement(
                labels=ECI,
                annotations={
                    "k8s.aliyun.com/eci-spot-strategy": "SpotAsPriceGo",
                    "k8s.aliyun.com/eci-spot-fallback": "true",
                },
                scratch=False,
            ),
        ),
        (
            "eci",
            {
                "gpu": 1,
                "instance_types": ["ecs.gn7i-c16g1.4xlarge", "2-4Gi"],
                "spot": True,
                "spot_price": 0.5,
                "spot_fallback": False,
                "disk": "50.5Gi",
            },
            Placement(
                labels=ECI,
                annotations={
                    "k8s.aliyun.com/eci-use-specs": "ecs.gn7i-c16g1.4xlarge,2-4Gi",
                    "k8s.aliyun.com/eci-spot-strategy": "SpotWithPriceLimit",
                    "k8s.aliyun.com/eci-spot-price-limit": "0.5",
                    "k8s.aliyun.com/eci-spot-fallback": "false",
                    "k8s.aliyun.com/eci-extra-ephemeral-storage": "51Gi",
                },
                scratch=False,
            ),
        ),
        ("acs", {}, Placement(labels=ACS, scratch=False)),
        (
            "acs",
            {
                "gpu": 2,
                "gpu_type": "L20",
                "spot": True,
                "disk": "20Gi",
                "instance_types": ["2-4Gi"],
            },
            Placement(
                labels={
                    "alibabacloud.com/acs": "true",
                    "alibabacloud.com/compute-class": "gpu",
                    "alibabacloud.com/compute-qos": "best-effort",
                    "alibabacloud.com/gpu-model-series": "L20",
                },
                annotations={
                    "alibabacloud.com/pod-required-spec": "2-4Gi",
                    "alibabacloud.com/extra-ephemeral-storage": "20Gi",
                },
                scratch=False,
            ),
        ),
        ("gke", {}, Placement()),
        (
            "gke",
            {"gpu": 1, "gpu_type": "nvidia-l4", "spot": True, "spot_fallback": False},
            Placement(
                node_selector={
                    "cloud.google.com/gke-accelerator": "nvidia-l4",
                    "cloud.google.com/gke-accelerator-count": "1",
                    "cloud.google.com/gke-spot": "true",
                }
            ),
        ),
        (
            "gke",
            {"spot": True},
            Placement(affinity=preferred(is_in("cloud.google.com/gke-spot", "true"))),
        ),
        ("karpenter", {}, Placement(node_selector={KARPENTER: "on-demand"})),
        (
            "karpenter",
            {"spot": True},
            Placement(
                affinity=required(is_in(KARPENTER, "spot", "on-demand"))
                | preferred(is_in(KARPENTER, "spot"))
            ),
        ),
        (
            "karpenter",
            {"gpu": 1, "gpu_type": "l4", "spot": True, "spot_fallback": False},
            Placement(
                node_selector={KARPENTER: "spot", "karpenter.k8s.aws/instance-gpu-name": "l4"},
                tolerations=(GPU_TAINT,),
            ),
        ),
        ("aks", {}, Placement()),
        (
            "aks",
            {"spot": True, "spot_fallback": False},
            Placement(tolerations=(AKS_TAINT,), affinity=required(is_in(AKS, "spot"))),
        ),
        (
            "aks",
            {"spot": True, "gpu": 1},
            Placement(
                tolerations=(GPU_TAINT, {**AKS_TAINT, "key": "sku", "value": "gpu"}, AKS_TAINT),
                affinity=preferred(is_in(AKS, "spot")),
            ),
        ),
    ],
)
def test_exact_keys(provider: str, asked: dict[str, Any], placed: Placement) -> None:
    assert place(provider, Resources(**asked)) == placed


@pytest.mark.parametrize(
    ("provider", "asked", "says"),
    [
        ("kubernetes", {"spot": True}, "cannot do spot=True"),
        ("eci", {"gpu": 1}, "chosen by instance type"),
        ("eci", {"gpu": 1, "gpu_type": "A10"}, "chosen by instance type"),
        ("eci", {"spot": True, "cpu": 1}, "begins at 2 cores"),
        ("acs", {"spot": True, "spot_price": 0.1}, "cannot do spot_price=0.1"),
        ("acs", {"spot": True, "spot_fallback": True}, "cannot do spot_fallback=True"),
        ("acs", {"gpu": 1}, "needs gpu_type="),
        ("acs", {"instance_types": ["1-2Gi", "2-4Gi"]}, "takes one size"),
        ("gke", {"spot": True, "spot_price": 0.1}, "spot price is fixed"),
        ("gke", {"gpu": 1}, "needs gpu_type="),
        ("karpenter", {"spot": True, "spot_price": 0.1}, "NodePool"),
        ("aks", {"gpu": 1, "gpu_type": "a100"}, "chosen by machine"),
        ("aks", {"spot": True, "spot_price": 0.1}, "node pool"),
    ],
)
def test_what_a_platform_cannot_do(provider: str, asked: dict[str, Any], says: str) -> None:
    with pytest.raises(BackendError, match=says) as caught:
        place(provider, Resources(**asked))
    assert f"provider={provider!r}" in str(caught.value)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_images_are_cached_where_the_platform_does(provider: str) -> None:
    if provider == "eci":
        placed = place(provider, Resources(), image_cache=True)
        assert placed.annotations == {"k8s.aliyun.com/eci-auto-imc": "true"}
    else:
        with pytest.raises(BackendError, match="image_cache=True"):
            place(provider, Resources(), image_cache=True)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_the_user_says_goes_on_top(provider: str) -> None:
    asked = Resources(
        node_selector={"pool": "batch"},
        tolerations=("dedicated=ml",),
        labels={"alibabacloud.com/compute-class": "performance"},
        annotations={"k8s.aliyun.com/eci-vswitch": "vsw-1"},
    )
    placed = place(provider, asked)
    assert placed.node_selector["pool"] == "batch"
    assert placed.tolerations[-1] == {"key": "dedicated", "operator": "Equal", "value": "ml"}
    assert placed.labels["alibabacloud.com/compute-class"] == "performance"
    assert placed.annotations["k8s.aliyun.com/eci-vswitch"] == "vsw-1"


def test_the_two_dialects_of_one_cloud_never_meet() -> None:
    for one, other in (("eci", "acs"), ("acs", "eci")):
        placed = place(one, Resources(cpu=2, spot=True, disk="1Gi"))
        keys = [*placed.labels, *placed.annotations]
        assert not [key for key in keys if other in key]
