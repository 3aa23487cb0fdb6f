"""The workloads on a cluster, few tasks each."""

from __future__ import annotations

import pytest
from testbed.cluster.access import Cluster

from benchmarks.argo import reach, run, start, table


def test_a_report_of_costs() -> None:
    nodes = {"workflows": 3, "pods": 4}
    ours = table.Cost({}, nodes=6, writes=nodes, stored=300, packed=True, alone=True)
    theirs = table.Cost(
        {}, nodes=4, writes={**nodes, "pods": 0}, stored=100, packed=False, alone=False
    )
    rows = table.rows(2, ours, theirs, real=False)
    assert [(row.what.partition(": ")[2], row.note, row.ratio) for row in rows] == [
        ("nodes", "6 : 4 (3.00 : 2.00)", 1.5),
        ("writes: workflows", "3 : 3 (1.50 : 1.50)", 1.0),
        ("writes: pods", "4 : 0 (2.00 : 0.00)", None),
        ("writes", "7 : 3 (3.50 : 1.50)", 7 / 3),
        ("bytes, compressed", "300 : 100 (150.00 : 50.00)", 3.0),
    ]
    assert {row.what.partition(": ")[0] for row in rows} == {
        "2 shards, pods not real, **others at work**"
    }


@pytest.mark.on_cluster
def test_same_answers(cluster: Cluster) -> None:
    assert run.by_mapred(cluster, reach.root(cluster), 2) > 0
    assert run.by_hand(cluster, 2) > 0


@pytest.mark.on_cluster
def test_starts(cluster: Cluster) -> None:
    results = start.times(cluster, reach.root(cluster), 2)
    assert [len(result.seconds) for result in results.values()] == [2, 2]
    assert min(min(result.seconds) for result in results.values()) > 0


@pytest.mark.on_cluster
def test_costs(cluster: Cluster) -> None:
    ours, theirs = table.compare(cluster, reach.root(cluster), 2, real=True)
    assert ours.nodes >= theirs.nodes > 2
    for each in (ours, theirs):
        assert min(each.writes.values()) > 0
        assert each.stored > 1000


@pytest.mark.on_cluster
def test_pods_that_are_not_real(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("needs the fake node of the cluster of this machine")
    table.start_fake_node()
    ours, theirs = table.compare(cluster, reach.root(cluster), 3, real=False)
    # The DAG, the loop, its pods and the last one; mapred's pods have a node each that retries.
    assert (ours.nodes, theirs.nodes) == (2 + 2 * 4, 2 + 4)
    assert min(ours.writes["pods"], theirs.writes["pods"]) >= 4  # others may write as well
