"""Pipelines on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from cli.commands import call
from testbed import pipelines

import mapred


@pytest.fixture
def root() -> Path:
    return Path(os.environ["MAPRED_ROOT"])


@mapred.pipeline
def asks(choices: list[Any]) -> Any:
    return mapred.approve("go", "How?", choices=choices)


def waiting(choices: list[Any]) -> mapred.PipelineRun:
    run = asks.submit(choices)
    while not run.gates:
        run.wait(timeout=0.01)
    return run


def test_a_pipeline_is_listed_shown_and_found(root: Path) -> None:
    run = pipelines.succeeded(root)
    assert call("ls").stdout.split("\n")[1].split()[:3] == [run.id, "succeeded", "nightly"]
    assert len(json.loads(call("ls", "--all", "--json").stdout)) == 7
    shown = call("show", "last").stdout
    assert f"Pipeline {run.id} of nightly succeeded: 7 steps" in shown
    assert run.uri in shown
    told = json.loads(call("show", run.id[:-1], "--json").stdout)
    assert (told["id"], told["state"], len(told["steps"])) == (run.id, "succeeded", 7)
    assert told["steps"][4]["steps"][0]["name"] == "report"
    assert told["steps"][6]["needs"] == [2, 3]
    assert call("show", "last", "--follow").stdout.startswith("Pipeline ")
    assert call("resume", "last").stdout.startswith(run.uri)
    assert json.loads(call("resume", "last", "--json").stdout)["state"] == "succeeded"
    assert "has ended: succeeded" in call("cancel", "last").stderr


def test_a_failed_pipeline_says_what_failed_and_how_to_resume(root: Path) -> None:
    run = pipelines.failed(root)
    shown = call("show", "last").stdout
    assert "map: ZeroDivisionError" in shown
    assert f"mapred show {run.status().steps[3].id}" in shown
    assert shown.endswith(f"to resume it:\nmapred resume {run.id}\n")
    assert f"failed: mapred show {run.id}" in call("ls").stderr
    call("show", "last", "-f", code=1)
    refused = call("resume", "last", "--timeout", "1s", "--memory", "1Gi", code=2).stderr
    assert "it takes --fn and --backend, and not --timeout, --memory" in refused


def test_a_pipeline_that_fails_again_says_so(root: Path) -> None:
    @mapred.pipeline
    def breaks() -> Any:
        return mapred.run(pipelines.invert, [4], **pipelines.QUIET)

    with pytest.raises(mapred.RunError):
        breaks.run(backend="inline")
    done = call("resume", "last", code=1)
    assert "Error: pipeline" in done.stderr
    assert "to resume it:\nmapred resume" in done.stderr
    assert json.loads(call("resume", "last", "--json", code=1).stdout)["state"] == "failed"


@pytest.mark.parametrize(
    ("choices", "word", "value"),
    [
        ([True, False], "yes", True),
        ([True, False], "TRUE", True),
        ([True, False], "no", False),
        ([True, False], "false", False),
        ([1, 2.5], "2.5", 2.5),
        ([1, 2.5], "1", 1),
        (["yes", "no"], "yes", "yes"),
        (["1", 1], "1", "1"),
        (["a b"], "a b", "a b"),
    ],
)
def test_an_answer_is_read_by_the_choices(choices: list[Any], word: str, value: Any) -> None:
    run = waiting(choices)
    told = call("approve", "last", "go", "--value", word, "--note", "looks right")
    assert f"go of {run.id} is answered: " in told.stderr
    result = run.result()
    assert (type(result), result) == (type(value), value)
    assert run._folder.answer("go").note == "looks right"  # type: ignore[union-attr]


def test_what_waits_is_listed_and_wrong_answers_are_refused() -> None:
    run = waiting([True, False])
    assert f"waiting: mapred approve {run.id}" in call("ls").stderr
    listed = call("approve", "last").stdout
    assert listed == (
        f"1 gate of pipeline {run.id}:\n  go: How?\n    answer by one of: yes, no\n"
        f"    mapred approve {run.id} go --value yes\n"
    )
    (gate,) = json.loads(call("approve", run.id, "--json").stdout)
    assert (gate["name"], gate["choices"], gate["pipeline"]) == ("go", [True, False], run.uri)
    assert "--value yes or no" in call("approve", "last", "go", code=2).stderr
    assert (
        "not one of the choices: yes or no"
        in call("approve", "last", "go", "--value", "maybe", code=2).stderr
    )
    assert "name it before" in call("approve", "last", "--value", "yes", code=2).stderr
    refused = call("approve", "last", "stop", "--value", "yes", code=2).stderr
    assert "has not asked at a gate 'stop'; waiting are: 'go'" in refused
    answer = json.loads(call("approve", "last", "go", "--value", "no", "--json").stdout)
    assert answer["value"] is False
    again = call("approve", "last", "go", "--value", "yes", code=2).stderr
    assert "the first answer stands" in again
    assert run.result() is False
    assert "waits for no answer" in call("approve", "last").stdout


def test_an_answer_for_a_pipeline_that_nobody_drives_says_how_it_continues() -> None:
    run = waiting([True, False])
    run._driver.stopped.set()  # type: ignore[union-attr]
    run.wait()
    told = call("approve", "last", "go", "--value", "yes").stderr
    assert f"mapred resume {run.id}" in told
    assert call("resume", "last").stdout == f"{run.uri}\nTrue\n"


def test_commands_for_single_runs_name_the_remedy(root: Path) -> None:
    run = pipelines.succeeded(root)
    for words in (["logs"], ["report"], ["advise"]):
        refused = call(*words, "last", code=2).stderr
        assert f"{run.id} is a pipeline, whose runs have the tasks" in refused
    plain = run.runs[0]
    assert "is a run, and only pipelines wait" in call("approve", plain.id, code=2).stderr


def test_a_pipeline_is_audited_with_its_runs(root: Path) -> None:
    run = pipelines.succeeded(root)
    assert call("audit", "last").stdout.startswith(f"{run.id}: 7 steps, 5 runs; ")
    told = json.loads(call("audit", "last", "--json").stdout)
    assert told["ok"]
    assert len(told["runs"]) == 5
    Path(run.uri, "result.pkl").write_bytes(b"x")
    assert "result.pkl is not what was written" in call("audit", "last", code=1).stdout


def test_a_pipeline_is_removed_with_its_runs(root: Path) -> None:
    run = pipelines.succeeded(root)
    other = mapred.run(abs, [-1], backend="inline", progress="none")
    refused = call("rm", run.runs[0].id, "--yes", code=2).stderr
    assert f"to remove both: mapred.rm('{run.uri}')" in refused
    call("rm", run.id, "--yes")
    assert [entry.name for entry in root.iterdir()] == [other.id]


def test_metrics_count_pipelines_and_their_runs(root: Path) -> None:
    pipelines.succeeded(root)
    told = call("metrics").stdout
    assert 'mapred_runs{job="nightly",state="succeeded"} 1' in told
    assert 'mapred_runs{job="report",state="succeeded"} 1' in told
    assert 'mapred_last_run_tasks{job="nightly"} 7' in told


def test_tab_completes_pipelines(root: Path) -> None:
    from mapred.cli.completing import run_ids

    run = pipelines.succeeded(root)

    context = click.Context(click.Command("show"))
    context.params["root"] = None
    items = run_ids(context, None, run.id[:12])  # type: ignore[arg-type]
    assert {item.value: item.help for item in items}[run.id] == "nightly"
    Path(run.uri).rename(root / "mine")
    (named,) = run_ids(context, None, "mi")  # type: ignore[arg-type]
    assert (named.value, named.help) == ("mine", "nightly")
