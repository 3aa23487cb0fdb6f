"""What a notebook and a terminal show of pipelines at work."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from testbed import pipelines
from testbed.kernel import Kernel, kernel

import mapred

__all__ = ["kernel"]


@pytest.fixture
def root() -> Path:
    return Path(os.environ["MAPRED_ROOT"])


def shown_last(kernel: Kernel, text: str) -> None:
    late = time.monotonic() + 30
    while text not in kernel.shown[-1][1]["text/plain"]:
        assert time.monotonic() < late, kernel.shown[-1]
        time.sleep(0.01)


def test_a_pipeline_that_was_submitted_is_live_once(kernel: Kernel, root: Path) -> None:
    run = pipelines.waiting(root)
    run._ipython_display_()
    assert [kind for kind, _ in kernel.shown][:1] == ["display"]
    shown_last(kernel, "mapred approve")
    run._ipython_display_()
    run.approve("go")
    run.wait()
    shown_last(kernel, "succeeded: 7 steps")
    assert [kind for kind, _ in kernel.shown].count("display") == 1, "once and not twice"
    assert "Pipeline" in kernel.shown[-1][1]["text/html"]
    kernel.parent = "cell 2"
    with pytest.raises(NotImplementedError):
        run._ipython_display_()
    assert "succeeded: 7 steps" in run._repr_mimebundle_()["text/plain"]
    assert "7 steps" in run._repr_html_()


@mapred.pipeline
def outer() -> Any:
    mapred.run(abs, [-1])
    return pipelines.inner.run(3).result()


def test_run_shows_one_display_for_all_of_its_runs(kernel: Kernel, root: Path) -> None:
    run = outer.run(backend="inline")
    assert [kind for kind, _ in kernel.shown].count("display") == 1
    assert "succeeded: 2 steps" in kernel.shown[-1][1]["text/plain"]
    run._ipython_display_()
    assert [kind for kind, _ in kernel.shown].count("display") == 1


def test_progress_is_lines_where_there_is_no_terminal(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = outer.run(backend="inline")
    told = capfd.readouterr().err.split("\n")
    assert told[-2].startswith(f"Pipeline {run.id} of outer succeeded: 2 steps in ")
    assert any(line.startswith("step 1, abs: succeeded") for line in told)
    assert not any(line.startswith("Run ") for line in told), "the pipeline shows its runs"
    outer.run(backend="inline", progress="none")
    outer.submit(backend="inline").wait()
    assert capfd.readouterr().err == ""
    outer.submit(backend="inline").wait("plain")
    assert " of outer succeeded: " in capfd.readouterr().err


def test_a_pipeline_that_fails_is_shown_to_its_end(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    @mapred.pipeline
    def breaks() -> Any:
        return mapred.run(pipelines.invert, [4], attempts=1)

    with pytest.raises(mapred.RunError) as caught:
        breaks.run(backend="inline", progress="plain")
    assert "step 1, invert: failed" in capfd.readouterr().err
    with pytest.raises(mapred.RunError):
        caught.value.run.resume(progress="plain")
    assert "breaks failed: 0 steps done, 1 failed" in capfd.readouterr().err
