"""A job as a Workflow: golden files, and what holds for any job.

To write the golden files anew: GOLDENS=write make test TESTS=tests/backends/argo
"""

from __future__ import annotations

import base64
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backends.argo import cases
from hera.workflows import models
from hypothesis import HealthCheck, given, settings

import mapred
from mapred import errors
from mapred.backends.argo import client as clients
from mapred.backends.argo.backend import Argo
from mapred.backends.argo.lint import problems
from mapred.backends.argo.packages import packages_for
from mapred.backends.argo.pods import PARAMETERS
from mapred.backends.argo.render import manifest, split_tasks, workflow_name
from mapred.backends.argo.yaml import from_yaml, to_yaml
from mapred.errors import BackendError, MissingDependency
from mapred.model.resources import Resources, Volume
from mapred.model.spec import Job
from mapred.reducers import as_reducer

GOLDENS = Path(__file__).parent / "goldens"


@pytest.mark.parametrize("name", cases.GOLDENS)
def test_golden_files(name: str) -> None:
    rendered = cases.GOLDENS[name]()
    file = GOLDENS / f"{name}.yaml"
    if os.environ.get("GOLDENS") == "write":
        file.write_text(rendered)
    assert rendered == file.read_text()
    (document,) = from_yaml(rendered)
    assert problems(document) == []


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDENS.iterdir()} == set(cases.GOLDENS)


def test_a_hundred_thousand_shards_are_a_small_loop() -> None:
    rendered = cases.GOLDENS["hundred-thousand"]()
    (document,) = from_yaml(rendered)
    tasks = document["spec"]["templates"][0]["dag"]["tasks"]
    assert [int(task.get("withSequence", {"count": 1})["count"]) for task in tasks] == [
        2000,
        391,
        2,
        1,
    ]
    assert len(rendered.encode()) <= 16 * 1024
    million = cases.text(cases.job(10**6), Argo(**cases.S3), packages=cases.PACKAGES)
    thousand = cases.text(cases.job(10**3), Argo(**cases.S3), packages=cases.PACKAGES)
    assert abs(len(million) - len(thousand)) <= 3


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=cases.jobs(), argo=cases.backends())
def test_any_job_is_a_workflow_that_a_cluster_takes(made: Job, argo: Argo) -> None:
    place = {"uri": "s3://b/runs/1", "digest": cases.DIGEST, "packages": cases.PACKAGES}
    values = manifest(made, argo, **place, name=None)
    # No field that hera's models of Argo's API do not know.
    known = models.Workflow.model_validate(values)
    assert known.model_dump(mode="json", by_alias=True, exclude_none=True) == values
    assert from_yaml(to_yaml(values)) == [values]
    assert problems(values) == []
    assert_covers_every_task(made, argo, values)


def assert_covers_every_task(made: Job, argo: Argo, values: dict[str, Any]) -> None:
    """Each stage's blocks hold its tasks, each once, and each node waits for its inputs."""
    templates = {template["name"]: template for template in values["spec"]["templates"]}
    tasks = {task["name"]: task for task in templates["run"]["dag"]["tasks"]}
    for stage in made.stages:
        task = tasks.pop(stage.name)
        given_ = {each["name"]: each["value"] for each in task["arguments"]["parameters"]}
        count = int(task.get("withSequence", {"count": 1})["count"])
        size = int(given_["size"])
        assert given_["stage"] == stage.name
        assert given_["block"] == ("{{item}}" if count > 1 else "0")
        assert (count - 1) * size < stage.tasks <= count * size
        assert count <= argo.max_pods
        assert task.get("depends", "").partition(".")[0] == (stage.inputs or "")
        template = templates[task["template"]]
        assert [each["name"] for each in template["inputs"]["parameters"]] == list(PARAMETERS)
        requests = template["container"]["resources"]["requests"]
        assert _cores(requests["cpu"]) == pytest.approx(stage.resources.cpu, abs=0.001)
    assert list(tasks) == ([] if made.stages[-1].tasks == 1 else ["result"])


def _cores(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


@pytest.mark.parametrize("most", [1, 7, 2000])
def test_blocks_are_even_and_few(most: int) -> None:
    for tasks in [*range(1, 100), 1999, 2000, 2001, 3999, 4001, 100_000, 10**6]:
        count, size = split_tasks(tasks, most)
        assert count <= most
        assert (count - 1) * size < tasks <= count * size
        assert size == math.ceil(tasks / most)


def test_a_failed_stage_lets_its_reduce_decide() -> None:
    (document,) = from_yaml(cases.GOLDENS["tree"]())
    tasks = document["spec"]["templates"][0]["dag"]["tasks"]
    assert tasks[1]["depends"] == "map.Succeeded || map.Failed || map.Errored"


def test_no_secret_and_no_list_is_in_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = "hunter2-planted"
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "ARGO_TOKEN", "PGPASSWORD"):
        monkeypatch.setenv(name, planted)
    asked = Resources(secrets={"PGPASSWORD": "database/password"})
    job = mapred.job(len, mapred.items(["a", "b"]), resources=asked)
    rendered = job.render(backend=Argo(**cases.S3), root="s3://team/runs")
    assert planted not in rendered
    assert base64.b64encode(planted.encode()).decode() not in rendered
    assert "valueFrom" in rendered


