"""The notebooks, run from top to bottom and stored with what they showed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from pictures import notebook
from pictures.home import ROOT, Home, home

NOTEBOOKS = ROOT / "notebooks"
# It needs a cluster: `BUCKET` names its bucket, and `MAPRED_CONFIG` the mapred.toml that says where it is.
ON_ARGO = "02-on-argo"


def write(names: Iterable[str]) -> None:
    """Run the notebooks of these names; without names, those that this machine can run."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    chosen = [path for path in paths if path.stem in names] if names else paths
    for path in chosen:
        if path.stem == ON_ARGO and not os.environ.get("BUCKET"):
            print(f"{path.name} is left as it is: it needs a cluster, and BUCKET and MAPRED_CONFIG")
            continue
        with home() as place:
            made = with_outputs(path, place)
        nbformat.write(made, path)
        print(f"notebooks/{path.name}  {path.stat().st_size / 1000:.0f} kB", flush=True)


def with_outputs(path: Path, place: Home) -> Any:
    """The notebook after a run of it; an error in a cell is one here."""
    kept = ("BUCKET", "MAPRED_CONFIG")
    variables = {
        name: value
        for name, value in os.environ.items()
        if name in kept or (name.startswith("AWS_") and "BUCKET" in os.environ)
    }
    made = notebook.executed(place, nbformat.read(path, as_version=4), **variables)
    for cell in made.cells:
        cell.metadata.pop("pages", None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise RuntimeError(f"{path.name}: {cell.source}\n{output.ename}: {output.evalue}")
    made.metadata.pop("language_info", None)
    bucket = os.environ.get("BUCKET", "")
    return nbformat.from_dict(_shown(json.loads(json.dumps(made)), place, bucket))


def _shown(value: Any, place: Home, bucket: str) -> Any:
    """The value without names of this machine, nor of the bucket that the cluster's tests have."""
    if isinstance(value, dict):
        return {key: _shown(each, place, bucket) for key, each in value.items()}
    if isinstance(value, list):
        return [_shown(each, place, bucket) for each in value]
    if not isinstance(value, str):
        return value
    return place.shown(value.replace(bucket, "s3://team") if bucket else value)
