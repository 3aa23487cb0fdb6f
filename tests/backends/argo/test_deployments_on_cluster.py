"""Deployed jobs on a cluster: started by mapred and by a plain Workflow, replaced, lost, removed."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from backends.argo import remote
from backends.argo.functions import Side, told, told_otherwise
from testbed.cluster.access import Cluster

import mapred
from mapred.backends.argo import templates
from mapred.backends.argo.templates import Conflict
from mapred.client import deploying
from mapred.errors import BackendError, PlanError
from mapred.storage import open_store

pytestmark = pytest.mark.on_cluster
PATIENCE = 600.0


@pytest.fixture
def argo(cluster: Cluster) -> mapred.Argo:
    return remote.argo(cluster, retries=2, ttl=600)


@pytest.fixture
def name(cluster: Cluster) -> Iterator[str]:
    """The name of a deployment, of which nothing is left in the cluster afterwards."""
    chosen = f"test-{secrets.token_hex(4)}"
    yield chosen
    cluster.kubectl("delete", "workflowtemplate", chosen, "--ignore-not-found")
    cluster.kubectl("delete", "workflow", "-l", f"mapred-deployment={chosen}", "--wait=false")


def job(fn: Any = told, items: int = 2) -> mapred.Job:
    return mapred.job(fn, mapred.items(range(items)), per_task=items, resources=remote.SMALL)


def submit(cluster: Cluster, name: str, **values: str) -> str:
    """Start the template as `argo submit --from` and Argo's page do; the name of the Workflow."""
    parameters = [{"name": key, "value": value} for key, value in values.items()]
    return cluster.submit(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"generateName": f"{name}-"},
            "spec": {
                "workflowTemplateRef": {"name": name},
                "arguments": {"parameters": parameters},
            },
        }
    )


def run_of(workflow: dict[str, Any], root: str) -> mapred.Run:
    metadata = workflow["metadata"]
    created = datetime.fromisoformat(metadata["creationTimestamp"].replace("Z", "+00:00"))
    return mapred.open(f"{root}/{deploying.run_id(metadata['uid'], created)}")


def pods_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in workflow["status"]["nodes"].values() if each["type"] == "Pod"]


