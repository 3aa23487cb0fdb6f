"""The contract that every backend passes, on a cluster whose pods share a folder with the tests."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.cluster.access import Cluster

import mapred
from mapred.testing import BackendContract

pytestmark = pytest.mark.on_cluster


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[tuple[Path, str]]:
    """A folder that pods see at the same path, and the claim that holds it."""
    if not cluster.own:
        pytest.skip("pods of this cluster share no folder with the tests")
    name = f"contract-{uuid.uuid4().hex[:8]}"
    folder = Path("/tmp") / f"mapred-{name}"
    folder.mkdir()
    size = {"storage": "1Gi"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": size,
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": str(folder)},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": size},
            "storageClassName": "",
            "volumeName": name,
        },
    }
    both = {"apiVersion": "v1", "kind": "List", "items": [volume, claim]}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(both))
    yield folder, name
    cluster.kubectl("delete", "pvc", name, "--wait=false")
    cluster.kubectl("delete", "pv", name, "--wait=false")
    shutil.rmtree(folder, ignore_errors=True)


class TestArgo(BackendContract):
    """Few pods for each run: what the contract asks for is not how many there are."""

    kills = True

    @pytest.fixture
    def tmp_path(self, shared: tuple[Path, str]) -> Iterator[Path]:
        """Pods are another user, who writes there too."""
        before = os.umask(0)
        folder = shared[0] / uuid.uuid4().hex[:8]
        folder.mkdir()
        yield folder
        os.umask(before)

    @pytest.fixture
    def backend(self, cluster: Cluster, shared: tuple[Path, str]) -> Any:
        folder, claim = shared
        return mapred.Argo(
            namespace=cluster.namespace,
            image=cluster.images.mapred,
            kubeconfig=str(cluster.kubeconfig),
            volumes=(mapred.Volume(str(folder), claim=claim),),
            max_pods=2,
        )

    def _run(self, fn: Any, dataset: Any, backend: Any, tmp_path: Path, **options: Any) -> Any:
        options = {"resources": mapred.Resources(cpu=0.01), **options}
        return super()._run(fn, dataset, backend, tmp_path, **options)
