"""The Workflow of a pipeline, and what its handle does with one: no cluster is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backends.argo import cases
from client.pipelines.turns import Workflows, cluster, opened
from hera.workflows import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mapred
from mapred.backends.argo import driving
from mapred.backends.argo.backend import Argo
from mapred.backends.argo.lint import problems
from mapred.backends.argo.yaml import from_yaml, to_yaml
from mapred.errors import BackendError
from mapred.runfolder.folder import RunFolder
from mapred.runfolder.pipelines import PipelineFolder, PipelineRecord
from mapred.runfolder.starts import Start


def record(name: str = "nightly", run_id: str = cases.RUN_ID) -> PipelineRecord:
    return PipelineRecord(run_id, name, "2026-01-02T03:04:05Z", 0.0, {}, python="3.11")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.text(max_size=80), argo=cases.backends())
def test_any_pipeline_is_a_workflow_that_a_cluster_takes(name: str, argo: Argo) -> None:
    place = {"uri": f"s3://b/runs/{cases.RUN_ID}", "digest": cases.DIGEST}
    values = driving.manifest(argo, record(name), **place, packages=cases.PACKAGES)
    known = models.Workflow.model_validate(values)
    assert known.model_dump(mode="json", by_alias=True, exclude_none=True) == values
    assert from_yaml(to_yaml(values)) == [values]
    assert problems(values) == []
    given_to_pod = {
        each["name"]: each["value"] for each in values["spec"]["arguments"]["parameters"]
    }
    said = json.loads(given_to_pod["backend"])
    assert mapred.Argo(**said["arguments"]) == argo


def test_how_this_machine_reaches_the_cluster_stays_here() -> None:
    argo = Argo(**cases.S3, kubeconfig="/home/me/.kube/config", context="mine")
    made = json.dumps(driving.manifest(argo, record(), uri="s3://b/runs/1", digest=cases.DIGEST))
    assert "kubeconfig" not in made
    assert "mine" not in made


def test_values_that_argo_would_replace_are_refused() -> None:
    argo = Argo(**cases.S3, pod_spec_patch={"hostname": "{{pod}}"})
    with pytest.raises(BackendError, match="which Argo would replace"):
        driving.manifest(argo, record(), uri="s3://b/runs/1", digest=cases.DIGEST)


@mapred.pipeline
def nothing() -> None:
    return None


@pytest.fixture
def started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Workflows, Argo, mapred.PipelineRun]:
    workflows, backend = cluster(tmp_path, monkeypatch)
    return workflows, backend, nothing.submit(backend=backend, root=tmp_path / "runs")


Started = tuple[Workflows, Argo, mapred.PipelineRun]


def test_a_workflow_of_another_pipeline_is_left_alone(started: Started, tmp_path: Path) -> None:
    workflows, backend, run = started
    other = nothing.submit(backend=backend, root=tmp_path / "runs")
    first = PipelineFolder(run.store).start().ref
    assert first is not None
    # Anyone who can write to a folder could name any Workflow there.
    handle = backend.reopen_pipeline(other.store, "", first)
    assert handle is not None
    assert not handle.alive()
    handle.cancel()
    assert other.store.list("end.json") == []
    assert {workflows.get(name)["status"]["phase"] for name in workflows.names()} == {"Running"}  # type: ignore[index]
    assert backend.reopen_pipeline(other.store, "", "dask:tcp://a:1") is None


def test_a_workflow_that_cannot_be_created_leaves_the_folder_as_it_was(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflows, backend, run = started
    before = PipelineFolder(run.store).start()

    def refused(self: Workflows, manifest: Any) -> None:
        raise BackendError("refused to create workflows")

    monkeypatch.setattr(Workflows, "create", refused)
    with pytest.raises(BackendError, match="refused to create"):
        backend.start_pipeline(run.store, "")
    assert PipelineFolder(run.store).start() == before
    assert len(workflows.names()) == 1


def test_a_workflow_that_is_gone_or_was_stopped(started: Started) -> None:
    workflows, _, run = started
    (name,) = workflows.names()
    workflows.change(name, shutdown="Terminate", phase="Failed")
    assert run.state == "cancelled"
    run.store.delete("end.json")
    (workflows.folder / name).unlink()
    gone = opened(run.uri)
    assert gone.state == "interrupted"
    assert gone.wait() is gone


@pytest.mark.parametrize("refused", ["annotate", "get"])
def test_a_pod_without_rights_drives_its_pipeline_all_the_same(
    started: Started, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    workflows, _, run = started
    (name,) = workflows.names()
    real = getattr(Workflows, refused)

    def forbidden(self: Workflows, *values: Any) -> Any:
        raise BackendError("refused to patch workflows")

    monkeypatch.setattr(Workflows, refused, forbidden)
    handle = driving.PipelineWorkflow(Argo(), run.store, workflows, name, digest=None)
    assert handle.begin()
    handle.leave(5)
    handle.wake()
    monkeypatch.setattr(Workflows, refused, real)
    assert workflows.turn(name) == 0
    assert run.result() is None


def test_a_workflow_that_was_created_and_not_noted_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pod that was lost just then: no second one works on the run."""
    workflows, backend = cluster(tmp_path, monkeypatch)
    run = mapred.submit(abs, mapred.array(2), backend=backend, root=tmp_path / "runs")
    first = RunFolder(run.store).start().ref
    (name,) = workflows.names()
    folder = RunFolder(run.store)
    folder.write_start(Start())
    again = backend.submit(run.store, run.job, run.digest)
    assert (again.ref, workflows.names()) == (first, [name])
    assert backend.submit(run.store, run.job, "0" * 64).ref == f"{first}-2"
    workflows.change(name, phase="Failed")
    assert backend.submit(run.store, run.job, run.digest).ref == f"{first}-3"


def test_a_workflow_that_was_noted_is_of_an_earlier_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a failure is about to stop would take the resumed run with it."""
    _, backend = cluster(tmp_path, monkeypatch)
    run = mapred.submit(abs, mapred.array(2), backend=backend, root=tmp_path / "runs")
    first = RunFolder(run.store).start().ref
    assert backend.submit(run.store, run.job, run.digest).ref == f"{first}-2"