def test_render_says_what_submit_would_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a\n" * 100)
    (tmp_path / "mapred.toml").write_text(
        '[backend.prod]\ntype = "argo"\nroot = "s3://team/runs"\n'
    )
    monkeypatch.chdir(tmp_path)
    job = mapred.job(_count, str(tmp_path / "*.txt"), reduce=sum, name="n", timeout=5)
    (document,) = from_yaml(job.render(backend="prod"))
    parameters = {p["name"]: p["value"] for p in document["spec"]["arguments"]["parameters"]}
    assert parameters["run"].startswith("s3://team/runs/20")
    assert len(parameters["digest"]) == 64
    assert problems(document) == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.txt", "mapred.toml"]
    with pytest.raises(BackendError, match="'local' has nothing to render"):
        job.render(backend="local")


def _count(lines: Iterator[str]) -> int:
    return sum(1 for _ in lines)


def test_a_root_that_pods_cannot_see_is_refused() -> None:
    with pytest.raises(BackendError, match="no volume of the pods holds it"):
        cases.text(cases.job(), Argo(), root="/home/me/runs")
    with pytest.raises(BackendError, match="no volume"):
        cases.text(cases.job(), Argo(volumes=(Volume("/nas", memory="1Gi"),)), root="/nas/runs")
    with pytest.raises(BackendError, match="no volume"):
        cases.text(cases.job(), Argo(volumes=(Volume("/nas", claim="c"),)), root="/nas2/runs")
    with pytest.raises(BackendError, match="needs endpoint="):
        cases.text(cases.job(), Argo(), root="oss://team/runs")


OSS = "https://oss-cn-hangzhou-internal.aliyuncs.com"


@pytest.mark.parametrize(
    ("endpoint", "region", "address"),
    [
        (OSS, None, ("s3.oss-cn-hangzhou-internal.aliyuncs.com", "cn-hangzhou")),
        # By HTTPS all the same: without it Argo's client signs in chunks, which OSS refuses.
        (OSS.replace("https", "http"), None, ("s3.oss-cn-hangzhou-internal.aliyuncs.com", "cn-hangzhou")),
        ("https://oss-cn-beijing.aliyuncs.com:8443", None, ("s3.oss-cn-beijing.aliyuncs.com:8443", "cn-beijing")),
        ("https://oss-accelerate.aliyuncs.com", "oss-cn-hongkong", ("s3.oss-accelerate.aliyuncs.com", "cn-hongkong")),
    ],
)  # fmt: skip
def test_argo_reaches_oss_by_its_s3_compatible_address(
    endpoint: str, region: str | None, address: tuple[str, str]
) -> None:
    argo = Argo(endpoint=endpoint, region=region, root_secret="oss")
    rendered = cases.text(cases.job(2), argo, root="oss://team/runs", packages=cases.PACKAGES)
    (document,) = from_yaml(rendered)
    templates = document["spec"]["templates"][1:]
    artifacts = [
        artifact
        for template in templates
        for side in ("inputs", "outputs")
        for artifact in template[side]["artifacts"]
    ]
    assert {(each["s3"]["endpoint"], each["s3"]["region"]) for each in artifacts} == {address}
    assert not any("oss" in each or each["s3"].get("insecure") for each in artifacts)
    assert problems(document) == []


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"endpoint": OSS}, "needs root_secret="),
        ({"endpoint": "https://data.example.com", "root_secret": "oss"}, "is not one of OSS's own"),
    ],
)
def test_packages_on_oss_that_argo_cannot_fetch_are_refused_and_an_image_does_without(
    more: dict[str, str], says: str
) -> None:
    root = "oss://team/runs"
    with pytest.raises(BackendError, match=says):
        cases.text(cases.job(), Argo(**more), root=root, packages=cases.PACKAGES)
    with pytest.raises(BackendError, match=says):
        packages_for(Argo(**more), f"{root}/{cases.RUN_ID}", "3.11")
    (document,) = from_yaml(cases.text(cases.job(), Argo(**more, image="team/image:1"), root=root))
    map_ = document["spec"]["templates"][1]
    assert "artifacts" not in map_["inputs"]
    assert "outputs" not in map_
    names = [variable["name"] for variable in map_["container"]["env"]]
    assert "OSS_ENDPOINT" in names
    assert "MAPRED_ARTIFACTS" not in names


