"""What people see in a real JupyterLab, by headless Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Lab]:
    with browser.lab(tmp_path_factory.mktemp("lab") / "home") as running:
        yield running


RUN = """\
import mapred, time
def slow(x):
    time.sleep(0.1)
    return x * 2
"""


def test_a_run_is_shown_while_its_cell_is_busy(lab: browser.Lab, tmp_path: Path) -> None:
    cells = [RUN, "run = mapred.run(slow, mapred.items(range(60)))"]
    with lab.notebook(cells) as notebook:
        notebook.run(0)
        notebook.run(1, wait=False)
        notebook.await_text(1, "running")
        assert notebook.busy()
        notebook.await_done(1)
        notebook.await_text(1, "succeeded")
        (shown,) = notebook.outputs(1)
        assert re.search(r"60 of 60 tasks", shown)
        assert notebook.picture(1, tmp_path / "run.png").stat().st_size > 5_000
