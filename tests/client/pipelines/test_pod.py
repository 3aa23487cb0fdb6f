"""Pipelines that a cluster drives: by one pod after the other, which leave while they wait."""

from __future__ import annotations

import contextvars
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from client.pipelines.turns import Workflows, cluster, opened

import mapred
from mapred.backends.argo import client as clients
from mapred.backends.argo.driving import LOSSES, PAUSE, URI
from mapred.client.pipelines import driver, pod
from mapred.client.pipelines.handle import drive
from mapred.errors import BackendError, RunError, StorageError
from mapred.model.retries import DONE, FAILED, MISMATCH, WAITING
from mapred.runfolder.pipelines import Answer


@pytest.fixture
def argo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workflows, mapred.Argo]:
    return cluster(tmp_path, monkeypatch)


Argo = tuple[Workflows, mapred.Argo]


def squares(numbers: list[int]) -> Any:
    return mapred.run(lambda n: n * n, numbers, reduce=sum, backend="inline", progress="none")


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return str(tmp_path / "trace")


def lines(trace: str) -> list[str]:
    return Path(trace).read_text().splitlines() if os.path.exists(trace) else []


def note(trace: str, text: str) -> None:
    with open(trace, "a") as file:
        file.write(f"{text}\n")


@mapred.pipeline
def guarded(trace: str) -> Any:
    note(trace, "begun")
    run = squares([1, 2, 3])
    mapred.recorded(note, trace, "recorded")
    try:
        if not mapred.approve("publish", f"{run.result()}: publish?", timeout="1d", default=False):
            return None
    finally:
        note(trace, "left by its own statements")
    return run.result()


