"""Gates: a question that waits for a person."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import mapred
from mapred.client.pipelines.handle import drive
from mapred.errors import FunctionError, RunError


def opened(run: mapred.PipelineRun) -> mapred.PipelineRun:
    """Return the pipeline by its folder, as another process has it."""
    found: Any = mapred.open(run.uri)
    return found


def waiting(run: mapred.PipelineRun) -> mapred.PipelineRun:
    """Return the pipeline once it waits at a gate."""
    while not run.gates:
        run.wait(timeout=0.01)
    return run


@mapred.pipeline
def release(choices: list[Any], timeout: str | None = None, default: Any = None) -> Any:
    return mapred.approve("go", "Publish?", choices=choices, timeout=timeout, default=default)


def test_the_first_answer_stands_and_says_who_gave_it() -> None:
    run = waiting(release.submit([True, False]))
    assert run.state == "waiting"
    assert run.gates["go"].question == "Publish?"
    answer = run.approve("go", False, note="not today")
    assert (answer.value, answer.note, bool(answer.by)) == (False, "not today", True)
    with pytest.raises(RunError, match=r"was answered by .*: False; the first answer stands"):
        opened(run).approve("go", True)
    assert run.result() is False
    assert not run.gates
    assert [(step.kind, step.state) for step in run.status().steps] == [("gate", "answered")]


@pytest.mark.parametrize("wrong", [1, "yes", None, 1.0])
def test_an_answer_must_be_one_of_the_choices(wrong: Any) -> None:
    run = waiting(release.submit([True, False]))
    with pytest.raises(RunError, match=r"must be True or False: the choices of 'go'"):
        run.approve("go", wrong)
    with pytest.raises(RunError, match=r"has not asked at a gate 'stop'; waiting are: 'go'"):
        run.approve("stop")
    with pytest.raises(RunError, match=r"has not asked at a gate '\.\./end'"):
        run.approve("../end")
    run.approve("go")
    assert run.result() is True


def test_a_timeout_takes_the_default_also_where_it_passed_meanwhile() -> None:
    run = release.run(["a", "b"], "0.05s", "b")
    assert run.result() == "b"
    assert run._folder.answer("go").by == "timeout"  # type: ignore[union-attr]
    late = release.submit(["a", "b"], "1h", "b")
    waiting(late).approve("go", "a")
    assert late.result() == "a"


def test_an_answer_that_came_while_nobody_waited_counts() -> None:
    run = waiting(release.submit([1, 2]))
    run._driver.stopped.set()  # type: ignore[union-attr]
    run.wait()
    assert run.state == "interrupted"
    again = opened(run)
    again.approve("go", 2)
    assert again.resume().result() == 2


def test_answers_that_come_at_once_agree() -> None:
    run = waiting(release.submit(list(range(8))))
    given: list[Any] = []

    def answer(n: int) -> None:
        try:
            given.append(run.approve("go", n).value)
        except RunError:
            pass

    threads = [threading.Thread(target=answer, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert given == [run.result()]


def test_what_is_no_gate_is_refused() -> None:
    with pytest.raises(FunctionError, match="asks where a pipeline waits"):
        mapred.approve("go")

    @mapred.pipeline
    def asks(**how: Any) -> Any:
        return mapred.approve(**how)

    wrong: list[tuple[dict[str, Any], str]] = [
        ({"name": "a/b"}, "must have a name"),
        ({"name": "go", "choices": []}, "at least one"),
        ({"name": "go", "choices": [None]}, "must be texts, numbers"),
        ({"name": "go", "timeout": "1s"}, "default=None must be one of the choices"),
        ({"name": "go", "timeout": "1s", "default": 1}, "default=1 must be one of the choices"),
    ]
    for how, text in wrong:
        with pytest.raises(RunError, match=text):
            asks.run(**how)


def test_a_gate_asked_twice_needs_two_names() -> None:
    @mapred.pipeline
    def loop(numbered: bool) -> Any:
        names = [f"go-{n}" if numbered else "go" for n in range(2)]
        return [mapred.approve(n, timeout="0.01s", default=True) for n in names]

    with pytest.raises(RunError, match="asked twice: give each a name of its own"):
        loop.run(False)
    assert loop.run(True).result() == [True, True]


def test_time_is_counted_from_the_first_question() -> None:
    run = waiting(release.submit([True, False], "1h", False))
    asked = run.gates["go"]
    run._driver.stopped.set()  # type: ignore[union-attr]
    run.wait()
    drive(run, release.fn, None, in_thread=True)
    time.sleep(0.05)
    assert waiting(run).gates["go"] == asked
    run.cancel()
