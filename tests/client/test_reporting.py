"""The page about a run: what it shows in each state, what it never shows, and how it is written."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import mapred
from mapred.cli import main
from mapred.errors import RunError

LOCAL: dict[str, Any] = {"backend": mapred.Local(1), "progress": "none"}
INLINE: dict[str, Any] = {"backend": "inline", "progress": "none"}
EVIL = "<script>alert(1)</script>\x1b[31m\u202e&'\""


def work(item: int, task: mapred.Task) -> int:
    """The text of the docstring of work."""
    token = "ghp_" + "hidden"  # noqa: F841
    print("printed", item, "password=swordfish-1")
    task.count("things", 2)
    task.output("note.txt").write_text("x")
    if item == 3:
        raise ValueError(f"no {EVIL} https://me:hunter2@host/x")
    return item


def page_of(run: mapred.Run, folder: Path) -> str:
    return run.report(folder / "report.html").read_text()


def heads(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)">', page)


def failed_run() -> mapred.Run:
    with pytest.raises(RunError) as caught:
        mapred.run(work, range(5), attempts=1, **LOCAL)
    assert caught.value.run is not None
    run: mapred.Run = caught.value.run
    return run


def test_a_report_of_a_run_that_succeeded_says_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n" * 100)
    run = mapred.run(sorted, str(tmp_path / "a.txt"), target_bytes=100, **INLINE)
    page = page_of(run, tmp_path)
    wanted = ["ran", "plan", "timeline", "times", "memory", "audit", "next", "again"]
    assert heads(page) == wanted
    for text in ("succeeded", f"Python {sys.version_info[0]}.", str(tmp_path / "a.txt"), run.uri):
        assert text in page
    assert "The run is whole" in page
    assert f"mapred.open(&#x27;{run.uri}&#x27;)" in page


def test_a_report_of_a_run_that_failed_groups_failures_and_tells_how_to_go_on(
    tmp_path: Path,
) -> None:
    page = page_of(failed_run(), tmp_path)
    assert heads(page)[0] == "failures"
    for text in ("failures", "item 3", "ValueError", "in work", "printed 3", "things", "note.txt"):
        assert text in page, text
    assert "The text of the docstring of work" in page
    assert "mapred resume" in page
    assert "is not whole" in page


def test_secrets_and_markup_do_not_get_into_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "correct horse")
    run = mapred.run(
        lambda x: print("as", os.environ["DATABASE_PASSWORD"], "or ghp_abcdefgh12345678"),
        range(3), **LOCAL,
    )  # fmt: skip
    for page in (page_of(failed_run(), tmp_path), page_of(run, tmp_path)):
        for secret in ("swordfish", "hunter2", "correct horse", "abcdefgh12345678"):
            assert secret not in page
        assert not re.search(r"<script|\ssrc=|href=\"[^#]|url\(|@import|\son\w+=", page)


def test_a_run_at_work_and_one_that_was_cancelled_have_reports(tmp_path: Path) -> None:
    run = mapred.submit(lambda x: __import__("time").sleep(0.2), range(40), backend=mapred.Local(1))
    while not any(stage.done for stage in run.status().stages):
        pass
    page = page_of(run, tmp_path)
    assert "● running" in page
    assert "still at work" in page
    assert "known of" in page
    run.cancel()
    page = page_of(run, tmp_path)
    assert "● cancelled" in page
    assert "mapred resume" in page


def test_damaged_records_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = mapred.run(work, range(3), **LOCAL)
    folder = Path(run.uri)
    (folder / "map/commits/000001.json").write_text('{"stage": "map"')
    (folder / "plan/00000.parquet").write_bytes(b"")
    (folder / "function.pkl").write_bytes(b"no pickle")
    page = page_of(mapred.open(run.uri), tmp_path)
    assert heads(page)[0] == "unread"
    for text in ("000001.json", "00000.parquet", "its source cannot be read"):
        assert text in page, text
    assert "printed 0" in page


def test_a_record_of_a_newer_version_leaves_a_page_that_says_so(tmp_path: Path) -> None:
    run = mapred.run(work, range(3), **INLINE)
    path = Path(run.uri) / "map/commits/000001.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "version": "99.0"}))
    page = page_of(mapred.open(run.uri), tmp_path)
    assert "● unknown" in page
    assert "newer" in page


def test_a_sweep_has_its_picture(tmp_path: Path) -> None:
    run = mapred.run(lambda a: {"x": a, "y": -a}, mapred.sweep(a=[1, 2, 3]), **INLINE)
    page = page_of(run, tmp_path)
    assert "sweep" in heads(page)
    assert "x over a" in page
    assert "y over a" in run.report(tmp_path / "report.html", result="y").read_text()
    with pytest.raises(RunError, match="no result 'z'"):
        run.report(tmp_path / "report.html", result="z")


def test_the_line_to_run_it_anew_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.txt").write_text("a\nb\n")
    (tmp_path / "anew.py").write_text(
        "def count(lines, more=0):\n    return len(list(lines)) + more\n"
    )
    words = ["run", "anew.py:count", "a b.txt", "--reduce", "sum", "--param", "more=3", "-q"]
    words += ["--timeout", "60", "--memory", "2Gi"]
    done = CliRunner().invoke(main, [*words, "--root", "runs"])
    assert done.exit_code == 0, done.output
    page = CliRunner().invoke(main, ["report", done.stdout.split("\n")[0]])
    path = Path(page.stdout.strip())
    assert path.name.startswith("report-2")
    line = re.search(r"<code>mapred (run .*?)</code>", path.read_text())
    assert line is not None
    again = shlex.split(line[1].replace("&#x27;", "'").replace("&quot;", '"'))
    assert again[:3] == words[:3]
    assert CliRunner().invoke(main, [*again, "-q"]).exit_code == 0


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path) -> None:
    run = mapred.run(abs, range(2), **INLINE)
    path = tmp_path / "report.html"
    assert run.report(path) == path
    first = path.read_text()
    path.chmod(0o600)
    assert run.report(str(path)).read_text().split("As of")[0] == first.split("As of")[0]
    (tmp_path / "thesis.html").write_text("<p>mine")
    with pytest.raises(RunError, match=r"thesis\.html is there and is not a report"):
        run.report(tmp_path / "thesis.html")
    assert (tmp_path / "thesis.html").read_text() == "<p>mine"
    for wrong, text in (("", "is a folder"), ("no/r.html", "no folder"), ("s3://b/r.html", "URI")):
        target = wrong if "://" in wrong else tmp_path / wrong
        with pytest.raises(RunError, match=text):
            run.report(target)
    assert sorted(os.listdir(tmp_path)) == ["report.html", "thesis.html"]


def test_a_report_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    run = mapred.run(abs, range(2), **INLINE)
    with pytest.raises(RunError, match="cannot be written"):
        run.report(tmp_path / ("x" * 250))
    assert os.listdir(tmp_path) == []
