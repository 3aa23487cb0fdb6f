"""`show -f` and `logs -f`: to the end of a run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.commands import call

import mapred


def count(i: int) -> int:
    print("item", i)
    time.sleep(0.3)
    if i == 3:
        raise ValueError("three is wrong")
    return i


def submit(items: range) -> mapred.Run:
    return mapred.submit(
        count, mapred.items(items), per_task=1, attempts=1, backend=mapred.Local(workers=1)
    )


@pytest.mark.parametrize(
    ("items", "state", "code"), [(range(3), "succeeded", 0), (range(4), "failed", 1)]
)
def test_shows_a_run_until_it_is_over(runs: Path, items: range, state: str, code: int) -> None:
    run = submit(items)
    assert run.state == "running"
    done = call("show", "last", "-f", code=code)
    assert f"Run {run.id} {state}: " in done.stdout
    assert "map done: " in done.stderr or code, "a pipe gets lines meanwhile"
    document = json.loads(call("show", "last", "-f", "--json", code=code).stdout)
    assert document["state"] == state, "of a run that is over too"


def test_prints_what_tasks_print_until_a_run_is_over(runs: Path) -> None:
    submit(range(3))
    done = call("logs", "last", "-f")
    texts = [f"--- map task {i}, attempt" for i in range(3)]
    places = [done.stdout.index(text) for text in texts]
    assert places == sorted(places)
    assert done.stdout.count("\nitem ") == 3, "each once"
    assert call("logs", "last", "2", "-f").stdout.count("---") == 1
    assert "has the tasks 0 to 2, and no 3" in call("logs", "last", "3", "-f", code=2).stderr


@pytest.mark.slow
def test_logs_come_while_a_run_works(runs: Path) -> None:
    run = submit(range(3))
    words = [sys.executable, "-u", "-m", "mapred", "logs", run.id, "-f"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert process.stdout.readline() == "item 0\n"
        alive = run.status().live
        assert process.stdout.read().count("item ") == 2
    assert process.returncode == 0
    assert alive or run.state == "succeeded"


def test_ctrl_c_leaves_the_run_alone(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = submit(range(2))

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mapred.cli.following.time.sleep", interrupted)
    for words in (["show", "last", "-f"], ["logs", "last", "-f"]):
        said = call(*words, code=130).stderr
        assert f"run {run.id} continues" in said
    monkeypatch.undo()
    assert run.result() == [0, 1]
