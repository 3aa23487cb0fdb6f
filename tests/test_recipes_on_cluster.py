"""Each recipe, run by its reader on this machine and then in pods, over the same files of a bucket."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import s3fs
from backends.argo import remote
from testbed.cluster.access import Cluster

import mapred
from mapred.storage import open_store

pytestmark = [pytest.mark.on_cluster, pytest.mark.timeout(600)]

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("*.py"))
# What it prints of plan and times besides is not the answer.
ANSWERS = {"word_count": r"^ *[\d,]+ \w+$"}
PODS = 3


def run(folder: Path, *command: str, **env: str) -> str:
    warned = {"PYTHONWARNINGS": "error", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, **warned, **env},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_gives_the_same_in_pods(
    recipe: Path, cluster: Cluster, cluster_root: str, tmp_path: Path
) -> None:
    root, data = f"{cluster_root}/runs", f"{cluster_root}/data"
    (tmp_path / "mapred.toml").write_text(remote.toml(cluster, root, PODS))
    pattern = re.compile(ANSWERS.get(recipe.stem, ".*"), re.M)

    def answer(backend: str) -> list[str]:
        return pattern.findall(run(tmp_path, str(recipe), "--backend", backend, RECIPES=data))

    here = answer("local")
    assert any(here)
    written = taken_away(f"{data}/orders")
    assert answer("argo") == here
    (made,) = {path.partition("/")[0] for path, _ in open_store(root).list("")}
    there = mapred.open(f"{root}/{made}")
    assert there.job.backend["name"] == "argo"
    report = there.audit()
    assert report.ok, report
    assert taken_away(f"{data}/orders") == written
    pods = {name.partition(":")[0] for name in there.shards["worker"]}
    assert len(pods) <= PODS, "a pod for each task"


def taken_away(folder: str) -> pa.Table | None:
    """The rows below a folder of the bucket, by id, which are then removed; None without one."""
    store = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if not store.exists(folder):
        return None
    found = ds.dataset(folder.removeprefix("s3://"), filesystem=store, partitioning="hive")
    table = found.to_table().sort_by("id")
    store.rm(folder, recursive=True)
    return table
