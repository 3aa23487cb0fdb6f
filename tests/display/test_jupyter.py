"""What people see in a real JupyterLab, by headless Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETUP = """\
import time
from pathlib import Path
import mapred

def wait_for(gate):
    while not Path("gate").exists():
        time.sleep(0.01)

def fit(beta, gamma):
    print(f"fitting beta={beta}")
    if gamma > 1: wait_for("gate")
    return {"loss": beta * gamma}

def slow(x):
    if x > 3: wait_for("gate")
    return x

def fail(x):
    return 1 / (x - 3)

two = mapred.Local(workers=2)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Lab]:
    with browser.lab(tmp_path_factory.mktemp("lab") / "home") as running:
        yield running


def test_a_cell_that_runs_shows_one_live_display(lab: browser.Lab) -> None:
    cells = [
        f"{SETUP}Path('gate').unlink(missing_ok=True)",
        "mapred.run(fit, mapred.sweep(beta=[.1, .2, .3], gamma=[1, 2]), backend=two)",
        "mapred.plan(mapred.sweep(a=range(50), b=range(4)))",
        "mapred.run(fail, mapred.items(range(9)), attempts=1, backend=two)",
        "Path('gate').unlink()\nmapred.run(slow, mapred.items(range(12)), backend=two)",
    ]
    with lab.notebook(cells, "run") as notebook:
        notebook.run(0)
        notebook.run(1, wait=False)
        # Midway: the workers are at points of the sweep, and what was printed is there.
        notebook.await_text(1, "is at")
        notebook.await_text(1, "beta=0.1, gamma=2")
        notebook.await_text(1, "fitting beta=0.1")
        assert notebook.busy()
        (midway,) = notebook.outputs(1)
        assert "running" in midway
        assert "not started" in midway
        (lab.work / "gate").touch()
        notebook.await_done(1)
        (ended,) = notebook.outputs(1)  # once, though the run is the cell's last line
        for said in ("succeeded", "6 of 6 tasks", "6 points, the first 5", "run.to_pandas()"):
            assert said in ended
        notebook.run(2, 3)
        (plan,) = notebook.outputs(2)
        assert "200 items in 200 shards" in plan
        failed, error = notebook.outputs(3)
        assert "ZeroDivisionError" in failed
        assert ".resume(fn=fail)" in failed
        assert "RunError" in error
        notebook.run(4, wait=False)
        notebook.await_text(4, "4 of 12 tasks, 2 running")
        notebook.interrupt()
        notebook.await_done(4)
        stopped, error = notebook.outputs(4)
        assert "running" not in stopped
        assert "4 of 12 tasks" in stopped
        assert "to resume" in error
        saved = notebook.save()
        assert [output.output_type for output in saved.cells[1].outputs] == ["display_data"]


def test_a_submitted_run_is_live_while_other_cells_run(lab: browser.Lab, tmp_path: Path) -> None:
    cells = [
        f"{SETUP}Path('gate').unlink(missing_ok=True)",
        "run = mapred.submit(slow, mapred.items(range(12)), backend=two)\nrun",
        "print(6 * 7)",
        "run.wait()",
        "run",
    ]
    with lab.notebook(cells, "submit") as notebook:
        notebook.run(0, 1)
        notebook.run(2)
        assert notebook.outputs(2) == ["42\n"]
        notebook.await_text(1, "4 of 12 tasks, 2 running, 6 not started")
        # Stop ends the wait alone; the display goes on, even when another one was cleared.
        notebook.run(3, wait=False)
        time.sleep(0.5)
        notebook.interrupt()
        notebook.await_text(3, "to follow it")
        notebook.clear(3)
        (lab.work / "gate").touch()
        notebook.await_text(1, "12 of 12 tasks")
        notebook.await_text(1, "succeeded")
        notebook.run(4)
        assert len(notebook.outputs(1)) == len(notebook.outputs(4)) == 1
        check_pictures(notebook, tmp_path)


PIPELINE = """\
@mapred.pipeline
def nightly():
    raw = mapred.run(slow, [1, 2, 3])
    one, two = mapred.submit(slow, raw, name="one"), mapred.submit(slow, raw, name="two")
    if mapred.approve("go", "Publish?"):
        return mapred.run(slow, mapred.outputs(one, two), name="publish").result()
"""


def test_a_pipeline_has_one_live_display(lab: browser.Lab, tmp_path: Path) -> None:
    cells = [
        f"{SETUP}{PIPELINE}",
        "run = nightly.submit(backend=two)\nrun",
        "run.approve('go', True)\nrun.result()",
        "run",
        "nightly.run(backend=two, run_id='again')",
    ]
    with lab.notebook(cells, "pipeline") as notebook:
        notebook.run(0, 1)
        notebook.await_text(1, "run.approve('go', True)")
        (waits,) = notebook.outputs(1)
        assert "waiting" in waits
        notebook.run(2)
        assert notebook.outputs(2) == ["[1, 2, 3, 1, 2, 3]"]
        notebook.await_text(1, "publish")
        notebook.await_text(1, "succeeded")
        notebook.run(3)
        (ended,) = notebook.outputs(3)
        assert "5 steps in" in ended
        assert "outputs of 2 and 3" in ended
        for theme in ("dark", "light"):
            notebook.theme(theme)
            assert notebook.picture(3, tmp_path / f"{theme}.png").stat().st_size > 5_000
        notebook.run(4, wait=False)
        notebook.await_text(4, "mapred approve again go --value yes")
        assert notebook.busy()
        notebook.interrupt()
        notebook.await_done(4)
        stopped, error = notebook.outputs(4)
        assert "interrupted" in stopped
        assert "to resume it" in error


def check_pictures(notebook: browser.Notebook, folder: Path) -> None:
    """Look at a display in both themes, in narrow and wide windows."""
    sizes = {}
    for theme in ("dark", "light"):
        notebook.theme(theme)
        for width in (600, 1600):
            notebook.resize(width)
            sizes[theme, width] = (
                notebook.picture(4, folder / f"{theme}-{width}.png").stat().st_size
            )
            labels = notebook.page.evaluate(
                "() => [...document.querySelectorAll('svg[role=img]')].flatMap(svg => {"
                " const frame = svg.getBoundingClientRect();"
                " return [...svg.querySelectorAll('text')].map(text => {"
                "  const box = text.getBoundingClientRect();"
                "  return [text.textContent, box.height, box.left - frame.left, frame.right - box.right];"
                " }) })"
            )
            assert len(labels) > 4
            for text, height, left, right in labels:
                assert height >= 11, text  # the line of a font of 11 px
                assert left >= -1, (text, theme, width)
                assert right >= -1, (text, theme, width)
    assert min(sizes.values()) > 5_000
