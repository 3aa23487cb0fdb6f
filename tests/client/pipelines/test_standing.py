"""What is shown of pipelines: by their folders, in lists, and by the names that find them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from testbed import pipelines

import mapred
from mapred.client import lookup
from mapred.client.pipelines import standing
from mapred.errors import RecordError, RunError
from mapred.runfolder.pipelines import Claim, PipelineFolder


@pytest.fixture
def root() -> Path:
    return Path(os.environ["MAPRED_ROOT"])


def test_the_text_of_a_pipeline_tells_each_step_and_where_its_input_came_from(root: Path) -> None:
    run = pipelines.succeeded(root)
    status = run.status()
    assert [step.name for step in status.steps] == [
        "parse", "bad", "one", "two", "inner", "go", "publish",
    ]  # fmt: skip
    assert [step.needs for step in status.steps if step.needs] == [(0,), (0,), (2, 3)]
    assert next((step.done, step.tasks) for step in status.steps if step.kind == "run") == (3, 3)
    assert [step.name for step in status.steps[4].steps] == ["report"]
    text = str(run)
    assert text.startswith(f"Pipeline {run.id} of nightly succeeded: 7 steps in ")
    assert "outputs of 3 and 4" in text
    assert "17 bad rows: continue? yes" in text
    assert str(mapred.open(run.uri)) == text
    assert repr(run) == f"<PipelineRun {run.id} of nightly: {run.uri}>"


def test_a_failed_step_tells_its_error_and_where_to_look(root: Path) -> None:
    run = pipelines.failed(root)
    text = str(run)
    assert "map: ZeroDivisionError: " in text
    assert f"mapred show {run.status().steps[3].id}" in text
    assert [step.state for step in run.status().steps] == [
        "succeeded", "recorded", "succeeded", "failed", "succeeded", "answered",
    ]  # fmt: skip


def test_a_gate_tells_the_line_that_answers_it_also_inside_of_another_pipeline(root: Path) -> None:
    run = pipelines.waiting(root)
    assert run.state == run.status().state == "waiting"
    assert f"mapred approve {run.id} go --value yes" in str(run)
    assert "run.approve('go', True)" in str(run)
    run.approve("go")
    run.wait()
    nested = pipelines.waiting(root, nested=True)
    assert nested.state == nested.status().state == "waiting"
    (line,) = (line.strip() for line in str(nested).split("\n") if ".approve('inside'" in line)
    exec(line, {"mapred": mapred})
    assert nested.result() == [2.0, 4.0, 6.0, 2.0, 4.0, 6.0]


def test_steps_that_never_started_say_so_and_the_line_that_resumes_works(root: Path) -> None:
    @mapred.pipeline
    def breaks() -> Any:
        one = mapred.submit(pipelines.invert, [4], name="one", attempts=1)
        return mapred.submit(abs, mapred.outputs(one), name="two", attempts=1)

    with pytest.raises(RunError):
        breaks.run(backend="inline")
    run: Any = mapred.open("last")
    assert [step.state for step in run.status().steps] == ["failed", "not started"]
    with pytest.raises(RunError, match="division by zero"):
        exec(str(run).split("to resume it:\n")[1], {})


def test_a_look_remembers_the_runs_that_have_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pipelines.succeeded(root)
    folder, looks = run._folder, standing.Looks()
    first = standing.status(folder, run.record, at_work=False, looks=looks)
    monkeypatch.setattr(standing, "decode", lambda *_: pytest.fail("it was read again"))
    assert standing.status(folder, run.record, at_work=False, looks=looks) == first


def test_a_pipeline_stands_for_its_runs_in_lists(root: Path) -> None:
    run = pipelines.succeeded(root)
    plain = mapred.run(abs, [-1], backend="inline", progress="none")
    newest, oldest = mapred.runs()
    assert (newest.id, newest.kind, newest.pipeline) == (plain.id, "run", "")
    assert (oldest.id, oldest.kind, oldest.state) == (run.id, "pipeline", "succeeded")
    assert (oldest.name, oldest.done, oldest.tasks) == ("nightly", 7, 7)
    assert oldest.parameters["day"] == "2026-11-03"
    assert isinstance(oldest.open(), mapred.PipelineRun)
    assert "7/7 steps" in repr(mapred.runs())
    every = mapred.runs(folded=False)
    assert len(every) == 8
    assert {entry.pipeline for entry in every if entry.name in ("parse", "one", "inner")} == {
        run.id
    }
    assert [entry.name for entry in mapred.runs(job="nightly")] == ["nightly"]
    assert [entry.name for entry in mapred.runs(limit=1)] == ["abs"]
    assert [entry.name for entry in mapred.runs(limit=2)] == ["abs", "nightly"]
    assert list(mapred.runs(folded=False).to_pandas()["kind"]).count("pipeline") == 2
    for path in Path(run.uri).iterdir():
        if path.is_file():
            path.unlink()
    assert len(mapred.runs()) == 6, "runs whose pipeline is gone are listed"


def test_lists_tell_what_waits_and_what_failed(root: Path) -> None:
    pipelines.failed(root)
    run = pipelines.waiting(root)
    waits, failed = mapred.runs()
    assert (waits.state, waits.dataset) == ("waiting", "waits for an answer: go")
    assert (waits.done, waits.tasks) == (5, 6)
    assert failed.state == "failed"
    assert failed.resumable
    (line,) = (line for line in repr(mapred.runs()).split("\n") if line.startswith("waiting: "))
    exec(line.removeprefix("waiting: "), {})
    assert [entry.id for entry in mapred.runs(state="waiting")] == [run.id]
    run.approve("go", True)
    run.wait()


def test_names_find_pipelines(root: Path) -> None:
    run = pipelines.succeeded(root)
    assert lookup.find("last") == run.uri
    assert lookup.find(run.id) == lookup.find(run.id[:-1]) == run.uri
    assert lookup.pipeline_of(run.runs[0].uri) == run.uri
    assert lookup.pipeline_of(run.uri) is None
    deep = next(step for step in run.status().steps if step.kind == "pipeline")
    assert lookup.top_pipeline_of(deep.steps[0].uri) == run.uri
    plain = mapred.run(abs, [-1], backend="inline", progress="none")
    assert lookup.find("last") == plain.uri


def test_a_root_that_was_moved_still_has_its_pipelines(root: Path, tmp_path: Path) -> None:
    run = pipelines.succeeded(root)
    root.rename(tmp_path / "moved")
    moved = mapred.open(tmp_path / "moved" / run.id)
    assert moved.status()[0].state == "succeeded"
    assert all(each.uri.startswith(str(tmp_path)) for each in moved.runs)


def test_a_claim_leads_to_no_other_place(root: Path) -> None:
    run = pipelines.succeeded(root)
    folder = PipelineFolder(run.store)
    claim = folder.claims()[0]
    with pytest.raises(RunError, match="a pipeline and its runs have one root"):
        folder.put_claim(Claim(claim.step, "/elsewhere/x", "{}"))
    path = Path(run.uri, "claims", f"{claim.step.address}.json")
    text = path.read_text()
    for evil in ("../outside", "/etc", "a/b", "..", ""):
        path.write_text(text.replace(claim.uri.rpartition("/")[2], evil, 1))
        with pytest.raises(RecordError, match="is not the id of a run"):
            folder.claims()
    path.write_text(text.replace(claim.step.address, "0" * 32))
    with pytest.raises(RecordError, match="the claim of another step"):
        folder.claim(claim.step.address)


def test_a_pipeline_that_claims_itself_is_shown_once(root: Path) -> None:
    run = pipelines.succeeded(root)
    folder = PipelineFolder(run.store)
    claim = next(claim for claim in folder.claims() if claim.step.kind == "pipeline")
    path = Path(run.uri, "claims", f"{claim.step.address}.json")
    path.write_text(path.read_text().replace(claim.uri.rpartition("/")[2], run.id, 1))
    assert [step.state for step in run.status().steps][4] == "unreadable"
    assert not run.audit().ok


def test_the_runs_of_a_pipeline_take_no_root_of_their_own(root: Path, tmp_path: Path) -> None:
    @mapred.pipeline
    def elsewhere() -> Any:
        return mapred.run(abs, [-1], root=tmp_path, **pipelines.QUIET)

    with pytest.raises(RunError, match="give root= to the pipeline"):
        elsewhere.run(backend="inline")
