"""The cluster itself: what every other test on it takes for granted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mapred.storage import open_store
from testbed.cluster import fake, processes, shapes
from testbed.cluster.access import FOREIGN, Cluster
from testbed.cluster.places import BIN, HOST_IN_PODS, NODE, TESTS
from testbed.cluster.processes import run, wait_until

pytestmark = [pytest.mark.on_cluster, pytest.mark.timeout(900)]

PROBE = """
import socket, sys
for address in sys.argv[1:]:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print(address, "reached")
    except OSError:
        print(address, "refused")
"""


@pytest.fixture
def own(cluster: Cluster) -> Cluster:
    """This machine's own cluster."""
    if not cluster.own:
        pytest.skip("does things that only a cluster of one's own allows")
    return cluster


def succeed(cluster: Cluster, manifest: dict[str, Any], seconds: float = 300) -> dict[str, Any]:
    over = cluster.finished(cluster.submit(manifest), seconds)
    assert over["status"]["phase"] == "Succeeded", over["status"]
    return over


def log(cluster: Cluster, workflow: dict[str, Any]) -> str:
    """What the containers of the functions printed, without what Argo's executor says there."""
    name = workflow["metadata"]["name"]
    done = cluster.kubectl(
        "logs", "--selector", f"workflows.argoproj.io/workflow={name}", "--container=main"
    )
    lines = done.stdout.splitlines(keepends=True)
    return "".join(line for line in lines if " argo=true" not in line)


def test_versions(own: Cluster) -> None:
    found = json.loads(own.kubectl("version", "-o", "json").stdout)["serverVersion"]
    assert found["gitVersion"] == "v1.34.4"
    nodes = own.kubectl("get", "node", NODE, "-o", "json").stdout
    status = {each["type"]: each["status"] for each in json.loads(nodes)["status"]["conditions"]}
    assert status["Ready"] == "True"
    (image,) = own.kubectl(
        "get", "deployment", "workflow-controller", "--namespace=argo",
        "-o", "jsonpath={.spec.template.spec.containers[*].image}",
    ).stdout.split()  # fmt: skip
    assert image.endswith(":v4.0.5")


def test_up_changes_nothing_that_runs(own: Cluster) -> None:
    def pids() -> dict[str, Any]:
        return {name: processes.running(name) for name in processes.names()}

    before = pids()
    subprocess.run(
        [sys.executable, "-m", "testbed.cluster", "up"], cwd=TESTS, check=True, timeout=300
    )
    assert {name: pids()[name] for name in before} == before
    assert None not in before.values()


def test_hello(cluster: Cluster) -> None:
    hello = shapes.container("hello", cluster.images.busybox, "echo", "hello world")
    over = succeed(cluster, shapes.workflow("hello", [hello]))
    assert log(cluster, over) == "hello world\n"


def test_python_images(cluster: Cluster) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stock = "import ctypes, lzma, sqlite3, ssl, pip, importlib.util as u, sys; "
    stock += "print('%d.%d' % sys.version_info[:2], u.find_spec('mapred'))"
    python = shapes.container("python", cluster.images.python, "python3", "-c", stock)
    assert (
        log(cluster, succeed(cluster, shapes.workflow("python", [python]))) == f"{version} None\n"
    )
    ours = shapes.container("ours", cluster.images.mapred, "mapred", "--version")
    assert "mapred" in log(cluster, succeed(cluster, shapes.workflow("ours", [ours])))


def test_loop_with_artifacts(cluster: Cluster, cluster_root: str) -> None:
    over = succeed(cluster, shapes.loop(cluster, 20, cluster_root), 600)
    store = open_store(cluster_root)
    assert {json.loads(store.read(f"{number}.json"))["i"] for number in range(20)} == set(range(20))
    assert over["status"]["progress"] == "21/21"


@pytest.fixture
def neighbour() -> Iterator[str]:
    """HOST:PORT of a server that this machine reaches over a wire, as it would another machine."""
    host, gateway, wire = "10.251.0.2", "10.251.0.1", f"w{os.getpid()}"
    server = [sys.executable, "-m", "http.server", "80", "--bind", "0.0.0.0"]
    process = subprocess.Popen(["unshare", "--net", *server], stderr=subprocess.DEVNULL)
    inside = f"nsenter --target {process.pid} --net ip"
    try:
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own, "namespace", 60)
        for line in (
            f"ip link add {wire} type veth peer name eth0 netns {process.pid}",
            f"ip address add {gateway}/30 dev {wire}",
            f"ip link set {wire} up",
            f"{inside} address add {host}/30 dev eth0",
            f"{inside} link set eth0 up",
            f"{inside} route add default via {gateway}",
        ):
            run(*line.split())
        wait_until(lambda: "reached" in run(sys.executable, "-c", PROBE, f"{host}:80").stdout,
                   "neighbour", 120)  # fmt: skip
        yield f"{host}:80"
    finally:
        process.kill()  # its network goes with it
        process.wait()


def test_a_pod_reaches_this_machine_and_no_other(own: Cluster, neighbour: str) -> None:
    bucket = own.storage.endpoint_in_pods.partition("://")[2]
    addresses = [bucket, f"{HOST_IN_PODS}:1", neighbour]
    python = shapes.container("probe", own.images.python, "python3", "-c", PROBE, *addresses)
    lines = log(own, succeed(own, shapes.workflow("probe", [python]))).splitlines()
    assert lines == [f"{bucket} reached", f"{HOST_IN_PODS}:1 refused", f"{neighbour} refused"]


