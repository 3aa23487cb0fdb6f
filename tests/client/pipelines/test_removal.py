"""Pipelines that are removed, stopped and audited with their runs, and with these alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from testbed import pipelines

import mapred
from mapred.errors import RunError
from mapred.runfolder.pipelines import PipelineFolder


@pytest.fixture
def root() -> Path:
    return Path(os.environ["MAPRED_ROOT"])


def names(root: Path) -> set[str]:
    return {path.name for path in root.iterdir()}


def aged(root: Path) -> None:
    """Have everything been started a year ago."""
    for path in root.glob("*/handle.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "time": 1.0}))


def test_a_pipeline_goes_with_its_runs_and_nothing_else(root: Path) -> None:
    other = mapred.run(abs, [-1], backend="inline", progress="none")
    run = pipelines.succeeded(root)
    would = mapred.rm(run, dry_run=True)
    assert would.removals[-1].uri == run.uri, "the pipeline names its runs until they are gone"
    assert len(would.removals) == 7
    assert mapred.rm(run.uri).files == would.files
    assert names(root) == {other.id}


def test_a_run_stays_while_its_pipeline_is_there(root: Path) -> None:
    run = pipelines.succeeded(root)
    inner = next(step for step in run.status().steps if step.kind == "pipeline")
    for uri in (run.runs[0].uri, inner.uri, inner.steps[0].uri):
        with pytest.raises(RunError, match="which cannot continue without it") as caught:
            mapred.rm(uri)
    exec("import mapred; " + str(caught.value).rpartition(": ")[2], {})
    assert not names(root)


def test_a_pipeline_at_work_stays(root: Path) -> None:
    run = pipelines.waiting(root)
    with pytest.raises(RunError, match="may be running"):
        mapred.rm(run)
    aged(root)
    assert not mapred.gc(older_than="1s").removals
    run.approve("go")
    run.wait()
    assert len(mapred.rm(run).removals) == 7


def test_a_pipeline_whose_run_is_at_work_stays_whole(root: Path) -> None:
    run = pipelines.failed(root)
    before = names(root)
    (Path(run.runs[0].uri) / "end.json").unlink()
    start = Path(run.runs[0].uri, "handle.json")
    start.write_text(Path(mapred.submit(_sleep, [60], name="x").uri, "handle.json").read_text())
    with pytest.raises(RunError, match="may be running"):
        mapred.rm(run)
    assert before < names(root)
    running = next(entry for entry in mapred.runs() if entry.name == "x")
    running.open().cancel()


def _sleep(seconds: float) -> None:
    import time

    time.sleep(seconds)


def test_old_pipelines_are_collected_with_their_runs_and_these_not_alone(root: Path) -> None:
    run = pipelines.succeeded(root)
    for each in run.runs:
        path = Path(each.uri, "handle.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "time": 1.0}))
    kept = mapred.gc(older_than="30d")
    assert not kept.removals
    assert not kept.problems
    aged(root)
    shutil.move(run.uri, root / "20200103-030000-00000000")
    for path in root.glob("*/*.json"):
        path.write_text(path.read_text().replace(run.id, "20200103-030000-00000000"))
    collected = mapred.gc(older_than="30d")
    assert not collected.problems
    assert not names(root)


def test_what_a_pipeline_claims_of_others_stays(root: Path) -> None:
    """Whatever the folder says: a run has to say itself that it is a step."""
    other = mapred.run(abs, [-1], backend="inline", progress="none")
    run = pipelines.succeeded(root)
    claim = PipelineFolder(run.store).claims()[0]
    path = Path(run.uri, "claims", f"{claim.step.address}.json")
    path.write_text(path.read_text().replace(claim.uri.rpartition("/")[2], other.id))
    audit = run.audit()
    assert any("is not a step of this pipeline" in str(problem) for problem in audit.problems)
    for uri in (other.uri, run.uri):
        Path(uri, "end.json").unlink()
        Path(uri, "handle.json").unlink()
    run.cancel()
    assert mapred.open(other.uri).state != "cancelled"
    mapred.rm(run)
    assert other.id in names(root)


def test_a_folder_that_is_not_whole_is_not_removed(root: Path) -> None:
    run = pipelines.succeeded(root)
    Path(run.uri, "function.pkl").unlink()
    with pytest.raises(RunError, match="is not the folder of a pipeline"):
        mapred.rm(run.uri)


def test_an_audit_checks_the_pipeline_and_each_run(root: Path) -> None:
    run = pipelines.succeeded(root)
    audit = run.audit()
    assert (audit.ok, audit.complete, audit.steps, len(audit.runs)) == (True, True, 7, 5)
    assert str(audit).startswith(f"{run.id}: 7 steps, 5 runs; ")
    assert str(audit).split("\n")[0].endswith(" checked: whole")
    assert "7 steps" in audit._repr_html_()


def _change(folder: Path, how: str) -> None:
    first = sorted((folder / how.partition("/")[0]).iterdir())[0] if "/" in how else folder / how
    if first.suffix == ".json":
        first.unlink()
    else:
        first.write_bytes(b"x")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("end.json", "no end record"),
        ("result.pkl", "result.pkl is not what was written"),
        ("parameters.pkl", "parameters.pkl is not what was written"),
        ("function.pkl", "function.pkl is not what was written"),
        ("claims/", "no run does the step"),
        ("recorded/", "the value of 'bad' is not there"),
        ("gates/", "the gate 'go' has no such record"),
        ("answers/", "the gate 'go' has no such record"),
    ],
)
def test_an_audit_names_what_is_missing_or_changed(root: Path, how: str, said: str) -> None:
    run = pipelines.succeeded(root)
    _change(Path(run.uri), how)
    audit = run.audit()
    assert not audit.ok
    assert said in str(audit)


def test_an_audit_names_the_run_that_is_not_whole(root: Path) -> None:
    run: Any = pipelines.succeeded(root)
    broken = Path(run.runs[1].uri)
    next(broken.glob("map/commits/*.json")).unlink()
    audit = run.audit(content=False)
    (missing,) = (problem for problem in audit.problems if problem.kind == "missing")
    assert missing.where.startswith(f"{broken.name}: map task")
    failed = pipelines.failed(root)
    assert "unfinished: end.json: the pipeline failed: RunError" in str(failed.audit())