def test_a_deployed_job_is_started_by_name(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    made = job().deploy(name, backend=argo, root=cluster_root, params={"days": 3})
    assert made in mapred.deployments(backend=argo)
    run = made.start(city="Bern", side=Side.RIGHT)
    assert run.result() == [f"{i} Bern 3 {Side.RIGHT}" for i in range(2)]
    assert run.job.parameters == {"city": "Bern", "days": 3, "side": "right", "pause": 0}
    again = mapred.deployed(name, backend=argo).start(city="Oslo", days="5")
    assert again.result() == [f"{i} Oslo 5 {Side.LEFT}" for i in range(2)]
    assert again.id != run.id
    with pytest.raises(PlanError, match="city='Rom' must be one of Bern, Oslo"):
        made.start(city="Rom")
    mapred.undeploy(name, backend=argo)
    assert name not in [each.name for each in mapred.deployments(backend=argo)]


def test_a_plain_workflow_starts_it_too(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    job().deploy(name, backend=argo, root=cluster_root)
    over = cluster.finished(submit(cluster, name, city="Bern"), PATIENCE)
    assert over["status"]["phase"] == "Succeeded", over["status"]
    assert over["metadata"]["labels"]["mapred-deployment"] == name
    assert run_of(over, cluster_root).result() == [f"{i} Bern 7 {Side.LEFT}" for i in range(2)]


@pytest.mark.parametrize(
    ("values", "said", "pods"),
    [
        ({"city": "Bern", "days": "many"}, "exit code 78", 1),
        ({"city": "Rom"}, "exit code 78", 1),  # Argo compares no value of a start with the enum
        ({}, "city.value", 0),
    ],
)
def test_what_does_not_fit_ends_at_once(
    cluster: Cluster,
    cluster_root: str,
    argo: mapred.Argo,
    name: str,
    values: dict[str, str],
    said: str,
    pods: int,
) -> None:
    job().deploy(name, backend=argo, root=cluster_root)
    over = cluster.finished(submit(cluster, name, **values), PATIENCE)
    assert over["status"]["phase"] in ("Failed", "Error")
    assert said in json.dumps(over["status"])
    assert len(pods_of({"status": {"nodes": {}, **over["status"]}})) == pods
    found = [path for path, _ in open_store(cluster_root).list("") if path.endswith("job.json")]
    assert found == []


def test_a_pod_that_is_lost_is_started_again_and_continues_its_run(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    made = job(items=1).deploy(name, backend=argo, root=cluster_root)
    run = made.start(city="Bern", pause=20)
    workflow = json.loads(
        cluster.kubectl("get", "workflow", "-l", f"mapred-deployment={name}", "-o", "json").stdout
    )["items"][0]["metadata"]["name"]
    chosen = f"workflows.argoproj.io/workflow={workflow}"
    cluster.kubectl("delete", "pod", "-l", chosen, "--grace-period=0", "--force")
    over = cluster.finished(workflow, PATIENCE)
    assert over["status"]["phase"] == "Succeeded", over["status"]
    assert run.result() == [f"0 Bern 7 {Side.LEFT}"]
    found = [path for path, _ in open_store(cluster_root).list("") if path.endswith("job.json")]
    assert found == [f"{run.id}/job.json"]


def test_a_run_keeps_its_version_while_the_job_is_replaced_and_removed(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    first = job(items=1).deploy(name, backend=argo, root=cluster_root)
    begun = first.start(city="Bern", pause=15)
    second = job(told_otherwise).deploy(name, backend=argo, root=cluster_root)
    # Its controller may have the earlier one for a moment yet.
    remote.until(lambda: _starts(second), "the new version starts")
    with pytest.raises(BackendError, match=f"version {first.digest[:12]} was to start"):
        first.start(city="Bern")
    mapred.undeploy(name, backend=argo)
    assert begun.result() == [f"0 Bern 7 {Side.LEFT}"]


def _starts(deployment: mapred.Deployment) -> bool:
    try:
        run = deployment.start(city="Bern")
    except BackendError:
        return False
    return run.result() == [f"otherwise {i} Bern" for i in range(2)]


def test_what_someone_else_deployed_is_left_alone(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    made = job().deploy(name, backend=argo, root=cluster_root)
    with pytest.raises(BackendError, match="has root"):
        job().deploy(name, backend=argo, root=f"{cluster_root}/other")
    client = templates.connect(argo)
    before = client.template(name)
    assert before is not None
    manifest = {key: before[key] for key in ("apiVersion", "kind", "spec")}
    manifest["metadata"] = {"name": name}
    with pytest.raises(Conflict):
        client.put_template(manifest, None)
    client.put_template(manifest, before["metadata"]["resourceVersion"])
    with pytest.raises(Conflict):
        client.put_template(manifest, before["metadata"]["resourceVersion"])
    with pytest.raises(BackendError, match="that mapred did not make"):
        job().deploy(name, backend=argo, root=cluster_root)
    replaced = job().deploy(name, backend=argo, root=cluster_root, replace=True)
    assert replaced.name == made.name
    assert name in [each.name for each in mapred.deployments(backend=argo)]


@pytest.mark.slow  # it resolves and fetches all that mapred needs
@pytest.mark.timeout(2 * PATIENCE)
def test_a_deployed_job_starts_on_a_stock_image(
    cluster: Cluster, cluster_root: str, argo: mapred.Argo, name: str
) -> None:
    """Python alone is in the image: mapred and what submits come from beside the runs."""
    stock = dataclasses.replace(argo, image=cluster.images.python, packages=())
    made = job().deploy(name, backend=stock, root=cluster_root)
    assert made.start(city="Oslo").result() == [f"{i} Oslo 7 {Side.LEFT}" for i in range(2)]