@pytest.mark.parametrize(
    ("account", "words", "allowed"),
    [
        ("mapred-executor", "create workflowtaskresults.argoproj.io", "yes"),
        ("mapred-executor", "patch workflowtaskresults.argoproj.io", "yes"),
        ("mapred-executor", "list workflowtaskresults.argoproj.io", "no"),
        ("mapred-executor", "get pods", "no"),
        ("mapred-executor", "get secrets", "no"),
        ("mapred-executor", "create workflows.argoproj.io", "no"),
        ("mapred-task", "create workflowtaskresults.argoproj.io", "no"),
        ("mapred-task", "get secrets", "no"),
    ],
)
def test_accounts(cluster: Cluster, account: str, words: str, allowed: str) -> None:
    who = f"--as=system:serviceaccount:{cluster.namespace}:{account}"
    assert (
        cluster.kubectl("auth", "can-i", *words.split(), who, check=False).stdout.strip() == allowed
    )


def test_a_token_is_refused_what_its_account_may_not(cluster: Cluster) -> None:
    token = cluster.kubectl("create", "token", "mapred-task").stdout.strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
    config["users"][0]["user"] = {"token": token}
    done = cluster.kubectl(
        "--kubeconfig=/dev/stdin", "get", "secrets", stdin=json.dumps(config), check=False
    )
    assert done.returncode
    assert "forbidden" in done.stderr.lower()


def test_the_namespace_is_restricted(cluster: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"privileged-{uuid.uuid4().hex[:6]}"},
        "spec": {
            "containers": [
                {
                    "name": "main",
                    "image": cluster.images.busybox,
                    "command": ["true"],
                    "securityContext": {"privileged": True},
                }
            ]
        },
    }
    done = cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod), check=False)
    assert done.returncode
    assert 'violates PodSecurity "restricted' in done.stderr


def test_the_schema_is_checked(cluster: Cluster) -> None:
    hello = shapes.container("hello", cluster.images.busybox, "true")
    wrong = shapes.workflow("wrong", [hello], paralelism=3)
    done = cluster.kubectl(
        "create", "--validate=strict", "-f", "-", stdin=json.dumps(wrong), check=False
    )
    assert done.returncode
    assert "paralelism" in done.stderr


def test_lint(own: Cluster, tmp_path: Path) -> None:
    hello = shapes.container("hello", own.images.busybox, "true")
    good = [tmp_path / f"good-{number}.json" for number in range(3)]
    for number, file in enumerate(good):
        file.write_text(json.dumps(shapes.workflow(f"good-{number}", [hello])))

    def lint(*files: Path) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [BIN / "argo-lint", *files], capture_output=True, text=True, timeout=60
        )
        return done.returncode, json.loads(done.stdout)

    assert lint(*good) == (0, {"documents": 3, "linted": 3, "errors": []})
    bad = tmp_path / "bad.yaml"
    for text, complaint in (
        (json.dumps(shapes.workflow("bad", [hello], entrypoint="nope")), "nope"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {: [", "bad.yaml"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}", 'kind "Pod"'),
        (json.dumps(shapes.workflow("bad", [hello], surprise=1)), "surprise"),
    ):
        bad.write_text(text)
        code, report = lint(*good, bad)
        assert code == 1
        assert any(complaint in error for error in report["errors"]), report
        assert report["documents"] == 4
    bad.write_text("# nothing\n")
    code, report = lint(*good, bad)
    assert (code, report["documents"], report["linted"]) == (1, 3, 3)
    assert "nothing was linted" in report["errors"][0]


def test_500_pods_that_are_not_real(own: Cluster) -> None:
    command = [sys.executable, "-m", "testbed.cluster", "fake"]
    subprocess.run(command, cwd=TESTS, check=True, timeout=300)
    one = shapes.container(
        "one", own.images.busybox, "true", inputs={"parameters": [{"name": "i"}]}
    )
    each = {
        "name": "map",
        "template": "one",
        "arguments": {"parameters": [{"name": "i", "value": "{{item}}"}]},
        "withSequence": {"count": "500"},
    }
    templates = [{"name": "main", "dag": {"tasks": [each]}}, one]
    where = {"nodeSelector": fake.SELECTOR, "tolerations": [fake.TOLERATION]}
    tidy = {"podGC": {"strategy": "OnPodCompletion"}}
    over = succeed(own, shapes.workflow("fake", templates, **where, **tidy), 600)
    assert over["status"]["progress"] == "500/500"


def test_a_kubeconfig_from_elsewhere(own: Cluster) -> None:
    """The settings that name another cluster, given this one's values."""
    settings = {
        FOREIGN: str(own.kubeconfig),
        "MAPRED_TEST_S3_ENDPOINT": own.storage.endpoint,
        "MAPRED_TEST_S3_ENDPOINT_IN_PODS": own.storage.endpoint_in_pods,
        "MAPRED_TEST_S3_BUCKET": own.storage.bucket,
        "MAPRED_TEST_S3_KEY": own.storage.key,
        "MAPRED_TEST_S3_SECRET": own.storage.secret,
        "MAPRED_TEST_IMAGE_MAPRED": own.images.mapred,
    }
    code = "from testbed.cluster.access import cluster; c = cluster(); print(c.own, c.namespace)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TESTS, env={**os.environ, **settings}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == f"False {own.namespace}\n", done.stderr
