"""What only Argo and a real cluster can say of a rendered Workflow."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from backends.argo import cases
from backends.argo.functions import add, holds_200_mib, refuses, square
from hypothesis import HealthCheck, given, settings
from packaging.requirements import Requirement
from testbed.cluster.access import Cluster
from testbed.cluster.places import BIN, HOST_IN_PODS
from testbed.servers import oss

import mapred
from mapred.backends.argo.backend import Argo
from mapred.backends.argo.claims import claim
from mapred.backends.argo.rbac import manifests
from mapred.backends.argo.render import manifest
from mapred.backends.argo.yaml import from_yaml, to_yaml
from mapred.model import layout
from mapred.model.resources import Resources
from mapred.model.spec import Job
from mapred.reducers import as_reducer
from mapred.storage import Store, open_store

pytestmark = pytest.mark.on_cluster

GOLDENS = sorted((Path(__file__).parent / "goldens").glob("*.yaml"))


def argo_lint(*files: Path) -> dict[str, Any]:
    """What Argo's own linter says: how many documents it saw, and its errors."""
    program = BIN / "argo-lint"
    if not program.exists():
        pytest.skip("argo-lint is not built")
    done = subprocess.run([program, *files], capture_output=True, text=True, timeout=120)
    return dict(json.loads(done.stdout))


def test_argos_linter_passes_every_golden_file(cluster: Cluster) -> None:
    found = argo_lint(*GOLDENS)
    assert found == {"documents": len(GOLDENS), "linted": len(GOLDENS), "errors": []}


def test_argos_linter_passes_whatever_is_rendered(cluster: Cluster, tmp_path: Path) -> None:
    seen = 0

    @settings(
        max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(made=cases.jobs(), argo=cases.backends())
    def passes(made: Job, argo: Argo) -> None:
        nonlocal seen
        file = tmp_path / "w.yaml"
        file.write_text(cases.text(made, argo, packages=cases.PACKAGES))
        assert argo_lint(file) == {"documents": 1, "linted": 1, "errors": []}
        seen += 1

    passes()
    assert seen >= 40


def accepts(cluster: Cluster, text: str) -> None:
    """The API server takes the objects, by their full schemas."""
    cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=text)


def takes(cluster: Cluster, text: str) -> None:
    """As above, where the cluster may have objects of those names already."""
    words = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-")
    cluster.kubectl(*words, stdin=text)


@pytest.mark.parametrize("file", GOLDENS, ids=lambda file: file.stem)
def test_the_cluster_accepts_every_golden_file(cluster: Cluster, file: Path) -> None:
    (document,) = from_yaml(file.read_text())
    document["metadata"].pop("namespace", None)
    accepts(cluster, to_yaml(document))


def test_the_cluster_accepts_rights_and_claims(cluster: Cluster) -> None:
    names = Argo(
        namespace=cluster.namespace,
        service_account="dry-task",
        executor_service_account="dry-executor",
    )
    objects = manifests(names, submitter="dry-submitter")
    objects += claim("nas", "nas://server/share", namespace=cluster.namespace)
    objects += claim(
        "oss", "oss://bucket/path", namespace=cluster.namespace, endpoint="oss", secret="oss"
    )
    takes(cluster, to_yaml(*objects))


@dataclass(frozen=True)
class Sent:
    """A backend that renders a run and creates its Workflow, and no more."""

    cluster: Cluster
    argo: Argo
    packages: str | None = None
    name: str = "argo"

    @property
    def arguments(self) -> Mapping[str, Any]:
        return self.argo.arguments

    def prepare(self) -> None:
        return

    def submit(self, store: Store, job: Any, digest: str) -> Any:
        workflow = manifest(job, self.argo, uri=store.uri, digest=digest, packages=self.packages)
        return Created(self.cluster, self.cluster.submit(workflow))


@dataclass(frozen=True)
class Created:
    """The handle of a Workflow that nobody follows."""

    cluster: Cluster
    ref: str
    survives_client = True

    def finished(self) -> dict[str, Any]:
        return self.cluster.finished(self.ref)


def backend(cluster: Cluster, **more: Any) -> Argo:
    values: dict[str, Any] = {
        "namespace": cluster.namespace,
        "image": cluster.images.mapred,
        "endpoint": cluster.storage.endpoint_in_pods,
        "region": cluster.storage.region,
        "root_secret": cluster.storage.secret_name,
        **more,
    }
    return Argo(**values)


