"""Pipelines as text: steps, gates, failures and lanes."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapred.display import (
    choice_word,
    open_gates_text,
    pipeline_html,
    pipeline_progress,
    pipeline_text,
)
from mapred.display.colours import highlight
from mapred.display.pipelines.lines import Lines
from mapred.display.pipelines.rows import rows, shown
from mapred.model.pipelines import PipelineStatus, StepStatus

RAW = StepStatus(
    "run", "parse", "succeeded", "s3://raw/*.json", "/r/a", 100.0, 60.0, 160.0, done=4, tasks=4
)
ONE = StepStatus(
    "run", "report", "succeeded", "outputs of a: 4 items", "/r/b", 160.0, 40.0, 200.0, (0,), done=4,
    tasks=4,
)  # fmt: skip
TWO = StepStatus(
    "run",
    "train",
    "running",
    "outputs of a: 4 items",
    "/r/c",
    165.0,
    35.0,
    None,
    (0,),
    done=1,
    tasks=4,
)
BAD = StepStatus("recorded", "bad", "recorded", "17", started=200.0)
GATE = StepStatus(
    "gate", "go", "waiting", "17 bad rows: continue?", "", 200.0, 100.0, choices=(True, False)
)
STATUS = PipelineStatus(
    "nightly", "waiting", (RAW, ONE, TWO, BAD, GATE), "", 100.0, None, {"day": "'today'"}, "/r/x"
)


def test_each_step_is_a_line_and_a_gate_says_how_to_answer_it() -> None:
    assert pipeline_text(STATUS, 300.0, 80).split("\n")[:11] == [
        "Pipeline x of nightly waiting: 3 steps done, 1 running, 1 waiting, 3 min 20 s elapsed",
        "  with day='today'",
        "  1  parse   succeeded         1 min  s3://raw/*.json",
        "  2  report  succeeded          40 s  outputs of 1",
        "  3  train   running 1/4        35 s  outputs of 1",
        "  4  bad     recorded                 17",
        "  5  go      waiting      1 min 40 s  17 bad rows: continue?",
        "       answer by one of: yes, no",
        "       run.approve('go', True)",
        "       mapred approve /r/x go --value yes",
        "  1 parse  │████████████████████                                               │",
    ]


def test_a_command_line_gets_commands_alone() -> None:
    text = pipeline_text(STATUS, 300.0, 80, word=lambda uri: uri[-1], python=False)
    assert "mapred approve x go --value yes" in text
    assert "run.approve" not in text


def test_runs_side_by_side_are_seen_by_their_times() -> None:
    lines = pipeline_text(STATUS, 300.0, 80).split("\n")
    lanes = {line.split()[1]: line for line in lines if "│" in line}
    started = {name: lane.index("█") for name, lane in lanes.items() if "█" in lane}
    ended = {name: lane.rindex("█") for name, lane in lanes.items() if "█" in lane}
    assert (
        started["parse"] < started["report"] <= started["train"] < ended["report"] < ended["train"]
    )
    assert lanes["go"].rindex("░") == max(lane.rindex("│") for lane in lanes.values()) - 1


def test_steps_of_a_pipeline_inside_of_another_are_folded_in_with_their_gates() -> None:
    inside = replace(GATE, name="in side", choices=("a b", 3))
    nested = StepStatus(
        "pipeline", "deep", "waiting", "n=1", "/r/d", 200.0, 9.0, steps=(ONE, inside)
    )
    status = replace(STATUS, steps=(RAW, nested))
    assert [(row.number, row.step.name) for row in rows(status)] == [
        ("1", "parse"), ("2", "deep"), ("2.1", "report"), ("2.2", "in side"),
    ]  # fmt: skip
    text = pipeline_text(status, 300.0)
    assert "outputs of 2.1" in text
    assert "mapred.open('/r/d').approve('in side', 'a b')" in text
    assert "mapred approve /r/d 'in side' --value 'a b'" in text
    assert open_gates_text(status) == (
        "1 gate of pipeline x:\n  in side: 17 bad rows: continue?\n    answer by one of: a b, 3\n"
        "    mapred approve /r/d 'in side' --value 'a b'"
    )
    assert open_gates_text(replace(STATUS, steps=(RAW,))) == "pipeline x waits for no answer"


def test_a_failed_step_has_its_error_and_the_pipeline_its_remedy() -> None:
    failed = replace(TWO, state="failed", message="map: ValueError: no\nTraceback", finished=200.0)
    status = replace(STATUS, state="failed", steps=(RAW, failed), message="RunError: no\nmore")
    lines = pipeline_text(replace(status, finished=200.0), None).split("\n")
    assert lines[2] == "  RunError: no"
    assert lines[5:7] == ["       map: ValueError: no", "       mapred show /r/c"]
    assert lines[-2:] == [
        "to resume it:",
        "import mapred; run = mapred.open('/r/x').resume()",
    ]


def test_answers_and_deadlines_are_told() -> None:
    answered = replace(GATE, state="answered", answer=False, message="too many")
    late = replace(GATE, due=86_400.0, default=False)
    text = pipeline_text(replace(STATUS, steps=(answered, late)), 300.0)
    assert "17 bad rows: continue? no (too many)" in text
    assert "without an answer by 1970-01-0" in text


@pytest.mark.parametrize(
    ("choice", "word"), [(True, "yes"), (False, "no"), (3, "3"), (0.5, "0.5"), ("a b", "a b")]
)
def test_a_choice_is_a_word_of_a_command_line(choice: Any, word: str) -> None:
    assert choice_word(choice) == word


def test_of_many_steps_those_that_need_a_look_are_listed() -> None:
    steps = [replace(RAW, name=f"s{n}") for n in range(500)]
    steps[250] = replace(TWO, name="here")
    found = shown(rows(replace(STATUS, steps=tuple(steps))))
    listed = [row.step.name for row in found if not isinstance(row, int)]
    assert "here" in listed
    assert len(listed) == 61
    assert sum(row for row in found if isinstance(row, int)) == 500 - 61
    assert "… 230 more that are done" in pipeline_text(replace(STATUS, steps=tuple(steps)))


def test_what_comes_from_elsewhere_is_made_safe() -> None:
    evil = "\x1b]0;owned\x07\u202e\n"
    step = replace(GATE, name=evil, text=evil, state=evil, choices=(evil,), message=evil)
    waits = replace(step, state="waiting", uri=evil)
    status = PipelineStatus(evil, evil, (step, waits), evil, 1.0, 2.0, {evil: evil}, f"/{evil}")
    for text in (pipeline_text(status, 3.0, python=False), open_gates_text(status)):
        assert all(part.isprintable() for part in text.replace("\n", "").split())


@given(
    st.lists(
        st.builds(
            StepStatus,
            st.sampled_from(["run", "pipeline", "recorded", "gate"]),
            st.text(max_size=60),
            st.sampled_from(["succeeded", "failed", "running", "waiting", "answered"]),
            st.text(max_size=200),
            st.just("/r/a"),
            st.floats(0, 1e9),
            st.none() | st.floats(0, 1e9),
            st.none() | st.floats(0, 2e9),
        ),
        max_size=8,
    ),
    st.none() | st.floats(0, 2e9),
    st.integers(40, 200),
)
def test_lines_are_as_wide_as_the_terminal(
    steps: list[StepStatus], now: float | None, width: int
) -> None:
    status = PipelineStatus("p", "running", tuple(steps), "", 5.0, None, {}, "/r/p")
    for line in pipeline_text(status, now, max(width, 90)).split("\n")[1:]:
        assert len(line) <= max(width, 90)


def test_lines_tell_each_change_of_a_step_once() -> None:
    out = StringIO()
    show = Lines(out, lambda: 300.0, shlex.quote)
    show(STATUS)
    show(STATUS)
    ended = replace(TWO, state="succeeded", seconds=120.0)
    show.close(replace(STATUS, state="succeeded", steps=(RAW, ONE, ended), finished=300.0))
    assert out.getvalue().split("\n") == [
        "step 1, parse: succeeded after 1 min",
        "step 2, report: succeeded after 40 s",
        "step 3, train: running",
        "step 4, bad: recorded",
        "step 5, go: waiting; mapred approve /r/x go --value yes",
        "step 3, train: succeeded after 2 min",
        "Pipeline x of nightly succeeded: 3 steps in 3 min 20 s",
        "",
    ]


def test_states_have_their_colours() -> None:
    drawn = highlight(pipeline_text(STATUS, 300.0), "run")
    found = {(drawn.plain[s.start : s.end], str(s.style)) for s in drawn.spans}
    assert {
        ("x", "bold"),
        ("waiting", "yellow"),
        ("succeeded", "green"),
        ("running", "cyan"),
    } <= found


def test_html_says_the_same_and_is_sound(sample: Any) -> None:
    failed = replace(TWO, state="failed", message="map: ValueError: no", finished=200.0)
    status = replace(STATUS, state="failed", steps=(RAW, ONE, failed, BAD, GATE))
    for each in (STATUS, status, replace(STATUS, steps=()), replace(STATUS, steps=(RAW,))):
        tree = sample.parse(pipeline_html(each, 300.0))
        assert "Pipeline x" in tree.text
    tree = sample.parse(pipeline_html(status, 300.0))
    for said in (
        "✗ map: ValueError: no", "mapred show /r/c", "mapred.open('/r/x').resume()",
        "run.approve('go', True)", "mapred approve /r/x go --value yes", "outputs of 1",
    ):  # fmt: skip
        assert said in tree.text
    assert len(tree.named("rect")) == 4
    assert len(tree.named("circle")) == 2, "a line for each input"
    (picture,) = tree.named("svg")
    assert picture["aria-label"] == "4 steps of a pipeline in 3 min 20 s"


def test_html_escapes_what_comes_from_elsewhere(sample: Any) -> None:
    evil = sample.evil
    steps = (
        replace(GATE, name=evil, text=evil, choices=(evil,)),
        replace(TWO, name=evil, text=evil, state="failed", message=evil, uri=evil),
    )
    status = PipelineStatus(evil, evil, steps, evil, 1.0, 2.0, {evil: evil}, f"/{evil}")
    tree = sample.parse(pipeline_html(status, 3.0))
    assert "script" not in {tag for tag, _ in tree.tags}
    assert all(part.isprintable() for part in tree.text.split())


class Screen(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_step_at_work_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    running = replace(STATUS, state="running", steps=(RAW, replace(ONE, state="running"), TWO))
    for status, said in (
        (running, ("nightly", "step 2 report", "4/4", "and 1 other step", "3 min 20 s elapsed")),
        (STATUS, ("step 5 go", "waiting", "mapred approve /r/x go --value yes")),
        (replace(STATUS, steps=()), ("nightly", "waiting")),
    ):
        out = Screen()
        show = pipeline_progress("auto", shlex.quote, out, clock=lambda: 300.0)
        show(status)
        drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
        assert all(text in drawn for text in said), drawn
        show.close(replace(status, state="succeeded", finished=300.0))
        assert "Pipeline x of nightly succeeded" in re.sub(
            r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()
        )
        assert drawn.count("\n") == 0


@pytest.mark.parametrize("kind", ["none", "plain", "auto"])
def test_progress_is_of_a_kind(kind: str) -> None:
    out = StringIO()
    show = pipeline_progress(kind, shlex.quote, out, clock=lambda: 300.0)
    show(STATUS)
    show.close(STATUS)
    assert bool(out.getvalue()) == (kind != "none")
