"""Each recipe, run by its reader on this machine and then in pods, over the same files of a bucket."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import s3fs
from backends.argo import remote
from moved_recipes import PIPELINES, RECIPES, SAMPLE_DATA, answer, job_over, pipeline_over, run
from testbed.cluster.access import Cluster

pytestmark = [pytest.mark.on_cluster, pytest.mark.timeout(600)]

PODS = 3


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_gives_the_same_in_pods(
    recipe: Path,
    cluster: Cluster,
    cluster_root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, data = f"{cluster_root}/runs", f"{cluster_root}/data"
    run(tmp_path, str(SAMPLE_DATA))
    job = job_over(recipe, tmp_path, data)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapred.toml").write_text(remote.toml(cluster, root, PODS))

    here = answer(job.run(progress="none"))
    written = taken_away(f"{data}/lake/orders")
    there = job.run(progress="none", backend="argo", root=root)
    assert answer(there) == here
    assert there.job.backend["name"] == "argo"
    report = there.audit()
    assert report.ok, report
    assert taken_away(f"{data}/lake/orders") == written
    pods = {name.partition(":")[0] for name in there.shards["worker"]}
    assert len(pods) <= PODS, "a pod for each task"


@pytest.mark.parametrize("recipe", PIPELINES, ids=lambda path: path.stem)
def test_pipeline_gives_the_same_with_its_runs_in_pods(
    recipe: Path,
    cluster: Cluster,
    cluster_root: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, data = f"{cluster_root}/runs", f"{cluster_root}/data"
    run(tmp_path, str(SAMPLE_DATA))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mapred.toml").write_text(remote.toml(cluster, root, PODS))

    here = pipeline_over(recipe, tmp_path, data)
    there = pipeline_over(recipe, tmp_path, data, backend="argo", root=root)
    assert there.result() == here.result()
    assert {each.job.backend["name"] for each in there.runs} == {"argo"}
    assert all(each.audit().ok for each in there.runs)


def taken_away(folder: str) -> pa.Table | None:
    """The rows below a folder of the bucket, by id, which are then removed; None without one."""
    store = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if not store.exists(folder):
        return None
    found = ds.dataset(folder.removeprefix("s3://"), filesystem=store, partitioning="hive")
    table = found.to_table().sort_by("id")
    store.rm(folder, recursive=True)
    return table
