"""The jobs whose Workflows are kept as golden files, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

from hypothesis import strategies as st

import mapred
from mapred.backends.argo import cron, deployments, driving, submitters
from mapred.backends.argo.backend import Argo
from mapred.backends.argo.yaml import to_yaml
from mapred.backends.deployments import Record
from mapred.backends.schedules import Schedule
from mapred.functions.declared import Parameter
from mapred.model.resources import Resources, Volume
from mapred.model.spec import Format, Job, Stage
from mapred.planner import stages as graph
from mapred.process import secrecy
from mapred.reducers import Reducer, as_reducer
from mapred.runfolder.pipelines import PipelineRecord

RUN_ID = "20260102-030405-0a1b2c3d"
DIGEST, PACKAGES = "d1" * 32, "9a" * 32
S3 = {"root_secret": "team-s3", "endpoint": "http://minio.storage:9000"}


def job(
    shards: int = 3,
    reduce: Reducer | None = None,
    *,
    resources: Resources | None = None,
    reduce_resources: Resources | None = None,
    stages: tuple[Stage, ...] | None = None,
    **more: Any,
) -> Job:
    """A job as job.json would hold it, the same every time."""
    chosen = stages or graph.stages(
        shards, reduce, resources=resources or Resources(), reduce_resources=reduce_resources
    )
    values: dict[str, Any] = {"name": "word_count", "python": "3.11", **more}
    return Job(
        run_id=RUN_ID,
        created="2026-01-02T03:04:05Z",
        format=Format("text", "lines"),
        stages=chosen,
        shards=chosen[0].tasks,
        items=0,
        files=1,
        bytes=1000,
        function="function.pkl",
        mapred="0.1.0",
        **values,
    )


def text(
    made: Job, argo: Argo, *, root: str = "s3://team/runs", packages: str | None = None
) -> str:
    uri = f"{root}/{RUN_ID}"
    return argo.render(made, uri=uri, digest=DIGEST, packages=packages)


def schedule(argo: Argo, packages: str | None = None, **more: Any) -> str:
    """A CronWorkflow as YAML, the same every time."""
    values: dict[str, Any] = {
        "name": "nightly",
        "job": "word_count",
        "cron": ("0 3 * * *",),
        "timezone": "Europe/Berlin",
        "root": "s3://team/runs",
        "digest": DIGEST,
        "parameters": {"city": "Bern", "days": 7},
        **more,
    }
    asked = Resources(env={"MODE": "on"}, secrets={"PGPASSWORD": "database/password"})
    with mock.patch.object(submitters, "python", return_value="3.11"):  # whatever Python this is
        return to_yaml(cron.manifest(argo, Schedule(**values), asked, packages))


def deployment(argo: Argo, packages: str | None = None, **more: Any) -> str:
    """A WorkflowTemplate as YAML, the same every time."""
    values: dict[str, Any] = {
        "name": "tell",
        "job": "word_count",
        "root": "s3://team/runs",
        "digest": DIGEST,
        "owner": "ann",
        "deployed": "2026-03-01T02:00:00Z",
        "description": "Counts words of a day.",
        "parameters": (
            Parameter("city", choices=("Bern", "Oslo"), description="Which one."),
            Parameter("days", "int", default="7"),
            Parameter("date", "datetime", default=""),
            Parameter("fast", "bool", default="false"),
        ),
        **more,
    }
    asked = Resources(env={"MODE": "on"}, secrets={"PGPASSWORD": "database/password"})
    with mock.patch.object(submitters, "python", return_value="3.11"):
        return to_yaml(deployments.manifest(argo, Record(**values), asked, packages))


def pipeline(argo: Argo, *, root: str = "s3://team/runs", packages: str | None = None) -> str:
    """The Workflow that drives a pipeline, as YAML, the same every time."""
    record = PipelineRecord(
        run_id=RUN_ID,
        name="nightly",
        created="2026-01-02T03:04:05Z",
        submitted=1767323045.0,
        digests={},
        python="3.11",
    )
    with mock.patch.object(submitters, "python", return_value="3.11"):  # whatever Python this is
        made = driving.manifest(
            argo, record, uri=f"{root}/{RUN_ID}", digest=DIGEST, packages=packages
        )
    return to_yaml(made)


TREE = as_reducer(max, fan_in=256)
SPOT = {"spot": True, "gpu": 1, "memory": "16Gi", "cpu": 4, "disk": "100Gi"}
_SPOT_ON: Mapping[str, Resources] = {
    "kubernetes": Resources(**{**SPOT, "spot": False}, gpu_type="NVIDIA-A10"),
    "eci": Resources(
        **SPOT, instance_types=("ecs.gn7i-c16g1.4xlarge", "ecs.gn6i-c4g1.xlarge"), spot_price=2.5
    ),
    "acs": Resources(**SPOT, gpu_type="L20"),
    "gke": Resources(**SPOT, gpu_type="nvidia-l4", spot_fallback=False),
    "karpenter": Resources(**SPOT, gpu_type="l4", instance_types=("g6.2xlarge", "g6.4xlarge")),
    "aks": Resources(**SPOT, instance_types=("Standard_NC24ads_A100_v4",)),
}


def _spot(provider: str) -> Callable[[], str]:
    argo = Argo(**S3, provider=provider, image_cache=provider == "eci")
    return lambda: text(job(10, as_reducer(sum), resources=_SPOT_ON[provider]), argo)


def _volumes() -> str:
    volumes = (
        Volume("/corpus", claim="corpus", read_only=True, sub_path="2026"),
        Volume("/nas", nfs="nas.example:/export"),
        Volume("/scratch", memory="2Gi"),
        Volume("/work", disk="200Gi", storage_class="fast"),
    )
    argo = Argo(**S3, volumes=(Volume("/models", claim="models"),))
    return text(job(resources=Resources(volumes=volumes)), argo)


def _secrets() -> str:
    asked = Resources(
        env={"OMP_NUM_THREADS": "2", "MODE": "on", "LEVEL": "n"},
        secrets={"PGPASSWORD": "database/password", "HF_TOKEN": "hub/token"},
    )
    argo = Argo(
        namespace="team", **S3, root_secret_keys=("id", "key"), image_pull_secrets=("pull",)
    )
    return text(job(resources=asked), argo)


def _limits() -> str:
    asked = Resources(
        cpu=0.5,
        memory="3Gi",
        max_memory="20Gi",
        node_selector={"pool": "batch"},
        tolerations=("dedicated=ml:NoSchedule", "spare"),
        priority_class="low",
        labels={"team": "search"},
        annotations={"note": "yes"},
        pod_spec_patch={"hostNetwork": True},
    )
    argo = Argo(
        **S3,
        parallelism=20,
        max_pods=4,
        retries=3,
        priority=5,
        ttl=3600,
        labels={"cost-center": "42"},
        annotations={"owner": "a b"},
        pod_spec_patch={"containers": [{"name": "wait", "resources": {"limits": {"cpu": "1"}}}]},
    )
    made = job(10, as_reducer(sum), resources=asked, timeout=90, deadline=7200, attempts=2)
    return text(made, argo)


def _shuffle() -> str:
    asked = Resources(2, "8Gi")
    stages = (
        Stage("map", "map", 500, resources=asked),
        Stage("shuffle", "shuffle", 64, inputs="map", input_tasks=500, resources=asked, last=True),
    )
    return text(job(stages=stages), Argo(**S3), packages=PACKAGES)


def _command() -> str:
    argo = Argo(**S3, image="debian:13", python="/usr/bin/python3", run_as_user=0)
    return text(job(1, name="bash", timeout=600), argo)


GOLDENS: Mapping[str, Callable[[], str]] = {
    "hello": lambda: text(job(1, name="hello"), Argo(**S3)),
    "tree": lambda: text(job(1000, TREE), Argo(**S3), packages=PACKAGES),
    "hundred-thousand": lambda: text(
        job(100_000, mapred.reducers.sum, timeout=60), Argo(**S3), packages=PACKAGES
    ),
    **{f"spot-{provider}": _spot(provider) for provider in _SPOT_ON},
    "volumes": _volumes,
    "secrets": _secrets,
    "limits": _limits,
    "shuffle": _shuffle,
    "command": _command,
    "schedule": lambda: schedule(
        Argo(namespace="team", **S3, image="team/image:1"), on_failure="hooks/url"
    ),
    "schedule-packages": lambda: schedule(Argo(**S3), PACKAGES, on_failure=("bash", "-c", "env")),
    "deployment": lambda: deployment(
        Argo(namespace="team", **S3, image="team/image:1", labels={"cost-center": "42"})
    ),
    "deployment-packages": lambda: deployment(Argo(**S3), PACKAGES, description="", parameters=()),
    "schedule-pipeline": lambda: schedule(
        Argo(**S3, image="team/image:1"), pipeline=True, on_failure="hooks/url"
    ),
    "pipeline": lambda: pipeline(
        Argo(namespace="team", **S3, image="team/image:1", labels={"cost-center": "42"}, priority=5)
    ),
    "pipeline-packages": lambda: pipeline(
        Argo(volumes=(Volume("/nas", claim="nas"),)), root="/nas/runs", packages=PACKAGES
    ),
    "root-nas": lambda: text(
        job(2), Argo(volumes=(Volume("/nas", claim="nas"),)), root="/nas/runs", packages=PACKAGES
    ),
    "root-oss": lambda: text(
        job(2),
        Argo(root_secret="oss", endpoint="https://oss-cn-hangzhou-internal.aliyuncs.com"),
        root="oss://team/runs",
        packages=PACKAGES,
    ),
    "root-aws": lambda: text(job(2), Argo(region="eu-central-1"), packages=PACKAGES),
    "root-gs": lambda: text(job(2), Argo(), root="gs://team/runs", packages=PACKAGES),
    "root-az": lambda: text(
        job(2),
        Argo(root_secret="az", endpoint="https://team.blob.core.windows.net"),
        root="az://team/runs",
        packages=PACKAGES,
    ),
}

_sizes = st.sampled_from(["64Mi", "1Gi", "3G", 2**20 + 1, "1.5Gi"])
_labels = st.dictionaries(
    st.sampled_from(["a", "b.c/d"]), st.sampled_from(["y", "1e3", "x-1", ""]), max_size=2
)
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30).filter(
    lambda text: "{{" not in text and not secrecy.looks_secret(text)
) | st.sampled_from(["y", "n", "on", "1e3", "0x1f", "a: b"])


@st.composite
def resources(draw: st.DrawFn) -> Resources:
    """What any platform takes."""
    memory = draw(st.none() | _sizes)
    return Resources(
        cpu=draw(st.floats(0.001, 96)),
        memory=memory,
        max_memory="64Gi" if memory and draw(st.booleans()) else None,
        disk=draw(st.none() | _sizes),
        node_selector=draw(_labels),
        tolerations=tuple(draw(st.lists(st.sampled_from(["*", "a:NoExecute", "b=c"]), max_size=2))),
        env=draw(st.dictionaries(st.sampled_from(["A", "b_2"]), _texts)),
        secrets=draw(st.dictionaries(st.sampled_from(["C", "D"]), st.just("name/key"))),
        volumes=draw(st.sampled_from([(), (Volume("/v", memory="1Gi"), Volume("/w", claim="c"))])),
        labels=draw(_labels),
        annotations=draw(st.dictionaries(st.just("k"), _texts)),
    )


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """Any number of shards, any tree above them."""
    fan_in = draw(st.none() | st.integers(2, 300))
    reduce = draw(st.sampled_from([None, as_reducer(max, fan_in=fan_in)]))
    return job(
        draw(st.integers(1, 10**6)),
        reduce,
        resources=draw(resources()),
        reduce_resources=draw(st.none() | resources()),
        name=draw(_texts),
        timeout=draw(st.none() | st.floats(0.1, 1e6)),
        deadline=draw(st.none() | st.floats(0.1, 1e6)),
        attempts=draw(st.integers(1, 9)),
    )


@st.composite
def backends(draw: st.DrawFn) -> Argo:
    return Argo(
        namespace=draw(st.none() | st.just("team")),
        endpoint=draw(st.none() | st.just("http://s3:9000")),
        root_secret=draw(st.none() | st.just("s3")),
        max_pods=draw(st.integers(1, 2000)),
        retries=draw(st.integers(0, 9)),
        run_as_user=draw(st.sampled_from([0, 10_001])),
        labels=draw(_labels),
        annotations=draw(st.dictionaries(st.just("k"), _texts)),
    )
