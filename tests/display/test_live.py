from __future__ import annotations

import io
import subprocess
import sys
import types

import pytest

from mapred.display import progress
from mapred.errors import PlanError
from mapred.model.records import GivenUp
from mapred.model.status import StageStatus


def test_plain_lines_are_few(sample, clock) -> None:
    out = io.StringIO()
    show = progress("auto", out, clock=clock)
    for second in range(101):
        show(sample.at(second))
        clock.now += 1
    show.close(sample.status())
    lines = out.getvalue().splitlines()
    assert 19 <= len(lines) <= 22
    assert lines[-2] == "map done: 100 of 100 tasks after 1 min 40 s"
    assert lines[-1].startswith("Run 20261124-160501-3f9c2e1b succeeded")
    assert "\r" not in out.getvalue()
    assert "left" in lines[3]


def test_a_quick_run_is_not_talked_about(sample, clock) -> None:
    out = io.StringIO()
    show = progress("plain", out, clock=clock)
    show(sample.at(1))
    show.close(sample.status())
    assert len(out.getvalue().splitlines()) == 1


def test_a_resumed_run_is_timed_from_when_it_went_on(sample, clock) -> None:
    out = io.StringIO()
    show = progress("plain", out, clock=clock)
    clock.now += 86_400
    show(sample.at(90))
    clock.now += 6
    show(sample.at(95))
    assert "8.33 kB/s  6 s left" in out.getvalue()


def test_quiet(sample, capsys) -> None:
    show = progress("none")
    show(sample.status())
    show.close(sample.status())
    assert capsys.readouterr() == ("", "")


def test_standard_error_is_the_default(sample, capsys) -> None:
    show = progress()
    show.close(sample.status())
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Run ")


def test_no_standard_error_at_all(sample, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    progress().close(sample.status())


def test_output_that_breaks_leaves_the_run_alone(sample) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    show = progress("bar", Broken())
    show(sample.status())
    show.close(sample.status())
    closed = io.StringIO()
    closed.close()
    progress("auto", closed).close(sample.status())


def test_lines_tell_what_was_given_up(sample, clock) -> None:
    given_up = GivenUp("item", {1: (4, 5)}, {1: 1})
    stages = (StageStatus("map", 1, 1, given_up_items=2), StageStatus("reduce-1", 1))
    out = io.StringIO()
    show = progress("plain", out, clock=clock)
    show(sample.half_done(stages=stages, given_up=given_up))
    clock.now += 6
    show(sample.half_done(stages=stages, given_up=given_up))
    first, second = out.getvalue().splitlines()
    assert first.startswith("map done: 1 of 1 task, 2 items given up after")
    assert second.endswith("2 items given up")


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(PlanError, match="progress='loud'"):
        progress("loud")  # type: ignore[arg-type]


def test_a_terminal_ipython_is_no_notebook(sample, capsys, monkeypatch) -> None:
    fake = types.ModuleType("IPython")
    fake.get_ipython = types.SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", fake)
    progress().close(sample.status())
    assert capsys.readouterr().err.startswith("Run ")


def test_display_imports_nothing_heavy(root) -> None:
    code = (
        "import sys, mapred.display as d; d.progress()\n"
        "heavy = {'IPython', 'pyarrow', 'pandas', 'polars', 'matplotlib', 'rich'}\n"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
