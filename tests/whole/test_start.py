"""A run in a fresh process loads neither pandas nor what it does not use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

SCRIPT = """
import sys
import mapred
def double(value): return value * 2
if __name__ == "__main__":
    run = mapred.run(double, mapred.items(range(10)), root=sys.argv[1], progress="none")
    assert run.result() == list(range(0, 20, 2))
    print(*sorted(name for name in sys.modules if name.startswith(tuple(sys.argv[2:]))))
"""
# What ten items have no use for, in the process that drives them; a name stands for all below it.
UNUSED = """
pandas psutil rich html pyarrow.compute pyarrow.dataset pyarrow.parquet pyarrow.fs multiprocessing
pathlib tempfile shutil sysconfig difflib importlib.resources
mapred.runfolder.agreement mapred.client.audit mapred.client.changes mapred.runfolder.failures mapred.formats mapred.runfolder.gathering
mapred.client.hints mapred.client.history mapred.client.lookup mapred.worker.keyed mapred.runfolder.points mapred.functions.regrouping
mapred.arrow.samples mapred.client.deploying mapred.client.scheduling mapred.client.stored mapred.functions.declared mapred.shuffle mapred.runfolder.tabulating mapred.worker.turns mapred.worker.tasks
mapred.backends.argo mapred.engine.fork_server mapred.backends.deployments mapred.backends.schedules
mapred.dataset.globs mapred.dataset.kinds mapred.dataset.lakes mapred.dataset.manifests
mapred.dataset.patterns mapred.dataset.schema mapred.dataset.remote_listing mapred.dataset.remote_walk mapred.dataset.readers
mapred.dataset.sweeps mapred.dataset.local_listing
mapred.display.html mapred.display.live mapred.display.text
mapred.storage.arrow mapred.storage.fsspec_options mapred.storage.listers mapred.storage.object_store
mapred.storage.object_client mapred.storage.oss mapred.storage.reader mapred.storage.retries
mapred.writing.parquet_files mapred.writing.replacing mapred.writing.whole
""".split()
# Python runs it in every process, before all else. It says who imports pandas, and lets it be.
WATCH = """
import os, sys, traceback
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            with open(os.environ["WATCHED"], "a") as file:
                file.write("".join(traceback.format_stack(limit=12)))
sys.meta_path.insert(0, Watch())
"""
QUICK = "items array sweep uris text csv parquet hive reduce aggregate write".split()
# The rest, in the order in which they are written.
SLOW = [
    "range list random files read_files strings json dicts filters arrow batches".split(),
    ["plan", "tree", "ready", "by text", "by function", "finalize", "sort", "tables"],
    ["frame of numbers", "frame of a sweep", "some of a sweep", "tables of a sweep"],
    ["write", "write here", "read back", "audit", "shown"],
]


def test_ten_items_load_little(tmp_path: Path, root: Path) -> None:
    file = tmp_path / "job.py"
    file.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "runs"), *UNUSED],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def write_inputs(folder: Path) -> None:
    table = pa.table({"g": [1, 2, 1, 3], "name": ["x", "y", None, "x"], "v": [0.5, 1.5, 2.5, None]})
    for number in range(2):
        (folder / f"{number}.txt").write_text("a\nb c\n")
        (folder / f"{number}.csv").write_text("g,name,d\n1,x,2026-01-01\n2,,\n")
        (folder / f"{number}.jsonl").write_text('{"g": 1, "l": [1, 2]}\n{"g": 2, "o": {"a": 1}}\n')
        feather.write_feather(table, str(folder / f"{number}.arrow"))
        pq.write_table(table, folder / f"{number}.parquet")
        part = folder / "hive" / f"day={number}" / "part.parquet"
        part.parent.mkdir(parents=True)
        pq.write_table(table, part)


@pytest.mark.parametrize(
    "kinds",
    [QUICK, *(pytest.param(names, marks=pytest.mark.slow) for names in SLOW)],
    ids=["quick", "datasets", "reduces", "results", "ends"],
)
def test_no_process_of_a_run_imports_pandas(tmp_path: Path, root: Path, kinds: list[str]) -> None:
    pytest.importorskip("pandas")
    write_inputs(tmp_path)
    watch = tmp_path / "watch"
    watch.mkdir()
    (watch / "sitecustomize.py").write_text(WATCH)
    watched = tmp_path / "watched"
    path = os.pathsep.join([str(watch), str(root)])
    done = subprocess.run(
        [
            sys.executable,
            str(root / "tests" / "user_code" / "every_kind.py"),
            str(tmp_path),
            *kinds,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "WATCHED": str(watched)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done").read_text().splitlines() == kinds
    assert not watched.exists(), watched.read_text()
