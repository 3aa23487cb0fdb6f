"""How a cluster is reached: this side says so, and a run's folder never does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import mapred
from mapred import backends
from mapred.backends import reach
from mapred.client.run_handle import Run
from mapred.errors import BackendError
from mapred.model import layout

INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}


def test_a_folder_does_not_tell_how_a_cluster_is_reached() -> None:
    argo = mapred.Argo(
        kubeconfig="/k.yaml", context="c", token_env="T", endpoint="http://minio", image="x"
    )
    said = ["kubeconfig", "context", "token_env", "endpoint"]
    assert backends.to_record(argo) == {"name": "argo", "arguments": {"image": "x"}, "said": said}
    dask = mapred.Dask("tcp://10.0.0.5:8786")
    assert backends.to_record(dask)["said"] == ["address"]
    assert "10.0.0.5" not in json.dumps(backends.to_record(dask))
    local = {"name": "local", "arguments": {"workers": 2}}
    assert backends.to_record(mapred.Local(workers=2)) == local


def of_another_process(backend: dict[str, Any], ref: str) -> Run:
    """A run that something elsewhere works on, by its folder."""
    run = mapred.run(abs, range(2), **INLINE)
    run.store.delete(layout.END)
    job = json.loads(run.store.read(layout.JOB)) | {"backend": backend}
    run.store.write(layout.JOB, json.dumps(job).encode())
    told = {"ref": ref, "state": "running", "time": 0}
    run.store.write(layout.HANDLE, json.dumps(told).encode())
    return mapred.open(run.uri)


@pytest.fixture
def no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("MAPRED_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_status_without_the_cluster_reads_the_folder(no_cluster: Path) -> None:
    run = of_another_process({"name": "argo", "arguments": {}}, "argo:n:w")
    status = run.status()
    assert status.state == "unknown"
    assert sum(stage.done for stage in status.stages) == 2
    assert "no cluster can be reached" in status.message
    assert "unknown" in str(run)
    assert mapred.runs()[0].state == "unknown"
    assert layout.END not in dict(run.store.list(""))


@pytest.mark.parametrize(
    "table",
    [
        "[backend.argo]",
        "[backend.prod]\ntype = 'argo'",
        "[backend.prod]\ntype = 'argo'\nnamespace = 'n'\n[backend.other]\ntype = 'argo'\n"
        "namespace = 'm'\nkubeconfig = '/other'",
    ],
)
def test_a_cluster_is_reached_as_the_settings_of_this_side_say(
    no_cluster: Path, table: str
) -> None:
    text = table.replace("'argo'", "'argo'\nkubeconfig = '/mine'", 1)
    text = text if "type" in text else f"{table}\nkubeconfig = '/mine'"
    (no_cluster / "mapred.toml").write_text(text)
    record = {"name": "argo", "arguments": {"kubeconfig": "/theirs", "image": "x"}}
    run = of_another_process(record, "argo:n:w")
    assert "/mine" in run.status().message or "Invalid kube-config" in run.status().message
    assert backends.of_run(run.uri, run.job.backend, "argo:n:w") == mapred.Argo(
        kubeconfig="/mine", image="x", namespace=None
    )


def test_what_this_side_has_to_say_of_a_run_is_named(no_cluster: Path) -> None:
    for record in (
        {"name": "dask", "arguments": {"workers": None}, "said": ["address"]},
        {"name": "dask", "arguments": {"workers": None, "address": "tcp://evil:1"}},
    ):
        run = of_another_process(record, "dask:elsewhere:17:5.00")
        with pytest.raises(
            BackendError, match=r"(?s)started with address=.*resume\(backend=mapred.Dask"
        ):
            run.resume(progress="none")
    run.resume(progress="none", backend="inline")
    assert run.state == "succeeded"


def test_a_backend_that_was_handed_over_is_kept(no_cluster: Path) -> None:
    run = of_another_process({"name": "argo", "arguments": {}}, "argo:n:w")
    mine = mapred.Argo(kubeconfig="/mine")
    mapred.open(run.uri, backend=mine)
    assert reach.recall_backend(run.uri, "argo") == mine
    assert backends.of_run(run.uri, run.job.backend, "argo:n:w") == mine


@pytest.mark.parametrize(
    "ref", ["argo:n", "argo:N:w", "argo:n:../x", "argo:n:w:x", "argo::w", "argo:n:w?x"]
)
def test_a_reference_is_a_name_of_kubernetes(no_cluster: Path, ref: str) -> None:
    run = of_another_process({"name": "argo", "arguments": {}}, ref)
    assert run.state == "interrupted"


def test_unknown_arguments_of_a_backend_are_one_clear_error(no_cluster: Path) -> None:
    run = of_another_process({"name": "local", "arguments": {"evil": 1}}, "local:x:1:1.00")
    with pytest.raises(BackendError, match="'local' cannot be restored"):
        run.resume(progress="none")
