"""The jobs of the recipes over copies of their data elsewhere, such as in a bucket."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa

import mapred
from mapred.cli import references
from mapred.dataset import Dataset

FOLDER = Path(__file__).parent.parent / "recipes"
SAMPLE_DATA = FOLDER / "sample_data.py"
PIPELINES = sorted(FOLDER.glob("pipeline_*.py"))
RECIPES = sorted(path for path in FOLDER.glob("*.py") if path not in [SAMPLE_DATA, *PIPELINES])
# What the pipelines are called with: the name of the folder of their data, and the rest.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "pipeline_condition": ("lake", 0.5),
    "pipeline_diamond": ("trips",),
    "pipeline_gate": ("lake",),
    "pipeline_loop": ("trips", [5.0, 15.0, 40.0], 0.5),
}
INPUTS = ("trips/*.parquet", "lake/raw/*.parquet")
LIBRARY = Path(sysconfig.get_path("stdlib"))


def run(folder: Path, *command: str, typed: str | None = None, **env: str) -> str:
    """What Python prints that works in `folder`; a warning is an error."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "error", **env},
        input=typed,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def job_over(recipe: Path, folder: Path, to: str) -> mapred.Job:
    """The job of a recipe over its data in `folder`, which is put below the URI `to` first."""
    job = references.load_job(str(recipe), None)
    if "lake" in job.parameters:
        _put(folder, sorted(folder.glob("lake/raw/*")), to)
        return job.bind(lake=f"{to}/lake")
    if recipe.stem == "word_count":
        # Not all of the library, which takes a bucket long.
        copies = _put(LIBRARY, sorted(LIBRARY.glob("[a-d]*.py")), to)
        return dataclasses.replace(job, dataset=mapred.read_text(copies, errors="replace"))
    if not (isinstance(job.dataset, Dataset) and job.dataset.uris):
        return job
    (pattern,) = job.dataset.uris
    _put(folder, sorted(folder.glob(pattern)), to)
    source = dataclasses.replace(job.dataset, uris=(f"{to}/{pattern}",))
    return dataclasses.replace(job, dataset=source)


def _put(base: Path, files: list[Path], to: str) -> list[str]:
    """The URIs of the copies of some files."""
    copies = [f"{to}/{path.relative_to(base)}" for path in files]
    store, _ = fsspec.url_to_fs(to)
    for folder in {os.path.dirname(copy) for copy in copies}:
        store.makedirs(folder, exist_ok=True)
    store.put([str(path) for path in files], copies)
    return copies


def pipeline_over(recipe: Path, folder: Path, to: str, **start: Any) -> mapred.PipelineRun:
    """The ended run of a recipe's pipeline over its data, which is put below the URI `to` first.

    Its gates are answered with yes.
    """
    values = vars(references.load_file(str(recipe))).values()
    (pipeline,) = [value for value in values if isinstance(value, mapred.Pipeline)]
    data, *others = ARGUMENTS[recipe.stem]
    _put(folder, [path for name in INPUTS for path in sorted(folder.glob(name))], to)
    run = pipeline.submit(f"{to}/{data}", *others, **start)
    while run.wait(timeout="0.1s").state in ("running", "waiting"):
        for name in run.gates:
            run.approve(name)
    return run


def answer(run: mapred.Run) -> Any:
    """What a run gave, comparable with that of a run elsewhere."""
    result = run.result()
    if isinstance(result, mapred.Written):
        return result.rows, len(result.partitions), dict(run.counters)
    if run.job.shuffle is not None or isinstance(result, pa.Table):
        table = run.to_arrow()
        return table.sort_by([(name, "ascending") for name in table.column_names[:2]])
    return result