def test_a_manifest_that_is_too_large_is_refused() -> None:
    asked = Resources(env={"A": "x" * 2**20})
    with pytest.raises(BackendError, match="Argo takes 1,048,576"):
        cases.text(cases.job(resources=asked), Argo())


def test_what_argo_would_replace_is_refused_unseen() -> None:
    asked = Resources(env={"TEMPLATE": "hunter2 {{name}}"})
    with pytest.raises(BackendError, match=r"the value of 'TEMPLATE' has '\{\{'") as caught:
        cases.text(cases.job(resources=asked), Argo())
    assert "hunter2" not in str(caught.value)


def test_names_of_workflows() -> None:
    assert workflow_name(cases.job(name="Word Count!")) == f"word-count-{cases.RUN_ID}"
    long = workflow_name(cases.job(name="x" * 100))
    assert len(long) == 63
    assert workflow_name(cases.job(name="数")) == f"job-{cases.RUN_ID}"


@pytest.mark.parametrize(("module", "package"), [("hera", "hera"), ("yaml", "PyYAML")])
def test_what_is_not_installed_is_named_with_its_install_line(
    module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency) as caught:
        clients.connect(Argo(server="http://argo")) if module == "hera" else from_yaml("{}")
    assert str(caught.value) == (
        f"{package} is not installed; install it with: pip install 'mapred[argo]'"
    )


def test_looking_at_the_backend_imports_no_hera(root: Path) -> None:
    code = "import sys, mapred; mapred.Argo(); print('hera' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False False\n"


def test_the_backend_survives_job_json() -> None:
    argo = Argo(
        namespace="team",
        volumes=(Volume("/nas", claim="nas"),),
        labels={"a": "b"},
        image_pull_secrets=("pull",),
        **cases.S3,
    )
    again = Argo(**json.loads(json.dumps(dict(argo.arguments))))
    assert again == argo
    assert Argo().arguments == {}


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"provider": "ecs"}, "provider='ecs'"),
        ({"namespace": "Team"}, "not a name that Kubernetes takes"),
        ({"parallelism": 0}, "parallelism=0"),
        ({"max_pods": 5000}, "the limit is 2000"),
        ({"retries": -1}, "retries=-1"),
        ({"image_pull_policy": "never"}, "Always, IfNotPresent, Never"),
        ({"endpoint": "minio:9000"}, "endpoint= must be a URL"),
        ({"endpoint": "http://user:hunter2@minio"}, "endpoint= must be a URL"),
        ({"server": "https://argo", "context": "kind"}, "leave one out"),
        ({"token_env": "Bearer hunter2"}, "the name of an environment variable"),
        ({"root_secret_keys": ("one",)}, "root_secret_keys= are two"),
    ],
)
def test_wrong_arguments_are_named(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.BackendError, match=says) as caught:
        Argo(**given_)
    assert "hunter2" not in str(caught.value)


def test_memory_grows_only_after_the_container_ran_out_of_it() -> None:
    asked = Resources(memory="1Gi", max_memory="3Gi")
    (document,) = from_yaml(cases.text(cases.job(1, resources=asked), Argo()))
    (patch,) = from_yaml(document["spec"]["templates"][1]["podSpecPatch"])
    memory = patch["containers"][0]["resources"]["limits"]["memory"]
    assert memory == (
        "{{=[1024, 2048, 3072][asInt(lastRetry.exitCode) == 137 ? min(asInt(retries), 2) : 0]}}Mi"
    )


@pytest.mark.parametrize(
    ("asked", "threads"),
    [
        (Resources(cpu=0.1), ["1", "1"]),
        (Resources(cpu=3.5), ["3", "3"]),
        (Resources(cpu=4, env={"OMP_NUM_THREADS": "2"}), ["2", "4"]),
        (Resources(cpu=4, secrets={"OMP_NUM_THREADS": "a/b"}), [None, "4"]),
    ],
)
def test_numeric_libraries_have_as_many_threads_as_cores(
    asked: Resources, threads: list[str | None]
) -> None:
    (document,) = from_yaml(cases.text(cases.job(1, resources=asked), Argo()))
    env = document["spec"]["templates"][1]["container"]["env"]
    found = {variable["name"]: variable.get("value") for variable in env}
    assert len(found) == len(env)
    assert [found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"]] == threads


def test_stages_that_ask_for_the_same_share_a_template() -> None:
    deep = cases.job(100_000, as_reducer(max, fan_in=2))
    (document,) = from_yaml(cases.text(deep, Argo()))
    assert len(deep.stages) == 18
    assert [template["name"] for template in document["spec"]["templates"]] == [
        "run",
        "map",
        "reduce",
    ]
