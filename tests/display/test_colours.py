"""Colours: which streams have them, that the text stays as it is, and what is coloured."""

from __future__ import annotations

import io
import re

import pytest
from rich.text import Text

from mapred import display
from mapred.display import colours
from mapred.display.colours import highlight, paint

ENDS = re.compile("\x1b\\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.parametrize(
    ("terminal", "environment", "coloured"),
    [
        (True, {}, True),
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "dumb", "FORCE_COLOR": "1"}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": ""}, False),
    ],
)
def test_who_sees_colours(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environment: dict[str, str], coloured: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    text = "Run x succeeded: 3 map tasks"
    painted = paint(text, "run", stream)
    assert ("\x1b" in painted) == coloured
    assert ENDS.sub("", painted) == text
    assert paint(text, "run", None) == text


def styles(drawn: Text, words: str) -> set[str]:
    place = drawn.plain.index(words)
    return {str(span.style) for span in drawn.spans if span.start <= place < span.end}


def test_a_run_in_colour(sample) -> None:
    status = sample.at(50, times=sample.times(9, 3), state="failed")
    text = display.status_text(status)
    drawn = highlight(text, "run")
    assert drawn.plain == text
    assert styles(drawn, "failed:") == {"bold red"}
    assert styles(drawn, "━") == {"cyan"}
    assert styles(drawn, "─") == {"dim"}
    assert styles(drawn, "1 failed") == {"bold red"}


@pytest.mark.parametrize(
    ("screen", "text", "words", "style"),
    [
        ("run", "Run a succeeded, 3 items given up: 2 map tasks", "succeeded", "green"),
        ("run", "Run a succeeded, 3 items given up: 2 map tasks", "3 items", "yellow"),
        ("run", "Run a interrupted: 2 map tasks", "interrupted", "yellow"),
        ("run", "to resume:\nmapred resume a", "mapred", "cyan"),
        ("run", "failed: mapred show a", "mapred", "cyan"),
        ("run", "  w-1 │██x│  50%", "█", "cyan"),
        ("run", "  w-1 │██x│  50%", "x", "bold red"),
        ("run", "       █ map  ▓ mix  x failed attempt", "x failed", "bold red"),
        ("list", "id   state\na-1  failed", "failed", "bold red"),
        ("list", "id   state\na-1  failed", "id", "bold"),
        ("findings", "bad root: none\n    -> set it", "bad", "bold red"),
        ("findings", "bad root: none\n    -> set it", "set", "cyan"),
        ("audit", "x: 3 commits: whole", "whole", "green"),
        ("audit", "x: 3 commits: 2 problems\ngap", "2 problems", "bold red"),
        ("audit", "x: 3 commits,\n  4 files:\n  whole", "whole", "green"),
        ("error", "Error: no such file", "Error", "bold red"),
        ("logs", "--- map task 1, attempt 0\nfailed", "---", "bold"),
        ("plan", "Plan of a (text)\n  shards   5 B each\n           ▁▂", "▁", "cyan"),
    ],
)
def test_what_is_coloured(screen: colours.Screen, text: str, words: str, style: str) -> None:
    drawn = highlight(text, screen)
    assert styles(drawn, words) == {style}
    assert drawn.plain == text


@pytest.mark.parametrize("screen", ["run", "list", "plan", "audit", "findings", "logs", "error"])
def test_foreign_words_are_left_alone(screen: colours.Screen) -> None:
    text = "first\nx mix failed succeeded\n[red]no[/red] :smile: 2 problems x"
    drawn = highlight(text, screen)
    assert drawn.plain == text
    assert all(span.end <= len("first") for span in drawn.spans), "the head of a table alone"
    painted = paint(text, screen, Terminal())
    assert ENDS.sub("", painted) == text
