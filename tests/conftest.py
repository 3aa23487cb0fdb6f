"""What every test may ask for."""

from __future__ import annotations

import itertools
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from testbed.servers import dask_cluster, moto, seaweed
from testbed.sharing import shared

if TYPE_CHECKING:
    from testbed.cluster.access import Cluster

ROOT = Path(__file__).parent.parent
# The clock decides no test. Others are drawn in each run, and slow tests draw many at once.
settings.register_profile("mapred", deadline=None, max_examples=30)
settings.load_profile("mapred")


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the project itself."""
    return ROOT


@pytest.fixture(scope="session")
def _roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of folders that no test has had."""
    base = tmp_path_factory.mktemp("roots")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _runs_in_a_folder_of_their_own(_roots: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves runs in the user's home."""
    monkeypatch.setenv("MAPRED_ROOT", str(next(_roots)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test session see."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def s3_server(shared_folder: Path) -> Iterator[dict[str, Any]]:
    """A SeaweedFS of this session: its `endpoint`, `key`, `secret` and `domain`."""
    with shared(shared_folder, "seaweed", seaweed.plan) as known:
        yield known


@pytest.fixture
def s3_root(s3_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of the bucket `runs`; the environment says how to reach it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    settings = {
        "AWS_ENDPOINT_URL": s3_server["endpoint"],
        "AWS_ACCESS_KEY_ID": s3_server["key"],
        "AWS_SECRET_ACCESS_KEY": s3_server["secret"],
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return f"s3://runs/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A Kubernetes with Argo Workflows: this machine's own unless MAPRED_TEST_KUBECONFIG is set."""
    from testbed.cluster import access

    return access.cluster()


@pytest.fixture
def cluster_root(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of the bucket that tests and pods share; the environment says how to reach it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in cluster.storage.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{cluster.storage.bucket}/{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def moto_server(shared_folder: Path) -> Iterator[dict[str, Any]]:
    """A moto of this session: its `endpoint`, `key` and `secret`; it checks no signature."""
    pytest.importorskip("moto.server")
    with shared(shared_folder, "moto", moto.plan) as known:
        yield known


@pytest.fixture(scope="session")
def dask_scheduler(shared_folder: Path) -> Iterator[str]:
    """The address of a Dask scheduler of this session, with two workers under nannies."""
    pytest.importorskip("distributed")
    with shared(shared_folder, "dask", dask_cluster.plan) as known:
        yield known["address"]


@pytest.fixture(scope="session")
def oss_server(shared_folder: Path) -> Iterator[dict[str, Any]]:
    """A stand-in for OSS of this session: its `endpoint`, `key` and `secret`."""
    pytest.importorskip("aiohttp")
    from testbed.servers import oss

    with shared(shared_folder, "oss", oss.plan) as known:
        yield known


@pytest.fixture
def oss_root(oss_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of the bucket `runs`; the environment says how to reach it."""
    for name in [name for name in os.environ if name.startswith(("OSS_", "ALIBABA_CLOUD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OSS_ENDPOINT", oss_server["endpoint"])
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", oss_server["key"])
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", oss_server["secret"])
    monkeypatch.setenv("OSS_REGION", oss_server["region"])
    monkeypatch.setenv("OSS_ADDRESSING_STYLE", "path")
    return f"oss://runs/{uuid.uuid4().hex[:12]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests the time that they take on a machine with other work."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1200))
