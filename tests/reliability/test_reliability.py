"""The short form of `make reliability`: a trial of each attack, and the judge itself."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed import people

from reliability import report, trials
from reliability.__main__ import trial
from reliability.servers import server
from reliability.trials import Outcome, Scene, Verdict, judged

# The others are like one of these, or have quick tests of their own.
SHORT = "kills twins drivers liveness clock full-disk read-only few-files no-tmp faults".split()
AS_ROOT = {"liveness", "full-disk", "read-only", "no-tmp"}


@pytest.fixture
def s3(shared_folder: Path) -> Iterator[None]:
    with server(shared_folder):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("attack", SHORT)
def test_an_attack_ends_exactly(attack: str, request: pytest.FixtureRequest) -> None:
    if attack in AS_ROOT and (why := people.missing()) is not None:
        pytest.skip(why)
    if attack == "faults":
        request.getfixturevalue("s3")
    verdict = trial(attack, 1, "items")
    assert verdict.result in ("exact", "resumed", "anew"), verdict


def scene(folder: Path) -> Scene:
    return Scene(folder, "items", random.Random(0))


def says(scene: Scene, *lines: object) -> Outcome:
    return scene.spawn(["printf", "%s\\n", *map(json.dumps, lines)]).outcome()


@pytest.mark.parametrize(
    ("line", "kind", "fault"),
    [
        ({"exact": True, "whole": True, "text": ""}, "exact", False),
        ({"exact": False, "whole": True, "text": ""}, "wrong", True),
        ({"exact": True, "whole": False, "text": "1 differs"}, "wrong", True),
        ({"error": "RunError", "text": "the disk is full", "ours": True}, "error", False),
        ({"error": "RunError", "text": "the pool failed: KeyError", "ours": True}, "error", True),
        ({"error": "RunError", "text": "", "ours": True}, "error", True),
        ({"error": "KeyError", "text": "'x'", "ours": False}, "foreign", True),
        ({"stopped": True}, "stopped", False),
    ],
)
def test_how_a_process_ended(tmp_path: Path, line: object, kind: str, fault: bool) -> None:
    found = says(scene(tmp_path), {"uri": "/x"}, line)
    assert (found.kind, bool(found.fault)) == (kind, fault)


def test_a_process_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scene(tmp_path)
    assert found.spawn(["false"]).outcome().kind == "foreign"
    assert found.spawn(["sh", "-c", "kill -9 $$"]).outcome() == Outcome("killed")
    monkeypatch.setattr(trials, "BOUND", 0.3)
    hangs = found.spawn(["sleep", "60"]).outcome()
    assert hangs.kind == "hang"
    assert hangs.fault


def test_what_makes_a_trial_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(*outcomes: Outcome) -> Verdict:
        def attack(scene: Scene) -> list[Outcome]:
            scene.over = True
            return list(outcomes)

        return judged("kills", attack, scene(tmp_path), 1)

    exact, error = Outcome("exact"), Outcome("error", "StorageError: the disk is full")
    assert judge(exact).result == "exact"
    assert judge(error, exact).result == "resumed"
    assert judge(error, exact).errors == (error.text,)
    assert "not exact in the end" in judge(exact, error).fault
    assert "foreign" in judge(Outcome("foreign", "KeyError"), exact).fault

    def fails(scene: Scene) -> list[Outcome]:
        raise RuntimeError("no such disk")

    assert "the trial itself failed" in judged("kills", fails, scene(tmp_path), 1).fault

    left = []

    def leaves(found: Scene) -> list[Outcome]:
        left.append(subprocess.Popen(["sleep", "60"], env=found.environment()))
        return [exact]

    monkeypatch.setattr(trials, "GRACE", 0.2)
    assert judged("kills", leaves, scene(tmp_path), 1).fault == "1 process is left"
    assert left[0].wait() < 0


def test_the_report_counts_and_lists() -> None:
    told = "StorageError: cannot write ROOT/RUN/map/000001.json: full"
    page = report.report(
        [
            Verdict("kills", "items", 1, "exact", {"signals": 1}),
            Verdict("kills", "tree", 2, "resumed", {"signals": 2}, (told, told)),
            Verdict("clock", "items", 3, "fault", {}, (), "wrong: a | b"),
        ]
    )
    assert "(3 signals) | 2 | 1 | 1 | 0 | 0 |" in page
    assert "| all | 3 | 1 | 1 | 0 | 1 |" in page
    assert "| kills | StorageError: cannot write PATH: full | 2 |" in page
    assert "| clock | 3 | items | wrong: a \\| b |" in page
    assert "None in these trials." in report.report([])
