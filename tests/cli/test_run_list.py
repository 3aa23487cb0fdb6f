"""Runs that are listed and found again."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from cli.commands import call, run

from mapred.model import layout


def test_lists_finds_and_shows_runs(job_file: str, runs: Path, tmp_path: Path) -> None:
    assert "no runs in" in call("ls").stderr
    run(job_file)
    run(job_file, "--job", "failing", code=1)
    newest, oldest = json.loads(call("ls", "--json").stdout)
    assert (newest["name"], newest["state"]) == ("fails", "failed")
    assert (oldest["name"], oldest["state"]) == ("times", "succeeded")
    assert (oldest["done"], oldest["tasks"]) == (7, 7)
    table = call("ls", "--root", runs).stdout.splitlines()
    assert table[0].split() == ["id", "state", "name", "tasks", "duration", "when", "dataset"]
    assert [line.split()[0] for line in table[1:]] == [newest["id"], oldest["id"]]
    assert len(json.loads(call("ls", "-n", "1", "--json").stdout)) == 1
    for reference in (oldest["id"], oldest["id"][:-2], oldest["uri"]):
        assert json.loads(call("show", reference, "--json").stdout)["id"] == oldest["id"]
    assert json.loads(call("show", "last", "--json").stdout)["id"] == newest["id"]
    text = call("show", oldest["id"]).stdout
    assert f"Run {oldest['id']} succeeded" in text
    assert oldest["uri"] in text
    assert "2 runs begin with '2'" in call("show", "2", code=2).stderr
    assert "no run 'x'" in call("show", "x", code=2).stderr
    assert "holds no run" in call("show", tmp_path / "gone", code=2).stderr
    assert "to resume, once fails is fixed:\nmapred resume" in call("show", "last").stdout
    assert f"failed: mapred show {newest['id']}" in call("ls").stderr


def test_a_root_holds_other_things_too(job_file: str, runs: Path) -> None:
    run(job_file, "--root", runs / "deep")
    (runs / "deep" / "notes").mkdir()
    (runs / "deep" / "file").touch()
    broken = runs / "deep" / "broken"
    broken.mkdir()
    (broken / layout.JOB).write_text("{")
    found = json.loads(call("ls", "--root", runs / "deep", "--json").stdout)
    assert [(entry["state"], entry["name"]) for entry in found] == [
        ("unreadable", ""),
        ("succeeded", "times"),
    ]


def test_lists_hundreds_of_runs_fast(job_file: str, runs: Path) -> None:
    run(job_file)
    (first,) = runs.glob("2*")
    for number in range(300):
        copy = runs / f"20200101-{number:06d}-00000000"
        copy.mkdir()
        shutil.copy(first / layout.JOB, copy)
        shutil.copy(first / layout.END, copy)
    began = time.perf_counter()
    found = json.loads(call("ls", "--json").stdout)
    assert time.perf_counter() - began < 20
    assert len(found) == 301
