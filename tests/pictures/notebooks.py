"""The notebooks, run from top to bottom and stored with what they showed."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import nbformat
from backends.argo import remote
from testbed.cluster import access

from pictures import notebook
from pictures.home import ROOT, Home, home

NOTEBOOKS = ROOT / "notebooks"
ON_ARGO = "02-on-argo"  # which runs only if it is named, on the cluster of the tests
_MESSAGE = "cell {number} of {path} failed\n{source}\n{name}: {value}"


def write(names: Iterable[str]) -> None:
    """Run the notebooks of these names; without names, all that need no cluster."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not (path.stem in names if names else path.stem != ON_ARGO):
            continue
        with home() as place:
            variables, instead = _on_a_cluster(place) if path.stem == ON_ARGO else ({}, {})
            made = notebook.executed(place, nbformat.read(path, as_version=4), **variables)
            _check(path.name, made)
            nbformat.write(_shown(_stripped(made), place, instead), path)
        print(f"notebooks/{path.name}  {path.stat().st_size / 1000:.0f} kB", flush=True)


def _on_a_cluster(place: Home) -> tuple[dict[str, str], dict[str, str]]:
    """What a kernel needs to reach the cluster of the tests, and what is shown for its names."""
    cluster = access.cluster()
    bucket = f"s3://{cluster.storage.bucket}/{uuid.uuid4().hex[:12]}"
    (place.work / "mapred.toml").write_text(remote.toml(cluster, f"{bucket}/runs", 4))
    instead = {
        bucket: "s3://team",
        bucket.removeprefix("s3://"): "team",
        cluster.storage.endpoint_in_pods: "http://minio.storage:9000",
        cluster.storage.endpoint: "http://minio.storage:9000",
        cluster.storage.secret_name: "team-s3",
        cluster.images.mapred: "team/mapred:latest",
        cluster.namespace: "team",
    }
    return {**cluster.storage.environment, "BUCKET": bucket}, instead


def _check(path: str, made: Any) -> None:
    for number, cell in enumerate(made.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                raise RuntimeError(
                    _MESSAGE.format(
                        number=number,
                        path=path,
                        source=cell.source,
                        name=output.ename,
                        value=output.evalue,
                    )
                )


def _stripped(made: Any) -> Any:
    """The notebook without what differs between two machines and is not shown."""
    for cell in made.cells:
        cell.metadata = {}
    made.metadata.language_info = {"name": "python"}
    return made


def _shown(value: Any, place: Home, instead: Mapping[str, str]) -> Any:
    """The value without names of this machine and of the cluster, whose names come whole."""
    if isinstance(value, dict):
        for key, each in value.items():
            value[key] = _shown(each, place, instead)
        return value
    if isinstance(value, list):
        return [_shown(each, place, instead) for each in value]
    if not isinstance(value, str):
        return value
    for name, shown in instead.items():
        value = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", shown, value)
    return place.shown(value)