def started(argo: Argo, tmp_path: Path, trace: str) -> tuple[Workflows, str, mapred.PipelineRun]:
    workflows, backend = argo
    run = guarded.submit(trace, backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    return workflows, name, run


def test_a_pod_leaves_while_it_waits_and_another_one_continues(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    assert run.state == "running"
    assert workflows.annotations(name)[URI] == run.uri
    assert workflows.turn(name) == WAITING
    first = run._folder.start()
    assert workflows.turn(name, 1) == WAITING
    assert run._folder.start().time > first.time, "each pod is a sign of life"
    assert run._folder.start().ref == first.ref
    assert run.state == "waiting"
    assert workflows.annotations(name)[PAUSE] == "15s"
    assert lines(trace) == ["begun", "recorded", "begun"], "it left without finally"
    there = opened(run.uri)
    there.approve("publish", True)
    assert workflows.annotations(name)[PAUSE] == "1s", "an answer wakes it"
    assert workflows.turn(name, 2) == DONE
    assert there.state == "succeeded"
    assert there.result() == 14
    assert there.wait() is there
    assert len(there.runs) == 1
    assert lines(trace)[-2:] == ["begun", "left by its own statements"]


def test_the_pause_grows_with_the_wait_up_to_the_hour_of_the_gate(
    argo: Argo, tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    workflows.turn(name)
    asked, real = run.gates["publish"].asked, time.time

    def pause(ahead: float) -> str:
        begun = real()
        monkeypatch.setattr(time, "time", lambda: asked + ahead + real() - begun)
        assert workflows.turn(name) == WAITING
        return workflows.annotations(name)[PAUSE]

    assert pause(800) == "201s"
    assert pause(40_000) == "300s"
    assert pause(86_400 - 30) in ("29s", "30s")
    monkeypatch.setattr(time, "time", lambda: asked + 86_400)
    assert workflows.turn(name) == DONE
    assert run.result() is None
    assert run._folder.answer("publish").by == "timeout"  # type: ignore[union-attr]


def test_what_comes_while_a_pod_gets_ready_to_leave_is_not_missed(
    argo: Argo, tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    workflows.turn(name)
    real = Workflows.annotate

    def answered_meanwhile(self: Workflows, name: str, values: dict[str, str]) -> None:
        if values.get(LOSSES) == "0":
            folder = run._folder
            folder.put_answer(Answer("publish", True))
        real(self, name, values)

    monkeypatch.setattr(Workflows, "annotate", answered_meanwhile)
    assert workflows.turn(name, 1) == DONE
    assert run.result() == 14


def test_a_short_wait_holds_the_pod(argo: Argo, tmp_path: Path) -> None:
    workflows, backend = argo

    @mapred.pipeline
    def brief() -> Any:
        return mapred.approve("go", timeout="0.3s", default=True)

    brief.submit(backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    assert workflows.turn(name, hold=20.0) == DONE


@mapred.pipeline
def broken(trace: str) -> Any:
    note(trace, "begun")
    raise ValueError("not today")


def test_an_error_of_the_function_ends_the_pipeline_and_resume_starts_it_again(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, backend = argo
    run = broken.submit(trace, backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    assert workflows.turn(name) == FAILED
    assert run.state == "failed"
    with pytest.raises(RunError, match=r"failed: ValueError: not today\n.*resume"):
        run.check()
    assert workflows.turn(name) == FAILED
    assert lines(trace) == ["begun"], "what has an end is not called again"

    def fixed(trace: str) -> str:
        return "fixed"

    there = opened(run.uri)
    there._prepare_resumption(fixed)
    drive(there, None, backend)
    assert there.state == "running"
    assert workflows.names() == [name, f"{name}-2"]
    assert workflows.turn(f"{name}-2") == DONE
    assert opened(run.uri).resume().result() == "fixed"


def test_a_pod_of_an_earlier_workflow_leaves_the_pipeline_alone(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    drive(run, None, argo[1])
    assert workflows.turn(name) == DONE
    assert lines(trace) == []
    assert run.state == "running"
    assert workflows.turn(f"{name}-2") == WAITING
    assert lines(trace) == ["begun", "recorded"]


def test_many_pods_are_continued_by_another_workflow(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    assert workflows.turn(name, pod.MOST_PODS - 1) == WAITING
    assert workflows.turn(name, pod.MOST_PODS) == DONE
    assert run.state == "waiting"
    run.approve("publish", True)
    second = f"{name}-2"
    assert (workflows.annotations(name)[PAUSE], workflows.annotations(second)[PAUSE]) == (
        "15s",
        "1s",
    )
    assert workflows.turn(second) == DONE
    assert run.result() == 14


def test_a_pod_that_is_lost_again_and_again_ends_the_pipeline(argo: Argo, tmp_path: Path) -> None:
    workflows, backend = argo

    @mapred.pipeline
    def dies() -> None:
        os.kill(os.getpid(), 9)

    run = dies.submit(backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    pauses = []
    for number in range(3):
        assert workflows.turn(name, number) == -9
        pauses.append(workflows.annotations(name)[PAUSE])
    assert pauses == ["10s", "20s", "40s"]
    assert run.state == "running"
    assert workflows.turn(name, 3) == FAILED
    with pytest.raises(RunError, match="its pod was lost again and again"):
        run.check()


def test_a_pipeline_is_cancelled_with_its_workflow(argo: Argo, tmp_path: Path, trace: str) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    workflows.turn(name)
    opened(run.uri).cancel()
    assert run.state == "cancelled"
    found = workflows.get(name)
    assert found is not None
    assert found["spec"]["shutdown"] == "Terminate"
    assert workflows.turn(name) == FAILED
    assert lines(trace) == ["begun", "recorded"]


def test_a_workflow_that_failed_says_why_it_did(argo: Argo, tmp_path: Path, trace: str) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    workflows.change(name, phase="Failed")
    assert run.state == "failed"
    with pytest.raises(RunError, match=f"workflow {name} failed: it gives no reason"):
        run.check()


def test_what_was_changed_since_the_submission_is_refused(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    (Path(run.uri) / "pipeline.json").write_bytes(b"{}")
    assert workflows.turn(name) == MISMATCH
    assert lines(trace) == []


@mapred.pipeline
def inner(trace: str) -> Any:
    note(trace, "inner")
    return mapred.approve("inside", "and?", choices=["yes", "no"])


@mapred.pipeline
def outer(trace: str) -> Any:
    return inner.run(trace).result()


def test_pipelines_in_it_are_driven_by_the_same_pods(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, backend = argo
    run = outer.submit(trace, backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    assert workflows.turn(name) == WAITING
    assert workflows.turn(name, 1) == WAITING
    assert workflows.names() == [name]
    (step,) = run.status().steps
    assert (step.kind, step.state) == ("pipeline", "waiting")
    part = opened(step.uri)
    assert part.state == "waiting"
    part.approve("inside", "yes")
    assert workflows.turn(name, 2) == DONE
    assert run.result() == "yes"


@mapred.pipeline
def beside(trace: str) -> Any:
    """Waits at a gate while another thread of it records a value."""

    def slow() -> str:
        time.sleep(1.0)
        note(trace, "computed")
        return "kept"

    thread = threading.Thread(target=contextvars.copy_context().run, args=(mapred.recorded, slow))
    thread.start()
    answer = mapred.approve("go", timeout="1d", default=False)
    thread.join()
    return answer


def test_a_pod_stays_until_what_it_computes_beside_is_recorded(
    argo: Argo, tmp_path: Path, trace: str
) -> None:
    workflows, backend = argo
    run = beside.submit(trace, backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    assert workflows.turn(name, hold=0.2) == WAITING
    assert lines(trace) == ["computed"]
    run.approve("go", True)
    assert workflows.turn(name, 1) == DONE
    assert lines(trace) == ["computed"]


@mapred.pipeline
def local_first(trace: str) -> Any:
    """Waits at a gate while processes of the pod itself work on a run."""
    run = mapred.submit(lambda n: time.sleep(1.5) or n, [7], backend=mapred.Local(workers=1))
    mapred.approve("go", timeout="1d", default=False)
    return run.result()


def test_a_pod_stays_while_it_works_on_a_run_itself(argo: Argo, tmp_path: Path, trace: str) -> None:
    workflows, backend = argo
    run = local_first.submit(trace, backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    assert workflows.turn(name, hold=0.2) == WAITING
    (inside,) = run.runs
    assert inside.state == "succeeded"


@mapred.pipeline
def troubled(trace: str, times: int) -> str:
    note(trace, "begun")
    if len(lines(trace)) <= times:
        raise StorageError("the bucket does not answer")
    return "done"


@pytest.mark.parametrize(("times", "ends"), [(2, DONE), (100, FAILED)])
def test_trouble_of_a_cluster_is_tried_again_and_not_for_ever(
    argo: Argo, tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch, times: int, ends: int
) -> None:
    workflows, backend = argo
    monkeypatch.setattr(driver, "_PAUSE", 0.001)
    run = troubled.submit(trace, times, backend=backend, root=tmp_path / "runs")
    (name,) = workflows.names()
    assert workflows.turn(name) == ends
    assert len(lines(trace)) == (3 if ends == DONE else 6)
    assert run.state == ("succeeded" if ends == DONE else "failed")


def test_a_cluster_that_does_not_answer_leaves_the_state_unknown(
    argo: Argo, tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    workflows.turn(name)

    def away(self: Workflows, name: str) -> None:
        raise BackendError("the cluster cannot be reached")

    monkeypatch.setattr(Workflows, "get", away)
    there = opened(run.uri)
    assert there.state == there.status().state == "unknown"
    (entry,) = mapred.runs(root=tmp_path / "runs")
    assert (entry.id, entry.state) == (run.id, "unknown")
    with pytest.raises(BackendError, match="cannot be reached"):
        there.resume()
    there.approve("publish", True)  # It is in the folder, where the pipeline looks.


def test_the_result_needs_no_cluster(
    argo: Argo, tmp_path: Path, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflows, name, run = started(argo, tmp_path, trace)
    workflows.turn(name)
    run.approve("publish", True)
    assert workflows.turn(name, 1) == DONE

    def away(argo: mapred.Argo) -> None:
        raise BackendError("no cluster can be reached from here")

    monkeypatch.setattr(clients, "connect", away)
    there = opened(run.uri)
    assert (there.state, there.result()) == ("succeeded", 14)
