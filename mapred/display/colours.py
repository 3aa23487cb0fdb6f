"""Colours of what a terminal shows: the text stays as it is, and rich draws parts of it in colour.

Only the sixteen colours that a terminal's own theme defines are used, so that dark and light
themes both can be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from rich.text import Text

Screen = Literal["audit", "error", "findings", "list", "logs", "plan", "run"]

_STYLES = {
    "bad": "bold red",
    "bar": "cyan",
    "command": "cyan",
    "good": "green",
    "head": "bold",
    "live": "cyan",
    "rest": "dim",
    "warn": "yellow",
}
_MARKS = {"█": "cyan", "▓": "magenta", "▒": "blue", "░": "green", "x": "bold red"}
_SAME = re.compile(r"([█▓▒░x])\1*")

_STATE = (
    r"(?:(?P<good>succeeded)|(?P<bad>failed|unreadable)|(?P<live>running|queued)"
    r"|(?P<warn>interrupted|suspended|cancelled|unknown|waiting))\b"
)
_COMMAND = r"^(?:.{0,200}?: )?(?P<command>mapred \w[^\n]*)$"
_LOSSES = r"(?P<warn>[\d,]+\s+(?:item|shard|bad row)s?\s+(?:given up|skipped))"
_LANE = re.compile(r"│[█▓▒░x ]+│|^ +(?:[█▓▒░x] [^\n]+)$", re.MULTILINE)

# What is coloured on each screen: the groups' names are those of the styles.
_PATTERNS: Mapping[Screen, tuple[str, ...]] = {
    "audit": (
        r"\A(?P<head>[^\s:]+):[\s\S]*?:\s+(?P<good>whole)\b[^:]*",
        r"\A(?P<head>[^\s:]+):[\s\S]*?:\s+(?P<bad>[\d,]+\s+problems?)$",
        _LOSSES,
    ),
    "error": (r"^(?P<bad>Error:)", _COMMAND),
    "findings": (
        r"^(?:(?P<good>ok)|(?P<bad>bad)|(?P<warn>\?)|(?P<rest>-))(?= )",
        r"^ +(?P<rest>->) (?P<command>[^\n]+)$",
    ),
    "list": (
        r"\A(?P<head>[^\n]+)",
        rf"^\S+ +{_STATE}",
        _LOSSES,
        _COMMAND,
    ),
    "logs": (r"^(?P<head>--- [^\n]+)$",),
    "plan": (
        r"\A(?P<head>Plan of [^\n]+)",
        r"(?P<bar>[▁▂▃▄▅▆▇█]{2,})$",
        r"^  (?P<head>limit|shards|columns|largest files|cannot be split)\b",
    ),
    "run": (
        rf"^Run (?P<head>\S+) {_STATE}",
        rf"^Pipeline (?P<head>\S+)(?: of [^\n:]+?)? {_STATE}:",
        rf"^ +\d[\d.]*  [^\n]{{0,30}}?  {_STATE}",
        r"^  \S[^\n]{0,40}? +(?P<bar>━+)",
        r"(?P<rest>─+)  [\d,]+/[\d,]+",
        r"(?<= )(?P<bad>[\d,]+ failed)\b",
        _LOSSES,
        r"^(?P<bad>[\d,]+ failures?:)$",
        r"^  (?:[\d,]+ × )?(?P<head>[^\s:]+: [^\s:]+):",
        _COMMAND,
    ),
}


def has_colour(stream: TextIO | None) -> bool:
    """Whether rich would draw in colour on a stream: NO_COLOR, FORCE_COLOR and TERM count."""
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    try:
        if not (os.environ.get("FORCE_COLOR") or stream.isatty()):
            return False  # The most frequent case needs no rich, which takes long to import.
    except (ValueError, AttributeError):
        return False
    from rich.console import Console

    return Console(file=stream, force_jupyter=False).color_system is not None


def paint(text: str, screen: Screen, stream: TextIO | None) -> str:
    """Return the text with the colours of a screen, where the stream shows colours."""
    if not has_colour(stream):
        return text
    from io import StringIO

    from rich.console import Console

    console = Console(
        file=StringIO(), force_terminal=True, force_jupyter=False, color_system="standard"
    )
    with console.capture() as capture:
        console.print(highlight(text, screen), soft_wrap=True, end="")
    return capture.get()


def highlight(text: str, screen: Screen) -> Text:
    """Return the text as rich draws it, with the colours of a screen."""
    from rich.text import Text

    drawn = Text(text)
    for pattern in _PATTERNS[screen]:
        for match in re.finditer(pattern, text, re.MULTILINE):
            for name, part in match.groupdict().items():
                if part:
                    drawn.stylize(_STYLES[name], *match.span(name))
    for lane in _LANE.finditer(text) if screen == "run" else ():
        for marks in _SAME.finditer(lane[0]):
            start, end = (lane.start() + place for place in marks.span())
            # A letter within a word of the legend is not a mark.
            if marks[1] != "x" or lane[0].startswith("│") or text[start - 1 : end + 1] == " x ":
                drawn.stylize(_MARKS[marks[1]], start, end)
    return drawn
