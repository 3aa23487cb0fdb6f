"""A pipeline whose driver is a pod: conditions and loops are Python's, each step a run in pods."""

from __future__ import annotations

from typing import Any

import pytest
from backends.argo.functions import halves, numbers
from backends.argo.remote import SMALL, argo
from testbed.cluster.access import Cluster

import mapred

pytestmark = pytest.mark.on_cluster


def test_a_pod_carries_on_a_pipeline(cluster: Cluster, cluster_root: str) -> None:
    mapred.storage.open_store(cluster_root).write("numbers/1.txt", b"5\n1\n9\n")
    # What starts runs is the one pod with a token; those of its runs have none.
    driver = argo(
        cluster,
        service_account="mapred-submitter",
        pod_spec_patch={"automountServiceAccountToken": True},
    )
    steps = argo(cluster, max_pods=1, kubeconfig=None)
    root = f"{cluster_root}/steps"
    settings: dict[str, Any] = {"backend": steps, "root": root, "resources": SMALL}

    def pipeline(threshold: int) -> tuple[list[str], list[int]]:
        # What a function's annotations name does not travel with it, so the dataset says it.
        files = mapred.read_text(f"{cluster_root}/numbers/*.txt", as_="lines")
        first = mapred.run(numbers, files, progress="none", **settings)
        done, left = [first.uri], first.result()[0]
        while max(left) > threshold:
            again = mapred.run(halves, mapred.items(left), progress="none", **settings)
            done.append(again.uri)
            left = again.result()
        return done, left

    run = mapred.submit(
        pipeline, mapred.items([2]), backend=driver, root=cluster_root, resources=SMALL, attempts=1
    )
    ((done, left),) = mapred.open(run.uri).result()
    assert left == [1, 0, 2]
    assert len(done) == 3
    for uri in done:
        step = mapred.open(uri)
        assert step.state == "succeeded"
        assert step.audit().ok