def nodes(workflow: Mapping[str, Any], template: str) -> list[Mapping[str, Any]]:
    """The pods of a template, those that were tried again included."""
    found = workflow["status"]["nodes"].values()
    return [node for node in found if node["type"] == "Pod" and node["templateName"] == template]


SMALL = Resources(cpu=0.01)


def test_a_loop_and_a_tree_give_the_answer(cluster: Cluster, cluster_root: str) -> None:
    argo = backend(cluster, max_pods=4)
    run = mapred.submit(
        square,
        mapred.array(9),
        reduce=as_reducer(add, fan_in=3),
        backend=Sent(cluster, argo),
        root=cluster_root,
        per_task=1,
        resources=SMALL,
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Succeeded", over["status"]
    assert len(nodes(over, "map")) == 3
    assert len(nodes(over, "reduce")) == 4
    again = mapred.open(run.uri)
    assert again.result() == sum(i * i for i in range(9))
    assert again.audit().ok
    store = again.store
    # Each item's artifact is a copy of its winners' commits, the last one's of the manifest.
    for stage, block, tasks in [("map", 0, range(3)), ("map", 2, range(6, 9))]:
        commits = [store.read(layout.commit(stage, task)) for task in tasks]
        artifact = store.read(f"argo/{stage}/{block}.json")
        assert artifact == b"[" + b",\n".join(commits) + b"]\n"
    assert store.read("argo/result.json") == store.read(layout.MANIFEST)


def test_a_map_alone_is_closed_by_a_node_of_its_own(cluster: Cluster, cluster_root: str) -> None:
    run = mapred.submit(
        square,
        mapred.array(2),
        backend=Sent(cluster, backend(cluster)),
        root=cluster_root,
        resources=SMALL,
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Succeeded", over["status"]
    assert len(nodes(over, "result")) == 1
    assert mapred.open(run.uri).result() == [0, 1]


def test_a_function_that_fails_is_not_tried_by_the_engine(
    cluster: Cluster, cluster_root: str
) -> None:
    run = mapred.submit(
        refuses,
        mapred.array(1),
        backend=Sent(cluster, backend(cluster)),
        root=cluster_root,
        attempts=2,
        resources=SMALL,
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Failed"
    (only,) = nodes(over, "map")
    assert only["outputs"]["exitCode"] == "1"
    assert len(list(run.store.list("map/errors/"))) == 2


def test_a_pod_out_of_memory_gets_more(cluster: Cluster, cluster_root: str) -> None:
    run = mapred.submit(
        holds_200_mib,
        mapred.array(1),
        backend=Sent(cluster, backend(cluster)),
        root=cluster_root,
        resources=Resources(cpu=0.01, memory="160Mi", max_memory="640Mi"),
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Succeeded", over["status"]
    tries = nodes(over, "map")
    assert sorted(each["phase"] for each in tries)[:1] == ["Failed"]
    assert any("OOMKilled" in each.get("message", "") for each in tries), tries
    assert mapred.open(run.uri).result() == [200]


@pytest.fixture(scope="module")
def archive() -> bytes:
    """All that a worker on S3 imports."""
    return archived("mapred", "obstore", "arro3-core")


def archived(*names: str) -> bytes:
    """Packages, as they are installed here, with what they need; as one archive."""
    wanted, found = [*names], set()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                wanted.append(needed.name)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.add(Path(mapred.__file__).parent, "mapred")
        for file in (f for name in sorted(found - {"mapred"}) for f in metadata.files(name) or ()):
            if ".." not in file.parts and "tests" not in file.parts and file.locate().is_file():
                tar.add(file.locate(), str(file))
    return sink.getvalue()


def test_packages_come_from_the_root_on_a_stock_image(
    cluster: Cluster, cluster_root: str, archive: bytes
) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    open_store(cluster_root).write(layout.packages(digest), archive)
    argo = backend(cluster, image=cluster.images.python)
    run = mapred.submit(
        square,
        mapred.array(2),
        reduce=sum,
        backend=Sent(cluster, argo, digest),
        root=cluster_root,
        max_tasks=1,
        resources=SMALL,
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Succeeded", over["status"]
    assert mapred.open(run.uri).result() == 1


@pytest.fixture
def oss_argo(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Argo, str]]:
    """A backend whose pods reach a stand-in for OSS by the service's own names, and a root there."""
    if not cluster.own:
        pytest.skip("pods of another cluster do not reach this machine")
    file = oss.certificate(tmp_path)
    with oss.started(tmp_path, certificate=file) as known:
        keys = {"accessKey": known["key"], "secretKey": known["secret"]}
        held = [
            {"kind": "Secret", "metadata": {"name": "mapred-oss"}, "stringData": keys},
            {
                "kind": "ConfigMap",
                "metadata": {"name": "mapred-oss"},
                "data": {"ca.crt": (tmp_path / "ca.crt").read_text()},
            },
        ]
        for each in held:
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", **each}))
        for name, value in {
            "OSS_ENDPOINT": known["endpoint"],
            "OSS_REGION": known["region"],
            "OSS_ADDRESSING_STYLE": "path",
            "OSS_ACCESS_KEY_ID": known["key"],
            "OSS_ACCESS_KEY_SECRET": known["secret"],
        }.items():
            monkeypatch.setenv(name, value)
        argo = backend(
            cluster,
            region=None,
            endpoint=f"https://{oss.DOMAIN}:{known['tls']}",
            root_secret="mapred-oss",
            pod_spec_patch=_reaches_oss(),
        )
        yield argo, f"oss://runs/{tmp_path.name}"


def _reaches_oss() -> dict[str, Any]:
    """Names of the hosts, and the authority that each container is to trust."""

    def trusting(name: str, variable: str) -> dict[str, Any]:
        return {
            "name": name,
            "env": [{"name": variable, "value": "/oss/ca.crt"}],
            "volumeMounts": [{"name": "oss", "mountPath": "/oss", "readOnly": True}],
        }

    return {
        "hostAliases": [{"ip": HOST_IN_PODS, "hostnames": list(oss.HOSTS)}],
        "volumes": [{"name": "oss", "configMap": {"name": "mapred-oss"}}],
        "initContainers": [trusting("init", "SSL_CERT_FILE")],
        "containers": [trusting("wait", "SSL_CERT_FILE"), trusting("main", "REQUESTS_CA_BUNDLE")],
    }


def test_a_run_on_oss_is_signed_by_version_4_throughout(
    cluster: Cluster, oss_argo: tuple[Argo, str]
) -> None:
    # The stand-in takes no other version, and refuses what Argo's own client of OSS sends.
    argo, root = oss_argo
    packages = archived("mapred", "alibabacloud-oss-v2")
    digest = hashlib.sha256(packages).hexdigest()
    open_store(root).write(layout.packages(digest), packages)
    run = mapred.submit(
        square,
        mapred.array(4),
        reduce=sum,
        backend=Sent(cluster, dataclasses.replace(argo, image=cluster.images.python), digest),
        root=root,
        per_task=2,
        resources=SMALL,
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Succeeded", over["status"]
    assert mapred.open(run.uri).result() == 14
    store = run.store
    commit = store.read(layout.commit("map", 0))
    assert store.read("argo/map/0.json") == b"[" + commit + b"]\n"
    assert store.read("argo/result.json") == store.read(layout.MANIFEST)


def test_packages_that_someone_changed_are_refused(cluster: Cluster, cluster_root: str) -> None:
    digest = hashlib.sha256(b"what the run was started with").hexdigest()
    open_store(cluster_root).write(layout.packages(digest), b"something else")
    run = mapred.submit(
        square,
        mapred.array(1),
        backend=Sent(cluster, backend(cluster), digest),
        root=cluster_root,
        resources=SMALL,
    )
    over = run._handle.finished()
    assert over["status"]["phase"] == "Failed"
    (only,) = nodes(over, "map")
    assert only["outputs"]["exitCode"] == "78"


def test_another_python_is_refused(cluster: Cluster, cluster_root: str) -> None:
    if cluster.images.other_python is None:
        pytest.skip("no image with another Python")
    digest = hashlib.sha256(b"packages").hexdigest()
    open_store(cluster_root).write(layout.packages(digest), b"packages")
    argo = backend(cluster, image=cluster.images.other_python)
    run = mapred.submit(
        square,
        mapred.array(1),
        backend=Sent(cluster, argo, digest),
        root=cluster_root,
        resources=SMALL,
    )
    over = run._handle.finished()
    (only,) = nodes(over, "map")
    assert only["outputs"]["exitCode"] == "78"
