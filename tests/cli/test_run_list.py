"""Runs that are listed and found again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from cli.commands import call, run

from mapred.client import history
from mapred.display import table_text
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


def listed(*words: str) -> list[str]:
    return [entry["name"] for entry in json.loads(call("ls", "--json", *words).stdout)]


def test_lists_the_runs_that_match(job_file: str, runs: Path) -> None:
    run(job_file)
    run(job_file, "--job", "failing", code=1)
    assert listed("--state", "failed") == ["fails"]
    assert listed("--state", "failed", "--state", "succeeded") == ["fails", "times"]
    assert listed("--state", "running") == []
    assert listed("--job", "times") == listed("--job", "t*") == ["times"]
    assert listed("--job", "time") == []
    assert listed("--job", "*", "-n", "1") == ["fails"], "the newest of those that match"
    said = call("ls", "--state", "queued", "--job", "x*").stderr
    assert said == f"no runs in {runs} with state=queued, job=x*\n"


@pytest.mark.parametrize(
    ("since", "names"),
    [
        ("2026-03-02", ["b"]),
        ("2026-03-01T12:00:00Z", ["b", "a"]),
        ("2026-03-01T12:00:01Z", ["b"]),
        ("2026-03-01T14:00+02:00", ["b", "a"]),
        ("2026-03-03", []),
        ("1h", []),
        ("3000d", ["b", "a"]),
    ],
)
def test_lists_the_runs_since(job_file: str, runs: Path, since: str, names: list[str]) -> None:
    run(job_file, "--quiet")
    (made,) = runs.iterdir()
    for name, created in (("a", "2026-03-01T12:00:00Z"), ("b", "2026-03-02T12:00:00Z")):
        stamp = created.replace("-", "").replace(":", "").replace("T", "-").rstrip("Z")
        copy = runs / f"{stamp}-0123abcd"
        shutil.copytree(made, copy)
        job = json.loads((copy / layout.JOB).read_text()) | {"created": created, "name": name}
        (copy / layout.JOB).write_text(json.dumps(job))
    shutil.rmtree(made)
    assert listed("--since", since) == names


@pytest.mark.parametrize("since", ["yesterday", "", "2", "2x", "2026-13-01", "-2h", "20260301"])
def test_a_wrong_time_says_which_are_right(runs: Path, since: str) -> None:
    said = call("ls", "--since", since, code=2).stderr
    assert f"{since!r} is not a time" in said
    assert all(form in said for form in ("2026-03-01", "2h", "3d"))


def test_times_in_json_are_iso(job_file: str, runs: Path) -> None:
    """Nothing that counts seconds since the epoch is left anywhere in the documents."""
    run(job_file, "--job", "failing", code=1)
    (folder,) = runs.iterdir()
    start = json.loads((folder / layout.HANDLE).read_text())
    (folder / layout.HANDLE).write_text(json.dumps(start | {"pauses": [[1.7e9, 1.7e9 + 60]]}))
    document = json.loads(call("show", "last", "--json").stdout)
    assert document["pauses"] == [["2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.000Z"]]
    for text in (document["started"], document["finished"], document["failures"][0]["time"]):
        assert datetime.fromisoformat(text.replace("Z", "+00:00")).year >= 2024
    assert document["seconds"] < 60

    def numbers(value: object) -> Iterator[float]:
        if isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from numbers(inner)
        elif isinstance(value, float):
            yield value

    for words in (["show", "last"], ["ls"], ["audit", "last"]):
        code = int(words[0] == "audit")
        assert max(numbers(json.loads(call(*words, "--json", code=code).stdout)), default=0) < 1e9


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


PATHS = ["/usr/lib/python3/dist-packages/numpy/core/include/numpy/arrays/many/*.h", "array of 3"]


@pytest.mark.parametrize(
    ("width", "dataset"),
    [
        (80, ""),
        (120, "/usr/li…arrays/many/*.h"),
        (160, "/usr/lib/python3/di…umpy/core/include/numpy/arrays/many/*.h"),
        (200, PATHS[0]),
    ],
)
def test_a_list_uses_the_width_that_there_is(width: int, dataset: str) -> None:
    entries = tuple(
        history.Entry(
            "20261130-170542-96e5bdf6",
            "",
            name,
            "succeeded",
            3,
            3,
            "2026-11-30T17:05:42Z",
            seconds=1.5,
            dataset=path,
        )
        for name, path in zip(["count", "a_function_with_a_long_name"], PATHS, strict=True)
    )
    rows = history.rows(history.Runs("", entries))
    lines = table_text(rows, width, shrink=("dataset", "name")).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1].endswith(dataset)
    assert ("not shown: dataset" in lines) is (width == 80)
    if width in (120, 160):
        assert len(lines[1]) == width
