"""The notebooks are stored with their outputs, and run from top to bottom with such outputs again."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from backends.argo import remote
from nbclient import NotebookClient

import mapred
from mapred.backends.argo.yaml import from_yaml

if TYPE_CHECKING:
    from testbed.cluster.access import Cluster

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
ON_ARGO = next(path for path in NOTEBOOKS if path.stem == "02-on-argo")
HERE = [path for path in NOTEBOOKS if path != ON_ARGO]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def executed(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: int) -> Any:
    """The notebook, run by a kernel that works in `folder`; fails where a cell does, or warns."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=seconds, resources=where).execute()
    shown = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert [output.text for output in shown if output.get("name") == "stderr"] == []
    return notebook


def pages(*cells: Any) -> list[str]:
    """What the cells show as HTML."""
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    return [data["text/html"] for data in shown if "text/html" in data]


def kinds(cell: Any) -> list[tuple[str, list[str]]]:
    """What a cell shows, without what differs from run to run: kinds of outputs and of data."""
    found = [(each.output_type, sorted(each.get("data", {}))) for each in cell.outputs]
    return [kind for number, kind in enumerate(found) if kind not in found[:number]]


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for each in values for text in strings(each)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_without_errors_or_names_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    numbers = [cell.execution_count for cell in code_cells(notebook)]
    if path == ON_ARGO and set(numbers) == {None}:
        pytest.skip("was not run on a cluster yet: make notebooks NAMES=02-on-argo")
    assert numbers == list(range(1, len(numbers) + 1)), "it was not run from top to bottom"
    for cell in code_cells(notebook):
        assert "error" not in [output.output_type for output in cell.outputs], cell.source
        assert cell.metadata == {}, "times of a run are different in each"
        shown = "\n".join(strings(cell.outputs))
        assert not re.search(r"/(root|work|opt|srv|var)/|127\.0\.0\.1|localhost", shown), (
            cell.source
        )


@pytest.mark.slow
@pytest.mark.parametrize("path", HERE, ids=lambda path: path.stem)
def test_notebook_shows_what_is_stored(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = code_cells(nbformat.read(path, as_version=4))
    cells = code_cells(executed(path, tmp_path, monkeypatch, 180))
    assert [kinds(cell) for cell in cells] == [kinds(cell) for cell in stored]
    assert any("<svg" in page for page in pages(*cells)), "no picture of the plan or the run"


def text_of(cell: Any) -> str:
    """The value that a cell ends with, and what it prints, as text."""
    return "".join(each.get("text") or each["data"]["text/plain"] for each in cell.outputs)


@pytest.mark.on_cluster
@pytest.mark.timeout(900)
def test_notebook_runs_on_a_cluster(
    cluster: Cluster, cluster_root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mapred.toml").write_text(remote.toml(cluster, f"{cluster_root}/runs", 4))
    monkeypatch.setenv("BUCKET", cluster_root)
    notebook = executed(ON_ARGO, tmp_path, monkeypatch, 300)

    def cell(code: str) -> Any:
        return next(each for each in code_cells(notebook) if code in each.source)

    (progress,) = pages(cell("run = mapred.run(\n    count_words"))
    assert "succeeded" in progress
    assert "<svg" in progress
    assert text_of(cell("run.result() == here.result()")) == "True"
    printed = text_of(cell("run.audit()"))
    assert "map task 1, attempt" in printed
    assert "different words" in printed
    # In pods, not here: each one has a name of its own.
    assert "-map-" in text_of(cell("run.shards"))
    assert "ValueError: no sleeping here" in text_of(cell("except mapred.RunError"))
    (failures,) = pages(cell("run.failures"))
    assert "no sleeping here" in failures
    assert "the same error, here: no sleeping here" in text_of(cell("run.debug"))
    longest = max(len(line) for text in corpus() for line in text.split("\n"))
    assert text_of(cell("run.resume")).endswith(str(longest))
    # What was left alone is read by another process: this one.
    left = mapred.open(text_of(cell(".uri")).strip("'"))
    words = sum(len(re.findall(r"\w+", text)) for text in corpus())
    assert left.result().total() == words
    assert text_of(cell("again.wait")).endswith(str(words))
    (workflow,) = from_yaml(text_of(cell("job.render")))
    assert (workflow["kind"], workflow["metadata"]["namespace"]) == ("Workflow", cluster.namespace)


def corpus() -> list[str]:
    """The files that the notebook puts into the bucket."""
    folder = Path(sysconfig.get_path("stdlib"), "asyncio")
    return [path.read_text() for path in sorted(folder.glob("*.py"))]
